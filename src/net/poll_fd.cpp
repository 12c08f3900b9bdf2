// Registrations of descriptors that are not ours: in an epoll object of their own, which is a descriptor like any other, nested
// in a shard of the poller. An event of what is in it makes it readable, and epoll passes that on each time, as an edge, whether
// or not it has been readable before: who waits for the shard has been called once for each event. Nobody asks the inner object
// which events these were: poll(2) of the descriptors themselves tells for sure.
//
// A wait by poll_fd that has to wait took 5.4 us for a descriptor that was taken, 5.9 for a borrowed one, and 16 by wait_fd,
// which makes and closes the object (a ping-pong between two goroutines on one P; a virtual machine whose system calls are slow).
// Rejected:
//
//     a duplicate of the descriptor in the shard: the peer would not see that the library has closed it;
//     the descriptor itself in the shard, with EPOLLONESHOT: a second wait gets EEXIST, and takes the place of a socket of ours
//         if it means one; once the descriptor is closed nobody can remove what a duplicate in another process keeps alive;
//     to keep the objects for later waits: then each descriptor has to be removed again, which fails where it was closed.
#include <handoff/net/poll_fd.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"
#include "os/clock.hpp"
#include "os/epoll.hpp"

#include <fcntl.h>
#include <new>

namespace handoff::net {

using namespace handoff::detail;

namespace {

struct event_pair {
    short poll;
    std::uint32_t epoll;
};
constexpr event_pair events_of_both[] = {{POLLIN, EPOLLIN},         {POLLPRI, EPOLLPRI},       {POLLOUT, EPOLLOUT},
                                         {POLLRDHUP, EPOLLRDHUP},   {POLLRDNORM, EPOLLRDNORM}, {POLLRDBAND, EPOLLRDBAND},
                                         {POLLWRNORM, EPOLLWRNORM}, {POLLWRBAND, EPOLLWRBAND}};

std::uint32_t for_epoll(short events) noexcept {
    std::uint32_t all = 0;
    for (const event_pair& e : events_of_both)
        if ((events & e.poll) != 0) all |= e.epoll;
    return all;
}

descriptor_handle own_epoll(os::epoll& e, std::error_code& ec) noexcept {
    try {
        descriptor_handle h = make_descriptor(e.fd(), false, true);
        e.release();
        return h;
    } catch (const std::bad_alloc&) {
        ec = std::make_error_code(std::errc::not_enough_memory);
        return {};
    }
}

void set(std::error_code& ec, int error) noexcept {
    if (error == EPERM) ec = net_errc::not_pollable;
    else ec.assign(error, std::generic_category());
}

// open_for opens an epoll object with fd in it, if that can be.
bool open_for(os::epoll& e, int fd, std::error_code& ec) noexcept {
    int error = ::fcntl(fd, F_GETFD) < 0 ? errno : e.open();   // in this order: it may get that number
    if (error == 0) error = e.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI, 0);
    set(ec, error);
    return error == 0;
}

void or_throw_of(const std::error_code& ec, const char* what, int fd) {
    if (ec) throw std::system_error(ec, "handoff: " + std::string(what) + " of descriptor " + std::to_string(fd));
}

// all_events are those that any of the entries of that descriptor asks for.
std::uint32_t all_events(std::span<const pollfd> fds, int fd) noexcept {
    std::uint32_t events = 0;
    for (const pollfd& p : fds)
        if (p.fd == fd) events |= for_epoll(p.events);
    return events;
}

// add_all registers the descriptors, of which poll(2) has just said that none is ready. The errno value of the failure, or 0.
// EBADF: `closed` has been closed meanwhile.
int add_all(os::epoll& e, std::span<pollfd> fds, pollfd*& closed) noexcept {
    for (pollfd& p : fds) {
        if (p.fd < 0) continue;
        int error = p.fd == e.fd() ? EBADF : e.add_new(p.fd, for_epoll(p.events), 0);
        if (error == EEXIST) error = e.add(p.fd, all_events(fds, p.fd), 0);
        if (error == 0 || error == EPERM) continue;   // EPERM: what it is asked for will never come
        closed = &p;
        return error;
    }
    return 0;
}

int poll_now(std::span<pollfd> fds, std::error_code& ec) noexcept {
    const call_end end = made([&] { return sys::poll(fds.data(), fds.size(), 0); });
    ec.assign(end.error, std::generic_category());
    return static_cast<int>(end.n);
}

}  // namespace

