// Where a P changes hands: it is put on a thread, taken off one, and, while it is in somebody's hands (held_p), finds an M or goes to
// the idle ones. And what an M does that has none: it waits until somebody has one for it.
#pragma once

#include "sched/sched.hpp"

namespace handoff::detail {

// share_if_not_alone: p's owner shares its queue once there are others (runq.hpp).
inline void share_if_not_alone(const sched& s, P* p) noexcept {
    if (p->runq.alone() && s.procs.several()) [[unlikely]] p->runq.share();
}

// put_on gives m, the calling thread's M or one that is to see it before it goes on, a P. take_off takes m's P away.
void put_on(M* m, held_p p) noexcept;
held_p take_off(M* m) noexcept;

// put_on_ordered: m gets the P that it was started or woken with, if any.
void put_on_ordered(M* m) noexcept;

// take_idle_p takes an idle P, `preferred` if that is one; none if there is none. put_idle_p gives one to whoever wants it, and
// wake_if_work, or as much, has to follow.
held_p take_idle_p(sched& s, P* preferred, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock);
void put_idle_p(sched& s, held_p p, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock);

// wakep: a goroutine was queued; somebody is to look for it. By an M with a P, or by anyone (wakep_any).
void wakep_any(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
inline void wakep(sched& s) noexcept {
    if (s.procs.several()) wakep_any(s);   // else the caller has the only one
}

// wake_if_work (fence, look, wake) is the other half of the Dekker pair at the head of idle_set.hpp: for who gave up a P, or has stopped spinning.
void wake_if_work(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
bool work_anywhere(const sched& s) noexcept;

// startm gives p to an idle M, or a new one, else it is put by. handoffp: only if there is anything that p could run.
void startm(sched& s, held_p p, bool spinning) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void handoffp(sched& s, held_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// start_left_ps finds Ms for the Ps that were left to the monitor. For the monitor, in each round.
void start_left_ps(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// newm starts a thread that runs p, or plays the monitor without one; false, and p stays, if that can't be had.
bool newm(sched& s, held_p& p, bool spinning, m_role role) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// stopm puts m, which has no P, to sleep until somebody gives it one, or a part to play. False: the thread should exit.
bool stopm(M* m) noexcept;

// stop_locked_m waits on m's thread, without a P, until its tied goroutine is to run. start_locked_m gives m's P to the thread
// that g is tied to.
void stop_locked_m(M* m) noexcept;
void start_locked_m(M* m, G* g) noexcept;

// add_timer_outside adds t for threads that have no P of s. Throws std::bad_alloc.
void add_timer_outside(sched& s, timer* t) HANDOFF_EXCLUDES(s.idle.lock);

// Who spins takes no core from anybody: neither from those who hold a P, or compute without one, nor from another process.
bool ours_leave_a_core(const sched& s) noexcept;
bool a_core_is_free(const sched& s) noexcept;

}  // namespace handoff::detail
