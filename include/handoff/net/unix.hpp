// Stream sockets of the Unix domain, between processes of one machine. What holds for all sockets is in socket.hpp.
#pragma once

#include <handoff/net/socket.hpp>

#include <system_error>
#include <utility>

namespace handoff::net {

class unix_stream : public stream_socket {
public:
    unix_stream() noexcept = default;

    // connect connects to a Unix endpoint. If the listener's backlog is full it waits, and tries again after a pause that grows from
    // 1 to 100 ms, since the kernel does not tell when there is room.
    HANDOFF_API static unix_stream connect(const endpoint& to, const deadline& d = {});
    HANDOFF_API static unix_stream connect(const endpoint& to, std::error_code& ec, const deadline& d = {});

    // pair makes two streams that are connected to each other.
    HANDOFF_API static std::pair<unix_stream, unix_stream> pair();
    HANDOFF_API static std::pair<unix_stream, unix_stream> pair(std::error_code& ec);

private:
    friend class unix_listener;
    friend detail::socket_access;
    explicit unix_stream(handoff::detail::descriptor_handle h) noexcept : stream_socket(std::move(h)) {}
};

class unix_listener : public listener_socket {
public:
    using stream_type = unix_stream;

    unix_listener() noexcept = default;

    // listen takes connections at a Unix endpoint. A path must not exist (address_in_use); who ends removes it.
    HANDOFF_API static unix_listener listen(const endpoint& at, const listen_options& o = {});
    HANDOFF_API static unix_listener listen(const endpoint& at, std::error_code& ec, const listen_options& o = {});

    // accept: as tcp_listener's.
    HANDOFF_API unix_stream accept(const deadline& d = {});
    HANDOFF_API unix_stream accept(std::error_code& ec, const deadline& d = {});

private:
    explicit unix_listener(handoff::detail::descriptor_handle h) noexcept : listener_socket(std::move(h)) {}
};

}  // namespace handoff::net
