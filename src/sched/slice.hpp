// Time slices: how long those that belong together keep a processor while others wait. The argument is at the head of slice.cpp.
#pragma once

#include "sched/sched.hpp"

namespace handoff::detail {

// chain_lets_on: one in p's ring may go on before what is in `next`. p is the caller's.
bool chain_lets_on(sched& s, P* p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// end_slice: p, which is the caller's, is for others now. Whether it is the turn of the spent the monitor has said.
void end_slice(sched& s, P* p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// pick_after_slice is for the picks that follow, once timers were looked at: one that these have woken, then a spent one.
G* pick_after_slice(sched& s, P* p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

void put_spent(sched& s, G* g) noexcept HANDOFF_EXCLUDES(s.idle.lock);

}  // namespace handoff::detail
