// Blocking calls that can be cancelled: by the goroutine's task group, or through a stop token.
//
// A goroutine in a system call can't be woken as one that waits in the library can. So a cancellation does nothing to a call
// under a guard, unless the program says what ends the call: a canceller, which writes to a pipe, shuts a socket down, calls
// PQcancel.
//
//     PGresult* r = handoff::blocking_call(handoff::cancel_with([&] { PQcancel(handle, error, sizeof error); }),
//                                          PQexec, connection, text);
#pragma once

#include <handoff/cancellation.hpp>
#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/error.hpp>
#include <handoff/syscall.hpp>
#include <handoff/timer.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

// What a call needs to know before its guard begins: under a guard, task groups cancel nothing.
struct HANDOFF_API call_plan {
    // A null token: that of the goroutine's task group. Throws usage_error: `repeat` is set, and there is no runtime for it.
    call_plan(const std::stop_token* stop, std::int64_t repeat);

    std::stop_token stop;
    std::int64_t repeat;      // in ns; 0: the canceller is called once
    sched* of = nullptr;      // the runtime that repeats it
};

struct repetition;

// cancellable_call exists while a call can be cancelled. It is made and destroyed under the call's guard. The protocol is at the
// head of src/sync/cancellable_call.cpp.
class cancellable_call {
public:
    // canceller(arg) ends the call.
    HANDOFF_API cancellable_call(const call_plan& plan, void (*canceller)(void* arg) noexcept, void* arg);
    HANDOFF_API ~cancellable_call();   // keeps errno
    cancellable_call(const cancellable_call&) = delete;
    cancellable_call& operator=(const cancellable_call&) = delete;

    HANDOFF_API void begins();   // throws `cancelled`: a stop was requested before
    HANDOFF_API void ended();    // throws `cancelled`: a stop was requested meanwhile

private:
    struct stop_comes {
        cancellable_call* c;
        void operator()() const noexcept { c->stop(); }
    };
    HANDOFF_API void stop() noexcept;
    void repeat();

    const call_plan& plan_;
    void (*const canceller_)(void*) noexcept;
    void* const arg_;
    base::atomic<unsigned> progress_{0};
    std::shared_ptr<repetition> repeated_;   // these two: set by the callback, used by the owner once that is removed
    std::optional<timer_handle> again_;
    std::optional<stop_callback<stop_comes>> on_stop_;
};

}  // namespace detail

// What cancel_with returns, for blocking_call.
template <std::invocable F>
class call_canceller {
public:
    // The canceller is called again at this interval until the call has returned: for cancellers whose effect is lost if they
    // come just before the call blocks, such as a signal. The repetitions are made in new goroutines of the calling goroutine's
    // runtime, never two at a time; off a goroutine in the default runtime, if the program has asked for that
    // (default_runtime() in runtime.hpp), otherwise the call throws usage_error. A millisecond is a good interval; much
    // less keeps a processor busy. Throws usage_error unless interval > 0.
    template <class Rep, class Period>
    call_canceller every(std::chrono::duration<Rep, Period> interval) && {
        repeat_ = detail::in_range(interval).count();
        if (repeat_ <= 0) throw usage_error("handoff: the interval of a canceller is not positive");
        return std::move(*this);
    }

private:
    template <class C>
    friend call_canceller<std::decay_t<C>> cancel_with(C&& canceller);
    template <class C>
    friend call_canceller<std::decay_t<C>> cancel_with(std::stop_token stop, C&& canceller);
    template <class C, class G, class... Args>
        requires std::invocable<G, Args...>
    friend std::invoke_result_t<G, Args...> blocking_call(call_canceller<C> by, G&& f, Args&&... args);

    template <class C>
    call_canceller(std::optional<std::stop_token> stop, C&& f) : stop_(std::move(stop)), f_(std::forward<C>(f)) {}
    static void call(void* self) noexcept { static_cast<call_canceller*>(self)->f_(); }

    std::optional<std::stop_token> stop_;   // none: that of the task group
    F f_;
    std::int64_t repeat_ = 0;
};

// cancel_with says how blocking_call can end its call early. The canceller is called when the calling goroutine's task group is
// cancelled, by its deadline too; or, with a token, when a stop is requested there (that works on any thread). Without a group,
// under a cancellation_blocker, within another guard, and while an exception unwinds the stack, a group does not call it.
//
// The canceller is called on the thread or goroutine that requests the stop, as by handoff::stop_callback: see there and at
// request_stop in cancellation.hpp. It must not throw.
template <class F>
call_canceller<std::decay_t<F>> cancel_with(F&& canceller) {
    return {std::nullopt, std::forward<F>(canceller)};
}
template <class F>
call_canceller<std::decay_t<F>> cancel_with(std::stop_token stop, F&& canceller) {
    return {std::move(stop), std::forward<F>(canceller)};
}

// blocking_call calls f(args...) under a guard, as the one in syscall.hpp does, and calls the canceller, once, if a stop is
// requested meanwhile. Which of the two came first is decided once:
//
// - The stop came before the call: f is not called, nor is the canceller. Throws `cancelled`.
// - It came before f had returned: throws `cancelled`, after the canceller has returned, too. The result of f is destroyed, so
//   f has to store what is needed nevertheless: blocking_call(cancel_with(...), [&] { n = ::read(fd, buffer, size); }). If f
//   throws, its exception passes, in place of `cancelled`.
// - It came later, or not at all: the canceller is not called. Returns what f returned; errno is the call's.
//
// The canceller may thus still run, for a moment, when f has returned, but not when blocking_call has. A result that is no
// reference must be movable. In a simulation a stop can come only while f lets other goroutines run.
template <class C, class F, class... Args>
    requires std::invocable<F, Args...>
std::invoke_result_t<F, Args...> blocking_call(call_canceller<C> by, F&& f, Args&&... args) {
    using R = std::invoke_result_t<F, Args...>;
    const detail::call_plan plan(by.stop_ ? &*by.stop_ : nullptr, by.repeat_);
    const syscall_guard guard;
    detail::cancellable_call call(plan, call_canceller<C>::call, &by);
    call.begins();
    if constexpr (std::is_void_v<R>) {
        std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
        call.ended();
    } else {
        R&& result = std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
        call.ended();
        return std::forward<R>(result);
    }
}

}  // namespace handoff
