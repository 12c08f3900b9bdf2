// Cancellation: how a goroutine of a task group learns that it should end.
//
// A cancelled goroutine is not stopped; its next cancellation point throws `cancelled`, which unwinds it like any
// exception. Cancellation points are the functions that wait for others or for time: sleeps, sending to, receiving from and
// selecting among channels, join, waits of condition variables, semaphores, wait groups, latches and barriers. One that is
// waiting when the cancellation comes ends at once; one that need not wait may go through. Locking a mutex is none, nor is
// a system call under a guard. While an exception unwinds the stack nothing is cancelled, nor under a
// cancellation_blocker, so that clean-up code can wait.
#pragma once

#include <handoff/detail/export.hpp>

#include <concepts>
#include <cstddef>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace this_goroutine {

// cancelled says whether the current goroutine's task group is; false off a group, and off a goroutine. A blocker does
// not change it.
HANDOFF_API bool cancelled() noexcept;

// check_cancelled is a cancellation point that does not wait.
HANDOFF_API void check_cancelled();

// stop_token is the token of the current goroutine's task group, for code that knows std::stop_token; without a group one
// that never stops. Callbacks on it run where the group is cancelled: see request_stop. They should not wait.
HANDOFF_API std::stop_token stop_token();

}  // namespace this_goroutine

// request_stop is source.request_stop() as a goroutine may call it if callbacks use the library. The standard library tells by
// the thread's id whether a callback destroys its own std::stop_callback, which then returns at once, or another thread does,
// which waits for the callback's end. So while callbacks run the goroutine must not be switched away: here, and where the
// library itself requests a stop (task groups), it stays on its thread, where nothing else runs, and gives way to nobody. A
// callback that waits keeps the thread for as long; in a simulation it must not.
//
// Calling source.request_stop() itself is right on a thread that is no goroutine, and on a goroutine if no callback calls the
// library, or each that does is a handoff::stop_callback: the library is not told of it.
HANDOFF_API bool request_stop(std::stop_source& source) noexcept;

namespace detail {

// What keeps a goroutine on its thread in a callback (src/sched/pinned.hpp).
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

// stop_callback is std::stop_callback for callbacks that call the library: whoever requests the stop, and however, the
// goroutine that does stays on its thread while f runs, as under handoff::request_stop.
template <std::invocable F>
class stop_callback {
public:
    using callback_type = F;

    // Calls f at once if the stop has been requested. f must not throw.
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

// cancellation_blocker keeps the current goroutine's cancellation points from throwing while it lives. Blockers nest. On a
// goroutine of no group, and on a thread, it does nothing. To be destroyed by the goroutine that made it.
class cancellation_blocker {
public:
    HANDOFF_API cancellation_blocker() noexcept;
    HANDOFF_API ~cancellation_blocker();
    cancellation_blocker(const cancellation_blocker&) = delete;
    cancellation_blocker& operator=(const cancellation_blocker&) = delete;
};

}  // namespace handoff
