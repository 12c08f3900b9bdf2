// What sockets that carry datagrams have in common: UDP's (udp.hpp), and those of the Unix domain (unix_datagram.hpp). What holds
// for all sockets is in socket.hpp.
//
// A datagram is sent whole or not at all, and received whole, or cut. It may have no bytes. There is no end of a stream: who
// receives waits for the next datagram, until the socket is closed, or a deadline.
//
// Several goroutines may receive from one socket: each datagram goes to one of them.
#pragma once

#include <handoff/net/socket.hpp>

#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

namespace handoff::net {

// A datagram that was received.
struct datagram {
    std::size_t size = 0;    // bytes that are in the buffer
    std::size_t whole = 0;   // bytes that it had. Those that the buffer had no room for are lost
    bool truncated() const noexcept { return size < whole; }
};

class datagram_socket : public socket {
public:
    // receive waits for a datagram. A buffer of no size takes one, too, and cuts all of it off. The form with several buffers
    // fills one after the other; at most 64 of them take part.
    HANDOFF_API datagram receive(std::span<const mutable_buffer> into, const deadline& d = {});
    HANDOFF_API datagram receive(std::span<const mutable_buffer> into, std::error_code& ec, const deadline& d = {});
    datagram receive(const mutable_buffer& into, const deadline& d = {}) { return receive(std::span(&into, 1), d); }
    datagram receive(const mutable_buffer& into, std::error_code& ec, const deadline& d = {}) {
        return receive(std::span(&into, 1), ec, d);
    }

    // receive_from also tells who has sent it: an endpoint that holds nothing if that is a Unix socket without a name. `from` is
    // written to if there is no error.
    HANDOFF_API datagram receive_from(std::span<const mutable_buffer> into, endpoint& from, const deadline& d = {});
    HANDOFF_API datagram receive_from(std::span<const mutable_buffer> into, endpoint& from, std::error_code& ec, const deadline& d = {});
    datagram receive_from(const mutable_buffer& into, endpoint& from, const deadline& d = {}) {
        return receive_from(std::span(&into, 1), from, d);
    }
    datagram receive_from(const mutable_buffer& into, endpoint& from, std::error_code& ec, const deadline& d = {}) {
        return receive_from(std::span(&into, 1), from, ec, d);
    }

    // send sends a datagram to the peer, which the socket must have (destination_address_required, not_connected). It waits if
    // the kernel's buffer is full. That it was sent does not mean that it will arrive. message_size: it is longer than the socket
    // can send. More than 64 buffers are argument_list_too_long.
    HANDOFF_API void send(std::span<const const_buffer> from, const deadline& d = {});
    HANDOFF_API void send(std::span<const const_buffer> from, std::error_code& ec, const deadline& d = {});
    void send(const const_buffer& from, const deadline& d = {}) { send(std::span(&from, 1), d); }
    void send(const const_buffer& from, std::error_code& ec, const deadline& d = {}) { send(std::span(&from, 1), ec, d); }

    // send_to sends one to an endpoint, whether the socket has a peer or not.
    HANDOFF_API void send_to(std::span<const const_buffer> from, const endpoint& to, const deadline& d = {});
    HANDOFF_API void send_to(std::span<const const_buffer> from, const endpoint& to, std::error_code& ec, const deadline& d = {});
    void send_to(const const_buffer& from, const endpoint& to, const deadline& d = {}) { send_to(std::span(&from, 1), to, d); }
    void send_to(const const_buffer& from, const endpoint& to, std::error_code& ec, const deadline& d = {}) {
        send_to(std::span(&from, 1), to, ec, d);
    }

    // wait_readable waits until a receive would not have to wait, and needs no buffer meanwhile: there is a datagram, or an
    // error. Another goroutine may be faster. wait_writable waits likewise.
    HANDOFF_API void wait_readable(const deadline& d = {});
    HANDOFF_API void wait_readable(std::error_code& ec, const deadline& d = {});
    HANDOFF_API void wait_writable(const deadline& d = {});
    HANDOFF_API void wait_writable(std::error_code& ec, const deadline& d = {});

    // set_peer gives the socket another peer: to whom `send` sends, and from whom alone it receives. An endpoint that holds
    // nothing takes the peer away, and with it a UDP port that the kernel has chosen: the next one that it chooses is another.
    // peer_endpoint is the peer; not_connected if there is none.
    HANDOFF_API void set_peer(const endpoint& peer);
    HANDOFF_API void set_peer(const endpoint& peer, std::error_code& ec) noexcept;
    HANDOFF_API endpoint peer_endpoint() const;
    HANDOFF_API endpoint peer_endpoint(std::error_code& ec) const noexcept;

    // How many bytes the kernel keeps for datagrams that were not received yet, or are to be sent. Linux takes twice the number,
    // to have room for its own records, which is what the getters return; net.core.rmem_max and wmem_max bound it.
    HANDOFF_API void set_receive_buffer(int bytes);
    HANDOFF_API void set_receive_buffer(int bytes, std::error_code& ec) noexcept;
    HANDOFF_API void set_send_buffer(int bytes);
    HANDOFF_API void set_send_buffer(int bytes, std::error_code& ec) noexcept;
    HANDOFF_API int receive_buffer() const;
    HANDOFF_API int receive_buffer(std::error_code& ec) const noexcept;
    HANDOFF_API int send_buffer() const;
    HANDOFF_API int send_buffer(std::error_code& ec) const noexcept;

protected:
    datagram_socket() noexcept = default;
    explicit datagram_socket(handoff::detail::descriptor_handle h) noexcept : socket(std::move(h)) {}
};

}  // namespace handoff::net
