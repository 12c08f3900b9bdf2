#include <handoff/net/udp.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"

#include <algorithm>
#include <netinet/in.h>

namespace handoff::net {

using namespace handoff::detail;

namespace {

descriptor_handle open_for(const endpoint& e, std::error_code& ec) noexcept {
    if (e.is_ip()) return open_socket(e.family(), SOCK_DGRAM, ec);
    ec = std::make_error_code(std::errc::address_family_not_supported);
    return {};
}

bool is_v6(const descriptor_handle& h, std::error_code& ec) noexcept {
    int family = 0;
    socklen_t size = sizeof family;
    with_number(h, ec, [&](int fd) { return sys::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size); });
    return family == AF_INET6;
}

// set_both sets an option for IPv4, and the one that is the same for IPv6 if the socket is of that kind: it may send to IPv4
// addresses as well. The options of IPv4 are not there then if the kernel has been told so (IPV6_V6ONLY), or has none.
void set_both(const descriptor_handle& h, int v4, int v6, int value, std::error_code& ec) noexcept {
    const bool six = is_v6(h, ec);
    if (ec) return;
    if (!six) return set_option(h, IPPROTO_IP, v4, value, ec);
    set_option(h, IPPROTO_IPV6, v6, value, ec);
    std::error_code none;
    if (!ec) set_option(h, IPPROTO_IP, v4, value, none);
}

// change_membership sets MCAST_JOIN_GROUP or MCAST_LEAVE_GROUP.
void change_membership(const descriptor_handle& h, int how, const address& group, unsigned interface,
                       std::error_code& ec) noexcept {
    const address a = group.unmap();
    if (!a.is_multicast()) {
        ec = std::make_error_code(std::errc::invalid_argument);
        return;
    }
    const endpoint e(a, 0);
    group_req r{};
    r.gr_interface = interface != 0 ? interface : a.scope();
    std::copy_n(reinterpret_cast<const std::byte*>(e.data()), e.size(), reinterpret_cast<std::byte*>(&r.gr_group));
    with_number(h, ec, [&](int fd) { return sys::setsockopt(fd, a.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP, how, &r, sizeof r); });
}

void or_throw_group(const std::error_code& ec, const char* what, const address& group) {
    if (ec) throw std::system_error(ec, what + group.to_string());
}

}  // namespace

udp_socket udp_socket::bind(const endpoint& at, std::error_code& ec, const udp_options& o) noexcept {
    ec.clear();
    udp_socket s(open_for(at, ec));
    if (!ec && o.reuse_address) set_option(s.handle_, SOL_SOCKET, SO_REUSEADDR, 1, ec);
    if (!ec && o.reuse_port) set_option(s.handle_, SOL_SOCKET, SO_REUSEPORT, 1, ec);
    if (!ec && at.family() == AF_INET6) set_option(s.handle_, IPPROTO_IPV6, IPV6_V6ONLY, o.only_v6, ec);
    if (!ec) with_number(s.handle_, ec, [&](int fd) { return sys::bind(fd, at.data(), at.size()); });
    if (ec) return {};
    return s;
}
udp_socket udp_socket::bind(const endpoint& at, const udp_options& o) {
    std::error_code ec;
    udp_socket s = bind(at, ec, o);
    or_throw_at(ec, "handoff: bind to", at);
    return s;
}

udp_socket udp_socket::connect(const endpoint& to, std::error_code& ec) noexcept {
    ec.clear();
    udp_socket s(open_for(to, ec));
    if (!ec) s.set_peer(to, ec);
    if (ec) return {};
    return s;
}
udp_socket udp_socket::connect(const endpoint& to) {
    std::error_code ec;
    udp_socket s = connect(to, ec);
    or_throw_at(ec, "handoff: connect to", to);
    return s;
}

void udp_socket::set_broadcast(bool on, std::error_code& ec) noexcept { set_option(handle_, SOL_SOCKET, SO_BROADCAST, on, ec); }
void udp_socket::set_broadcast(bool on) {
    checked("handoff: set_broadcast", [&](std::error_code& ec) { set_broadcast(on, ec); });
}

// The kernel takes -1 for its default; here it is no number of hops.
void udp_socket::set_ttl(int hops, std::error_code& ec) noexcept {
    if (hops < 1) ec = std::make_error_code(std::errc::invalid_argument);
    else set_both(handle_, IP_TTL, IPV6_UNICAST_HOPS, hops, ec);
}
void udp_socket::set_ttl(int hops) {
    std::error_code ec;
    set_ttl(hops, ec);
    or_throw(ec, ("handoff: set_ttl to " + std::to_string(hops)).c_str());
}
void udp_socket::set_multicast_ttl(int hops, std::error_code& ec) noexcept {
    if (hops < 0) ec = std::make_error_code(std::errc::invalid_argument);
    else set_both(handle_, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, hops, ec);
}
void udp_socket::set_multicast_ttl(int hops) {
    std::error_code ec;
    set_multicast_ttl(hops, ec);
    or_throw(ec, ("handoff: set_multicast_ttl to " + std::to_string(hops)).c_str());
}

void udp_socket::set_multicast_loop(bool on, std::error_code& ec) noexcept {
    set_both(handle_, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, on, ec);
}
void udp_socket::set_multicast_loop(bool on) {
    checked("handoff: set_multicast_loop", [&](std::error_code& ec) { set_multicast_loop(on, ec); });
}

void udp_socket::set_multicast_interface(unsigned interface, std::error_code& ec) noexcept {
    const auto number = static_cast<int>(interface);
    const bool six = is_v6(handle_, ec);
    if (!ec && six) set_option(handle_, IPPROTO_IPV6, IPV6_MULTICAST_IF, number, ec);
    if (ec || six) return;
    ip_mreqn r{};
    r.imr_ifindex = number;
    with_number(handle_, ec, [&](int fd) { return sys::setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &r, sizeof r); });
}
void udp_socket::set_multicast_interface(unsigned interface) {
    std::error_code ec;
    set_multicast_interface(interface, ec);
    or_throw(ec, ("handoff: set_multicast_interface to " + std::to_string(interface)).c_str());
}

void udp_socket::join(const address& group, unsigned interface, std::error_code& ec) noexcept {
    change_membership(handle_, MCAST_JOIN_GROUP, group, interface, ec);
}
void udp_socket::join(const address& group, unsigned interface) {
    std::error_code ec;
    join(group, interface, ec);
    or_throw_group(ec, "handoff: join of group ", group);
}
void udp_socket::leave(const address& group, unsigned interface, std::error_code& ec) noexcept {
    change_membership(handle_, MCAST_LEAVE_GROUP, group, interface, ec);
}
void udp_socket::leave(const address& group, unsigned interface) {
    std::error_code ec;
    leave(group, interface, ec);
    or_throw_group(ec, "handoff: leave of group ", group);
}

}  // namespace handoff::net
