// Whole files, and files without a name.
//
// replace_file writes a file that has no name yet (O_TMPFILE), and gives it one only for the moment before the rename: link(2)
// replaces nothing, rename(2) needs a name. So a process that is killed while it writes leaves nothing behind. Where a file
// system has no O_TMPFILE, the file has a name from the start, ".handoff-" and random letters. All steps are relative to the
// opened directory, so they stay together when somebody moves it.
#include <handoff/file.hpp>

#include "file/calls.hpp"
#include "os/random.hpp"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>

namespace handoff {

namespace {

using detail::guarded;
using detail::open_descriptor;

constexpr mode_t usual_permissions = 0666, private_permissions = 0600;
constexpr int name_tries = 100;

std::error_code code(std::errc e) noexcept { return std::make_error_code(e); }

// A kernel, or a file system, that has no O_TMPFILE takes it for O_DIRECTORY, or says so.
bool knows_no_unnamed_files(std::int64_t outcome) noexcept {
    return outcome == -EOPNOTSUPP || outcome == -EISDIR || outcome == -EINVAL || outcome == -ENOENT;
}

// with_new_name calls f(name) with new names, until the name was not taken.
template <class F>
std::int64_t with_new_name(std::string& name, F f) {
    std::int64_t r = -EEXIST;
    for (int i = 0; i < name_tries && r == -EEXIST; ++i) {
        char text[32];
        std::snprintf(text, sizeof text, ".handoff-%08x%08x", os::random_number(), os::random_number());
        name = text;
        r = f(name.c_str());
    }
    return r;
}

void unlink_at(int directory, const std::string& name) noexcept {
    guarded(handoff_policy::adaptive, [&] { return ::unlinkat(directory, name.c_str(), 0); });
}

// A file in place of another, until it is there. It has no name, or a temporary one, which its end removes.
class replacement {
public:
    explicit replacement(const file& directory) noexcept : directory_(directory) {}
    ~replacement() {
        if (!name_.empty()) unlink_at(directory_.native_handle(), name_);
    }
    replacement(const replacement&) = delete;
    replacement& operator=(const replacement&) = delete;

    std::error_code create(mode_t permissions) {
        const int at = directory_.native_handle();
        std::int64_t fd = -EOPNOTSUPP;
        if (can_be_named()) fd = open_descriptor(at, ".", O_TMPFILE | O_WRONLY, permissions);
        if (knows_no_unnamed_files(fd)) {
            fd = with_new_name(name_, [&](const char* name) {
                return open_descriptor(at, name, O_CREAT | O_EXCL | O_WRONLY, permissions);
            });
            if (fd < 0) name_.clear();
        }
        if (fd >= 0) f_ = file::adopt(static_cast<int>(fd));
        return detail::error_of(fd);
    }

    // copy_owner_and_permissions: the owner first, since changing it drops the set-user-id bit. Where that is not allowed, the
    // bit would give the wrong user's rights.
    std::error_code copy_owner_and_permissions(const struct stat& of) noexcept {
        const int fd = f_.native_handle();
        mode_t permissions = of.st_mode & 07777;
        if (guarded(handoff_policy::adaptive, [&] { return ::fchown(fd, of.st_uid, of.st_gid); }) < 0)
            permissions &= ~static_cast<mode_t>(S_ISUID | S_ISGID);
        return detail::error_of(guarded(handoff_policy::adaptive, [&] { return ::fchmod(fd, permissions); }));
    }

    std::error_code write(const_buffer data) noexcept {
        std::error_code ec;
        f_.write_all(data, ec);
        if (!ec) f_.sync(ec);
        return ec;
    }

    // put_in_place makes it the file of that name in the directory.
    std::error_code put_in_place(const std::string& final_name) {
        const int at = directory_.native_handle();
        if (name_.empty())
            if (const std::int64_t r = give_name(); r < 0) return detail::error_of(r);
        const std::int64_t r = guarded(handoff_policy::adaptive, [&] {
            return ::renameat(at, name_.c_str(), at, final_name.c_str());
        });
        if (r >= 0) name_.clear();
        return detail::error_of(r);
    }

private:
    // Without /proc there is no way from a descriptor to a name, but for the superuser.
    static bool can_be_named() noexcept { return ::access("/proc/self/fd", X_OK) == 0; }

    std::int64_t give_name() {
        const std::string from = "/proc/self/fd/" + std::to_string(f_.native_handle());
        const int at = directory_.native_handle();
        const std::int64_t r = with_new_name(name_, [&](const char* name) {
            return guarded(handoff_policy::adaptive,
                           [&] { return ::linkat(AT_FDCWD, from.c_str(), at, name, AT_SYMLINK_FOLLOW); });
        });
        if (r < 0) name_.clear();
        return r;
    }

