#include <handoff/net/socket.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"

#include <handoff/syscall.hpp>

#include <algorithm>
#include <climits>

namespace handoff::net {

using namespace handoff::detail;

namespace {

// Up to this number of buffers take part in a call.
constexpr std::size_t most_buffers = 64;
static_assert(most_buffers <= IOV_MAX);

struct iovecs {
    iovec all[most_buffers];
    std::size_t count = 0, bytes = 0;

    template <class B>
    explicit iovecs(std::span<const B> buffers) noexcept {
        for (const B& b : buffers.first(std::min(buffers.size(), most_buffers))) {
            all[count++] = {const_cast<void*>(static_cast<const void*>(b.data())), b.size()};
            bytes += b.size();
        }
    }
};

void set_limit(const descriptor_handle& h, direction dir, const deadline& d) noexcept {
    descriptor* of = h.get();
    if (!of || !of->word.hold(h.generation())) return;
    of->limit[static_cast<int>(dir)].store(d.steady(), std::memory_order_relaxed);
    M* m = enter_current();
    wake_all(m, *of);   // who waits looks again
    leave_current(m);
    if (of->word.end_hold()) give_number_back(*of);
}

bool is_unix(const descriptor_handle& h) noexcept { return h.get() && h.get()->is_unix.load(std::memory_order_relaxed); }

// received is recvmsg into v. A Unix socket's read ends behind bytes that came with descriptors (which nobody has asked for), though
// others may be there: then `wanted` becomes 0, so that a short read says nothing.
ssize_t received(int fd, iovec* v, std::size_t count, std::size_t& wanted) noexcept {
    msghdr m{};
    m.msg_iov = v;
    m.msg_iovlen = count;
    const ssize_t n = sys::recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if ((m.msg_flags & MSG_CTRUNC) != 0) wanted = 0;
    return n;
}

std::size_t count(ssize_t n) noexcept { return n > 0 ? static_cast<std::size_t>(n) : 0; }

// name asks the kernel for an endpoint of the socket.
template <class Get>
endpoint name(const descriptor_handle& h, std::error_code& ec, Get get) noexcept {
    endpoint e;
    socklen_t size = endpoint::capacity();
    if (with_number(h, ec, [&](int fd) { return get(fd, e.storage(), &size); }) < 0) return {};
    e.set_size(size);
    return e;
}

void wait_for(const descriptor_handle& h, direction dir, std::error_code& ec, const deadline& d) {
    // poll(2) tells for sure. It is made as an operation, which is not over before it says yes.
    pollfd p{};
    perform(h, dir, d, ec, 0, [&](int fd) -> ssize_t {
        p = {fd, static_cast<short>(dir == direction::read ? POLLIN | POLLRDHUP : POLLOUT), 0};
        const int n = sys::poll(&p, 1, 0);
        if (n == 0) errno = EAGAIN;
        return n == 0 ? -1 : n;
    });
}

}  // namespace

void socket::set_read_deadline(const deadline& d) noexcept { set_limit(handle_, direction::read, d); }
void socket::set_write_deadline(const deadline& d) noexcept { set_limit(handle_, direction::write, d); }
void socket::set_deadline(const deadline& d) noexcept {
    set_read_deadline(d);
    set_write_deadline(d);
}

endpoint socket::local_endpoint(std::error_code& ec) const noexcept { return name(handle_, ec, sys::getsockname); }
endpoint socket::local_endpoint() const {
    std::error_code ec;
    const endpoint e = local_endpoint(ec);
    or_throw(ec, "handoff: local_endpoint");
    return e;
}

endpoint stream_socket::peer_endpoint(std::error_code& ec) const noexcept { return name(handle_, ec, sys::getpeername); }
endpoint stream_socket::peer_endpoint() const {
    std::error_code ec;
    const endpoint e = peer_endpoint(ec);
    or_throw(ec, "handoff: peer_endpoint");
    return e;
}

// A call with a single buffer is no faster by readv, and a recv of it is: the kernel copies no iovec.
std::size_t stream_socket::read_some(const buffer& into, std::error_code& ec, const deadline& d) {
    ec.clear();
    if (into.empty()) return 0;
    std::size_t wanted = into.size();
    if (is_unix(handle_)) [[unlikely]] {
        iovec v{into.data(), into.size()};
        return count(perform(handle_, direction::read, d, ec, wanted, [&](int fd) { return received(fd, &v, 1, wanted); }));
    }
    return count(perform(handle_, direction::read, d, ec, wanted,
                         [&](int fd) { return sys::recv(fd, into.data(), into.size(), MSG_DONTWAIT); }));
}
std::size_t stream_socket::read_some(std::span<const buffer> into, std::error_code& ec, const deadline& d) {
    ec.clear();
    iovecs v(into);
    if (v.bytes == 0) return 0;
    return count(perform(handle_, direction::read, d, ec, v.bytes, [&](int fd) { return received(fd, v.all, v.count, v.bytes); }));
}

std::size_t stream_socket::write_some(const const_buffer& from, std::error_code& ec, const deadline& d) {
    ec.clear();
    if (from.empty()) return 0;
    return count(perform(handle_, direction::write, d, ec, from.size(),
                         [&](int fd) { return sys::send(fd, from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL); }));
}
std::size_t stream_socket::write_some(std::span<const const_buffer> from, std::error_code& ec, const deadline& d) {
    ec.clear();
    iovecs v(from);
    if (v.bytes == 0) return 0;
    return count(perform(handle_, direction::write, d, ec, v.bytes, [&](int fd) {
        msghdr m{};
        m.msg_iov = v.all;
        m.msg_iovlen = v.count;
        return sys::sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    }));
}

std::size_t stream_socket::read_some(const buffer& into, const deadline& d) {
    std::error_code ec;
    const std::size_t n = read_some(into, ec, d);
    or_throw(ec, "handoff: read_some");
    return n;
}
std::size_t stream_socket::read_some(std::span<const buffer> into, const deadline& d) {
    std::error_code ec;
    const std::size_t n = read_some(into, ec, d);
    or_throw(ec, "handoff: read_some");
    return n;
}
std::size_t stream_socket::write_some(const const_buffer& from, const deadline& d) {
    std::error_code ec;
    const std::size_t n = write_some(from, ec, d);
    or_throw(ec, "handoff: write_some");
    return n;
}
std::size_t stream_socket::write_some(std::span<const const_buffer> from, const deadline& d) {
    std::error_code ec;
    const std::size_t n = write_some(from, ec, d);
    or_throw(ec, "handoff: write_some");
    return n;
}

void stream_socket::wait_readable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::read, ec, d); }
void stream_socket::wait_readable(const deadline& d) {
    std::error_code ec;
    wait_readable(ec, d);
    or_throw(ec, "handoff: wait_readable");
}
void stream_socket::wait_writable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::write, ec, d); }
void stream_socket::wait_writable(const deadline& d) {
    std::error_code ec;
    wait_writable(ec, d);
    or_throw(ec, "handoff: wait_writable");
}

