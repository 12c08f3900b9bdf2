// call_once: something that is done by the first who needs it, while the others wait.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_ways.hpp>

#include <cstdint>
#include <functional>
#include <utility>

namespace handoff {

class once_flag;

template <class F, class... Args>
void call_once(once_flag& flag, F&& f, Args&&... args);

// One byte's worth of state in four. Any thread.
class once_flag {
public:
    constexpr once_flag() noexcept = default;
    once_flag(const once_flag&) = delete;
    once_flag& operator=(const once_flag&) = delete;

private:
    template <class F, class... Args>
    friend void call_once(once_flag& flag, F&& f, Args&&... args);

    static constexpr std::uint32_t fresh = 0, running = 1, contended = 2, done = 3;   // contended: and others wait

    HANDOFF_API bool begin();                        // true: the caller shall do it
    HANDOFF_API void end(std::uint32_t state) noexcept;

    base::atomic<std::uint32_t> state_{fresh};
};

// call_once calls f(args...) if nobody has with this flag, and returns once somebody has, successfully: if f throws, the
// exception goes to that caller, and the next one tries. The function may park. No cancellation point.
template <class F, class... Args>
void call_once(once_flag& flag, F&& f, Args&&... args) {
    // acquire: what the function did.
    if (flag.state_.load(std::memory_order_acquire) == detail::or_never(once_flag::done)) [[likely]] return;
    if (!flag.begin()) return;
    struct ender {
        once_flag& flag;
        std::uint32_t state = once_flag::fresh;
        ~ender() { flag.end(state); }
    } at_end{flag};
    std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
    at_end.state = once_flag::done;
}

}  // namespace handoff