// ---- poll_fd ----

poll_fd poll_fd::take(int fd, std::error_code& ec) noexcept {
    {
        os::epoll probe;   // the runtime's would say that it is not pollable only when somebody has to wait, and poll(2) never
        if (!open_for(probe, fd, ec)) return {};
    }
    try {
        descriptor_handle h = make_descriptor(fd, false);
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        return {std::move(h), -1};
    } catch (const std::bad_alloc&) {
        ec = std::make_error_code(std::errc::not_enough_memory);
        return {};
    }
}
poll_fd poll_fd::take(int fd) {
    std::error_code ec;
    poll_fd p = take(fd, ec);
    or_throw_of(ec, "take", fd);
    return p;
}

poll_fd poll_fd::borrow(int fd, std::error_code& ec) noexcept {
    os::epoll of;
    if (!open_for(of, fd, ec)) return {};
    return {own_epoll(of, ec), fd};
}
poll_fd poll_fd::borrow(int fd) {
    std::error_code ec;
    poll_fd p = borrow(fd, ec);
    or_throw_of(ec, "borrow", fd);
    return p;
}

int poll_fd::native_handle() const noexcept {
    const int own = handle_.number();
    return own < 0 || borrowed_ < 0 ? own : borrowed_;
}

void poll_fd::wait_readable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::read, ec, d, borrowed_); }
void poll_fd::wait_readable(const deadline& d) {
    std::error_code ec;
    wait_readable(ec, d);
    or_throw_of(ec, "wait_readable", native_handle());
}
void poll_fd::wait_writable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::write, ec, d, borrowed_); }
void poll_fd::wait_writable(const deadline& d) {
    std::error_code ec;
    wait_writable(ec, d);
    or_throw_of(ec, "wait_writable", native_handle());
}

// ---- One-shot waits ----

int poll(std::span<pollfd> fds, std::error_code& ec, const deadline& d) {
    const int ready = poll_now(fds, ec);
    if (ready != 0) return std::max(ready, 0);
    if (d.steady() <= os::nanotime() && d.over()) return 0;

    os::epoll of;
    pollfd* closed = nullptr;
    int error = of.open();
    if (error == 0) error = add_all(of, fds, closed);
    if (error == EBADF) {
        closed->revents = POLLNVAL;
        return 1;
    }
    ec.assign(error, std::generic_category());
    if (ec) return 0;
    const descriptor_handle h = own_epoll(of, ec);
    if (ec) return 0;
    const ssize_t n = perform(h, direction::read, d, ec, 0, [&](int) -> ssize_t {
        const int now = sys::poll(fds.data(), fds.size(), 0);
        if (now == 0) errno = EAGAIN;
        return now == 0 ? -1 : now;
    });
    if (ec == std::errc::timed_out) ec.clear();
    return static_cast<int>(std::max<ssize_t>(n, 0));
}
int poll(std::span<pollfd> fds, const deadline& d) {
    return checked("handoff: poll", [&](std::error_code& ec) { return poll(fds, ec, d); });
}

short wait_fd(int fd, short events, std::error_code& ec, const deadline& d) {
    pollfd p{fd, events, 0};
    const int n = fd < 0 ? 1 : poll(std::span(&p, 1), ec, d);
    if (fd < 0 || (p.revents & POLLNVAL) != 0) ec = std::make_error_code(std::errc::bad_file_descriptor);
    else if (!ec && n == 0) ec = std::make_error_code(std::errc::timed_out);
    return ec ? short{0} : p.revents;
}
short wait_fd(int fd, short events, const deadline& d) {
    std::error_code ec;
    const short found = wait_fd(fd, events, ec, d);
    or_throw_of(ec, "wait_fd", fd);
    return found;
}

}  // namespace handoff::net
