// What sockets, pipes and other descriptors that goroutines wait for have in common: they are closed, and have deadlines.
#pragma once

#include <handoff/deadline.hpp>
#include <handoff/detail/descriptor_handle.hpp>
#include <handoff/detail/export.hpp>

#include <utility>

namespace handoff::net {

namespace detail {

struct socket_access;

}  // namespace detail

// Any thread, at any time, but for moves, assignments and the destructor, which are made while nobody uses the object.
class io_object {
public:
    // is_open: it has a descriptor, and was not closed.
    bool is_open() const noexcept { return handle_.is_open(); }

    // close closes it. All that wait for it go on with net_errc::closed. The descriptor itself is closed once no system call of
    // another goroutine uses it any more. Does nothing if it is closed. May lose the processor as a guarded call does
    // (SO_LINGER).
    void close() noexcept { handle_.close(); }

    // native_handle is the descriptor, which stays the object's; -1 if it is closed. Who uses it has to keep others from closing
    // the object meanwhile, and must leave it non-blocking.
    int native_handle() const noexcept { return handle_.number(); }

    // set_deadline lets all operations, also those that wait now, end with timed_out when the time has come, if they would have
    // to wait longer; until it is set again. set_deadline({}) takes it away. It takes effect besides the operations' own
    // deadlines. set_read_deadline and set_write_deadline are for one direction; a listener's accept reads. Points in time of
    // other clocks are looked at once, when it is called. Does nothing if the object is closed.
    HANDOFF_API void set_deadline(const deadline& d) noexcept;
    HANDOFF_API void set_read_deadline(const deadline& d) noexcept;
    HANDOFF_API void set_write_deadline(const deadline& d) noexcept;

protected:
    friend detail::socket_access;

    io_object() noexcept = default;
    explicit io_object(handoff::detail::descriptor_handle h) noexcept : handle_(std::move(h)) {}
    io_object(io_object&&) noexcept = default;
    io_object& operator=(io_object&&) noexcept = default;
    ~io_object() = default;

    handoff::detail::descriptor_handle handle_;
};

}  // namespace handoff::net
