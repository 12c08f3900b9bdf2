#include <handoff/net/unix_datagram.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"

namespace handoff::net {

using namespace handoff::detail;

namespace {

descriptor_handle open_for(const endpoint& e, std::error_code& ec) noexcept {
    if (e.is_unix()) return open_socket(AF_UNIX, SOCK_DGRAM, ec);
    ec = std::make_error_code(std::errc::address_family_not_supported);
    return {};
}

}  // namespace

unix_datagram unix_datagram::bind(const endpoint& at, std::error_code& ec) noexcept {
    ec.clear();
    unix_datagram s(open_for(at, ec));
    if (!ec) with_number(s.handle_, ec, [&](int fd) { return sys::bind(fd, at.data(), at.size()); });
    if (ec) return {};
    return s;
}
unix_datagram unix_datagram::bind(const endpoint& at) {
    std::error_code ec;
    unix_datagram s = bind(at, ec);
    or_throw_at(ec, "handoff: bind to", at);
    return s;
}

unix_datagram unix_datagram::connect(const endpoint& to, std::error_code& ec) noexcept {
    ec.clear();
    unix_datagram s(open_for(to, ec));
    if (!ec) s.set_peer(to, ec);
    if (ec) return {};
    return s;
}
unix_datagram unix_datagram::connect(const endpoint& to) {
    std::error_code ec;
    unix_datagram s = connect(to, ec);
    or_throw_at(ec, "handoff: connect to", to);
    return s;
}

std::pair<unix_datagram, unix_datagram> unix_datagram::pair(std::error_code& ec) noexcept {
    int fds[2];
    if (sys::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
        ec.assign(errno, std::generic_category());
        return {};
    }
    unix_datagram a(own(fds[0], carries::messages, ec));
    if (ec) {
        sys::close(fds[1]);
        return {};
    }
    unix_datagram b(own(fds[1], carries::messages, ec));
    if (ec) return {};
    return {std::move(a), std::move(b)};
}
std::pair<unix_datagram, unix_datagram> unix_datagram::pair() {
    return checked("handoff: unix_datagram::pair", [&](std::error_code& ec) { return pair(ec); });
}

}  // namespace handoff::net
