#include <handoff/net/pipe.hpp>

#include "net/iovecs.hpp"
#include "net/operation.hpp"
#include "net/quiet_write.hpp"
#include "net/socket.hpp"
#include "os/clock.hpp"

#include <handoff/goroutine.hpp>
#include <handoff/syscall.hpp>

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>

namespace handoff::net {

using namespace handoff::detail;

namespace {

std::size_t count(ssize_t n) noexcept { return n > 0 ? static_cast<std::size_t>(n) : 0; }

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

// is_pipe says whether fd is a pipe or a FIFO; if not, ec says what is wrong.
bool is_pipe(int fd, std::error_code& ec) noexcept {
    struct stat s{};
    ec.clear();
    if (::fstat(fd, &s) != 0) ec = last_error();
    else if (!S_ISFIFO(s.st_mode)) ec = std::make_error_code(std::errc::invalid_argument);
    return !ec;
}

// A short read of a pipe that others write may leave something behind: each packet (O_DIRECT) is read by itself. A short write
// never leaves room.
bool is_drained_by_short(int access) noexcept { return access == O_WRONLY; }

descriptor_handle take_pipe(int fd, int access, std::error_code& ec) noexcept {
    if (!is_pipe(fd, ec)) return {};
    if (fd <= STDERR_FILENO) {
        ec = std::make_error_code(std::errc::operation_not_permitted);
        return {};
    }
    const int flags = ::fcntl(fd, F_GETFL);
    if ((flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR) {
        ec = std::make_error_code(std::errc::bad_file_descriptor);
        return {};
    }
    descriptor_handle h;
    try {
        h = make_descriptor(fd, is_drained_by_short(access));
    } catch (const std::bad_alloc&) {
        ec = std::make_error_code(std::errc::not_enough_memory);   // fd is as it was
        return {};
    }
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);   // none of the two fails for a pipe
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    return h;
}

// open_pipe opens what must be a FIFO, or a link to a pipe.
descriptor_handle open_pipe(const char* path, int access, std::error_code& ec) noexcept {
    ec.clear();
    int fd = -1;
    {
        syscall_guard guard;   // the file system may have to be asked
        const call_end end = made([&] { return ::open(path, access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY); });
        fd = static_cast<int>(end.n);
        if (fd < 0) ec.assign(end.error, std::generic_category());
    }
    if (fd < 0) return {};
    if (is_pipe(fd, ec)) return own(fd, is_drained_by_short(access) ? carries::bytes : carries::messages, ec);
    sys::close(fd);
    return {};
}

descriptor_handle reopen_pipe(int fd, int access, std::error_code& ec) noexcept {
    if (!is_pipe(fd, ec)) return {};
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    descriptor_handle h = open_pipe(path, access, ec);
    if (ec == std::errc::no_such_device_or_address) ec = std::make_error_code(std::errc::broken_pipe);
    return h;
}

bool has_nul(const std::string& path, std::error_code& ec) noexcept {
    if (path.find('\0') == path.npos) return false;
    ec = std::make_error_code(std::errc::invalid_argument);
    return true;
}

// read_pipe is readv, but for a FIFO that no writer has opened so far: there readv says that this is the end.
ssize_t read_pipe(int fd, const iovec* v, int n) noexcept {
    for (;;) {
        const ssize_t got = sys::readv(fd, v, n);
        if (got != 0) return got;
        pollfd p{fd, POLLIN, 0};
        if (sys::poll(&p, 1, 0) < 0) return -1;
        if ((p.revents & POLLIN) != 0) continue;   // a writer has come
        if (p.revents != 0) return 0;
        errno = EAGAIN;
        return -1;
    }
}

std::size_t read_into(const descriptor_handle& h, const iovec* v, std::size_t n, std::size_t bytes, std::error_code& ec,
                      const deadline& d) {
    ec.clear();
    if (bytes == 0) return 0;
    return count(perform(h, direction::read, d, ec, bytes, [&](int fd) { return read_pipe(fd, v, static_cast<int>(n)); }));
}
std::size_t write_from(const descriptor_handle& h, const iovec* v, std::size_t n, std::size_t bytes, std::error_code& ec,
                       const deadline& d) {
    ec.clear();
    if (bytes == 0) return 0;
    return count(perform(h, direction::write, d, ec, bytes, [&](int fd) { return quiet_write(fd, v, static_cast<int>(n)); }));
}

[[noreturn]] void fail(const std::error_code& ec, const char* what, int fd) {
    std::string why = "handoff: " + std::string(what) + " of descriptor " + std::to_string(fd);
    if (ec == std::errc::invalid_argument) why += ", which is no pipe or FIFO";
    if (ec == std::errc::operation_not_permitted) why += ", a standard stream that other processes may use (see reopen)";
    throw std::system_error(ec, why);
}
[[noreturn]] void fail(const std::error_code& ec, const std::string& path) {
    throw std::system_error(ec, "handoff: open of FIFO " + path);
}

}  // namespace

std::pair<pipe_reader, pipe_writer> make_pipe(std::error_code& ec) noexcept {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        ec = last_error();
        return {};
    }
    pipe_reader r(own(fds[0], carries::bytes, ec));
    if (ec) {
        sys::close(fds[1]);
        return {};
    }
    pipe_writer w(own(fds[1], carries::bytes, ec));
    if (ec) return {};
    return {std::move(r), std::move(w)};
}
std::pair<pipe_reader, pipe_writer> make_pipe() {
    return checked("handoff: make_pipe", [&](std::error_code& ec) { return make_pipe(ec); });
}

