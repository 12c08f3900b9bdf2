#include "net/socket.hpp"

#include "net/operation.hpp"
#include "os/clock.hpp"
#include "wait/parking_lot.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <netinet/in.h>

namespace handoff::net {

using namespace handoff::detail;

descriptor_handle own(int fd, carries what, std::error_code& ec) noexcept {
    try {
        ec.clear();
        descriptor_handle h = make_descriptor(fd, what != carries::messages);
        h.get()->is_unix.store(what == carries::unix_bytes, std::memory_order_relaxed);
        return h;
    } catch (const std::bad_alloc&) {
        sys::close(fd);
        ec = std::make_error_code(std::errc::not_enough_memory);
        return {};
    }
}

descriptor_handle open_socket(int family, int type, std::error_code& ec) noexcept {
    const int fd = sys::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const carries what = type != SOCK_STREAM ? carries::messages : family == AF_UNIX ? carries::unix_bytes : carries::bytes;
    if (fd >= 0) return own(fd, what, ec);
    ec.assign(errno, std::generic_category());
    return {};
}

void set_option(const descriptor_handle& h, int level, int name, int value, std::error_code& ec) noexcept {
    with_number(h, ec, [&](int fd) { return sys::setsockopt(fd, level, name, &value, sizeof value); });
}

void bind_and_listen(const descriptor_handle& h, const endpoint& at, const listen_options& o, std::error_code& ec) noexcept {
    if (at.is_ip()) {
        if (o.reuse_address) set_option(h, SOL_SOCKET, SO_REUSEADDR, 1, ec);
        if (!ec && o.reuse_port) set_option(h, SOL_SOCKET, SO_REUSEPORT, 1, ec);
        if (!ec && at.family() == AF_INET6) set_option(h, IPPROTO_IPV6, IPV6_V6ONLY, o.only_v6, ec);
    }
    if (!ec) with_number(h, ec, [&](int fd) { return sys::bind(fd, at.data(), at.size()); });
    if (!ec) with_number(h, ec, [&](int fd) { return sys::listen(fd, o.backlog); });
}

namespace {

// A connection that a socket has made to itself: its ends are the same.
bool is_own_peer(int fd) noexcept {
    endpoint a, b;
    socklen_t n = endpoint::capacity(), k = endpoint::capacity();
    if (sys::getsockname(fd, a.storage(), &n) != 0 || sys::getpeername(fd, b.storage(), &k) != 0) return false;
    a.set_size(n);
    b.set_size(k);
    return a == b;
}

// The state of a connection that is being made: 0 and EAGAIN while it is, or what it has come to.
ssize_t connected(int fd) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    if (sys::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return -1;
    if (error == 0) {
        endpoint peer;
        size = endpoint::capacity();
        if (sys::getpeername(fd, peer.storage(), &size) == 0) return 0;
        error = errno == ENOTCONN ? EAGAIN : errno;
    }
    errno = error;
    return -1;
}

// begin_to_connect: 0 if it is done at once; EAGAIN if it goes on.
ssize_t begin_to_connect(int fd, const endpoint& to) noexcept {
    const int r = sys::connect(fd, to.data(), to.size());
    // An interrupted connect goes on in the kernel. (A Unix socket says EAGAIN of itself where the backlog is full.)
    if (r == 0 || (errno != EINPROGRESS && errno != EINTR)) {
        if (r != 0 && errno == EAGAIN) errno = ENOBUFS;
        return r;
    }
    // Where the peer is on this machine that is all: no wait is needed, nor a registration.
    if (to.is_ip() && to.ip().is_loopback()) return connected(fd);
    errno = EAGAIN;
    return -1;
}

// refuse_own_peer: a TCP connection must not be one to itself.
void refuse_own_peer(const descriptor_handle& h, const endpoint& to, std::error_code& ec) noexcept {
    if (!ec && to.is_ip() && with_number(h, ec, is_own_peer) == 1) ec = net_errc::self_connect;
}

}  // namespace

void connect_handle(const descriptor_handle& h, const endpoint& to, const deadline& d, std::error_code& ec) {
    bool begun = false;
    perform(h, direction::write, d, ec, 0,
            [&](int fd) { return std::exchange(begun, true) ? connected(fd) : begin_to_connect(fd, to); });
    refuse_own_peer(h, to, ec);
}

bool connect_step(const descriptor_handle& h, const endpoint& to, bool& begun, std::error_code& ec) noexcept {
    with_number(h, ec, [&](int fd) { return std::exchange(begun, true) ? connected(fd) : begin_to_connect(fd, to); });
    if (ec == std::errc::resource_unavailable_try_again) {
        ec.clear();
        return false;
    }
    refuse_own_peer(h, to, ec);
    return true;
}

bool pauses::wait(const descriptor_handle& h, const deadline& d, std::error_code& ec) {
    const std::int64_t until = os::nanotime() + next();
    descriptor& of = *h.get();
    const auto own = [&] { return of.limit[static_cast<int>(direction::read)].load(std::memory_order_relaxed); };
    do {
        park_request r{of.place_of(direction::read), wait_reason::network};
        const std::int64_t limit = own();
        r.limits.deadline = std::min({until, d.steady(), limit});
        r.tag = makes_no_call;
        park_current(r, [&] { return h.is_open() && own() == limit; });   // as in await_ready
        if (!h.is_open()) {
            ec = net_errc::closed;
            return false;
        }
        const std::int64_t now = os::nanotime();
        if (own() <= now || (d.steady() <= now && d.over())) {
            ec = std::make_error_code(std::errc::timed_out);
            return false;
        }
    } while (os::nanotime() < until);
    return true;
}

void or_throw_at(const std::error_code& ec, const char* what, const endpoint& at) {
    if (ec) throw std::system_error(ec, what + (" " + at.to_string()));
}

}  // namespace handoff::net
