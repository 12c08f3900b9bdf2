// call_on_thread_stack: runs deep code on the stack that the thread itself has.
//
// g0 waits on that stack, in its switch to the goroutine (schedule.cpp, execute). What lies below its frames is free for as
// long as g0 does not go on, so f runs there. Meanwhile the goroutine is tied to its thread, as by lock_os_thread. So no other
// goroutine runs on the thread, and only the goroutine itself could let g0 go on: where it parks, yields, or waits for a P. It
// does not switch to g0 then, but does on the spot what g0 would do (wait_on_thread_stack in schedule.cpp): it publishes itself
// and gives its P away, and its thread sleeps until it is given a P again.
//
// Others may find the goroutine as soon as it has published itself (by its commit, or by the lock that it releases): before its
// thread sleeps, and although no context of it was saved. That is right, since no thread switches to it: an M that takes it out
// of a queue finds G::locked, and hands its P to the goroutine's thread through M::orders and M::park (start_locked_m), as for
// any tied goroutine.
//
// The beginning and the end of the call are like those of a guard: they enter no section, touch no P, and can't switch.
// Per-thread state that the code leaves behind is right after the call.
//
// In a simulation all goroutines have one thread, g0 is on the stack of the caller of run(), and a goroutine that waits must
// let the others run. There f gets a stack of its own, as large, for the time of the call.
//
// Rejected: to switch to a copy of g0 below f's frames. f may return, go deeper, and wait again, over the copy's frames.
#include "goroutine/unhandled.hpp"
#include "os/thread.hpp"
#include "sched/sched.hpp"

#include <handoff/thread_stack.hpp>

#include <new>

namespace handoff::detail {

namespace {

struct deep_call {
    void (*f)(void*);
    void* arg;
    std::exception_ptr exception;
};

void run(void* p) noexcept {
    auto* c = static_cast<deep_call*>(p);
    try {
        c->f(c->arg);
    } catch (...) {
        c->exception = caught_exception();
    }
}

// While it lives, it ties g, the goroutine of m, to its thread, and G::deep points to `there`.
class tied_to_stack {
public:
    tied_to_stack(M* m, G* g, const deep_stack& there) noexcept : m_(m), g_(g) {
        ++g->lock_depth;
        g->locked.store(true, std::memory_order_relaxed);
        m->locked_g = g;
        g->deep = &there;
    }
    ~tied_to_stack() {
        g_->deep = nullptr;
        if (--g_->lock_depth != 0 || (g_->syscall_depth & G::tied_by_call) != 0) return;
        g_->locked.store(false, std::memory_order_relaxed);
        m_->locked_g = nullptr;
    }
    tied_to_stack(const tied_to_stack&) = delete;
    tied_to_stack& operator=(const tied_to_stack&) = delete;

private:
    M* const m_;
    G* const g_;
};

// Found out once per thread.
os::thread_stack own_stack() noexcept {
    static constinit thread_local os::thread_stack s __attribute__((tls_model("initial-exec")));
    if (!s.lo) s = os::thread_stack::of_this_thread();
    return s;
}

void call_below_g0(M* m, G* g, deep_call& c) {
    const os::thread_stack s = own_stack();
    if (!s.lo) throw std::bad_alloc();
    constexpr std::uintptr_t line = 64;
    char* top = reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(m->g0.sp) / line * line);
    HANDOFF_CHECK(top > s.lo && top <= s.lo + s.size);
    const deep_stack there{s.lo - s.guard, s.lo + s.guard, s.size};
    const tied_to_stack here(m, g, there);
    context::call_on(s.lo, static_cast<std::size_t>(top - s.lo), run, &c);
    HANDOFF_CHECK(current_m() == m);
}

void call_on_extra_stack(sched* s, G* g, deep_call& c) {
    context::stack* st = s->stacks.take_sized(os::thread_stack_room());
    if (!st) throw std::bad_alloc();
    const deep_stack there{st->lo, st->usable_lo(), st->asked_size()};
    g->deep = &there;
    context::call_on(st->usable_lo(), st->usable_size(), run, &c);
    g->deep = nullptr;
    s->stacks.give_sized(st);
}

}  // namespace

void call_on_thread_stack(void (*f)(void*), void* arg) {
    M* m = current_m();
    G* g = m ? m->curg.load(std::memory_order_relaxed) : nullptr;
    if (!g || g->deep) return f(arg);
    deep_call c{f, arg, nullptr};
    if (m->s->sim) call_on_extra_stack(m->s, g, c);
    else call_below_g0(m, g, c);
    if (c.exception) std::rethrow_exception(std::move(c.exception));
}

}  // namespace handoff::detail
