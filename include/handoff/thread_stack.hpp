// Deep code on the stack of the thread.
//
// A goroutine's stack has a fixed size (options::stack_size), and code that recurses over its input may need more: a regular
// expression, a parser, SQLite with a long statement. call_on_thread_stack runs it on the stack of the goroutine's thread,
// which has the room that threads have in this process (RLIMIT_STACK, `ulimit -s`; 8 MiB as a rule). There are as many of
// these as threads, and of each only what has been used is memory.
#pragma once

#include <handoff/detail/export.hpp>
#include <handoff/detail/task.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

// Throws what f throws.
HANDOFF_API void call_on_thread_stack(void (*f)(void*), void* arg);

}  // namespace detail

// call_on_thread_stack calls f(args...) on the stack of the calling goroutine's thread, and returns what it returned (which has to be
// movable); an exception passes through. It does not switch, at neither end, and costs
// about as much as a switch to another goroutine.
//
// f may do whatever the goroutine may: use the library, also guards, wait, call this again (which then is a plain call). From
// its beginning to the goroutine's next call of the library after its end the goroutine stays on its thread, tied to it as by
// lock_os_thread(): when f waits, its thread waits with it, so what waits for long is better done outside of it.
//
// On a thread that is no goroutine it is a plain call. In a simulation f gets a stack of that size for itself. Throws
// std::bad_alloc, before the call, if the system does not say where the thread's stack is, or has none for a simulation.
template <class F, class... Args>
    requires std::invocable<F, Args...>
decltype(auto) call_on_thread_stack(F&& f, Args&&... args) {
    using R = std::invoke_result_t<F, Args...>;
    auto call = [&]() -> R { return std::invoke(std::forward<F>(f), std::forward<Args>(args)...); };
    struct carried {
        decltype(call)& f;
        detail::result_slot<R> result;
    } c{call, {}};
    detail::call_on_thread_stack(
        [](void* p) {
            auto* on_the_other_side = static_cast<carried*>(p);
            on_the_other_side->result.emplace_from(on_the_other_side->f);
        },
        &c);
    struct destroyer {
        detail::result_slot<R>& result;
        ~destroyer() { result.destroy(); }
    } at_end{c.result};
    return c.result.take();
}

}  // namespace handoff
