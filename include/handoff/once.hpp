// call_once: the first caller runs a function, the others wait until that is done.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/misuse.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

namespace handoff {

class once_flag;

namespace detail {

struct wrong_call_once {
    template <class F>
    HANDOFF_MISUSE("call_once(flag, f, args...): f can't be called with these arguments, which are passed on as they "
                   "are. Put the call into a lambda: call_once(flag, [&] { f(x); })")
    wrong_call_once(F&&) {}
};

}  // namespace detail

template <class F, class... Args>
    requires std::invocable<F, Args...>
void call_once(once_flag& flag, F&& f, Args&&... args);

// Four bytes, one of which would hold the state. Any thread.
class once_flag {
public:
    constexpr once_flag() noexcept = default;
    once_flag(const once_flag&) = delete;
    once_flag& operator=(const once_flag&) = delete;

private:
    template <class F, class... Args>
        requires std::invocable<F, Args...>
    friend void call_once(once_flag& flag, F&& f, Args&&... args);

    static constexpr std::uint32_t fresh = 0, running = 1, contended = 2, done = 3;   // contended: running, and others wait

    HANDOFF_API bool begin();                        // true: the caller has to run the function
    HANDOFF_API void end(std::uint32_t state) noexcept;

    base::atomic<std::uint32_t> state_{fresh};
};

// call_once calls f(args...) unless a call with this flag has succeeded already, and returns once one has. While one is
// running, other callers wait. If f throws, the exception goes to its caller, and the next caller tries. f may park. No
// cancellation point.
template <class F, class... Args>
    requires std::invocable<F, Args...>
void call_once(once_flag& flag, F&& f, Args&&... args) {
    // acquire: pairs with the release in end(), for what the function did.
    if (flag.state_.load(std::memory_order_acquire) == detail::never_if_closed(once_flag::done)) [[likely]] return;
    if (!flag.begin()) return;
    struct ender {
        once_flag& flag;
        std::uint32_t state = once_flag::fresh;
        ~ender() { flag.end(state); }
    } at_end{flag};
    std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
    at_end.state = once_flag::done;
}

template <class... Args>
void call_once(once_flag&, detail::wrong_call_once, Args&&...) {}

}  // namespace handoff