    const file& directory_;
    file f_;
    std::string name_;
};

// real_path follows symbolic links; a path that leads nowhere is returned as it is. The link may be in any of its parts, but
// only the last one matters.
std::string real_path(const std::string& path) {
    struct free_it {
        void operator()(char* p) const noexcept { std::free(p); }
    };
    const syscall_guard guard;
    const std::unique_ptr<char, free_it> real(::realpath(path.c_str(), nullptr));
    return real ? real.get() : path;
}

std::error_code sync_directory(file& directory) noexcept {
    std::error_code ec;
    directory.sync(ec);
    if (ec == std::errc::invalid_argument) ec.clear();   // a file system that cannot, and need not
    return ec;
}

std::error_code replace(const std::string& path, const_buffer data) {
    if (path.empty()) return code(std::errc::no_such_file_or_directory);
    if (detail::has_nul(path)) return code(std::errc::invalid_argument);
    const std::string target = real_path(path);
    const std::size_t slash = target.rfind('/');
    const std::string name = slash == std::string::npos ? target : target.substr(slash + 1);
    if (name.empty() || name == "." || name == "..") return code(std::errc::is_a_directory);
    const std::string directory_path = slash == std::string::npos ? "." : target.substr(0, slash + 1);

    const std::int64_t fd = open_descriptor(AT_FDCWD, directory_path.c_str(), O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return detail::error_of(fd);
    file directory = file::adopt(static_cast<int>(fd));
    struct stat old;
    const std::int64_t there = guarded(handoff_policy::adaptive, [&] {
        return ::fstatat(directory.native_handle(), name.c_str(), &old, AT_SYMLINK_NOFOLLOW);
    });
    if (there < 0 && there != -ENOENT) return detail::error_of(there);
    if (there == 0 && S_ISDIR(old.st_mode)) return code(std::errc::is_a_directory);
    const bool keeps = there == 0 && S_ISREG(old.st_mode);
    if (there == 0 && !keeps && !S_ISLNK(old.st_mode)) return code(std::errc::invalid_argument);

    replacement r(directory);
    std::error_code ec = r.create(keeps ? private_permissions : usual_permissions);
    if (!ec && keeps) ec = r.copy_owner_and_permissions(old);
    if (!ec) ec = r.write(data);
    if (!ec) ec = r.put_in_place(name);
    if (!ec) ec = sync_directory(directory);
    return ec;
}

}  // namespace

std::string read_file(const std::string& path) { return file::open(path, open_mode::read).read_to_end(); }

std::string read_file(const std::string& path, std::error_code& ec) {
    file f = file::open(path, open_mode::read, ec);
    if (ec) return {};
    std::string all = f.read_to_end(ec);
    if (ec) all.clear();
    return all;
}

void write_file(const std::string& path, const_buffer data) {
    file f = file::open(path, open_mode::write | open_mode::create | open_mode::truncate);
    f.write_all(data);
    f.close();
}

void write_file(const std::string& path, const_buffer data, std::error_code& ec) {
    file f = file::open(path, open_mode::write | open_mode::create | open_mode::truncate, ec);
    if (ec) return;
    f.write_all(data, ec);
    if (!ec) f.close(ec);
}

void replace_file(const std::string& path, const_buffer data) {
    if (const std::error_code ec = replace(path, data)) detail::fail("replacement of", path, ec);
}

void replace_file(const std::string& path, const_buffer data, std::error_code& ec) { ec = replace(path, data); }

file temporary_file(const std::string& directory) {
    std::error_code ec;
    file f = temporary_file(directory, ec);
    if (ec) detail::fail("temporary file in", detail::directory_for_temporaries(directory), ec);
    return f;
}

file temporary_file(const std::string& directory, std::error_code& ec) {
    const std::string where = detail::directory_for_temporaries(directory);
    if (detail::has_nul(where)) {
        ec = code(std::errc::invalid_argument);
        return {};
    }
    std::int64_t fd = open_descriptor(AT_FDCWD, where.c_str(), O_TMPFILE | O_RDWR | O_EXCL, private_permissions);
    if (knows_no_unnamed_files(fd)) {
        std::string name;
        fd = with_new_name(name, [&](const char* n) {
            return open_descriptor(AT_FDCWD, (where + '/' + n).c_str(), O_CREAT | O_EXCL | O_RDWR, private_permissions);
        });
        if (fd >= 0) unlink_at(AT_FDCWD, where + '/' + name);
    }
    ec = detail::error_of(fd);
    return ec ? file() : file::adopt(static_cast<int>(fd), "a temporary file in " + where);
}

}  // namespace handoff
