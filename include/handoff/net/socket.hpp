// What all sockets have in common, and what stream sockets do.
//
// A goroutine that waits for a socket costs no thread: it parks, and the runtime's threads wait for all sockets together. A thread
// that runs no goroutine may use them, too, if there is a runtime to wait for it: the default one (default_runtime()).
//
// Each operation exists twice. One form throws std::system_error; the other one has a std::error_code&, which it sets, or clears.
// All that may wait
// - take a deadline as their last argument: a duration, or a point in time of any clock. The error is std::errc::timed_out;
// - end with net_errc::closed if another goroutine closes the socket;
// - are cancellation points where they would have to wait: they throw `cancelled` (handoff/cancellation.hpp), in both forms;
// - may move the goroutine to another thread where they wait;
// - throw usage_error where they would have to wait, and there is no runtime to do so.
//
// Any thread. Two goroutines may use a socket at the same time, one for each direction or both for the same; of several that read,
// or write, each gets or puts what it does at once. Sockets are moved, assigned and destroyed while nobody uses them; close() may
// be called at any time.
//
// No operation raises SIGPIPE. All descriptors are close-on-exec and non-blocking.
#pragma once

#include <handoff/buffer.hpp>
#include <handoff/deadline.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/net/address.hpp>
#include <handoff/net/error.hpp>
#include <handoff/net/io_object.hpp>

#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

namespace handoff::net {

class socket : public io_object {
public:
    // local_endpoint is what it is bound to.
    HANDOFF_API endpoint local_endpoint() const;
    HANDOFF_API endpoint local_endpoint(std::error_code& ec) const noexcept;

protected:
    friend detail::socket_access;

    socket() noexcept = default;
    explicit socket(handoff::detail::descriptor_handle h) noexcept : io_object(std::move(h)) {}
    socket(socket&&) noexcept = default;
    socket& operator=(socket&&) noexcept = default;
    ~socket() = default;
};

// A connected socket that carries a stream of bytes: a tcp_stream or a unix_stream.
class stream_socket : public socket {
public:
    // read_some reads at least one byte, and at most as many as there is room for, and returns how many; 0 is the end of the
    // stream, or a buffer of no size. It waits if nothing is there. The form with several buffers fills one after the other; at
    // most 64 of them take part.
    HANDOFF_API std::size_t read_some(const mutable_buffer& into, const deadline& d = {});
    HANDOFF_API std::size_t read_some(const mutable_buffer& into, std::error_code& ec, const deadline& d = {});
    HANDOFF_API std::size_t read_some(std::span<const mutable_buffer> into, const deadline& d = {});
    HANDOFF_API std::size_t read_some(std::span<const mutable_buffer> into, std::error_code& ec, const deadline& d = {});

    // write_some writes at least one byte, and returns how many it has written; 0 if there are none to write. It waits if the
    // kernel's buffer is full. (write_all in algorithms.hpp writes everything.)
    HANDOFF_API std::size_t write_some(const const_buffer& from, const deadline& d = {});
    HANDOFF_API std::size_t write_some(const const_buffer& from, std::error_code& ec, const deadline& d = {});
    HANDOFF_API std::size_t write_some(std::span<const const_buffer> from, const deadline& d = {});
    HANDOFF_API std::size_t write_some(std::span<const const_buffer> from, std::error_code& ec, const deadline& d = {});

    // wait_readable waits until a read would not have to wait, and needs no buffer meanwhile. The other end may have been closed,
    // and another goroutine may read first. wait_writable waits likewise.
    HANDOFF_API void wait_readable(const deadline& d = {});
    HANDOFF_API void wait_readable(std::error_code& ec, const deadline& d = {});
    HANDOFF_API void wait_writable(const deadline& d = {});
    HANDOFF_API void wait_writable(std::error_code& ec, const deadline& d = {});

    // shutdown_write ends our side of the stream: the peer reads to its end. shutdown_read lets our own reads end.
    HANDOFF_API void shutdown_write();
    HANDOFF_API void shutdown_write(std::error_code& ec) noexcept;
    HANDOFF_API void shutdown_read();
    HANDOFF_API void shutdown_read(std::error_code& ec) noexcept;

    // peer_endpoint is what it is connected to.
    HANDOFF_API endpoint peer_endpoint() const;
    HANDOFF_API endpoint peer_endpoint(std::error_code& ec) const noexcept;

protected:
    stream_socket() noexcept = default;
    explicit stream_socket(handoff::detail::descriptor_handle h) noexcept : socket(std::move(h)) {}
};

struct listen_options {
    int backlog = 4096;          // connections that wait to be accepted; the kernel's somaxconn bounds it
    bool reuse_address = true;   // TCP: the port may be taken although old connections to it linger (SO_REUSEADDR)
    bool reuse_port = false;     // TCP: several listeners may share the port (SO_REUSEPORT)
    bool only_v6 = false;        // TCP: a listener on IPv6 takes no IPv4 connections (IPV6_V6ONLY)
};

// What both kinds of listeners have in common.
class listener_socket : public socket {
protected:
    friend detail::socket_access;

    listener_socket() noexcept = default;
    explicit listener_socket(handoff::detail::descriptor_handle h) noexcept : socket(std::move(h)) {}

    HANDOFF_API handoff::detail::descriptor_handle accept_handle(endpoint* peer, std::error_code& ec, const deadline& d);
    HANDOFF_API handoff::detail::descriptor_handle accept_handle(endpoint* peer, const deadline& d);
    // try_accept accepts what is there; nothing is, if the handle is not open. shortage: there may be something, for which
    // there is no descriptor or no memory now.
    HANDOFF_API handoff::detail::descriptor_handle try_accept(bool& shortage) noexcept;
};

namespace detail {

struct socket_access {
    static const handoff::detail::descriptor_handle& handle(const io_object& s) noexcept { return s.handle_; }
    static handoff::detail::descriptor_handle try_accept(listener_socket& l, bool& shortage) noexcept { return l.try_accept(shortage); }
    template <class Stream>
    static Stream make(handoff::detail::descriptor_handle h) noexcept {
        return Stream(std::move(h));
    }
};

}  // namespace detail

}  // namespace handoff::net
