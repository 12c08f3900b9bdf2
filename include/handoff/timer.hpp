// Timers as objects: timer, ticker, after. To wait with a time limit, use the timed form of the wait.
#pragma once

#include <handoff/channel.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/misuse.hpp>
#include <handoff/goroutine.hpp>

#include <chrono>
#include <functional>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

struct timer_state;

struct timer_handle {
    timer_handle() noexcept = default;
    // Starts a timer. A null function: it sends the time to `ch`. period 0: it fires once. A null runtime: the maker's.
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

// start_owned_timer gives c a timer that c owns. A null runtime: the maker's.
HANDOFF_API void start_owned_timer(channel_of<std::chrono::steady_clock::time_point>& c, std::int64_t when, sched* of = nullptr);

// std::function itself says so only by a static_assert.
template <class F>
concept timer_function = std::is_convertible_v<F, std::function<void()>> && std::is_copy_constructible_v<F>;

struct wrong_timer_function {
    template <class F>
        requires(!timer_function<std::decay_t<F>>)
    HANDOFF_MISUSE("timer(d, f): f is kept in a std::function<void()>, so it must be callable without arguments, and "
                   "copyable. For what can't be copied capture a std::shared_ptr")
    wrong_timer_function(F&&) {}
};

}  // namespace detail

// timer does something once, later: it sends the time to its channel, or calls a function in a new goroutine. It belongs to
// the runtime that is named as the first argument, otherwise to that of the goroutine that makes it. Made off a goroutine,
// with no runtime named, it belongs to the default runtime if the program has asked for that (default_runtime() in
// runtime.hpp); otherwise its constructor throws usage_error. It does not keep a runtime alive, and never fires once its
// runtime has ended. Movable; dropping it stops it. Deadlines are in nanoseconds of the steady clock; it never fires early.
// While it waits it uses no goroutine and no thread.
//
// Its functions may be called from any thread, but only by one at a time. The constructors and reset throw std::bad_alloc,
// and usage_error if the runtime has ended.
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
    template <class Rep, class Period, detail::timer_function F = std::function<void()>>
    timer(std::chrono::duration<Rep, Period> d, F f)
        : handle_({}, std::move(f), detail::deadline_after(d), 0) {}
    template <class Rep, class Period, detail::timer_function F = std::function<void()>>
    timer(runtime& rt, std::chrono::duration<Rep, Period> d, F f)
        : handle_({}, std::move(f), detail::deadline_after(d), 0, detail::sched_of(rt)) {}
    template <class Rep, class Period>
    timer(std::chrono::duration<Rep, Period>, detail::wrong_timer_function) {}
    template <class Rep, class Period>
    timer(runtime&, std::chrono::duration<Rep, Period>, detail::wrong_timer_function) {}

    // The channel to which the time is sent; a handle without a channel if the timer calls a function.
    channel<time_point> chan() const noexcept { return ch_; }

    // stop works as in Go since 1.23. It returns true if nobody will notice this timer any more: it had not fired yet, or
    // nobody had received the time, which stop takes back. It returns false if somebody has received the time, if the
    // function has been started, or if the timer had been stopped before. After stop() the channel is empty: no time from
    // before is left in it. stop may switch.
    bool stop() noexcept { return handle_.stop(); }

    // reset starts the timer again, to fire after d. It returns what stop() would.
    template <class Rep, class Period>
    bool reset(std::chrono::duration<Rep, Period> d) {
        return handle_.start(detail::deadline_after(d), 0);
    }

private:
    channel<time_point> ch_;
    detail::timer_handle handle_;
};

// ticker sends the time to its channel once every period: at start + n * period. At most one time lies ready in the
// channel, so a slow receiver misses ticks. Its runtime, and everything else, is as for timer.
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

// after returns a channel to which the time is sent once, after d. Its runtime is chosen as for timer. When the last handle
// to the channel goes, the timer goes too; so an after() that nobody waits for any longer, as in a loop around a select,
// costs nothing. Dropping that handle may switch, as stopping a timer may.
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
