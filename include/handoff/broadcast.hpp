// broadcast: each receiver gets each value.
#pragma once

#include <handoff/detail/receiving.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

namespace handoff {

// Whoever sends never waits, and each receiver gets each value sent since it subscribed, in order. The last `capacity` values
// are kept, until newer ones take their place, whether they have been received or not. A receiver that is further behind
// loses the oldest, and can tell how many. (channel gives each value to one receiver, and makes senders wait; watch keeps the
// newest value alone.)
//
// T is copied, moved and destroyed under a handoff::mutex. Any code may run there, but for code that uses this broadcast or its
// receivers. Functions may switch; any thread. The broadcast may be destroyed while receivers are left: they get the values that
// they have not received yet, then empty ones.
template <std::copy_constructible T>
class broadcast {
    struct state : detail::sender_state {
        explicit state(std::size_t most) noexcept : capacity(most) {}
        const std::size_t capacity;
        std::deque<T> values;      // all under the lock
        std::uint64_t sent = 0;    // number of values so far
        std::uint64_t oldest() const noexcept { return sent - values.size(); }   // of those that are kept
    };

public:
    class receiver;

    // Throws usage_error if the capacity is 0.
    explicit broadcast(std::size_t capacity) : s_(std::make_shared<state>(capacity)) {
        if (capacity == 0) throw usage_error("handoff: a broadcast of capacity 0 would lose each value");
    }
    ~broadcast() { close(); }
    broadcast(const broadcast&) = delete;
    broadcast& operator=(const broadcast&) = delete;

    // send sends a value, and wakes all who wait for one. Throws channel_closed if the broadcast is closed, std::bad_alloc, and
    // what moving the value throws; nothing was sent then. Linear in those that it wakes.
    void send(T value) {
        {
            const std::scoped_lock hold(s_->lock);
            if (s_->closed) throw channel_closed();
            s_->values.push_back(std::move(value));
            if (s_->values.size() > s_->capacity) s_->values.pop_front();
            ++s_->sent;
        }
        s_->changed.notify_all();
    }

    // subscribe returns a new receiver: it gets what is sent from now on.
    receiver subscribe() const {
        const std::scoped_lock hold(s_->lock);
        return receiver(s_, s_->sent);
    }

    // close says that nothing more will be sent. It does nothing if the broadcast is closed.
    void close() noexcept { s_->close(); }

private:
    std::shared_ptr<state> s_;
};

// Waits are cancellation points; an exception leaves the receiver as it was, also one that copying the value throws. A copy
// goes on where the original is. Only one thread or goroutine at a time may use a receiver. It may outlive the broadcast. (One
// that was moved from may only be destroyed or assigned to.)
template <std::copy_constructible T>
class broadcast<T>::receiver {
public:
    // recv waits for the next value, and returns a copy. Empty if the broadcast is closed and nothing is left. A requested stop
    // ends the wait by the exception `cancelled`.
    std::optional<T> recv() { return recv_by(detail::without_end()); }
    std::optional<T> recv(const std::stop_token& stop) { return recv_by(detail::until_stop{stop}); }
    // try_recv does not wait: empty if there is no value now. recv_for and recv_until are empty also if the time was over; they
    // never give up early.
    std::optional<T> try_recv() { return recv_by(detail::at_no_time()); }
    template <class Rep, class Period>
    std::optional<T> recv_for(std::chrono::duration<Rep, Period> d) {
        return recv_by(detail::within<Rep, Period>{d});
    }
    template <detail::clock_type Clock, class Duration>
    std::optional<T> recv_until(std::chrono::time_point<Clock, Duration> t) {
        return recv_by(detail::until<Clock, Duration>{t});
    }

    // missed says how many values this receiver has lost so far, all in all: those that were sent since it subscribed, and
    // that it has not received and never will.
    std::uint64_t missed() const {
        const std::scoped_lock hold(s_->lock);
        return missed_ + lost();
    }

    // closed says whether the broadcast is closed; there may be values left to receive.
    bool closed() const {
        const std::scoped_lock hold(s_->lock);
        return s_->closed;
    }

private:
    friend broadcast;
    receiver(std::shared_ptr<state> s, std::uint64_t next) noexcept : s_(std::move(s)), next_(next) {}

    template <class Wait>
    std::optional<T> recv_by(const Wait& wait) {
        std::unique_lock hold(s_->lock);
        const auto there_is_one = [this] { return next_ != s_->sent; };
        wait(*s_, hold, [&] { return there_is_one() || s_->closed; });
        if (!there_is_one()) return std::nullopt;
        const std::uint64_t gone = lost();
        std::optional<T> copy(s_->values[static_cast<std::size_t>(next_ + gone - s_->oldest())]);
        missed_ += gone;
        next_ += gone + 1;
        return copy;
    }

    // lost says how many of those that it has not received yet are kept no more. With the lock.
    std::uint64_t lost() const noexcept { return next_ < s_->oldest() ? s_->oldest() - next_ : 0; }

    std::shared_ptr<state> s_;
    std::uint64_t next_;         // the number of the value that it gets next, counted from the first that was sent
    std::uint64_t missed_ = 0;
};

}  // namespace handoff
