// idle_set: the idle Ps and Ms of a runtime, who looks for work, and who wakes for the timers of idle Ps.
//
// No lost wake-up. Submitting work and running out of it are two sides of a Dekker pair:
//
//     submit:   put the G in a queue;           full fence;   look at npidle and nmspinning; start an M if need be
//     give up:  put the P in pidle;
//               nmspinning - 1 if it spun;      full fence;   look into every queue again; take a P back if there is
//
// One of the fences comes first. If it is the submitter's, the one who gives up sees the G. If it is the other's, the
// submitter sees an idle P and, if nobody spins, starts an M for it; if somebody spins, then that one has yet to come
// to its own fence. A spinner that finds work has one as well: as it stops spinning it looks into every queue again, and
// calls wakep() if there is anything, since submitters may have relied on it for more than the one G that it took. (If there
// is nothing it wakes nobody: that costs 5 us, for which the one G would wait.) The global queue is looked at under the lock
// on both sides.
//
// A submitter counts as a spinner while it looks for an idle P, and others may rely on that. If it finds none it stops to
// count before it opens the lock: any P that becomes idle does so later, and its M's look comes after the work of all
// those who relied. (After the lock, it could happen in between: that M looks, another submits and relies, and nobody is
// left to look.)
//
// A submitter on the only P needs no fence: there is no other P that could be idle.
//
// Timers of idle Ps. Some thread must wake when the first of them is due: an M that goes to sleep becomes the
// `timekeeper` if it finds a timer that is due before the present timekeeper's time, and sleeps until then; where no M
// is about to sleep (a P is handed off without work, the timekeeper is called to work, or has work since its timer is due),
// the monitor is told, if its own time is later. All of it under the lock. How the timekeeper wakes in time: wake_ahead.hpp.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "os/note.hpp"
#include "sched/deferred_wake.hpp"
#include "sched/held_p.hpp"
#include "sched/m.hpp"
#include "sched/p.hpp"
#include "sched/wake_ahead.hpp"

#include <boost/intrusive/list.hpp>
#include <cstdint>

namespace handoff::detail {

class idle_set {
public:
    // The scheduler's lock: of the idle ones, of the global queue (the last look at it and the step to idle are one), and of
    // the few other things of sched that say so.
    base::mutex lock;

    // ---- Ps ----
    // How many are idle. Relaxed: without the lock a stale value only delays a wake-up that the Dekker pair makes good.
    std::uint32_t ps() const noexcept { return ps_count_.load(std::memory_order_relaxed); }
    bool all_ps() const noexcept HANDOFF_REQUIRES(lock) { return ps() == live_; }   // none runs, or is in anybody's hands
    bool has(const P& p) const noexcept HANDOFF_REQUIRES(lock) { return p.idle_link.is_linked(); }

    // take_p takes `preferred` if it is idle, else any idle one; none if there is none.
    held_p take_p(P* preferred) noexcept HANDOFF_REQUIRES(lock);
    held_p take_p_if(bool (*wanted)(const P& p, std::int64_t arg) noexcept, std::int64_t arg) noexcept HANDOFF_REQUIRES(lock);
    // put_p gives p to whoever wants it. A full fence and a look at the queues must follow.
    void put_p(held_p p) noexcept HANDOFF_REQUIRES(lock);
    template <class F>
    void for_each_p(F f) noexcept HANDOFF_REQUIRES(lock) {
        for (P& p : ps_) f(p);
    }
    void clear() noexcept { ps_.clear(); }   // as the runtime ends
    void begins_to_live() noexcept HANDOFF_REQUIRES(lock) { ++live_; }
    void ends() noexcept HANDOFF_REQUIRES(lock) { --live_; }
    std::uint32_t live() const noexcept HANDOFF_REQUIRES(lock) { return live_; }   // Ps that are not dead

