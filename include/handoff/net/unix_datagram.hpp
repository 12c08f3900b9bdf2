// Datagrams of the Unix domain, between processes of one machine. What holds for all sockets is in socket.hpp, what holds for
// datagrams in datagram.hpp. They arrive, and in order, as long as the receiver is there.
#pragma once

#include <handoff/net/datagram.hpp>

#include <system_error>
#include <utility>

namespace handoff::net {

// A socket whose peer is closed has no peer any more: the first send that notices ends with connection_refused, later ones with
// not_connected.
class unix_datagram : public datagram_socket {
public:
    // A socket that is closed: operations end with net_errc::closed.
    unix_datagram() noexcept = default;

    // bind makes a socket that receives at a Unix endpoint. A path must not exist (address_in_use); who ends removes it. At
    // endpoint::unix_unnamed() the kernel chooses an abstract name (local_endpoint).
    HANDOFF_API static unix_datagram bind(const endpoint& at);
    HANDOFF_API static unix_datagram bind(const endpoint& at, std::error_code& ec) noexcept;

    // connect makes a socket with a peer. It has no name, so the peer can't answer; set_peer gives one that is bound a peer.
    HANDOFF_API static unix_datagram connect(const endpoint& to);
    HANDOFF_API static unix_datagram connect(const endpoint& to, std::error_code& ec) noexcept;

    // pair makes two sockets that are each other's peer.
    HANDOFF_API static std::pair<unix_datagram, unix_datagram> pair();
    HANDOFF_API static std::pair<unix_datagram, unix_datagram> pair(std::error_code& ec) noexcept;

    // send_to waits while the receiver has too many datagrams that it has not received. The kernel does not tell when it has room
    // again, so send_to tries after pauses that grow from 1 to 100 ms. (send, to the peer, is told.)

private:
    explicit unix_datagram(handoff::detail::descriptor_handle h) noexcept : datagram_socket(std::move(h)) {}
};

}  // namespace handoff::net
