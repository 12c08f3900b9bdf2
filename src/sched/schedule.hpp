// Which goroutine runs next, and how a goroutine leaves its processor and comes back. All of this is called on an M, in a
// runtime section, with a P, unless said otherwise.
#pragma once

#include "context/context.hpp"
#include "sched/handover.hpp"
#include "sched/own_p.hpp"
#include "sched/sched.hpp"

#include <handoff/detail/spin_lock.hpp>

namespace handoff::detail {

// park takes the current goroutine g off its processor and runs the next one. `commit(m, g, arg)` is called on the context that
// is switched to, once g's context is saved: only there may g become visible to threads that could ready it. Returns the M that
// runs the goroutine when it goes on.
M* park(M* m, wait_reason why, void (*commit)(M*, G*, void*), void* arg) noexcept;

// park_holding is park for a goroutine that holds the spin lock under which it can be found. The lock is released in place of a
// commit.
M* park_holding(M* m, wait_reason why, spin_lock& held) noexcept;

// put_local queues g to run next on m's P. put_in_ring queues g behind all that wait in p's ring. put_behind is put_in_ring for
// a goroutine that was in `next`: in between it is in neither place, so an M is woken. put_global queues g in the global queue,
// for the first P that comes; submit does, and wakes somebody for it. Any thread may call these two.
void put_local(M* m, G* g) noexcept;
void put_in_ring(sched& s, own_p p, G* g) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void put_behind(sched& s, own_p p, G* next) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void put_global(sched& s, G* g) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void submit(sched& s, G* g) noexcept HANDOFF_EXCLUDES(s.idle.lock);
// let_go queues what the compute limit has released. It wakes somebody for that, or, if some are still kept back, to look whether
// another P is idle.
void let_go(sched& s, g_queue released) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// ready makes a waiting goroutine runnable. `m`: the calling thread's M in a runtime section, or null.
void ready_outside(G* g) noexcept;
inline void ready(M* m, G* g) noexcept {
    g->state.ready();
    sched* s = g->s;
    if (!m || m->s != s) [[unlikely]] return ready_outside(g);
    const own_p p(m);
    if (!p) [[unlikely]] return ready_outside(g);
    if (!p->runq.set_next(g)) put_in_ring(*s, p, g);
    wakep(*s);
}

// ready_in_ring does so for one of several goroutines that are woken together: it is queued behind the others, and the caller calls
// wakep in the end.
inline void ready_in_ring(M* m, G* g) noexcept {
    g->state.ready();
    if (!m || m->s != g->s || !m->p.load(std::memory_order_relaxed)) return ready_outside(g);
    put_in_ring(*m->s, own_p(m), g);
}

G* pick(M* m) noexcept;            // the next G of m's P, from its own queues; null if there is none
void yield(M* m) noexcept;         // and leaves the section
M* give_way(M* m) noexcept;        // for m's goroutine, which was asked to yield (slice.cpp)
void start_here(M* m, G* g) noexcept;   // makes the fresh g m's current goroutine; the caller runs on g's stack
M* switch_for_good(M* m, context::execution& from, G* next) noexcept;
M* switch_to_g0(M* m, context::execution& from) noexcept;

// thread_loop is what an M does on g0, between goroutines, with a P or without. When it returns, the thread exits. execute runs
// g until control comes back to g0.
void thread_loop(M* m) noexcept;
void execute(M* m, G* g) noexcept;

M* finish_switch(context::switcher* s) noexcept;

}  // namespace handoff::detail
