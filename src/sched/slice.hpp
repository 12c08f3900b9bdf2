// Time slices: for how long goroutines that wake each other keep a processor while others wait. The argument, and the terms
// (slice, chain, spent), are at the head of slice.cpp.
#pragma once

#include "sched/own_p.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

// chain_lets_on: true if a goroutine in p's ring may run before the one in `next`. p is the caller's.
bool chain_lets_on(sched& s, own_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// end_slice ends the slice on p, which is the caller's: other goroutines come next. Whether it is the turn of the spent is as
// the monitor has said (P::spent_due).
void end_slice(sched& s, own_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// pick_after_slice serves the picks after the end of a slice, once timers were looked at: first a goroutine that a timer has
// woken, then a spent one; null if there is neither.
G* pick_after_slice(sched& s, own_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

void put_spent(sched& s, G* g) noexcept HANDOFF_EXCLUDES(s.idle.lock);

}  // namespace handoff::detail
