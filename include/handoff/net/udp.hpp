// UDP. What holds for all sockets is in socket.hpp, what holds for datagrams in datagram.hpp.
//
// Errors that come back from the network (ICMP: nobody has that port, the host can't be reached) are told to a socket that has a
// peer, and to no other. The next operation of it ends with that error, once, for example with connection_refused; what it was to
// send is not sent then. The socket can be used as before.
#pragma once

#include <handoff/net/datagram.hpp>

#include <system_error>
#include <utility>

namespace handoff::net {

struct udp_options {
    bool reuse_address = false;   // others that say so may bind to the same port, as receivers of multicast do (SO_REUSEADDR)
    bool reuse_port = false;      // several sockets share the port: a peer's datagrams all go to one of them (SO_REUSEPORT)
    bool only_v6 = false;         // one bound to an IPv6 address takes no IPv4 datagrams (IPV6_V6ONLY)
};

class udp_socket : public datagram_socket {
public:
    // A socket that is closed: operations end with net_errc::closed.
    udp_socket() noexcept = default;

    // bind makes a socket that receives at an IP endpoint; at port 0 the kernel chooses a port (local_endpoint).
    HANDOFF_API static udp_socket bind(const endpoint& at, const udp_options& o = {});
    HANDOFF_API static udp_socket bind(const endpoint& at, std::error_code& ec, const udp_options& o = {}) noexcept;

    // connect makes a socket with a peer; the kernel chooses the local endpoint. Nothing is sent for that, and nothing waited
    // for.
    HANDOFF_API static udp_socket connect(const endpoint& to);
    HANDOFF_API static udp_socket connect(const endpoint& to, std::error_code& ec) noexcept;

    // Options. The errors are the system's, and net_errc::closed.
    //
    // set_broadcast: it may send to broadcast addresses, which otherwise is permission_denied.
    HANDOFF_API void set_broadcast(bool on);
    HANDOFF_API void set_broadcast(bool on, std::error_code& ec) noexcept;
    // set_ttl: how many hops a datagram may make, 1 to 255 (IP_TTL, IPV6_UNICAST_HOPS). set_multicast_ttl is for what is sent to
    // a group, 0 to 255, where 0 stays on this machine; in the beginning it is 1.
    HANDOFF_API void set_ttl(int hops);
    HANDOFF_API void set_ttl(int hops, std::error_code& ec) noexcept;
    HANDOFF_API void set_multicast_ttl(int hops);
    HANDOFF_API void set_multicast_ttl(int hops, std::error_code& ec) noexcept;
    // set_multicast_loop: what it sends to a group also goes to members on this machine. In the beginning it does.
    HANDOFF_API void set_multicast_loop(bool on);
    HANDOFF_API void set_multicast_loop(bool on, std::error_code& ec) noexcept;
    // set_multicast_interface: by which interface it sends to groups; 0 leaves it to the routes.
    HANDOFF_API void set_multicast_interface(unsigned interface);
    HANDOFF_API void set_multicast_interface(unsigned interface, std::error_code& ec) noexcept;

    // join lets it receive what is sent to a multicast group and its port; leave ends that. `interface` is where the group is, by
    // its number (if_nametoindex(3)); 0 is the group's scope if it has one, else the kernel chooses. invalid_argument: it is no
    // group's address; address_in_use: it is a member already; address_not_available: it is none.
    HANDOFF_API void join(const address& group, unsigned interface = 0);
    HANDOFF_API void join(const address& group, unsigned interface, std::error_code& ec) noexcept;
    HANDOFF_API void leave(const address& group, unsigned interface = 0);
    HANDOFF_API void leave(const address& group, unsigned interface, std::error_code& ec) noexcept;

private:
    explicit udp_socket(handoff::detail::descriptor_handle h) noexcept : datagram_socket(std::move(h)) {}
};

}  // namespace handoff::net
