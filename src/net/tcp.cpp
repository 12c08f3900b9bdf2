#include <handoff/net/tcp.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"

#include <algorithm>
#include <netinet/in.h>
#include <netinet/tcp.h>

namespace handoff::net {

using namespace handoff::detail;

tcp_stream tcp_stream::connect(const endpoint& to, const endpoint& from, std::error_code& ec, const deadline& d) {
    tcp_stream s;
    if (!to.is_ip()) {
        ec = std::make_error_code(std::errc::address_family_not_supported);
        return s;
    }
    s = tcp_stream(open_socket(to.family(), SOCK_STREAM, ec));
    if (!ec) s.set_nodelay(true, ec);
    if (!ec && from.size() != 0)
        with_number(s.handle_, ec, [&](int fd) { return sys::bind(fd, from.data(), from.size()); });
    if (!ec) connect_handle(s.handle_, to, d, ec);
    if (ec) return {};
    return s;
}
tcp_stream tcp_stream::connect(const endpoint& to, std::error_code& ec, const deadline& d) { return connect(to, endpoint(), ec, d); }
tcp_stream tcp_stream::connect(const endpoint& to, const endpoint& from, const deadline& d) {
    std::error_code ec;
    tcp_stream s = connect(to, from, ec, d);
    or_throw_at(ec, ("handoff: connect from " + from.to_string() + " to").c_str(), to);
    return s;
}
tcp_stream tcp_stream::connect(const endpoint& to, const deadline& d) {
    std::error_code ec;
    tcp_stream s = connect(to, ec, d);
    or_throw_at(ec, "handoff: connect to", to);
    return s;
}

void tcp_stream::set_nodelay(bool on, std::error_code& ec) noexcept { set_option(handle_, IPPROTO_TCP, TCP_NODELAY, on, ec); }
void tcp_stream::set_nodelay(bool on) {
    checked("handoff: set_nodelay", [&](std::error_code& ec) { set_nodelay(on, ec); });
}

void tcp_stream::set_keepalive(std::chrono::seconds idle, std::chrono::seconds interval, int probes, std::error_code& ec) noexcept {
    const auto seconds = [](std::chrono::seconds s) { return static_cast<int>(std::clamp<std::int64_t>(s.count(), 1, 32'767)); };
    set_option(handle_, SOL_SOCKET, SO_KEEPALIVE, idle.count() > 0, ec);
    if (ec || idle.count() <= 0) return;
    set_option(handle_, IPPROTO_TCP, TCP_KEEPIDLE, seconds(idle), ec);
    if (!ec) set_option(handle_, IPPROTO_TCP, TCP_KEEPINTVL, seconds(interval), ec);
    if (!ec) set_option(handle_, IPPROTO_TCP, TCP_KEEPCNT, probes, ec);
}
void tcp_stream::set_keepalive(std::chrono::seconds idle, std::chrono::seconds interval, int probes) {
    checked("handoff: set_keepalive", [&](std::error_code& ec) { set_keepalive(idle, interval, probes, ec); });
}

void tcp_stream::set_linger(std::chrono::seconds time, std::error_code& ec) noexcept {
    const linger l{1, static_cast<int>(std::clamp<std::int64_t>(time.count(), 0, 32'767))};
    with_number(handle_, ec, [&](int fd) { return sys::setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l); });
}
void tcp_stream::set_linger(std::chrono::seconds time) {
    checked("handoff: set_linger", [&](std::error_code& ec) { set_linger(time, ec); });
}

tcp_listener tcp_listener::listen(const endpoint& at, std::error_code& ec, const listen_options& o) {
    tcp_listener l;
    if (!at.is_ip()) {
        ec = std::make_error_code(std::errc::address_family_not_supported);
        return l;
    }
    l = tcp_listener(open_socket(at.family(), SOCK_STREAM, ec));
    if (!ec) set_option(l.handle_, IPPROTO_TCP, TCP_NODELAY, 1, ec);   // what it accepts inherits it
    if (!ec) bind_and_listen(l.handle_, at, o, ec);
    if (ec) return {};
    return l;
}
tcp_listener tcp_listener::listen(const endpoint& at, const listen_options& o) {
    std::error_code ec;
    tcp_listener l = listen(at, ec, o);
    or_throw_at(ec, "handoff: listen at", at);
    return l;
}

tcp_stream tcp_listener::accept(std::error_code& ec, const deadline& d) { return tcp_stream(accept_handle(nullptr, ec, d)); }
tcp_stream tcp_listener::accept(const deadline& d) { return tcp_stream(accept_handle(nullptr, d)); }
tcp_stream tcp_listener::accept(endpoint& peer, std::error_code& ec, const deadline& d) {
    return tcp_stream(accept_handle(&peer, ec, d));
}
tcp_stream tcp_listener::accept(endpoint& peer, const deadline& d) { return tcp_stream(accept_handle(&peer, d)); }

}  // namespace handoff::net
