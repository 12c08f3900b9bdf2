// Cases of select for sockets and signals: so that one goroutine can wait for these, channels, timers and all else at once.
//
//     select(on_accept(listener, [&](net::tcp_stream s) { serve(std::move(s)); }),
//            on_recv(commands, obey),
//            on_stop(token, [&] { ends = true; }));
#pragma once

#include <handoff/net/signal_set.hpp>
#include <handoff/net/socket.hpp>
#include <handoff/select.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <utility>

namespace handoff {

namespace detail {

// Fires when a read, or a write, of the descriptor would not have to wait, or when it is closed.
class HANDOFF_API descriptor_case : public event_case {
public:
    bool seems_ready() const noexcept override;
    bool try_fast() noexcept override;
    bool must_wait() noexcept override;

protected:
    // Registers the descriptor, if it is open. Throws std::system_error, and usage_error where there is no runtime to wait.
    descriptor_case(const descriptor_handle& h, bool writes);
    descriptor_case(descriptor_case&&) = default;
    bool is_closed() const noexcept;

private:
    const descriptor_handle* handle_;
    bool writes_;
};

template <class F>
class ready_case final : public descriptor_case {
public:
    ready_case(const descriptor_handle& h, bool writes, F f) : descriptor_case(h, writes), f_(std::move(f)) {}
    void fire(bool) override { std::invoke(f_); }

private:
    [[no_unique_address]] F f_;
};

template <class Listener, class F>
class accept_case final : public descriptor_case {
public:
    using stream_type = typename Listener::stream_type;

    accept_case(Listener& l, F f)
        : descriptor_case(net::detail::socket_access::handle(l), false), listener_(&l), f_(std::move(f)) {}

    bool try_fast() noexcept override {
        accepted_.emplace(net::detail::socket_access::make<stream_type>(net::detail::socket_access::try_accept(*listener_, asks_)));
        return accepted_->is_open() || asks_ || is_closed();
    }
    void fire(bool) override {
        // Where there is a shortage, or the listener is closed, accept waits, or says so.
        std::invoke(f_, accepted_ && accepted_->is_open() ? std::move(*accepted_) : listener_->accept());
    }

private:
    Listener* listener_;
    [[no_unique_address]] F f_;
    std::optional<stream_type> accepted_;
    bool asks_ = false;
};

}  // namespace detail

// on_readable fires when a read_some of the stream would not have to wait: there are bytes, its end, or an error; also when the
// stream is closed. It reads nothing; another goroutine may read first. on_writable does the same for write_some. The stream must
// stay where it is until the select has ended. They throw std::system_error if the descriptor can't be waited for.
template <class F>
auto on_readable(const net::stream_socket& s, F f) {
    return detail::ready_case<F>(net::detail::socket_access::handle(s), false, std::move(f));
}
template <class F>
auto on_writable(const net::stream_socket& s, F f) {
    return detail::ready_case<F>(net::detail::socket_access::handle(s), true, std::move(f));
}

// on_readable of a set of signals fires when one of them is pending, or the set is closed. It takes none: try_wait does, which
// finds nothing where another goroutine was faster.
template <class F>
auto on_readable(const net::signal_set& s, F f) {
    return detail::ready_case<F>(net::detail::socket_access::handle(s), false, std::move(f));
}

// on_accept fires when a connection has been accepted, and calls f(stream). If the process has no descriptor left for it, it fires
// and waits as accept does; if the listener is closed it fires, and throws net_errc::closed.
template <class Listener, class F>
    requires std::invocable<F&, typename Listener::stream_type>
auto on_accept(Listener& l, F f) {
    return detail::accept_case<Listener, F>(l, std::move(f));
}

}  // namespace handoff
