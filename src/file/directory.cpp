// Reading directories by getdents64: with readdir nobody knows which call goes to the kernel, so each would need a guard.
#include <handoff/directory.hpp>

#include "file/calls.hpp"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <sys/syscall.h>

namespace handoff {

namespace {

constexpr std::size_t batch_size = 32 * 1024;   // what glibc's readdir takes

file_type type_of(unsigned char t) noexcept {
    switch (t) {
        case DT_REG: return file_type::regular;
        case DT_DIR: return file_type::directory;
        case DT_LNK: return file_type::symbolic_link;
        case DT_BLK: return file_type::block_device;
        case DT_CHR: return file_type::character_device;
        case DT_FIFO: return file_type::pipe;
        case DT_SOCK: return file_type::socket;
        default: return file_type::unknown;
    }
}

}  // namespace

namespace detail {

std::string directory_for_temporaries(const std::string& asked_for) {
    if (!asked_for.empty()) return asked_for;
    const char* set = ::secure_getenv("TMPDIR");
    return set && *set ? set : "/tmp";
}

}  // namespace detail

directory::directory(std::string path) {
    std::error_code ec;
    *this = open(path, ec);
    if (ec) detail::fail("open of directory", path, ec);
}

directory directory::open(std::string path, std::error_code& ec) {
    directory d;
    if (detail::has_nul(path)) {
        ec = std::make_error_code(std::errc::invalid_argument);
        return d;
    }
    d.batch_ = std::make_unique<std::byte[]>(batch_size);
    const std::int64_t fd = detail::open_descriptor(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY, 0);
    ec = detail::error_of(fd);
    if (!ec) d.f_ = file::adopt(static_cast<int>(fd), std::move(path));
    return d;
}

const directory::entry* directory::next() {
    std::error_code ec;
    const entry* e = next(ec);
    if (ec) detail::fail("reading of directory", name(), ec);
    return e;
}

const directory::entry* directory::next(std::error_code& ec) noexcept {
    ec.clear();
    for (;;) {
        if (at_ == size_) {
            const std::int64_t n = detail::guarded(handoff_policy::adaptive, [this] {
                return ::syscall(SYS_getdents64, native_handle(), batch_.get(), batch_size);
            });
            ec = detail::error_of(n);
            if (n <= 0) return nullptr;
            at_ = 0;
            size_ = static_cast<std::size_t>(n);
        }
        // A record of dirent64: its length stands in it, its name ends by a NUL.
        const auto* record = reinterpret_cast<const dirent64*>(batch_.get() + at_);
        at_ += record->d_reclen;
        const std::string_view found(record->d_name);
        if (found == "." || found == "..") continue;
        now_ = {found, type_of(record->d_type), record->d_ino};
        return &now_;
    }
}

void directory::rewind() {
    std::error_code ec;
    rewind(ec);
    if (ec) detail::fail("rewinding of directory", name(), ec);
}

void directory::rewind(std::error_code& ec) noexcept {
    at_ = size_ = 0;
    f_.seek(0, seek_from::start, ec);
}

temporary_directory::temporary_directory(const std::string& parent) {
    std::error_code ec;
    *this = make(parent, ec);
    if (ec) detail::fail("temporary directory in", detail::directory_for_temporaries(parent), ec);
}

temporary_directory temporary_directory::make(const std::string& parent, std::error_code& ec) {
    std::string path = detail::directory_for_temporaries(parent);
    if (detail::has_nul(path)) {
        ec = std::make_error_code(std::errc::invalid_argument);
        return {nullptr, {}};
    }
    path += "/handoff-XXXXXX";
    ec = detail::error_of(
        detail::guarded(handoff_policy::adaptive, [&] { return ::mkdtemp(path.data()) ? 0 : -1; }));
    if (ec) path.clear();
    return {nullptr, std::move(path)};
}

temporary_directory& temporary_directory::operator=(temporary_directory&& other) noexcept {
    if (this == &other) return *this;
    const temporary_directory old(nullptr, std::exchange(path_, std::exchange(other.path_, {})));   // removed here
    return *this;
}

temporary_directory::~temporary_directory() {
    try {
        std::error_code ec;
        remove(ec);
    } catch (const std::bad_alloc&) {   // it is left
    }
}

void temporary_directory::remove() {
    std::error_code ec;
    remove(ec);
    if (ec) detail::fail("removal of", path_, ec);
}

void temporary_directory::remove(std::error_code& ec) {
    ec.clear();
    if (path_.empty()) return;
    {
        const syscall_guard guard;
        std::filesystem::remove_all(path_, ec);
    }
    if (!ec) path_.clear();
}

}  // namespace handoff