// ---- pipe_reader ----

pipe_reader pipe_reader::take(int fd, std::error_code& ec) noexcept { return pipe_reader(take_pipe(fd, O_RDONLY, ec)); }
pipe_reader pipe_reader::take(int fd) {
    std::error_code ec;
    pipe_reader r = take(fd, ec);
    if (ec) fail(ec, "take", fd);
    return r;
}
pipe_reader pipe_reader::reopen(int fd, std::error_code& ec) noexcept { return pipe_reader(reopen_pipe(fd, O_RDONLY, ec)); }
pipe_reader pipe_reader::reopen(int fd) {
    std::error_code ec;
    pipe_reader r = reopen(fd, ec);
    if (ec) fail(ec, "reopen", fd);
    return r;
}
pipe_reader pipe_reader::open(const std::string& path, std::error_code& ec) noexcept {
    if (has_nul(path, ec)) return {};
    return pipe_reader(open_pipe(path.c_str(), O_RDONLY, ec));
}
pipe_reader pipe_reader::open(const std::string& path) {
    std::error_code ec;
    pipe_reader r = open(path, ec);
    if (ec) fail(ec, path);
    return r;
}

std::size_t pipe_reader::read_some(const mutable_buffer& into, std::error_code& ec, const deadline& d) {
    const iovec v{into.data(), into.size()};
    return read_into(handle_, &v, 1, v.iov_len, ec, d);
}
std::size_t pipe_reader::read_some(std::span<const mutable_buffer> into, std::error_code& ec, const deadline& d) {
    const iovecs v(into);
    return read_into(handle_, v.all, v.count, v.bytes, ec, d);
}
std::size_t pipe_reader::read_some(const mutable_buffer& into, const deadline& d) { return read_some(std::span(&into, 1), d); }
std::size_t pipe_reader::read_some(std::span<const mutable_buffer> into, const deadline& d) {
    return checked("handoff: read_some of a pipe", [&](std::error_code& ec) { return read_some(into, ec, d); });
}

void pipe_reader::wait_readable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::read, ec, d); }
void pipe_reader::wait_readable(const deadline& d) {
    checked("handoff: wait_readable of a pipe", [&](std::error_code& ec) { wait_readable(ec, d); });
}

// ---- pipe_writer ----

pipe_writer pipe_writer::take(int fd, std::error_code& ec) noexcept { return pipe_writer(take_pipe(fd, O_WRONLY, ec)); }
pipe_writer pipe_writer::take(int fd) {
    std::error_code ec;
    pipe_writer w = take(fd, ec);
    if (ec) fail(ec, "take", fd);
    return w;
}
pipe_writer pipe_writer::reopen(int fd, std::error_code& ec) noexcept { return pipe_writer(reopen_pipe(fd, O_WRONLY, ec)); }
pipe_writer pipe_writer::reopen(int fd) {
    std::error_code ec;
    pipe_writer w = reopen(fd, ec);
    if (ec) fail(ec, "reopen", fd);
    return w;
}
pipe_writer pipe_writer::open(const std::string& path, std::error_code& ec, const deadline& d) {
    if (has_nul(path, ec)) return {};
    pauses pause;
    for (;;) {
        pipe_writer w(open_pipe(path.c_str(), O_WRONLY, ec));
        if (ec != std::errc::no_such_device_or_address) return w;
        const std::int64_t limit = d.steady(), now = os::nanotime();
        if (limit <= now && d.over()) break;
        this_goroutine::sleep_for(std::chrono::nanoseconds(std::clamp<std::int64_t>(limit - now, 0, pause.next())));
    }
    ec = std::make_error_code(std::errc::timed_out);
    return {};
}
pipe_writer pipe_writer::open(const std::string& path, const deadline& d) {
    std::error_code ec;
    pipe_writer w = open(path, ec, d);
    if (ec) fail(ec, path);
    return w;
}

std::size_t pipe_writer::write_some(const const_buffer& from, std::error_code& ec, const deadline& d) {
    const iovec v{const_cast<void*>(from.data()), from.size()};
    return write_from(handle_, &v, 1, v.iov_len, ec, d);
}
std::size_t pipe_writer::write_some(std::span<const const_buffer> from, std::error_code& ec, const deadline& d) {
    const iovecs v(from);
    return write_from(handle_, v.all, v.count, v.bytes, ec, d);
}
std::size_t pipe_writer::write_some(const const_buffer& from, const deadline& d) { return write_some(std::span(&from, 1), d); }
std::size_t pipe_writer::write_some(std::span<const const_buffer> from, const deadline& d) {
    return checked("handoff: write_some to a pipe", [&](std::error_code& ec) { return write_some(from, ec, d); });
}

void pipe_writer::wait_writable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::write, ec, d); }
void pipe_writer::wait_writable(const deadline& d) {
    checked("handoff: wait_writable of a pipe", [&](std::error_code& ec) { wait_writable(ec, d); });
}

}  // namespace handoff::net
