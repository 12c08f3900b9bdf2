// What becomes due: timers, and the events of descriptors. All of this is called on an M, in a runtime section, with a P.
//
// Timer objects run, and descriptors' waiters are woken, under locks that a goroutine which parks may hold until its context is
// saved. A pick may come before that. So what a pick finds waits in M::due until the switch is done (finish_switch).
#pragma once

#include "sched/own_p.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

// run_timers fires the timers that are due in p's heap; p need not be m's. The goroutines become runnable on m's P. Timer
// objects wait in m->due for run_due, which has to follow. Returns how many timers were due.
unsigned run_timers(M* m, P& p, std::int64_t now) noexcept;

// run_due runs what waits in m->due. Not while a goroutine parks.
void run_due(M* m) noexcept;

// unwatched says whether there are descriptors to ask for, and no thread waits for them (poller.hpp). A hint.
inline bool unwatched(const sched& s) noexcept { return s.poller.in_use() && !s.idle.has_waiter(); }

// poll_descriptors asks the poller for p, and queues the goroutines that wait for what is ready. True if there were events. Not while
// a goroutine parks; poll_soon leaves it to run_due.
bool poll_descriptors(M* m, own_p p) noexcept;
void poll_soon(M* m) noexcept;

}  // namespace handoff::detail
