// TCP: streams and listeners. What holds for all sockets is in socket.hpp.
#pragma once

#include <handoff/net/socket.hpp>

#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

namespace handoff::net {

class resolver;
enum class ip_family : std::uint8_t;

// How a name is connected to.
struct connect_options {
    resolver* names = nullptr;                      // what looks the name up; null: resolver::of_process()
    ip_family family{};                             // ip_family::v4 or v6 (resolver.hpp): only addresses of that kind; else both
    std::chrono::nanoseconds attempt_delay{std::chrono::milliseconds(250)};   // see connect; 0 or less: all at once
};

class tcp_stream : public stream_socket {
public:
    // A stream without a connection: operations end with net_errc::closed.
    tcp_stream() noexcept = default;

    // connect connects to an IP endpoint. The stream sends at once what is written (TCP_NODELAY), since a small message would
    // otherwise wait for the answer to the last one; set_nodelay(false) changes that. Where nobody listens at a local port, TCP
    // may connect a socket to itself: that is the error net_errc::self_connect, which is equivalent to connection_refused.
    HANDOFF_API static tcp_stream connect(const endpoint& to, const deadline& d = {});
    HANDOFF_API static tcp_stream connect(const endpoint& to, std::error_code& ec, const deadline& d = {});
    // The same from a local endpoint of one's choice, whose port may be 0.
    HANDOFF_API static tcp_stream connect(const endpoint& to, const endpoint& from, const deadline& d = {});
    HANDOFF_API static tcp_stream connect(const endpoint& to, const endpoint& from, std::error_code& ec, const deadline& d = {});

    // connect connects to a host by name, as RFC 8305 ("happy eyeballs") says. It looks the name up, and tries the addresses in that
    // order, but of both families in turn. The next attempt begins when the last one has failed, or has lasted for attempt_delay:
    // none is given up for that. The first connection that is made is returned, and the other sockets are closed by then; they are,
    // too, when connect throws. The deadline and a cancellation end everything, the lookup as well (resolver.hpp).
    //
    // The errors are those of resolver::resolve and of the attempts. If all fail it is that of the last one, or of the last one
    // that has reached the host, if any has (refused, reset, without an answer): a family that this machine can't reach says little.
    // what() tells that of each address. On a thread that runs no goroutine the lookup needs the default runtime.
    HANDOFF_API static tcp_stream connect(const host_port& to, const deadline& d = {});
    HANDOFF_API static tcp_stream connect(const host_port& to, std::error_code& ec, const deadline& d = {});
    HANDOFF_API static tcp_stream connect(const host_port& to, const connect_options& o, const deadline& d = {});
    HANDOFF_API static tcp_stream connect(const host_port& to, const connect_options& o, std::error_code& ec, const deadline& d = {});

    // Options of the connection. The errors are the system's, and net_errc::closed.
    HANDOFF_API void set_nodelay(bool on);
    HANDOFF_API void set_nodelay(bool on, std::error_code& ec) noexcept;
    // set_keepalive: the kernel asks the peer after that time of silence, and then each `interval`, and ends the connection
    // after `probes` without an answer. In whole seconds, rounded up, at least one; idle 0 turns it off.
    HANDOFF_API void set_keepalive(std::chrono::seconds idle, std::chrono::seconds interval = std::chrono::seconds(15), int probes = 9);
    HANDOFF_API void set_keepalive(std::chrono::seconds idle, std::chrono::seconds interval, int probes, std::error_code& ec) noexcept;
    // set_linger: close() waits for the peer to take what was written, for so long at most; 0 resets the connection.
    HANDOFF_API void set_linger(std::chrono::seconds time);
    HANDOFF_API void set_linger(std::chrono::seconds time, std::error_code& ec) noexcept;

private:
    friend class tcp_listener;
    friend class connection_race;
    friend detail::socket_access;
    explicit tcp_stream(handoff::detail::descriptor_handle h) noexcept : stream_socket(std::move(h)) {}
};

class tcp_listener : public listener_socket {
public:
    using stream_type = tcp_stream;

    tcp_listener() noexcept = default;

    // listen takes connections at an IP endpoint; at port 0 the kernel chooses a port (local_endpoint).
    HANDOFF_API static tcp_listener listen(const endpoint& at, const listen_options& o = {});
    HANDOFF_API static tcp_listener listen(const endpoint& at, std::error_code& ec, const listen_options& o = {});

    // accept waits for a connection. A connection that was given up before it was accepted is passed over. If the process or the
    // machine has no descriptor or memory for it, accept tries again, after a pause that grows from 1 to 100 ms: the connection
    // waits in the kernel. Streams are as connect makes them. `peer` gets the endpoint at the other end. Goroutines that accept from
    // one listener take turns.
    HANDOFF_API tcp_stream accept(const deadline& d = {});
    HANDOFF_API tcp_stream accept(std::error_code& ec, const deadline& d = {});
    HANDOFF_API tcp_stream accept(endpoint& peer, const deadline& d = {});
    HANDOFF_API tcp_stream accept(endpoint& peer, std::error_code& ec, const deadline& d = {});

private:
    explicit tcp_listener(handoff::detail::descriptor_handle h) noexcept : listener_socket(std::move(h)) {}
};

}  // namespace handoff::net
