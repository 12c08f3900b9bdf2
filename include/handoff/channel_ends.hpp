// sender<T> and receiver<T>: the two ends of a channel, which close it when the last one on a side is gone.
//
//     auto [tx, rx] = make_channel<job>(16);
//     for (int i = 0; i < 4; ++i) go([tx] { produce(tx); });
//     tx = {};                              // the producers have the others
//     for (job& j : rx) run(j);             // ends after the last producer
#pragma once

#include <handoff/channel.hpp>

#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace handoff {

namespace detail {

// Shared by the handles of one side; the last one closes the channel.
template <class T>
struct channel_end {
    explicit channel_end(channel<T> c) noexcept : ch(std::move(c)) {}
    ~channel_end() { close_if_open(channel_access::of(ch)); }
    channel_end(const channel_end&) = delete;
    channel_end& operator=(const channel_end&) = delete;

    const channel<T> ch;
};

template <class T>
class end_handle {
public:
    using value_type = T;
    using moves_quietly = std::true_type;

    // The channel, for a select or a function that takes one. Using a handle that is empty or was moved from throws
    // usage_error.
    const channel<T>& chan() const noexcept { return end_ ? end_->ch : none; }
    bool closed() const noexcept { return chan().closed(); }
    std::size_t len() const noexcept { return chan().len(); }
    std::size_t cap() const noexcept { return chan().cap(); }
    explicit operator bool() const noexcept { return end_ != nullptr; }

protected:
    end_handle() noexcept = default;
    explicit end_handle(const channel<T>& ch) : end_(std::make_shared<channel_end<T>>(ch)) {}
    ~end_handle() = default;
    end_handle(const end_handle&) noexcept = default;
    end_handle(end_handle&&) noexcept = default;
    end_handle& operator=(const end_handle&) noexcept = default;
    end_handle& operator=(end_handle&&) noexcept = default;

    std::shared_ptr<channel_end<T>> end() const noexcept { return end_; }

private:
    static inline const channel<T> none;

    std::shared_ptr<channel_end<T>> end_;
};

}  // namespace detail

// The functions are those of channel<T>, in any thread and any goroutine; a copy is another handle of the same side. Once
// the last sender is gone the channel is closed: receivers get the values that are left, then empty ones. Once the last
// receiver is gone sending throws channel_closed. Dropping a handle may switch, as channel::close() may; it never waits.

template <class T>
class sender : public detail::end_handle<T> {
public:
    sender() noexcept = default;   // empty
    explicit sender(const channel<T>& ch) : detail::end_handle<T>(ch) {}

    void send(T value) const { this->chan().send(std::move(value)); }
    void send(T value, const std::stop_token& stop) const { this->chan().send(std::move(value), stop); }
    bool try_send(T&& value) const { return this->chan().try_send(std::move(value)); }
    bool try_send(const T& value) const { return this->chan().try_send(value); }
    template <class V, class Rep, class Period>
    bool send_for(V&& value, std::chrono::duration<Rep, Period> d) const {
        return this->chan().send_for(std::forward<V>(value), d);
    }
    template <class V, detail::clock_type Clock, class Duration>
    bool send_until(V&& value, std::chrono::time_point<Clock, Duration> t) const {
        return this->chan().send_until(std::forward<V>(value), t);
    }
};

template <class T>
class receiver : public detail::end_handle<T> {
public:
    receiver() noexcept = default;   // empty
    explicit receiver(const channel<T>& ch) : detail::end_handle<T>(ch) {}

    std::optional<T> recv() const { return this->chan().recv(); }
    std::optional<T> recv(const std::stop_token& stop) const { return this->chan().recv(stop); }
    std::optional<T> try_recv() const { return this->chan().try_recv(); }
    template <class Rep, class Period>
    std::optional<T> recv_for(std::chrono::duration<Rep, Period> d) const {
        return this->chan().recv_for(d);
    }
    template <detail::clock_type Clock, class Duration>
    std::optional<T> recv_until(std::chrono::time_point<Clock, Duration> t) const {
        return this->chan().recv_until(t);
    }

    // for (T& value : rx), as over a channel. The loop counts as a receiver, so its body may drop rx.
    class iterator : public channel<T>::iterator {
    public:
        iterator() noexcept = default;
        iterator& operator++() {
            channel<T>::iterator::operator++();
            return *this;
        }
        void operator++(int) { ++*this; }

    private:
        friend receiver;
        explicit iterator(const receiver& rx) : channel<T>::iterator(rx.chan().begin()), kept_(rx.detail::end_handle<T>::end()) {}
        std::shared_ptr<detail::channel_end<T>> kept_;
    };
    iterator begin() const { return iterator(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }
};

// make_channel makes a channel and its first sender and receiver. Throws what the constructors of channel throw.
template <class T>
std::pair<sender<T>, receiver<T>> make_channel(std::size_t capacity) {
    const channel<T> ch(capacity);
    return {sender<T>(ch), receiver<T>(ch)};
}
template <class T>
std::pair<sender<T>, receiver<T>> make_channel(unbounded_t how) {
    const channel<T> ch(how);
    return {sender<T>(ch), receiver<T>(ch)};
}

}  // namespace handoff
