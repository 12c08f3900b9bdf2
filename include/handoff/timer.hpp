// Timers that are objects: timer, ticker, after. For waiting with a limit see the timed forms of every wait.
#pragma once

#include <handoff/channel.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/goroutine.hpp>

#include <chrono>
#include <functional>
#include <utility>

namespace handoff {

namespace detail {

struct timer_state;

struct timer_handle {
    timer_handle() noexcept = default;
    // A null function: the timer sends the time to `ch`. period 0: once. A null runtime: the maker's. Starts it.
    HANDOFF_API timer_handle(channel<std::chrono::steady_clock::time_point> ch, std::function<void()> f, std::int64_t when,
                             std::int64_t period, sched* of = nullptr);
    timer_handle(timer_handle&& other) noexcept : s(std::exchange(other.s, nullptr)) {}
    timer_handle& operator=(timer_handle&& other) noexcept {
        timer_handle old(std::move(*this));   // stops it
        s = std::exchange(other.s, nullptr);
        return *this;
    }
    HANDOFF_API ~timer_handle();   // stops it

    HANDOFF_API bool stop() noexcept;
    HANDOFF_API bool start(std::int64_t when, std::int64_t period);
    void start_first(std::int64_t when, std::int64_t period);   // if it throws there is no timer
    void wait_until_quiet() noexcept;

    timer_state* s = nullptr;
};

// start_owned_timer gives c a timer of its own. A null runtime: the maker's.
HANDOFF_API void start_owned_timer(channel_of<std::chrono::steady_clock::time_point>& c, std::int64_t when, sched* of = nullptr);

}  // namespace detail

// timer does something once, later: it sends the time to its channel, or calls a function in a goroutine of its own. It
// belongs to the runtime that is named first, else to that of the goroutine that makes it. Off a goroutine, with none
// named, it belongs to the default runtime if the program has asked for that (default_runtime() in runtime.hpp); else its
// constructor throws usage_error. It does not keep a runtime alive, and one whose runtime has ended never fires. Movable;
// dropping it stops it. Nanosecond deadlines on the steady clock, never early. A timer takes no goroutine and no thread
// while it waits.
//
// Functions may be called from any thread, by one at a time. The constructors and reset throw std::bad_alloc, and
// usage_error if the runtime has ended.
class timer {
public:
    using time_point = std::chrono::steady_clock::time_point;

    template <class Rep, class Period>
    explicit timer(std::chrono::duration<Rep, Period> d)
        : ch_(1), handle_(ch_, nullptr, detail::deadline_after(d), 0) {}
    template <class Rep, class Period>
    timer(runtime& rt, std::chrono::duration<Rep, Period> d)
        : ch_(1), handle_(ch_, nullptr, detail::deadline_after(d), 0, detail::sched_of(rt)) {}

    // f runs in a new goroutine; it may reset this timer.
    template <class Rep, class Period>
    timer(std::chrono::duration<Rep, Period> d, std::function<void()> f)
        : handle_({}, std::move(f), detail::deadline_after(d), 0) {}
    template <class Rep, class Period>
    timer(runtime& rt, std::chrono::duration<Rep, Period> d, std::function<void()> f)
        : handle_({}, std::move(f), detail::deadline_after(d), 0, detail::sched_of(rt)) {}

    // Where the time is sent; never ready if the timer calls a function.
    channel<time_point> chan() const noexcept { return ch_; }

    // stop, as in Go since 1.23: true if nobody gets to know of this timer any more: it had not fired, or nobody had
    // received the time, which is taken back. False if somebody has received it, if the function has been started, or if
    // it had been stopped before. After it nothing old is left in the channel.
    bool stop() noexcept { return handle_.stop(); }

    // reset starts it anew; it returns what stop() would.
    template <class Rep, class Period>
    bool reset(std::chrono::duration<Rep, Period> d) {
        return handle_.start(detail::deadline_after(d), 0);
    }

private:
    channel<time_point> ch_;
    detail::timer_handle handle_;
};

// ticker sends the time to its channel again and again. A receiver that is slow misses ticks: one lies ready at most. The
// times are start + n * period. Its runtime, and all else, as timer's.
class ticker {
public:
    using time_point = std::chrono::steady_clock::time_point;

    // Throws usage_error unless period > 0.
    template <class Rep, class Period>
    explicit ticker(std::chrono::duration<Rep, Period> period)
        : ch_(1), handle_(ch_, nullptr, detail::deadline_after(checked(period)), checked(period).count()) {}
    template <class Rep, class Period>
    ticker(runtime& rt, std::chrono::duration<Rep, Period> period)
        : ch_(1), handle_(ch_, nullptr, detail::deadline_after(checked(period)), checked(period).count(), detail::sched_of(rt)) {}

    channel<time_point> chan() const noexcept { return ch_; }
    void stop() noexcept { handle_.stop(); }
    template <class Rep, class Period>
    void reset(std::chrono::duration<Rep, Period> period) {
        handle_.start(detail::deadline_after(checked(period)), checked(period).count());
    }

private:
    template <class Rep, class Period>
    static std::chrono::nanoseconds checked(std::chrono::duration<Rep, Period> period) {
        const std::chrono::nanoseconds ns = detail::in_range(period);
        if (ns.count() <= 0) throw usage_error("handoff: a ticker's period is not positive");
        return ns;
    }

    channel<time_point> ch_;
    detail::timer_handle handle_;
};

// after returns a channel on which the time is sent once, after d. Its runtime as timer's. The last handle on it takes the timer along, so one that
// is not waited for any longer, as in a loop around a select, costs nothing; dropping that handle may switch, as stopping a
// timer may.
template <class Rep, class Period>
channel<std::chrono::steady_clock::time_point> after(std::chrono::duration<Rep, Period> d) {
    channel<std::chrono::steady_clock::time_point> ch(1);
    detail::start_owned_timer(*detail::channel_access::of(ch), detail::deadline_after(d));
    return ch;
}
template <class Rep, class Period>
channel<std::chrono::steady_clock::time_point> after(runtime& rt, std::chrono::duration<Rep, Period> d) {
    channel<std::chrono::steady_clock::time_point> ch(1);
    detail::start_owned_timer(*detail::channel_access::of(ch), detail::deadline_after(d), detail::sched_of(rt));
    return ch;
}

}  // namespace handoff
