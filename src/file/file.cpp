// Opening, closing, and what concerns a file as a whole. Which guard a call gets:
//
// - Most are under the adaptive one, since they seldom wait: open (3 to 6 us in what is cached), ftruncate (that of 4 MiB takes
//   4 ms; the monitor notices), flock, fstat.
// - fsync and fdatasync hand the processor off first. On ext4 they take 250 us and more, 65 us if there is nothing to write; a
//   handoff takes a few. The adaptive guard would learn from the quick writes before them that nothing waits here.
#include <handoff/file.hpp>

#include "file/calls.hpp"
#include "sched/simulation_hooks.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace handoff {

namespace {

using detail::guarded;

constexpr mode_t all_permissions = 07777;

// flags_of returns open(2)'s flags, or -EINVAL for what makes no sense.
int flags_of(open_mode m) noexcept {
    const bool writes = has(m, open_mode::write) || has(m, open_mode::append), reads = has(m, open_mode::read);
    if (!writes && !reads) return -EINVAL;
    if (has(m, open_mode::truncate) && !writes) return -EINVAL;
    if (has(m, open_mode::exclusive) && !has(m, open_mode::create)) return -EINVAL;
    int flags = writes ? (reads ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (has(m, open_mode::append)) flags |= O_APPEND;
    if (has(m, open_mode::create)) flags |= O_CREAT;
    if (has(m, open_mode::exclusive)) flags |= O_EXCL;
    if (has(m, open_mode::truncate)) flags |= O_TRUNC;
    if (has(m, open_mode::no_follow)) flags |= O_NOFOLLOW;
    return flags | O_NOCTTY;   // or a terminal might become the process's own
}

int operation_of(lock_kind kind) noexcept { return kind == lock_kind::shared ? LOCK_SH : LOCK_EX; }

std::error_code code(std::errc e) noexcept { return std::make_error_code(e); }

}  // namespace

namespace detail {

std::int64_t open_descriptor(int at_fd, const char* path, int flags, mode_t permissions) noexcept {
    return guarded(handoff_policy::adaptive, [=] { return ::openat(at_fd, path, flags | O_CLOEXEC, permissions); });
}

std::int64_t close_descriptor(int fd) noexcept {
    const syscall_guard guard;
    return ::close(fd) == 0 ? 0 : -os::get_errno();
}

void fail(const char* operation, const std::string& thing, std::error_code ec, std::size_t transferred) {
    throw io_error(ec, std::string(operation) + ' ' + thing, transferred);
}

}  // namespace detail

file::file(file&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), nowait_(other.nowait_.load(std::memory_order_relaxed)), name_(std::move(other.name_)) {}

file& file::operator=(file&& other) noexcept {
    if (this == &other) return *this;
    if (is_open()) detail::close_descriptor(fd_);
    fd_ = std::exchange(other.fd_, -1);
    nowait_.store(other.nowait_.load(std::memory_order_relaxed), std::memory_order_relaxed);   // no other thread has either
    name_ = std::move(other.name_);
    return *this;
}

file::~file() {
    if (is_open()) detail::close_descriptor(fd_);
}

file file::open(std::string path, open_mode mode, mode_t permissions) {
    std::error_code ec;
    file f = open(path, mode, permissions, ec);
    if (ec) detail::fail("open of", path, ec);
    return f;
}

file file::open(std::string path, open_mode mode, mode_t permissions, std::error_code& ec) {
    const int flags = flags_of(mode);
    if (flags < 0 || (permissions & ~all_permissions) != 0 || detail::has_nul(path)) {
        ec = code(std::errc::invalid_argument);
        return {};
    }
    const std::int64_t fd = detail::open_descriptor(AT_FDCWD, path.c_str(), flags, permissions);
    ec = detail::error_of(fd);
    if (ec) return {};
    return file(static_cast<int>(fd), std::move(path));
}

file file::adopt(int fd, std::string name) {
    if (name.empty()) name = "descriptor " + std::to_string(fd);
    return file(fd, std::move(name));
}

void file::fail(const char* operation, std::error_code ec, std::size_t transferred) const {
    detail::fail(operation, name_.empty() ? "a file that is not open" : name_, ec, transferred);
}

void file::close() {
    std::error_code ec;
    close(ec);
    if (ec) fail("close of", ec);
}

void file::close(std::error_code& ec) noexcept {
    ec = is_open() ? detail::error_of(detail::close_descriptor(release())) : code(std::errc::bad_file_descriptor);
}

std::uint64_t file::seek(std::int64_t offset, seek_from from) {
    std::error_code ec;
    const std::uint64_t place = seek(offset, from, ec);
    if (ec) fail("seek in", ec);
    return place;
}

std::uint64_t file::seek(std::int64_t offset, seek_from from, std::error_code& ec) noexcept {
    const int whence = from == seek_from::start ? SEEK_SET : from == seek_from::current ? SEEK_CUR : SEEK_END;
    const std::int64_t place = guarded(handoff_policy::adaptive, [&] { return ::lseek(fd_, offset, whence); });
    ec = detail::error_of(place);
    return ec ? 0 : static_cast<std::uint64_t>(place);
}

void file::sync() {
    std::error_code ec;
    sync(ec);
    if (ec) fail("sync of", ec);
}

void file::sync(std::error_code& ec) noexcept {
    ec = detail::error_of(guarded(handoff_policy::immediate, [this] { return ::fsync(fd_); }));
}

void file::sync_data() {
    std::error_code ec;
    sync_data(ec);
    if (ec) fail("sync of", ec);
}

void file::sync_data(std::error_code& ec) noexcept {
    ec = detail::error_of(guarded(handoff_policy::immediate, [this] { return ::fdatasync(fd_); }));
}

std::uint64_t file::size() const {
    std::error_code ec;
    const std::uint64_t n = size(ec);
    if (ec) fail("size of", ec);
    return n;
}

std::uint64_t file::size(std::error_code& ec) const noexcept {
    struct stat s;
    ec = detail::error_of(guarded(handoff_policy::adaptive, [&] { return ::fstat(fd_, &s); }));
    return ec ? 0 : static_cast<std::uint64_t>(s.st_size);
}

void file::resize(std::uint64_t size) {
    std::error_code ec;
    resize(size, ec);
    if (ec) fail("resizing of", ec);
}

void file::resize(std::uint64_t size, std::error_code& ec) noexcept {
    ec = detail::error_of(
        guarded(handoff_policy::adaptive, [&] { return ::ftruncate(fd_, static_cast<std::int64_t>(size)); }));
}

void file::allocate(std::uint64_t offset, std::uint64_t size) {
    std::error_code ec;
    allocate(offset, size, ec);
    if (ec) fail("allocation in", ec);
}

void file::allocate(std::uint64_t offset, std::uint64_t size, std::error_code& ec) noexcept {
    ec = detail::error_of(guarded(handoff_policy::adaptive, [&] {
        return ::fallocate(fd_, 0, static_cast<std::int64_t>(offset), static_cast<std::int64_t>(size));
    }));
}

void file::lock(lock_kind kind) {
    std::error_code ec;
    lock(kind, ec);
    if (ec) fail("lock of", ec);
}

void file::lock(lock_kind kind, std::error_code& ec) noexcept {
    if (try_lock(kind, ec) || ec) return;
    if (detail::in_simulation()) {   // nobody could unlock it meanwhile
        ec = code(std::errc::resource_deadlock_would_occur);
        return;
    }
    ec = detail::error_of(guarded(handoff_policy::immediate, [&] { return ::flock(fd_, operation_of(kind)); }));
}

bool file::try_lock(lock_kind kind) {
    std::error_code ec;
    const bool locked = try_lock(kind, ec);
    if (ec) fail("lock of", ec);
    return locked;
}

bool file::try_lock(lock_kind kind, std::error_code& ec) noexcept {
    const std::int64_t r =
        guarded(handoff_policy::adaptive, [&] { return ::flock(fd_, operation_of(kind) | LOCK_NB); });
    ec = r == -EWOULDBLOCK ? std::error_code() : detail::error_of(r);
    return r == 0;
}

void file::unlock() {
    std::error_code ec;
    unlock(ec);
    if (ec) fail("unlock of", ec);
}

void file::unlock(std::error_code& ec) noexcept {
    ec = detail::error_of(guarded(handoff_policy::adaptive, [this] { return ::flock(fd_, LOCK_UN); }));
}

}  // namespace handoff
