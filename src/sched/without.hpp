// Ends and beginnings of goroutines on a thread without a P. The argument is at the head of without.cpp.
#pragma once

#include "context/stack.hpp"
#include "sched/sched.hpp"

#include <utility>

namespace handoff::detail {

// may_end_without: true if g, m's goroutine, which has no P, can end without one.
bool may_end_without(const M* m, const G* g) noexcept;

// finish_without counts the end of g, and frees the G if `frees`.
void finish_without(M* m, G* g, bool frees) noexcept;

// next_without takes a goroutine that m may start without a P; null if there is none at hand. start_without makes it m's
// current goroutine; the caller runs on st, which becomes its stack. rest_without: m has nothing to do; it becomes like an M
// that never had a P.
G* next_without(M* m) noexcept;
void start_without(M* m, G* g, context::stack* st) noexcept;
void rest_without(M* m) noexcept;

inline void end_of_work(M* m) noexcept {
    if (std::exchange(m->is_worker, false)) m->s->workers.fetch_sub(1, std::memory_order_relaxed);
}

// can_wait_for_workers says whether threads without a P can start what p could run (only the fronts of the queues are looked
// at), and enough such threads exist. p is the caller's.
bool can_wait_for_workers(sched& s, const P& p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

}  // namespace handoff::detail
