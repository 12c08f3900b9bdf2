// Brackets around calls that may block.
//
// Between entersyscall() and exitsyscall() the goroutine needs no processor; if the call lasts, another thread takes
// it over and runs the other goroutines. When nothing blocks, a pair costs a few plain stores.
//
// From when entersyscall() has returned to the goroutine's next call of the library after exitsyscall() it stays on its
// thread. So what the call leaves behind for its thread is right after the pair: errno, OpenSSL's errors, git_error_last().
//
// On a thread that is no goroutine all of these do nothing. The pair nests: only the outermost one counts. The code in
// between may use the whole library, and wait in it (a callback that spawns, or sends): it then holds a processor for that
// time, and its goroutine is tied to its thread, as by lock_os_thread(), until the outermost pair ends. It is not cancelled
// by its task group before that.
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

// entersyscall: the calling goroutine is about to make a call that may block (adaptive). Switches, and may go on on another
// thread, before the call begins, if the goroutine's time slice is over, or if it has no processor and threads are short;
// options::on_unguarded_call may be called here. errno is kept.
HANDOFF_API void entersyscall() noexcept;
HANDOFF_API void entersyscall(handoff_policy) noexcept;

// entersyscallblock: as entersyscall with handoff_policy::immediate.
HANDOFF_API void entersyscallblock() noexcept;

// exitsyscall: the call is over. Goes on at once, on the same thread, with the processor if that is still there, else without
// one: the goroutine gets one when it next enters the library, and may wait, and change threads, there. Does not switch
// (in a simulation it is one of the places where another may go on). errno is kept.
HANDOFF_API void exitsyscall() noexcept;

// syscall_guard is the pair as a scope.
//
// After it errno is the call's, on the same thread. But a function that used errno before the guard, too, may have the
// compiler remember where it was then, and the goroutine may have moved as the guard began: last_errno() always looks here.
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
// the call's. It may switch as entersyscall does, before f, and not after it.
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
