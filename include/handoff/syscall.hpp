// Brackets around calls that may block.
//
// Between entersyscall() and exitsyscall() the goroutine needs no processor; if the call lasts, another thread takes
// it over and runs the other goroutines. When nothing blocks, a pair costs a few plain stores.
//
// On a thread that is no goroutine all of these do nothing. The pair nests, and the code in between may use the whole
// library (a callback that spawns, or sends): it then holds a processor for that time.
#pragma once

#include <handoff/detail/export.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace handoff {

enum class handoff_policy {
    adaptive,   // `sysmon` for a goroutine whose calls return quickly, `immediate` for one whose calls lasted
    sysmon,     // keep the processor; the monitor takes it once the call lasts longer than options::syscall_grace
    immediate,  // hand the processor off before the call
};

// entersyscall: the calling goroutine is about to make a call that may block (adaptive). Does not switch.
HANDOFF_API void entersyscall() noexcept;
HANDOFF_API void entersyscall(handoff_policy) noexcept;

// entersyscallblock: as entersyscall with handoff_policy::immediate.
HANDOFF_API void entersyscallblock() noexcept;

// exitsyscall: the call is over. Goes on at once if the processor is still there or another is free, else the
// goroutine waits for one in the global queue and may go on on another thread. errno is kept.
HANDOFF_API void exitsyscall() noexcept;

// syscall_guard is the pair as a scope.
//
// errno is kept, but a compiler may remember *where* errno was before the goroutine moved: read it with
// last_errno() after the guard, or use blocking_call and its result.
class [[nodiscard]] syscall_guard {
public:
    explicit syscall_guard(handoff_policy policy = handoff_policy::adaptive) noexcept {
        if (policy == handoff_policy::adaptive) entersyscall();
        else entersyscall(policy);
    }
    ~syscall_guard() { exitsyscall(); }
    syscall_guard(const syscall_guard&) = delete;
    syscall_guard& operator=(const syscall_guard&) = delete;
};

// blocking_call calls f(args...) under a guard and returns what it returned; an exception passes through, errno is
// the call's.
template <class F, class... Args>
    requires std::invocable<F, Args...>
decltype(auto) blocking_call(F&& f, Args&&... args) {
    syscall_guard guard;
    return std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
}

template <class F, class... Args>
    requires std::invocable<F, Args...>
decltype(auto) blocking_call(handoff_policy policy, F&& f, Args&&... args) {
    syscall_guard guard(policy);
    return std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace handoff
