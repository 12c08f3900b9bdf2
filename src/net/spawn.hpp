// child_streams: the standard streams of a child, and its start.
#pragma once

#include <handoff/net/process.hpp>

#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace handoff::net::detail {

// A descriptor that is closed at the end of the scope.
class scoped_fd {
public:
    explicit scoped_fd(int fd = -1) noexcept : fd_(fd) {}
    scoped_fd(scoped_fd&& other) noexcept : fd_(other.release()) {}
    scoped_fd& operator=(scoped_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~scoped_fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

struct child_streams {
    pipe_writer in;
    pipe_reader out, err;
    scoped_fd childs[3];   // what becomes 0, 1 and 2 in the child; none if it inherits that

    // open makes them. `what` is what has failed, if it fails.
    void open(const process_options& o, std::error_code& ec, std::string& what);

private:
    // open_one makes the child's end of stream `number`, and returns ours, if it is a pipe.
    scoped_fd open_one(child_stream s, int number, std::error_code& ec) noexcept;
    scoped_fd open_pipe(int number, std::error_code& ec) noexcept;
};

// spawn starts the program with these streams, and returns its number; -1 and `ec` if it fails. Throws std::bad_alloc.
pid_t spawn(const process_options& o, const child_streams& s, std::error_code& ec);

}  // namespace handoff::net::detail
