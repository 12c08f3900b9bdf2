// watch: a value of which receivers want the newest.
#pragma once

#include <handoff/detail/receiving.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace handoff {

// A value that changes, and receivers that are told of it. Who is slow misses values, but never the last one: for
// configurations, states, progress. (channel and broadcast are for values each of which counts.)
//
// T is copied and assigned, and update's function runs, under a handoff::mutex. Any code may run there, but for code that uses
// this watch or its receivers. Functions may switch; any thread. The watch may be destroyed while receivers are left; they are
// told that it is closed.
template <std::copyable T>
class watch {
    struct state : detail::sender_state {
        explicit state(T first) : value(std::move(first)) {}
        T value;                     // all under the lock
        std::uint64_t version = 1;   // of the value; 0 is none
    };

public:
    class receiver;

    explicit watch(T first = T()) : s_(std::make_shared<state>(std::move(first))) {}
    ~watch() { close(); }
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;

    // set replaces the value, and wakes all who wait for it. Throws usage_error if the watch is closed, and what the
    // assignment throws; receivers are not told of it then. Linear in those that it wakes.
    void set(T value) {
        update([&](T& v) { v = std::move(value); });
    }
    // update does the same by f(value), which changes it in place.
    template <std::invocable<T&> F>
    void update(F f) {
        {
            const std::scoped_lock hold(s_->lock);
            if (s_->closed) throw usage_error("handoff: a closed watch is set");
            std::invoke(f, s_->value);
            ++s_->version;
        }
        s_->changed.notify_all();
    }

    // get returns a copy of the value.
    T get() const {
        const std::scoped_lock hold(s_->lock);
        return s_->value;
    }

    // subscribe returns a new receiver. It has not seen the present value.
    receiver subscribe() const { return receiver(s_); }

    // close says that there will be no more values. It does nothing if the watch is closed.
    void close() noexcept { s_->close(); }

private:
    std::shared_ptr<state> s_;
};

// Waits are cancellation points; an exception leaves the receiver as it was. A copy has seen what the original has. Only one
// thread or goroutine at a time may use a receiver. It may outlive the watch. (One that was moved from may only be destroyed
// or assigned to.)
template <std::copyable T>
class watch<T>::receiver {
public:
    // get returns a copy of the newest value, which this receiver has seen then; also of a watch that is closed.
    T get() {
        const std::scoped_lock hold(s_->lock);
        return see();
    }

    // next waits until there is a value that this receiver has not seen, and returns a copy of the newest. Empty if the watch
    // is closed and the receiver has seen the last one. A requested stop ends the wait by the exception `cancelled`.
    std::optional<T> next() { return next_by(detail::without_end()); }
    std::optional<T> next(const std::stop_token& stop) { return next_by(detail::until_stop{stop}); }
    // try_next does not wait: empty if it has seen the newest. next_for and next_until are empty also if the time was over;
    // they never give up early.
    std::optional<T> try_next() { return next_by(detail::at_no_time()); }
    template <class Rep, class Period>
    std::optional<T> next_for(std::chrono::duration<Rep, Period> d) {
        return next_by(detail::within<Rep, Period>{d});
    }
    template <detail::clock_type Clock, class Duration>
    std::optional<T> next_until(std::chrono::time_point<Clock, Duration> t) {
        return next_by(detail::until<Clock, Duration>{t});
    }

    // changed waits as next does, and says whether there is a value that this receiver has not seen. Only get and next count
    // as seeing it. changed_for and changed_until are false also if the time was over.
    bool changed() { return changed_by(detail::without_end()); }
    bool changed(const std::stop_token& stop) { return changed_by(detail::until_stop{stop}); }
    template <class Rep, class Period>
    bool changed_for(std::chrono::duration<Rep, Period> d) {
        return changed_by(detail::within<Rep, Period>{d});
    }
    template <detail::clock_type Clock, class Duration>
    bool changed_until(std::chrono::time_point<Clock, Duration> t) {
        return changed_by(detail::until<Clock, Duration>{t});
    }

    // closed says whether the watch is closed; there may be a value that this receiver has not seen.
    bool closed() const {
        const std::scoped_lock hold(s_->lock);
        return s_->closed;
    }

private:
    friend watch;
    explicit receiver(std::shared_ptr<state> s) noexcept : s_(std::move(s)) {}

    template <class Wait>
    std::optional<T> next_by(const Wait& wait) {
        std::unique_lock hold(s_->lock);
        if (!await(wait, hold)) return std::nullopt;
        return see();
    }
    template <class Wait>
    bool changed_by(const Wait& wait) {
        std::unique_lock hold(s_->lock);
        return await(wait, hold);
    }

    // The rest is called with the lock.
    bool is_new() const noexcept { return seen_ != s_->version; }
    template <class Wait>
    bool await(const Wait& wait, std::unique_lock<mutex>& hold) {
        wait(*s_, hold, [this] { return is_new() || s_->closed; });
        return is_new();
    }
    T see() {
        T copy = s_->value;
        seen_ = s_->version;
        return copy;
    }

    std::shared_ptr<state> s_;
    std::uint64_t seen_ = 0;   // the version
};

}  // namespace handoff
