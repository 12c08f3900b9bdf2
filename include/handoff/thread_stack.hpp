// Running deeply recursive code on the stack of the thread.
//
// A goroutine's stack has a fixed size (options::stack_size). Code that recurses over its input may need more: a regular
// expression, a parser, SQLite with a long statement. call_on_thread_stack runs it on the stack of the goroutine's thread,
// which is as large as thread stacks are in this process (RLIMIT_STACK, `ulimit -s`; 8 MiB as a rule). There is one such
// stack for each thread, and only the part that has been used takes memory.
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

// call_on_thread_stack calls f(args...) on the stack of the calling goroutine's thread, and returns what f returned (which
// must be movable); an exception passes through. It does not switch, neither before f nor after it, and costs about as much
// as a switch to another goroutine.
//
// f may do whatever the goroutine may: use the library, also guards, wait, and call call_on_thread_stack again (which then
// is a plain call). From the beginning of f until the first library call after its end, the goroutine stays on its thread,
// tied to it as by lock_os_thread(). When f waits, its thread waits with it; so wait outside of f if the wait may be long.
//
// On a thread that runs no goroutine it is a plain call. In a simulation, f gets a separate stack of that size. Throws
// std::bad_alloc, before it calls f, if the system does not say where the thread's stack is, or has none for a simulation.
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
