// Cancellation: how a goroutine of a task group learns that it should end.
//
// A cancelled goroutine is not ended by force. Its next cancellation point throws `cancelled`, which unwinds its stack like
// any exception. Cancellation points are the functions that wait for others or for time: sleeps, sending to, receiving from
// and selecting among channels, join, waits of condition variables, semaphores, events, futures, wait groups, latches and
// barriers, and for values of watches and broadcasts. A wait that is under way when the cancellation comes ends at once. A function that need not wait may succeed instead of
// throwing. Locking a mutex is no cancellation point, nor is a system call under a guard. While an exception unwinds the
// stack nothing is cancelled, nor under a cancellation_blocker, so that clean-up code can wait.
#pragma once

#include <handoff/detail/export.hpp>

#include <concepts>
#include <cstddef>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace this_goroutine {

// cancelled says whether the current goroutine's task group is cancelled. False for a goroutine without a group, and off a
// goroutine. A blocker does not change the answer.
HANDOFF_API bool cancelled() noexcept;

// check_cancelled is a cancellation point that does not wait.
HANDOFF_API void check_cancelled();

// stop_token returns the stop token of the current goroutine's task group, for code that uses std::stop_token; without a
// group, a token that never stops. Callbacks on it run on the goroutine or thread that cancels the group: see request_stop.
// They should not wait.
HANDOFF_API std::stop_token stop_token();

}  // namespace this_goroutine

// request_stop does the same as source.request_stop(). A goroutine has to use it if callbacks use the library. The standard
// library compares thread ids to find out whether a callback destroys its own std::stop_callback, which then returns at
// once, or another thread does, which then waits until the callback has ended. So the goroutine must not be switched away
// while callbacks run. Here, and where the library itself requests a stop (task groups), it stays on its thread, nothing
// else runs there, and it does not yield to others. A callback that waits keeps the thread blocked for that time; in a
// simulation it must not wait.
//
// Calling source.request_stop() directly is right on a thread that runs no goroutine. On a goroutine it is right if no
// callback calls the library, or if each callback that does is a handoff::stop_callback: the library does not see a direct
// call.
HANDOFF_API bool request_stop(std::stop_source& source) noexcept;

namespace detail {

// Keeps a goroutine on its thread while it runs a callback (src/sched/pinned.hpp).
class callback_pin {
public:
    HANDOFF_API callback_pin() noexcept;
    HANDOFF_API ~callback_pin();
    callback_pin(const callback_pin&) = delete;
    callback_pin& operator=(const callback_pin&) = delete;

private:
    alignas(void*) std::byte bytes_[sizeof(void*)];
};

template <class F>
struct pinned_call {
    F f;
    void operator()() && noexcept {
        const callback_pin here;
        std::forward<F>(f)();
    }
};

}  // namespace detail

// stop_callback is a std::stop_callback for callbacks that call the library. Whoever requests the stop, and in whatever
// way: the goroutine that requests it stays on its thread while f runs, as under handoff::request_stop.
template <std::invocable F>
class stop_callback {
public:
    using callback_type = F;

    // Calls f at once if a stop has been requested already. f must not throw.
    template <class C>
        requires std::constructible_from<F, C>
    stop_callback(const std::stop_token& token, C&& f) noexcept(std::is_nothrow_constructible_v<F, C>)
        : callback_(token, detail::pinned_call<F>{std::forward<C>(f)}) {}
    stop_callback(const stop_callback&) = delete;
    stop_callback& operator=(const stop_callback&) = delete;

private:
    std::stop_callback<detail::pinned_call<F>> callback_;
};

template <class F>
stop_callback(std::stop_token, F) -> stop_callback<F>;

// While a cancellation_blocker lives, the current goroutine's cancellation points do not throw. Blockers nest. On a
// goroutine without a group, and on a thread that runs no goroutine, a blocker does nothing. It must be destroyed by the
// goroutine that made it.
class cancellation_blocker {
public:
    HANDOFF_API cancellation_blocker() noexcept;
    HANDOFF_API ~cancellation_blocker();
    cancellation_blocker(const cancellation_blocker&) = delete;
    cancellation_blocker& operator=(const cancellation_blocker&) = delete;
};

}  // namespace handoff
