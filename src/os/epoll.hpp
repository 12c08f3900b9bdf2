// epoll: tells which of many descriptors have become ready. A thin cover of the kernel's calls: times are the steady clock's, in
// nanoseconds, errors are returned, and a signal ends no wait.
#pragma once

#include <cstdint>
#include <sys/epoll.h>
#include <utility>

namespace handoff::os {

class epoll {
public:
    epoll() noexcept = default;
    epoll(const epoll&) = delete;
    epoll& operator=(const epoll&) = delete;
    ~epoll();

    // open makes the kernel's object; the errno value of the failure, or 0. Before it nothing else may be called.
    int open() noexcept;
    int fd() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }   // the descriptor is the caller's then

    // add returns the errno value of the failure, or 0. A descriptor that is there already gets the new events.
    int add(int fd, std::uint32_t events, std::uint64_t data) noexcept;
    // add_new is add, but fails with EEXIST for one that is there already.
    int add_new(int fd, std::uint32_t events, std::uint64_t data) noexcept;

    // poll fetches the events that are there now, at most `most`; returns how many.
    int poll(epoll_event* events, int most) noexcept;

    // wait does the same, and waits for the first one until `deadline` (never: without end). 0: none has come by then.
    int wait(epoll_event* events, int most, std::int64_t deadline) noexcept;

private:
    int fd_ = -1;
};

// An eventfd: what a thread watches that waits for descriptors, so that other threads can wake it.
class wakeup_fd {
public:
    wakeup_fd() noexcept = default;
    wakeup_fd(const wakeup_fd&) = delete;
    wakeup_fd& operator=(const wakeup_fd&) = delete;
    ~wakeup_fd();

    int open() noexcept;   // the errno value of the failure, or 0
    int fd() const noexcept { return fd_; }

    static void signal(int fd) noexcept;   // makes it readable; any thread. Leaves errno as it is
    void drain() noexcept;                 // makes it unreadable

private:
    int fd_ = -1;
};

// wait_for_any waits until one of the n descriptors is readable, or until `deadline`. True if one is.
bool wait_for_any(const int* fds, unsigned n, std::int64_t deadline) noexcept;

}  // namespace handoff::os