    // ---- Ms ----
    std::size_t ms() const noexcept HANDOFF_REQUIRES(lock) { return ms_.size(); }
    bool has(const M& m) const noexcept HANDOFF_REQUIRES(lock) { return m.idle_link.is_linked(); }
    void put_m(M& m) noexcept HANDOFF_REQUIRES(lock);
    // take_m takes the M that went to sleep last, but the timekeeper only if there is no other; null if there is none.
    M* take_m(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    M* take_longest_idle_m(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    // m leaves by itself.
    void leaves(M& m) noexcept HANDOFF_REQUIRES(lock);

    // ---- Spinners: Ms that look for work, or have promised to ----
    std::uint32_t spinning() const noexcept { return spinning_.load(std::memory_order_relaxed); }
    void add_spinner() noexcept { spinning_.fetch_add(1, std::memory_order_relaxed); }
    void remove_spinner() noexcept { spinning_.fetch_sub(1, std::memory_order_relaxed); }
    bool add_first_spinner() noexcept {   // false if somebody spins already
        std::uint32_t none = 0;
        return spinning() == 0 && spinning_.compare_exchange_strong(none, 1, std::memory_order_relaxed);
    }
    void begin_spinning(M* m) noexcept {
        m->spinning = true;
        add_spinner();
    }
    bool end_spinning(M* m) noexcept {   // false if it did not
        if (!std::exchange(m->spinning, false)) return false;
        remove_spinner();
        return true;
    }

    // ---- Timers of idle Ps ----
    std::int64_t first_timer() const noexcept HANDOFF_REQUIRES(lock);   // when the first is due
    // cover_timer sees to it that somebody wakes at `when`.
    void cover_timer(std::int64_t when, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    M* timekeeper HANDOFF_GUARDED_BY(lock) = nullptr;   // the idle M that sleeps until `timekeeper_until`
    std::int64_t timekeeper_until HANDOFF_GUARDED_BY(lock) = os::never;
    wake_ahead ahead HANDOFF_GUARDED_BY(lock);          // of the timekeeper
    void keeps_no_time() noexcept HANDOFF_REQUIRES(lock) {
        timekeeper = nullptr;
        timekeeper_until = os::never;
    }

    // ---- The monitor's sleep ----
    os::note monitor_note;
    bool monitor_deep HANDOFF_GUARDED_BY(lock) = false;      // it sleeps until it is woken
    std::int64_t monitor_until HANDOFF_GUARDED_BY(lock) = 0;
    void wake_monitor(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock) {
        monitor_deep = false;
        wake.set(monitor_note);
    }
    // If it sleeps deep, and so looks at nothing by itself; false if it does not.
    bool wake_deep_monitor(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock) {
        if (!monitor_deep) return false;
        wake_monitor(wake);
        return true;
    }

    // ---- Ps that no M could be had for ----
    // Idle, in no other list: the monitor starts an M for each (handover.cpp).
    void leave_to_monitor(held_p p, bool spinning, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    held_p take_left(bool& spinning) noexcept HANDOFF_EXCLUDES(lock);
    bool is_starved() const noexcept { return starved.load(std::memory_order_relaxed) != 0; }

    void learn_spin_time(std::int64_t waited, std::int64_t most) noexcept;

    // A line that is mostly read. How many times an M could not be made, since last looked; how long an idle M spins before it
    // sleeps (a hint: another's change may get lost).
    alignas(64) base::atomic<std::uint32_t> starved{0};
    base::atomic<std::int64_t> spin_time{0};

private:
    using p_list = boost::intrusive::list<P, boost::intrusive::member_hook<P, pidle_hook, &P::idle_link>,
                                          boost::intrusive::constant_time_size<false>>;
    using m_list = boost::intrusive::list<M, boost::intrusive::member_hook<M, midle_hook, &M::idle_link>,
                                          boost::intrusive::constant_time_size<true>>;
    M* unlink_m(M& m, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    held_p unlink_p(P& p) noexcept HANDOFF_REQUIRES(lock);

    alignas(64) p_list ps_;   // changed under the lock; so are all that follow
    m_list ms_ HANDOFF_GUARDED_BY(lock);
    std::uint32_t live_ HANDOFF_GUARDED_BY(lock) = 0;
    base::atomic<P*> left_{nullptr};
    // A line of their own: what every M reads now and then.
    alignas(64) base::atomic<std::uint32_t> ps_count_{0};
    base::atomic<std::uint32_t> spinning_{0};
};

}  // namespace handoff::detail
