// Waiting for descriptors that the program, or a library of it, reads and writes by itself: eventfds, timerfds, inotify, the
// sockets of a database's client.
//
//     poll_fd    a descriptor that is waited for many times;
//     wait_fd    one wait for a descriptor that a library may close, or use again for something else, right after;
//     poll       the same for several at once: poll(2) for goroutines.
//
// A goroutine that waits costs no thread. None of these reads or writes, or changes anything of the descriptor, so it may be
// blocking or not. What they say was so at that moment: another goroutine may have been faster, so a descriptor that several read
// from had better be non-blocking. Each operation exists twice, as with sockets (socket.hpp); deadlines, cancellation, threads
// and moves to other threads are as there. Any thread.
//
// How a library's descriptor is waited for. It can't be registered with the runtime's own epoll: two waits for the same
// descriptor would collide there, and where the library closes it while somebody else (a child process) has it, too, nobody could
// remove it any more. So each borrowing wait has an epoll object of its own, which is in the runtime's, and with which all of its
// registrations are gone. A duplicate of the descriptor would be no way: it keeps a connection open that the library believes to
// have closed.
#pragma once

#include <handoff/net/error.hpp>
#include <handoff/net/io_object.hpp>

#include <poll.h>
#include <span>
#include <system_error>
#include <utility>

namespace handoff::net {

class poll_fd : public io_object {
public:
    // Without a descriptor: operations end with net_errc::closed.
    poll_fd() noexcept = default;

    // take makes fd its own: it becomes close-on-exec, and is closed with the poll_fd. Nothing else may wait for it by way of
    // this library. borrow leaves it the caller's, who closes the poll_fd first: with it all registrations are gone. If the
    // descriptor is closed before, nothing breaks, but waits go on until their deadline, or ask whatever has its number then.
    // borrow takes one more descriptor. net_errc::not_pollable: a file, a directory, or another thing for which epoll is not
    // made. bad_file_descriptor: it is not open. If they fail, fd stays the caller's. Both cost a few system calls.
    HANDOFF_API static poll_fd take(int fd);
    HANDOFF_API static poll_fd take(int fd, std::error_code& ec) noexcept;
    HANDOFF_API static poll_fd borrow(int fd);
    HANDOFF_API static poll_fd borrow(int fd, std::error_code& ec) noexcept;

    // native_handle is the descriptor that was taken or borrowed; -1 if the poll_fd is closed.
    HANDOFF_API int native_handle() const noexcept;

    // wait_readable waits until a read would not have to wait: there is something, the end, or an error. wait_writable waits
    // likewise. Of several goroutines that wait all go on, one after the other, until nothing is there any more.
    HANDOFF_API void wait_readable(const deadline& d = {});
    HANDOFF_API void wait_readable(std::error_code& ec, const deadline& d = {});
    HANDOFF_API void wait_writable(const deadline& d = {});
    HANDOFF_API void wait_writable(std::error_code& ec, const deadline& d = {});

private:
    poll_fd(handoff::detail::descriptor_handle h, int borrowed) noexcept : io_object(std::move(h)), borrowed_(borrowed) {}

    int borrowed_ = -1;   // else it is the handle's own
};

// wait_fd waits until one of the events (POLLIN, POLLOUT, POLLPRI, POLLRDHUP) has come, or POLLERR or POLLHUP, and returns those
// that have. When it returns, or throws, nothing of it is left behind at the descriptor. bad_file_descriptor: it is not open. A
// file is always ready, as for poll(2). If it has to wait it takes a descriptor for that time, and four system calls more than a
// poll_fd; the errors are those of epoll_create1(2) and epoll_ctl(2).
//
// If the descriptor is closed while wait_fd waits, no event comes any more: it waits until the deadline.
HANDOFF_API short wait_fd(int fd, short events, const deadline& d = {});
HANDOFF_API short wait_fd(int fd, short events, std::error_code& ec, const deadline& d = {});

// poll waits until one of the descriptors has one of its events, and returns how many do, as poll(2) does; 0 if the time is over.
// Negative descriptors are left out, and those that are not open have POLLNVAL. The same descriptor may be there several times.
// What wait_fd says holds for each. Linear in the number of descriptors, each time one of them has an event.
HANDOFF_API int poll(std::span<pollfd> fds, const deadline& d = {});
HANDOFF_API int poll(std::span<pollfd> fds, std::error_code& ec, const deadline& d = {});

}  // namespace handoff::net
