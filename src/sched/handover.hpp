// How a P changes hands: it is put on a thread, taken off a thread, or held (held_p) until it gets an M or goes to the idle Ps.
// And what an M does that has no P: it waits until it is woken with one.
#pragma once

#include "sched/own_p.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

// share_if_not_alone: p's owner shares its run queue once there are other Ps (runq.hpp).
inline void share_if_not_alone(const sched& s, own_p p) noexcept {
    if (p->runq.alone() && s.procs.several()) [[unlikely]] p->runq.share();
}

// put_on gives p to m, which is the calling thread's M, or one that will see it before it goes on. take_off takes m's P away.
void put_on(M* m, held_p p) noexcept;
held_p take_off(M* m) noexcept;

// put_on_ordered gives m the P that it was started or woken with (M::orders), if any.
void put_on_ordered(M* m) noexcept;

// take_idle_p takes an idle P, `preferred` if that is idle; none if there is none. put_idle_p makes p idle, so that any M may
// take it; wake_if_work, or steps that do as much, have to follow.
held_p take_idle_p(sched& s, P* preferred, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock);
void put_idle_p(sched& s, held_p p, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock);

// wakep: a goroutine was queued; if a P is idle and no M spins, it starts an M that looks for it. The caller is an M with a P;
// wakep_any may be called by any thread.
void wakep_any(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
inline void wakep(sched& s) noexcept {
    if (s.procs.several()) wakep_any(s);   // else the caller has the only P
}

// wake_if_work (fence, look, wake) is the "give up" half of the Dekker pair at the head of idle_set.hpp: for a thread that gave
// up a P, or has stopped spinning.
void wake_if_work(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
bool work_anywhere(const sched& s) noexcept;

// startm gives p to an idle M, or to a new one. If neither can be had, p becomes idle, and the monitor tries again. handoffp
// does this if there is anything that p could run; else it makes p idle.
void startm(sched& s, held_p p, bool spinning) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void handoffp(sched& s, held_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// start_left_ps finds Ms for the Ps that were left to the monitor. For the monitor, in each round.
void start_left_ps(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// newm starts a thread, with p if that is not none, in the given role. False, and p stays, if no thread can be had.
bool newm(sched& s, held_p& p, bool spinning, m_role role) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// stopm puts m, which has no P, to sleep until it is woken with a P or a role (M::orders). False: the thread should exit.
bool stopm(M* m) noexcept;

// stop_locked_m waits on m's thread, without a P, until its tied goroutine is to run. start_locked_m gives m's P to the thread
// that g is tied to.
void stop_locked_m(M* m) noexcept;
void start_locked_m(M* m, G* g) noexcept;

// add_timer_outside adds t, for threads that have no P of s. Throws std::bad_alloc.
void add_timer_outside(sched& s, timer* t) HANDOFF_EXCLUDES(s.idle.lock);

// Whether a thread may spin without taking a core from others. ours_leave_a_core: from none of this runtime that has a P, or
// computes without one. a_core_is_free: nor from another process.
bool ours_leave_a_core(const sched& s) noexcept;
bool a_core_is_free(const sched& s) noexcept;

}  // namespace handoff::detail
