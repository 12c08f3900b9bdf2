// idle_set: the idle Ps and Ms of a runtime, its spinners (the Ms that look for work), and which thread wakes for the timers of
// idle Ps.
//
// No lost wake-up. Submitting work and running out of work are the two sides of a Dekker pair:
//
//     submit:   put the G in a queue;        full fence;   read ps() and spinning(); start an M if needed
//     give up:  put the P into the idle set;
//               if spinning, stop;           full fence;   look into every queue again; take a P back if there is work
//
// One of the two fences comes first. If it is the submitter's, the M that gives up sees the G. If it is the other's, the
// submitter sees an idle P. If no M spins, the submitter starts an M for that P; if one spins, that spinner has yet to reach
// its own fence. A spinner that finds work has a fence as well: when it stops spinning it looks into every queue again, and
// wakes another M if there is anything (wake_if_work). Submitters may have relied on this spinner for more than the one G that
// it took. (If there is nothing it wakes no M: a wake-up costs 5 us, and its one G would wait for that.) Both sides look at the
// global queue under the lock.
//
// A submitter counts as a spinner while it looks for an idle P, and other submitters may rely on that. If it finds none, it
// stops counting as a spinner before it releases the lock. Any P that becomes idle does so later, and the last look of that P's
// M then comes after the work of every submitter that relied on this one. (If it stopped counting after the release, this could
// happen in between: that M takes its last look, another submitter queues work and relies on this one, and no M is left to
// look.)
//
// A submitter on the only P needs no fence: there is no other P that could be idle.
//
// Timers of idle Ps. Some thread must wake when the first of them is due. An M that goes to sleep becomes the `timekeeper` if
// it finds a timer that is due before the present timekeeper's time, and sleeps until then. In some cases no M is about to
// sleep: a P is handed off without work, the timekeeper is woken for other work, or its timer is due and it goes to work. Then
// the monitor is woken, if it would sleep for longer than that. All of this happens under the lock. How the timekeeper wakes in
// time: wake_ahead.hpp.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "os/clock.hpp"
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
    // The scheduler's lock. It guards the idle Ps and Ms, the global queue (an M takes its last look at that and goes idle in
    // one critical section), and the few other members of sched that say so.
    base::mutex lock;

    // ---- Ps ----
    // How many are idle. Relaxed: without the lock a stale value at worst skips a wake-up for which the Dekker pair makes up.
    std::uint32_t ps() const noexcept { return ps_count_.load(std::memory_order_relaxed); }
    bool all_ps() const noexcept HANDOFF_REQUIRES(lock) { return ps() == live_; }   // none is on a thread or held (held_p)
    bool has(const P& p) const noexcept HANDOFF_REQUIRES(lock) { return p.idle_link.is_linked(); }

    // take_p takes `preferred` if it is idle, else any idle one; none if there is none.
    held_p take_p(P* preferred) noexcept HANDOFF_REQUIRES(lock);
    held_p take_p_if(bool (*wanted)(const P& p, std::int64_t arg) noexcept, std::int64_t arg) noexcept HANDOFF_REQUIRES(lock);
    // put_p makes p idle, so that any M may take it. A full fence and a look at the queues must follow.
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
    // take_m takes the M that went to sleep last, but the timekeeper and the waiter only if there is no other; null if there is
    // none.
    M* take_m(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    M* take_longest_idle_m(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    // leaves removes m, for an m that woke up by itself.
    void leaves(M& m) noexcept HANDOFF_REQUIRES(lock);

    // ---- Spinners: Ms that look for work, and submitters that look for an idle P ----
    std::uint32_t spinning() const noexcept { return spinning_.load(std::memory_order_relaxed); }
    void add_spinner() noexcept { spinning_.fetch_add(1, std::memory_order_relaxed); }
    void remove_spinner() noexcept { spinning_.fetch_sub(1, std::memory_order_relaxed); }
    bool add_first_spinner() noexcept {   // false if there is a spinner already
        std::uint32_t none = 0;
        return spinning() == 0 && spinning_.compare_exchange_strong(none, 1, std::memory_order_relaxed);
    }
    void begin_spinning(M* m) noexcept {
        m->spinning = true;
        add_spinner();
    }
    bool end_spinning(M* m) noexcept {   // false if m did not spin
        if (!std::exchange(m->spinning, false)) return false;
        remove_spinner();
        return true;
    }

    // ---- Timers of idle Ps ----
    std::int64_t first_timer() const noexcept HANDOFF_REQUIRES(lock);   // when the first is due
    // cover_timer makes sure that the timekeeper or the monitor wakes at `when`.
    void cover_timer(std::int64_t when, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    M* timekeeper HANDOFF_GUARDED_BY(lock) = nullptr;   // the idle M that sleeps until `timekeeper_until`
    std::int64_t timekeeper_until HANDOFF_GUARDED_BY(lock) = os::never;
    wake_ahead ahead HANDOFF_GUARDED_BY(lock);          // of the timekeeper
    void keeps_no_time() noexcept HANDOFF_REQUIRES(lock) {
        timekeeper = nullptr;
        timekeeper_until = os::never;
    }

    // ---- Descriptors ----
    // has_waiter says whether an idle M waits for descriptors (poller.hpp). Relaxed: a hint without the lock.
    bool has_waiter() const noexcept { return waiter_.load(std::memory_order_relaxed) != nullptr; }
    bool is_waiter(const M& m) const noexcept HANDOFF_REQUIRES(lock) { return waiter_.load(std::memory_order_relaxed) == &m; }
    // becomes_waiter: m, which goes to sleep, is the waiter from now on; false if there is one. It stays that until it has stopped to
    // wait and says so itself (waiter_leaves), also if it was taken out of the set before: see poller.hpp.
    bool becomes_waiter(M& m) noexcept HANDOFF_REQUIRES(lock) {
        if (waiter_.load(std::memory_order_acquire)) return false;
        waiter_.store(&m, std::memory_order_relaxed);
        unwatched = os::nanotime() - waiter_left_at.load(std::memory_order_relaxed);
        return true;
    }
    void waiter_leaves() noexcept {
        waiter_left_at.store(os::nanotime(), std::memory_order_relaxed);
        waiter_.store(nullptr, std::memory_order_release);   // becomes_waiter reads the time then
    }
    base::atomic<std::int64_t> waiter_left_at{0};                // the monitor reads it without the lock, as a hint
    std::int64_t unwatched HANDOFF_GUARDED_BY(lock) = 0;         // for how long there was none when the last one came

    // ---- The monitor's sleep ----
    os::note monitor_note;
    bool monitor_deep HANDOFF_GUARDED_BY(lock) = false;      // it sleeps until it is woken, not for a pause
    std::int64_t monitor_until HANDOFF_GUARDED_BY(lock) = 0;
    void wake_monitor(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock) {
        monitor_deep = false;
        wake.set(monitor_note);
    }
    // wake_deep_monitor wakes the monitor if it sleeps deep, since it looks at nothing by itself then; false if it does not.
    bool wake_deep_monitor(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock) {
        if (!monitor_deep) return false;
        wake_monitor(wake);
        return true;
    }

    // ---- Ps that wait for an M to be started ----
    // Their status is idle, and they are in no other list: the monitor starts an M for each (handover.cpp).
    void leave_to_monitor(held_p p, bool spinning, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    held_p take_left(bool& spinning) noexcept HANDOFF_EXCLUDES(lock);
    bool is_starved() const noexcept { return starved.load(std::memory_order_relaxed) != 0; }

    void learn_spin_time(std::int64_t waited, std::int64_t most) noexcept;

    // A cache line that is mostly read.
    // How many times no M could be had for a P since the monitor last looked. While it is not 0, threads are short (`starved`).
    alignas(64) base::atomic<std::uint32_t> starved{0};
    // How long an idle M spins before it sleeps. A hint: a concurrent change may get lost.
    base::atomic<std::int64_t> spin_time{0};

private:
    using p_list = boost::intrusive::list<P, boost::intrusive::member_hook<P, pidle_hook, &P::idle_link>,
                                          boost::intrusive::constant_time_size<false>>;
    using m_list = boost::intrusive::list<M, boost::intrusive::member_hook<M, midle_hook, &M::idle_link>,
                                          boost::intrusive::constant_time_size<true>>;
    M* unlink_m(M& m, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    held_p unlink_p(P& p) noexcept HANDOFF_REQUIRES(lock);

    alignas(64) p_list ps_;   // changed under the lock, like all that follow but spinning_
    m_list ms_ HANDOFF_GUARDED_BY(lock);
    std::uint32_t live_ HANDOFF_GUARDED_BY(lock) = 0;
    base::atomic<P*> left_{nullptr};
    // On a cache line of their own: every M reads them now and then.
    alignas(64) base::atomic<std::uint32_t> ps_count_{0};
    base::atomic<std::uint32_t> spinning_{0};
    base::atomic<M*> waiter_{nullptr};   // set under the lock, cleared by that M
};

}  // namespace handoff::detail
