// Saved contexts and the switch between them. This is the only file that names Boost.Context and the sanitizers' fiber
// calls.
//
// jump() saves the caller in `from`, resumes `to`, and returns when somebody jumps back to `from`, possibly on another
// thread. The saved stack pointer of the context that was left is known only on the side that was reached, so that side
// stores it. Until then `from` must not be visible to anyone who could resume it.
//
// C++ keeps the exceptions in flight of a thread in thread-local storage (__cxa_get_globals). They belong to the context, so
// they are exchanged at every switch. So is the floating-point mode, where jump_fcontext does not do that.
//
// The name jump_fcontext. Until Boost 1.86 it is a C function. Since 1.87 the header declares a C++ function; the C function
// is internal to the archive, and a shared library does not export it. So no statement here spells the symbol's name: it
// comes from the header's declaration.
#pragma once

#include "base/sanitizers.hpp"
#include "context/float_mode.hpp"

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

#if HANDOFF_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if HANDOFF_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_func_exit(void);
#endif

namespace handoff::context {

// What __cxa_get_globals() points to, according to the Itanium C++ ABI: the same two fields in libstdc++ and libc++abi.
struct exception_state {
    void* caught = nullptr;
    unsigned uncaught = 0;
};

// That of the calling thread.
exception_state* thread_exception_state() noexcept;

// A context that is not running; or, while it runs, what is known about its stack.
struct execution {
    void* sp = nullptr;   // null: not prepared
    exception_state exceptions;
#if HANDOFF_ASAN
    void* fake_stack = nullptr;
    const void* stack_lo = nullptr;
    std::size_t stack_size = 0;
#endif
#if HANDOFF_TSAN
    void* fiber = nullptr;
#endif
};

// What a switch passes to the other side. There is one per thread; whichever context runs on the thread uses it.
struct switcher {
    execution* from = nullptr;
    exception_state* exceptions = nullptr;
};

namespace detail {

// arrive finishes a switch on the side that was reached.
inline switcher* arrive(boost::context::detail::transfer_t t, [[maybe_unused]] void* fake_stack) noexcept {
    auto* s = static_cast<switcher*>(t.data);
#if HANDOFF_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, &s->from->stack_lo, &s->from->stack_size);
#endif
    s->from->sp = t.fctx;
    return s;
}

template <void (*Body)(switcher*)>
void entry(boost::context::detail::transfer_t t) {
    Body(arrive(t, nullptr));
    __builtin_unreachable();
}

}  // namespace detail

// forget_frames tells the sanitizer that what it knows about frames in [lo, lo + size) is out of date: either they were left
// for good, or the memory is about to be unmapped and may be mapped again for any purpose.
inline void forget_frames([[maybe_unused]] char* lo, [[maybe_unused]] std::size_t size) noexcept {
#if HANDOFF_ASAN
    __asan_unpoison_memory_region(lo, size);
#endif
}

// prepare makes `e` a context that calls Body(switcher) on the stack [lo, lo + size) when it is first resumed. Body
// must not return.
template <void (*Body)(switcher*)>
void prepare(execution& e, char* lo, std::size_t size) noexcept {
    e.exceptions = {};
    e.sp = boost::context::detail::make_fcontext(lo + size, size, detail::entry<Body>);
    forget_frames(lo, size);
#if HANDOFF_ASAN
    e.stack_lo = lo;
    e.stack_size = size;
#endif
#if HANDOFF_TSAN
    if (!e.fiber) e.fiber = __tsan_create_fiber(0);
#endif
}

// adopt_thread makes `e` stand for the calling thread's own stack.
inline void adopt_thread([[maybe_unused]] execution& e) noexcept {
#if HANDOFF_TSAN
    e.fiber = __tsan_get_current_fiber();
#endif
}

// dispose gives up a context that will not be resumed.
inline void dispose([[maybe_unused]] execution& e) noexcept {
#if HANDOFF_TSAN
    if (e.fiber) __tsan_destroy_fiber(e.fiber);
    e.fiber = nullptr;
#endif
    e.sp = nullptr;
}

// jump_without_call is jump_fcontext, entered by a jump instead of a call. jump_fcontext returns by a jump as well. So a
// call would leave an address on the processor's return stack that no `ret` ever pops, and each `ret` after a switch would
// be mispredicted. Measured on Zen 4: a yield between two call sites takes 25 ns with the call and 19 ns without. The
// library is built without red zone, since the compiler does not know of the push.
//
// In position-independent code a statement can't name a symbol that may lie in a shared library. There the address is loaded
// from where the dynamic linker has put it (or computed: the linker turns that load into a computation if Boost is an
// archive). That is a jump with a single target, like the jump through the procedure linkage table that a shared Boost would
// need anyway.
#if defined(__x86_64__) && !defined(__SHSTK__)
#ifdef __PIC__
#define HANDOFF_JUMP_TO_TARGET "jmp *%[target]\n"
#define HANDOFF_TARGET_IN "4"   // the register of operand 4
#else
#define HANDOFF_JUMP_TO_TARGET "jmp %P[target]\n"
#define HANDOFF_TARGET_IN "i"
#endif
inline boost::context::detail::transfer_t jump_without_call(void* to, void* data) noexcept {
    boost::context::detail::transfer_t t;
    void* scratch;
    __asm__ volatile(
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        HANDOFF_JUMP_TO_TARGET
        "1:"
        : "=a"(t.fctx), "=d"(t.data), "+D"(to), "+S"(data), "=c"(scratch)
        : [target] HANDOFF_TARGET_IN(&boost::context::detail::jump_fcontext)
        : "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return t;
}
#undef HANDOFF_JUMP_TO_TARGET
#undef HANDOFF_TARGET_IN
#else
inline boost::context::detail::transfer_t jump_without_call(void* to, void* data) noexcept {
    return boost::context::detail::jump_fcontext(to, data);
}
#endif

// What happens to the context that a jump leaves.
enum class leaving { to_return, for_good };

// jump saves the caller in `from` and resumes `to`. If left_for_good_is_lost, a context that was left for good must not be
// resumed.
#if HANDOFF_ASAN
inline constexpr bool left_for_good_is_lost = true;   // its fake stack is freed
#else
inline constexpr bool left_for_good_is_lost = false;
#endif

inline switcher* jump(execution& from, execution& to, switcher* s, [[maybe_unused]] leaving how = leaving::to_return) noexcept {
    const kept_float_mode<jump_keeps_float_mode> floats;
    s->from = &from;
    from.exceptions = *s->exceptions;
    *s->exceptions = to.exceptions;
    void* fake_stack = nullptr;
#if HANDOFF_ASAN
    __sanitizer_start_switch_fiber(how == leaving::for_good ? nullptr : &fake_stack, to.stack_lo, to.stack_size);
#endif
#if HANDOFF_TSAN
    __tsan_switch_to_fiber(to.fiber, 0);
#endif
    switcher* arrived = detail::arrive(jump_without_call(to.sp, s), fake_stack);
    floats.restore();
    return arrived;
}

namespace detail {

// What call_on passes there and back.
struct call_elsewhere {
    void (*f)(void*);
    void* arg;
    float_mode floats;
#if HANDOFF_ASAN
    const void* lo = nullptr;   // of the caller's stack
    std::size_t size = 0;
#endif
};

inline void run_elsewhere(boost::context::detail::transfer_t t) {
    auto* c = static_cast<call_elsewhere*>(t.data);
#if HANDOFF_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &c->lo, &c->size);
#endif
    c->f(c->arg);
    c->floats = float_mode::of_this_thread();
#if HANDOFF_ASAN
    __sanitizer_start_switch_fiber(nullptr, c->lo, c->size);
#endif
#if HANDOFF_TSAN
    __tsan_func_exit();   // it is left by a jump, of which the compiler does not know
#endif
    jump_without_call(t.fctx, c);
    __builtin_unreachable();
}

}  // namespace detail

// call_on calls f(arg) on the stack [lo, lo + size), which nobody else may use meanwhile, and returns when f has returned.
// Apart from the stack it is a call like any other. f must not throw.
inline void call_on(char* lo, std::size_t size, void (*f)(void*), void* arg) noexcept {
    detail::call_elsewhere c{f, arg, float_mode::of_this_thread()};
    void* there = boost::context::detail::make_fcontext(lo + size, size, detail::run_elsewhere);
    forget_frames(lo, size);
#if HANDOFF_ASAN
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, lo, size);
#endif
    jump_without_call(there, &c);
#if HANDOFF_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    c.floats.restore();
}

}  // namespace handoff::context
