#include <handoff/net/unix.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"


namespace handoff::net {

using namespace handoff::detail;

unix_stream unix_stream::connect(const endpoint& to, std::error_code& ec, const deadline& d) {
    unix_stream s;
    if (!to.is_unix()) {
        ec = std::make_error_code(std::errc::address_family_not_supported);
        return s;
    }
    s = unix_stream(open_socket(AF_UNIX, SOCK_STREAM, ec));
    if (ec) return {};
    pauses pause;
    do connect_handle(s.handle_, to, d, ec);
    while (ec == std::errc::no_buffer_space && pause.wait(s.handle_, d, ec));
    if (ec) return {};
    return s;
}
unix_stream unix_stream::connect(const endpoint& to, const deadline& d) {
    std::error_code ec;
    unix_stream s = connect(to, ec, d);
    or_throw_at(ec, "handoff: connect to", to);
    return s;
}

std::pair<unix_stream, unix_stream> unix_stream::pair(std::error_code& ec) {
    int fds[2];
    if (sys::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
        ec.assign(errno, std::generic_category());
        return {};
    }
    unix_stream a(own(fds[0], carries::unix_bytes, ec));
    if (ec) {
        sys::close(fds[1]);
        return {};
    }
    unix_stream b(own(fds[1], carries::unix_bytes, ec));
    if (ec) return {};
    return {std::move(a), std::move(b)};
}
std::pair<unix_stream, unix_stream> unix_stream::pair() {
    return checked("handoff: unix_stream::pair", [&](std::error_code& ec) { return pair(ec); });
}

unix_listener unix_listener::listen(const endpoint& at, std::error_code& ec, const listen_options& o) {
    unix_listener l;
    if (!at.is_unix()) {
        ec = std::make_error_code(std::errc::address_family_not_supported);
        return l;
    }
    l = unix_listener(open_socket(AF_UNIX, SOCK_STREAM, ec));
    if (!ec) bind_and_listen(l.handle_, at, o, ec);
    if (ec) return {};
    return l;
}
unix_listener unix_listener::listen(const endpoint& at, const listen_options& o) {
    std::error_code ec;
    unix_listener l = listen(at, ec, o);
    or_throw_at(ec, "handoff: listen at", at);
    return l;
}

unix_stream unix_listener::accept(std::error_code& ec, const deadline& d) { return unix_stream(accept_handle(nullptr, ec, d)); }
unix_stream unix_listener::accept(const deadline& d) { return unix_stream(accept_handle(nullptr, d)); }

}  // namespace handoff::net
