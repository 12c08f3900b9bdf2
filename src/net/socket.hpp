// What the kinds of sockets share.
#pragma once

#include "net/descriptor.hpp"

#include <handoff/net/socket.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

namespace handoff::net {

// What a socket carries. Behind a short read of bytes nothing is left in the kernel (descriptor_word.hpp); of a Unix socket's only if
// the read did not end because of descriptors that came with them.
enum class carries : std::uint8_t { bytes, unix_bytes, messages };

// own makes fd a descriptor; if there is no memory for that it is closed, and ec says so.
handoff::detail::descriptor_handle own(int fd, carries what, std::error_code& ec) noexcept;

// open_socket makes a socket of that family and type, close-on-exec and non-blocking.
handoff::detail::descriptor_handle open_socket(int family, int type, std::error_code& ec) noexcept;

// set_option sets an option of the socket.
void set_option(const handoff::detail::descriptor_handle& h, int level, int name, int value, std::error_code& ec) noexcept;

// bind_and_listen makes `h` listen at that endpoint.
void bind_and_listen(const handoff::detail::descriptor_handle& h, const endpoint& at, const listen_options& o, std::error_code& ec) noexcept;

// peer_of is what the socket is connected to.
endpoint peer_of(const handoff::detail::descriptor_handle& h, std::error_code& ec) noexcept;

// wait_for waits until an operation in that direction would not have to wait. `asked` is the descriptor that is asked, if that is not
// the one of `h`, by whose events it is woken.
void wait_for(const handoff::detail::descriptor_handle& h, handoff::detail::direction dir, std::error_code& ec, const deadline& d,
              int asked = -1);

// connect_handle connects `h`, and waits until that is done.
void connect_handle(const handoff::detail::descriptor_handle& h, const endpoint& to, const deadline& d, std::error_code& ec);

// connect_step begins to connect `h`, or looks what has come of it if that has begun, and does not wait. True: it is over, connected or
// with ec.
bool connect_step(const handoff::detail::descriptor_handle& h, const endpoint& to, bool& begun, std::error_code& ec) noexcept;

// pauses: between tries of what the kernel does not report when it is possible again. They grow from 1 to 100 ms.
class pauses {
public:
    // wait waits for a pause; false, and ec, if `d` or the socket's deadline for reading is over first, or the descriptor is
    // closed. Throws `cancelled`.
    bool wait(const handoff::detail::descriptor_handle& h, const deadline& d, std::error_code& ec);
    // next is the length of the next pause, for a caller that waits in another way.
    std::int64_t next() noexcept { return std::exchange(next_ns_, std::min<std::int64_t>(next_ns_ * 2, 100'000'000)); }

private:
    std::int64_t next_ns_ = 1'000'000;
};

// or_throw_at throws what ec says, if anything, with the endpoint in what().
void or_throw_at(const std::error_code& ec, const char* what, const endpoint& at);

}  // namespace handoff::net