void stream_socket::shutdown_write(std::error_code& ec) noexcept {
    with_number(handle_, ec, [](int fd) { return sys::shutdown(fd, SHUT_WR); });
}
void stream_socket::shutdown_write() {
    std::error_code ec;
    shutdown_write(ec);
    or_throw(ec, "handoff: shutdown_write");
}
void stream_socket::shutdown_read(std::error_code& ec) noexcept {
    with_number(handle_, ec, [](int fd) { return sys::shutdown(fd, SHUT_RD); });
}
void stream_socket::shutdown_read() {
    std::error_code ec;
    shutdown_read(ec);
    or_throw(ec, "handoff: shutdown_read");
}

namespace {

// What a listener passes over: connections that came to nothing, and errors of the network on the new socket, which Linux
// reports by accept (accept(2)).
bool is_of_the_connection(int e) noexcept {
    return e == ECONNABORTED || e == EPROTO || e == ENETDOWN || e == ENOPROTOOPT || e == EHOSTDOWN || e == ENONET || e == EHOSTUNREACH ||
           e == EOPNOTSUPP || e == ENETUNREACH;
}

bool is_shortage(int e) noexcept { return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM; }

}  // namespace

descriptor_handle listener_socket::accept_handle(endpoint* peer, std::error_code& ec, const deadline& d) {
    pauses pause;
    for (;;) {
        endpoint from;
        socklen_t size = endpoint::capacity();
        const ssize_t fd = perform(handle_, direction::read, d, ec, 0, [&](int listener) {
            return sys::accept4(listener, from.storage(), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        });
        if (fd >= 0) {
            descriptor_handle h = own(static_cast<int>(fd), is_unix(handle_), ec);
            if (ec) return {};
            from.set_size(size);
            if (peer) *peer = from;
            return h;
        }
        if (ec.category() != std::generic_category() || ec == std::errc::timed_out) return {};
        if (is_of_the_connection(ec.value())) continue;
        if (!is_shortage(ec.value()) || !pause.wait(handle_, d, ec)) return {};
    }
}

descriptor_handle listener_socket::try_accept(bool& shortage) noexcept {
    shortage = false;
    std::error_code ec;
    call_end end{};
    while (made_once(handle_, direction::read, ec, 0,
                     [](int listener) { return sys::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }, end)) {
        if (end.n >= 0) {
            descriptor_handle h = own(static_cast<int>(end.n), is_unix(handle_), ec);
            shortage = static_cast<bool>(ec);
            return h;
        }
        if (is_of_the_connection(end.error)) continue;
        shortage = true;   // or an error of the listener's own, which accept will tell
        break;
    }
    return {};
}

descriptor_handle listener_socket::accept_handle(endpoint* peer, const deadline& d) {
    std::error_code ec;
    descriptor_handle h = accept_handle(peer, ec, d);
    or_throw(ec, "handoff: accept");
    return h;
}

}  // namespace handoff::net
