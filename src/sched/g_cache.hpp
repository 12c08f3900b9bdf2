// What a P keeps in stock of free Gs and stacks, so that short goroutines come and go without the scheduler's lock.
#pragma once

#include "base/sizes.hpp"
#include "sched/own_p.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

// How many free Gs and stacks a P keeps before it gives some to other Ps, and how many it takes or gives at once.
inline constexpr unsigned most_free_gs = base::sized(512, 4);
inline constexpr unsigned most_free_stacks = base::sized(64, 4);
inline constexpr unsigned cache_batch = base::sized(32, 2);

void refill_gs(sched& s, own_p p) HANDOFF_EXCLUDES(s.idle.lock);
void spill_gs(sched& s, own_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// new_g takes a free G. p is the caller's. Throws std::bad_alloc.
inline G* new_g(sched& s, own_p p) {
    if (!p->free_gs) [[unlikely]] refill_gs(s, p);
    G* g = p->free_gs;
    p->free_gs = g->next;
    --p->free_g_count;
    return g;
}

// free_g takes back a G that is no longer referred to; its task and exception are destroyed already.
inline void free_g(sched& s, own_p p, G* g) noexcept {
    if (g->named) [[unlikely]] s.store->name(g, {});
    g->stk = nullptr;
    g->state.free();
    g->next = p->free_gs;
    p->free_gs = g;
    if (++p->free_g_count > most_free_gs) [[unlikely]] spill_gs(s, p);
}

// free_g_late is free_g on a thread without a P.
void free_g_late(sched& s, G* g) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// give_g gives a dead G back to the store.
void give_g(sched& s, G* g) noexcept HANDOFF_REQUIRES(s.idle.lock);

// take_stack returns a stack for g, ready for a jump to it; null if memory is short. m must have a P.
context::stack* take_stack(M* m, const G* g) noexcept;
void give_stack(sched& s, own_p p, context::stack* st) noexcept;

// give_gs_back puts chunks of free Gs to rest (g_store.hpp) if the runtime is idle, and gives the pages of some resting chunks
// back to the kernel. True if there may be more. For the monitor.
bool give_gs_back(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);

}  // namespace handoff::detail
