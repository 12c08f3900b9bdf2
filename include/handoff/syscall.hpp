// Brackets: a pair of functions to call before and after a call that may block.
//
// Between entersyscall() and exitsyscall() the goroutine needs no processor. If the call lasts, another thread takes the
// processor and runs the other goroutines. When nothing blocks, a pair costs a few plain stores.
//
// From the return of entersyscall() until its first library call after exitsyscall(), the goroutine stays on its thread. So
// what the call leaves behind for its thread is right after the pair: errno, OpenSSL's errors, git_error_last().
//
// On a thread that runs no goroutine, all of these functions do nothing. Pairs nest; only the outermost one counts. The
// code in between may use the whole library, and wait in it (for example a callback that spawns or sends). The goroutine
// then holds a processor while it is in the library, and it is tied to its thread, as by lock_os_thread(), until the
// outermost pair ends. Its task group does not cancel it before that.
#pragma once

#include <handoff/detail/export.hpp>
#include <handoff/detail/misuse.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace handoff {

enum class handoff_policy {
    adaptive,   // `sysmon` for a goroutine whose calls return quickly, `immediate` for one whose calls have lasted
    sysmon,     // keep the processor; the monitor takes it once the call lasts longer than options::syscall_grace
    immediate,  // hand the processor off before the call
};

// entersyscall announces that the calling goroutine is about to make a call that may block. The default policy is adaptive.
// Before the call begins it may switch, and the goroutine may continue on another thread: if its time slice is over, or if
// it has no processor and threads are short. It may also call options::on_unguarded_call. errno is kept.
HANDOFF_API void entersyscall() noexcept;
HANDOFF_API void entersyscall(handoff_policy) noexcept;

// entersyscallblock is entersyscall with handoff_policy::immediate.
HANDOFF_API void entersyscallblock() noexcept;

// exitsyscall says that the call is over. The goroutine continues at once, on the same thread, with its processor if nobody
// took that, otherwise without one. In the latter case it gets a processor when it next enters the library; there it may
// wait and change threads. exitsyscall itself does not switch (except in a simulation, where it is one of the places where
// another goroutine may run). errno is kept. Without a matching entersyscall it does nothing, and says so on stderr, the
// 1st, 10th, 100th … time in a runtime.
HANDOFF_API void exitsyscall() noexcept;

// syscall_guard is the pair as a scope.
//
// After it, errno is the call's, on the same thread. But the goroutine may have changed threads as the guard began. If the
// function has also used errno before the guard, the compiler may still use the address of the old thread's errno.
// last_errno() always looks on the present thread.
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

namespace detail {

struct wrong_blocking_call {
    template <class F>
    HANDOFF_MISUSE("blocking_call(f, args...): f can't be called with these arguments, which are passed on as they "
                   "are. Put the call into a lambda: blocking_call([&] { return f(x); })")
    wrong_blocking_call(F&&) {}
};

}  // namespace detail

// blocking_call calls f(args...) under a guard and returns what f returned; an exception passes through, errno is the
// call's. It may switch before f, as entersyscall does, but not after f. The form with a lambda takes any code:
//
//     ssize_t n = handoff::blocking_call([&] { return ::read(fd, buffer, size); });
//     ssize_t m = handoff::blocking_call(::write, fd, buffer, size);   // a function that is neither overloaded nor a macro
//
// A lambda returns a copy unless it says `-> decltype(auto)` or `-> T&`; HANDOFF_BLOCKING below returns what the call returns.
// Calls that can be cancelled: cancellable_call.hpp.
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

template <class... Args>
detail::misused blocking_call(detail::wrong_blocking_call, Args&&...) { return {}; }

}  // namespace handoff

// HANDOFF_BLOCKING(expression) evaluates the expression under a guard, inside of a function, and returns what it returns, a
// reference included; errno is the call's. For functions that are overloaded, or are macros:
//
//     int fd = HANDOFF_BLOCKING(::open(path, O_RDONLY));
#define HANDOFF_BLOCKING(...) (::handoff::blocking_call([&]() -> decltype(auto) { return (__VA_ARGS__); }))
