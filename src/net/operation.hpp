// operation: a system call on a descriptor that does not block, made again whenever it may succeed.
#pragma once

#include "net/descriptor.hpp"
#include "wait/wait.hpp"

#include <handoff/net/error.hpp>

#include <cerrno>
#include <sys/types.h>
#include <system_error>
#include <type_traits>

namespace handoff::detail {

// What a system call has returned: its result, and errno if that is negative.
struct call_end {
    ssize_t n;
    int error;
};

// made calls f until no signal interrupts it.
template <class F>
call_end made(F f) noexcept {
    for (;;) {
        const ssize_t n = f();
        if (n >= 0) return {n, 0};
        const int e = errno;   // no switch since the call
        if (e != EINTR) return {n, e == EWOULDBLOCK ? EAGAIN : e};
    }
}

// may_switch is where a goroutine gives way that always finds its sockets ready, and never parks.
inline void may_switch() noexcept { leave_current(enter_current()); }

// made_once makes the call if it is worth a try; false if the caller has to wait first, or the descriptor is closed (ec). `wanted` is
// how many bytes the call transfers at most; 0 if it does not transfer bytes, or has found that a short transfer says nothing.
template <class Call>
bool made_once(const descriptor_handle& h, direction dir, std::error_code& ec, const std::size_t& wanted, Call call,
               call_end& end) noexcept {
    if (!h.get()) {
        ec = net::net_errc::closed;
        return false;
    }
    descriptor& d = *h.get();
    switch (d.word.begin(h.generation(), dir)) {
        case descriptor_word::begun::closed: ec = net::net_errc::closed; return false;
        case descriptor_word::begun::not_ready: return false;
        case descriptor_word::begun::yes: break;
    }
    end = made([&] { return call(d.fd); });
    call_result found = call_result::more;
    if (end.error == EAGAIN) found = call_result::again;
    else if (end.n > 0 && static_cast<std::size_t>(end.n) < wanted && d.short_is_drained) found = call_result::drained;
    const auto ended = d.word.end(dir, found);
    if (ended.wakes) wake_waiters(d, descriptor_word::parked_bit(dir));
    if (ended.last) give_number_back(d);
    return end.error != EAGAIN;
}

// perform makes call(fd) as often as it takes, and waits in between. Returns what the call has returned; -1 and `ec` if it failed, or
// may not wait any longer. Throws as await_ready does.
template <class Call>
ssize_t perform(const descriptor_handle& h, direction dir, const deadline& limit, std::error_code& ec, const std::size_t& wanted,
                Call call) {
    ec.clear();
    may_switch();
    call_end end{};
    while (!made_once(h, dir, ec, wanted, call, end))
        if (ec || !await_ready(h, dir, limit, ec)) return -1;
    if (end.n < 0) ec.assign(end.error, std::generic_category());
    return end.n;
}

// with_number calls f(fd), a system call that does not wait for anything, while nobody closes the descriptor.
template <class F>
ssize_t with_number(const descriptor_handle& h, std::error_code& ec, F f) noexcept {
    ec.clear();
    if (!h.get() || !h.get()->word.hold(h.generation())) {
        ec = net::net_errc::closed;
        return -1;
    }
    descriptor& d = *h.get();
    const call_end end = made([&] { return f(d.fd); });
    if (d.word.end_hold()) give_number_back(d);
    if (end.n < 0) ec.assign(end.error, std::generic_category());
    return end.n;
}

// or_throw throws what ec says, if it says anything.
inline void or_throw(const std::error_code& ec, const char* what) {
    if (ec) throw std::system_error(ec, what);
}

// checked is the throwing form of an operation: it returns what f(ec) returns, or throws what ec says then.
template <class F>
auto checked(const char* what, F f) {
    std::error_code ec;
    if constexpr (std::is_void_v<decltype(f(ec))>) {
        f(ec);
        or_throw(ec, what);
    } else {
        auto result = f(ec);
        or_throw(ec, what);
        return result;
    }
}

// ready_now asks the kernel, by poll(2), whether an operation in that direction would not have to wait. Returns as a system call
// does: EAGAIN if it would.
inline ssize_t ready_now(int fd, direction dir) noexcept {
    pollfd p{fd, static_cast<short>(dir == direction::read ? POLLIN | POLLRDHUP : POLLOUT), 0};
    const int n = sys::poll(&p, 1, 0);
    if (n > 0 && (p.revents & POLLNVAL) == 0) return n;
    if (n >= 0) errno = n == 0 ? EAGAIN : EBADF;
    return -1;
}

}  // namespace handoff::detail
