#include <handoff/net/socket.hpp>

#include "net/iovecs.hpp"
#include "net/operation.hpp"
#include "net/socket.hpp"

namespace handoff::net {

using namespace handoff::detail;

namespace {

bool is_unix(const descriptor_handle& h) noexcept { return h.get() && h.get()->is_unix.load(std::memory_order_relaxed); }
carries accepts(const descriptor_handle& listener) noexcept { return is_unix(listener) ? carries::unix_bytes : carries::bytes; }

// received is recvmsg into v. A Unix socket's read ends behind bytes that came with descriptors (which nobody has asked for),
// though others may be there: then `wanted` becomes 0, so that a short read says nothing.
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

}  // namespace

endpoint socket::local_endpoint(std::error_code& ec) const noexcept { return name(handle_, ec, sys::getsockname); }
endpoint socket::local_endpoint() const {
    return checked("handoff: local_endpoint", [&](std::error_code& ec) { return local_endpoint(ec); });
}

endpoint peer_of(const descriptor_handle& h, std::error_code& ec) noexcept { return name(h, ec, sys::getpeername); }

endpoint stream_socket::peer_endpoint(std::error_code& ec) const noexcept { return peer_of(handle_, ec); }
endpoint stream_socket::peer_endpoint() const {
    return checked("handoff: peer_endpoint", [&](std::error_code& ec) { return peer_endpoint(ec); });
}

// A call with a single buffer is no faster by readv, and a recv of it is: the kernel copies no iovec.
std::size_t stream_socket::read_some(const mutable_buffer& into, std::error_code& ec, const deadline& d) {
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
std::size_t stream_socket::read_some(std::span<const mutable_buffer> into, std::error_code& ec, const deadline& d) {
    ec.clear();
    iovecs v(into);
    if (v.bytes == 0) return 0;
    return count(perform(handle_, direction::read, d, ec, v.bytes,
                         [&](int fd) { return received(fd, v.all, v.count, v.bytes); }));
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

std::size_t stream_socket::read_some(const mutable_buffer& into, const deadline& d) {
    return checked("handoff: read_some", [&](std::error_code& ec) { return read_some(into, ec, d); });
}
std::size_t stream_socket::read_some(std::span<const mutable_buffer> into, const deadline& d) {
    return checked("handoff: read_some", [&](std::error_code& ec) { return read_some(into, ec, d); });
}
std::size_t stream_socket::write_some(const const_buffer& from, const deadline& d) {
    return checked("handoff: write_some", [&](std::error_code& ec) { return write_some(from, ec, d); });
}
std::size_t stream_socket::write_some(std::span<const const_buffer> from, const deadline& d) {
    return checked("handoff: write_some", [&](std::error_code& ec) { return write_some(from, ec, d); });
}

void stream_socket::wait_readable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::read, ec, d); }
void stream_socket::wait_readable(const deadline& d) {
    checked("handoff: wait_readable", [&](std::error_code& ec) { wait_readable(ec, d); });
}
void stream_socket::wait_writable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::write, ec, d); }
void stream_socket::wait_writable(const deadline& d) {
    checked("handoff: wait_writable", [&](std::error_code& ec) { wait_writable(ec, d); });
}

void stream_socket::shutdown_write(std::error_code& ec) noexcept {
    with_number(handle_, ec, [](int fd) { return sys::shutdown(fd, SHUT_WR); });
}
void stream_socket::shutdown_write() {
    checked("handoff: shutdown_write", [&](std::error_code& ec) { shutdown_write(ec); });
}
void stream_socket::shutdown_read(std::error_code& ec) noexcept {
    with_number(handle_, ec, [](int fd) { return sys::shutdown(fd, SHUT_RD); });
}
void stream_socket::shutdown_read() {
    checked("handoff: shutdown_read", [&](std::error_code& ec) { shutdown_read(ec); });
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
            descriptor_handle h = own(static_cast<int>(fd), accepts(handle_), ec);
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
            descriptor_handle h = own(static_cast<int>(end.n), accepts(handle_), ec);
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
    return checked("handoff: accept", [&](std::error_code& ec) { return accept_handle(peer, ec, d); });
}

}  // namespace handoff::net
