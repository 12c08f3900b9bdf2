// What the kinds of sockets share.
#pragma once

#include "net/descriptor.hpp"

#include <handoff/net/socket.hpp>

#include <cstdint>
#include <string>
#include <system_error>

namespace handoff::net {

// own makes fd a stream's or a listener's descriptor; if there is no memory for that it is closed, and ec says so.
handoff::detail::descriptor_handle own(int fd, bool is_unix, std::error_code& ec) noexcept;

// open_socket makes a socket of that family and type, close-on-exec and non-blocking.
handoff::detail::descriptor_handle open_socket(int family, int type, std::error_code& ec) noexcept;

// set_option sets an option of the socket.
void set_option(const handoff::detail::descriptor_handle& h, int level, int name, int value, std::error_code& ec) noexcept;

// bind_and_listen makes `h` listen at that endpoint.
void bind_and_listen(const handoff::detail::descriptor_handle& h, const endpoint& at, const listen_options& o, std::error_code& ec) noexcept;

// connect_handle connects `h`, and waits until that is done.
void connect_handle(const handoff::detail::descriptor_handle& h, const endpoint& to, const deadline& d, std::error_code& ec);

// pauses: between tries of what the kernel does not report when it is possible again. They grow from 1 to 100 ms.
class pauses {
public:
    // wait waits for a pause; false, and ec, if `d` or the socket's deadline for reading is over first, or the descriptor is closed.
    // Throws `cancelled`.
    bool wait(const handoff::detail::descriptor_handle& h, const deadline& d, std::error_code& ec);

private:
    std::int64_t next_ns_ = 1'000'000;
};

// or_throw_at throws what ec says, if anything, with the endpoint in what().
void or_throw_at(const std::error_code& ec, const char* what, const endpoint& at);

}  // namespace handoff::net
