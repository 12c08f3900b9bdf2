// call_on_thread_stack: deep code on the stack that the thread itself has.
//
// g0 waits there, in its switch to the goroutine (schedule.cpp, execute), and what lies below its frames is free for as long as it
// does not go on. So f runs below them. The goroutine is tied to its thread meanwhile, as by lock_os_thread: nobody else runs
// there, and the only one who would let g0 go on is the goroutine itself, where it parks, yields, or waits for a P. It does
// not switch to g0 then, but does on the spot what g0 would do (sched::wait_on_thread_stack): it publishes itself, gives its P
// away, and its thread sleeps until somebody has a P for it.
//
// Others may find it as soon as it has published itself (its commit, or the lock that it releases), before its thread sleeps,
// and although no context of it was saved. That is right, since nobody switches to it: who takes it out of a queue finds
// G::locked, and hands his P to its thread through M::nextp and M::park (start_locked_m), as for any tied goroutine.
//
// Both ends are as those of a guard: they enter nothing, touch no P, and can't switch. What the code leaves behind for its thread
// is right after it.
//
// In a simulation all goroutines have one thread, g0 is on the stack of the caller of run(), and a goroutine that waits must
// let the others run: f gets a stack of its own, as large, for the time of the call.
//
// Rejected: to switch to a copy of g0 below f's frames: f may return, go deeper, and wait again, over the copy's frames.
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

// Ties g, the goroutine of m, for as long as it lives; where `there` lies.
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

// Asked for once a thread.
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
