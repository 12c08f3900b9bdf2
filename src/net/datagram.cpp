#include <handoff/net/datagram.hpp>

#include "net/iovecs.hpp"
#include "net/operation.hpp"
#include "net/socket.hpp"

namespace handoff::net {

using namespace handoff::detail;

namespace {

// receive_into receives a datagram, and its sender if `from` is not null. MSG_TRUNC: the result is the datagram's size, of which
// the buffers may have got less.
datagram receive_into(const descriptor_handle& h, std::span<const mutable_buffer> into, endpoint* from, std::error_code& ec,
                      const deadline& d) {
    iovecs v(into);
    endpoint sender;
    msghdr m{};
    const ssize_t n = perform(h, direction::read, d, ec, v.bytes, [&](int fd) {
        m = {};
        m.msg_iov = v.all;
        m.msg_iovlen = v.count;
        if (from) {
            m.msg_name = sender.storage();
            m.msg_namelen = endpoint::capacity();
        }
        return sys::recvmsg(fd, &m, MSG_DONTWAIT | MSG_TRUNC);
    });
    if (n < 0) return {};
    if (from) {
        sender.set_size(m.msg_namelen);
        *from = sender;
    }
    const auto whole = static_cast<std::size_t>(n);
    return {std::min(whole, v.bytes), whole};
}

// send_from sends a datagram: to the peer if `to` is null.
void send_from(const descriptor_handle& h, std::span<const const_buffer> from, const endpoint* to, std::error_code& ec,
               const deadline& d) {
    if (from.size() > most_buffers) {   // a part of a datagram is another datagram
        ec = std::make_error_code(std::errc::argument_list_too_long);
        return;
    }
    iovecs v(from);
    pauses pause;
    do {
        perform(h, direction::write, d, ec, v.bytes, [&](int fd) {
            msghdr m{};
            m.msg_iov = v.all;
            m.msg_iovlen = v.count;
            if (to) {
                m.msg_name = const_cast<sockaddr*>(to->data());
                m.msg_namelen = to->size();
            }
            const ssize_t n = sys::sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
            // It may be the receiver that has no room, of which no event tells. And there are events all the time: each try that
            // fails frees what it has allocated, which makes room in our own buffer. (Whether that is full poll(2) does not tell:
            // for it a buffer may be full long before a datagram has no room.)
            if (n < 0 && errno == EAGAIN && to && to->is_unix()) errno = ENOBUFS;
            return n;
        });
    } while (ec == std::errc::no_buffer_space && to && to->is_unix() && pause.wait(h, d, ec));
}

int get_option(const descriptor_handle& h, int name, std::error_code& ec) noexcept {
    int value = 0;
    socklen_t size = sizeof value;
    with_number(h, ec, [&](int fd) { return sys::getsockopt(fd, SOL_SOCKET, name, &value, &size); });
    return ec ? 0 : value;
}

}  // namespace

datagram datagram_socket::receive(std::span<const mutable_buffer> into, std::error_code& ec, const deadline& d) {
    return receive_into(handle_, into, nullptr, ec, d);
}
datagram datagram_socket::receive(std::span<const mutable_buffer> into, const deadline& d) {
    return checked("handoff: receive", [&](std::error_code& ec) { return receive(into, ec, d); });
}

datagram datagram_socket::receive_from(std::span<const mutable_buffer> into, endpoint& from, std::error_code& ec, const deadline& d) {
    return receive_into(handle_, into, &from, ec, d);
}
datagram datagram_socket::receive_from(std::span<const mutable_buffer> into, endpoint& from, const deadline& d) {
    return checked("handoff: receive_from", [&](std::error_code& ec) { return receive_from(into, from, ec, d); });
}

void datagram_socket::send(std::span<const const_buffer> from, std::error_code& ec, const deadline& d) {
    send_from(handle_, from, nullptr, ec, d);
}
void datagram_socket::send(std::span<const const_buffer> from, const deadline& d) {
    checked("handoff: send", [&](std::error_code& ec) { send(from, ec, d); });
}

void datagram_socket::send_to(std::span<const const_buffer> from, const endpoint& to, std::error_code& ec, const deadline& d) {
    send_from(handle_, from, &to, ec, d);
}
void datagram_socket::send_to(std::span<const const_buffer> from, const endpoint& to, const deadline& d) {
    std::error_code ec;
    send_to(from, to, ec, d);
    or_throw_at(ec, "handoff: send_to", to);
}

void datagram_socket::wait_readable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::read, ec, d); }
void datagram_socket::wait_readable(const deadline& d) {
    checked("handoff: wait_readable", [&](std::error_code& ec) { wait_readable(ec, d); });
}
void datagram_socket::wait_writable(std::error_code& ec, const deadline& d) { wait_for(handle_, direction::write, ec, d); }
void datagram_socket::wait_writable(const deadline& d) {
    checked("handoff: wait_writable", [&](std::error_code& ec) { wait_writable(ec, d); });
}

void datagram_socket::set_peer(const endpoint& peer, std::error_code& ec) noexcept {
    const sockaddr none{};   // AF_UNSPEC
    with_number(handle_, ec, [&](int fd) {
        return peer.size() == 0 ? sys::connect(fd, &none, sizeof none) : sys::connect(fd, peer.data(), peer.size());
    });
}
void datagram_socket::set_peer(const endpoint& peer) {
    std::error_code ec;
    set_peer(peer, ec);
    or_throw_at(ec, "handoff: set_peer to", peer);
}

endpoint datagram_socket::peer_endpoint(std::error_code& ec) const noexcept { return peer_of(handle_, ec); }
endpoint datagram_socket::peer_endpoint() const {
    return checked("handoff: peer_endpoint", [&](std::error_code& ec) { return peer_endpoint(ec); });
}

void datagram_socket::set_receive_buffer(int bytes, std::error_code& ec) noexcept {
    set_option(handle_, SOL_SOCKET, SO_RCVBUF, bytes, ec);
}
void datagram_socket::set_receive_buffer(int bytes) {
    checked("handoff: set_receive_buffer", [&](std::error_code& ec) { set_receive_buffer(bytes, ec); });
}
void datagram_socket::set_send_buffer(int bytes, std::error_code& ec) noexcept {
    set_option(handle_, SOL_SOCKET, SO_SNDBUF, bytes, ec);
}
void datagram_socket::set_send_buffer(int bytes) {
    checked("handoff: set_send_buffer", [&](std::error_code& ec) { set_send_buffer(bytes, ec); });
}

int datagram_socket::receive_buffer(std::error_code& ec) const noexcept { return get_option(handle_, SO_RCVBUF, ec); }
int datagram_socket::receive_buffer() const {
    return checked("handoff: receive_buffer", [&](std::error_code& ec) { return receive_buffer(ec); });
}
int datagram_socket::send_buffer(std::error_code& ec) const noexcept { return get_option(handle_, SO_SNDBUF, ec); }
int datagram_socket::send_buffer() const {
    return checked("handoff: send_buffer", [&](std::error_code& ec) { return send_buffer(ec); });
}

}  // namespace handoff::net
