#include "sched/handover.hpp"

#include "base/check.hpp"
#include "os/clock.hpp"
#include "os/thread.hpp"
#include "sched/hooks.hpp"
#include "sched/schedule.hpp"
#include "sched/slice.hpp"

#include <algorithm>
#include <exception>
#include <functional>
#include <pthread.h>

namespace handoff::detail {

void put_on(M* m, held_p p) noexcept {
    share_if_not_alone(*m->s, own_p(p));
    p.put_on(m);
}

held_p take_off(M* m) noexcept {
    P& p = *m->p.load(std::memory_order_relaxed);
    m->p.store(nullptr, std::memory_order_relaxed);
    return held_p::off_its_thread(p);
}

// While the P was on its way no goroutine could be asked to yield. If its slice was over by then, the slice ends now.
void put_on_ordered(M* m) noexcept {
    if (!m->orders.p) return;
    put_on(m, std::move(m->orders.p));
    const own_p p(m);
    if (p->over_on_its_way.load(std::memory_order_relaxed) == p->slice()) end_slice(*m->s, p);
}

void put_idle_p(sched& s, held_p p, deferred_wake& wake) noexcept {
    s.idle.put_p(std::move(p));
    check_drained(s, wake);
}

held_p take_idle_p(sched& s, P* preferred, deferred_wake& wake) noexcept {
    held_p p = s.idle.take_p(preferred);
    // The monitor must not sleep while anything runs, and its clock (coarse_now) has stood still.
    if (p && s.idle.wake_deep_monitor(wake)) s.coarse_now.store(os::nanotime(), std::memory_order_relaxed);
    return p;
}

// If the first P is idle now, a thread has to wake in time for t. If it becomes idle later, t is in its heap by then.
void add_timer_outside(sched& s, timer* t) {
    const std::int64_t when = t->when;
    P& p = s.procs[0];
    p.timers.add(t);
    deferred_wake wake;
    base::lock_guard hold(s.idle.lock);
    if (p.status.load(std::memory_order_relaxed) == p_status::idle) s.idle.cover_timer(when, wake);
}

bool work_anywhere(const sched& s) noexcept {
    if (!s.globq.empty()) return true;
    const std::uint32_t n = s.procs.count();
    for (std::uint32_t i = 0; i < n; ++i)
        if (!s.procs[i].runq.empty()) return true;
    return false;
}

void wake_if_work(sched& s) noexcept {
    base::full_fence();   // idle_set.hpp
    if (work_anywhere(s)) wakep_any(s);
}

void wakep_any(sched& s) noexcept {
    base::full_fence();   // idle_set.hpp
    if (s.idle.ps() == 0 || !s.idle.add_first_spinner()) return;
    held_p p;
    {
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        p = take_idle_p(s, nullptr, wake);
        if (!p) s.idle.remove_spinner();   // under the lock: idle_set.hpp
    }
    if (p) startm(s, std::move(p), true);
}

namespace {

// makes_threads: see the head of thread_pool.hpp. m: the calling thread's M, or null.
bool makes_threads(const sched& s, const M* m) noexcept {
    return s.sim || (m && m->s == &s && !m->locked_g && !m->ends_with_its_goroutine);
}

// put_by: no M can be had for p. p becomes idle, and the monitor tries again. Its work goes to the global queue: an M that has
// a P of its own, or that comes back from a call and takes another P, would never look into p's queue as long as it finds work
// elsewhere.
void put_by(sched& s, held_p p, bool spinning, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock) {
    if (spinning) s.idle.remove_spinner();
    while (G* g = p->runq.take_next()) s.globq.push(g);
    while (G* g = p->runq.pop()) s.globq.push(g);
    put_idle_p(s, std::move(p), wake);
    // Not before p is idle: otherwise the monitor might look too early, and it looks only once. It takes the lock before it
    // looks.
    s.idle.starved.fetch_add(1, std::memory_order_relaxed);
    s.idle.wake_deep_monitor(wake);   // else it looks in its next round
}

// call_option calls a function of the options. The calling thread is a foreign one to the library meanwhile.
void call_option(const std::function<void()>& f, const char* name) noexcept {
    if (!f) return;
    try {
        f();
    } catch (const std::exception& e) {
        base::fatal("options.%s has thrown an exception: %s", name, e.what());
    } catch (...) {
        base::fatal("options.%s has thrown an exception that is no std::exception, or has ended its thread", name);
    }
}

void thread_main(void* arg) {
    M* m = static_cast<M*>(arg);
    sched& s = *m->s;
    m->thread = ::pthread_self();
    m->tid.store(os::this_tid(), std::memory_order_relaxed);
    s.pool.inherited.apply();
    s.floats.restore();
    os::name_this_thread(m->id);
    call_option(s.opts.on_thread_start, "on_thread_start");
    set_current_m(m);
    {
        os::signal_stack on_overflow;
        m->exceptions = context::thread_exception_state();
        context::adopt_thread(m->g0);
        put_on_ordered(m);
        thread_loop(m);
    }
    set_current_m(nullptr);
    s.pool.ends(m);
    call_option(s.opts.on_thread_exit, "on_thread_exit");   // it counts against max_threads no longer
    deferred_wake wake;   // this thread is joined before the runtime is destroyed
    base::lock_guard hold(s.idle.lock);
    s.idle.wake_deep_monitor(wake);   // it joins this thread soon: until then the thread keeps its stack
}

}  // namespace

bool newm(sched& s, held_p& p, bool spinning, m_role role) noexcept { return s.pool.start(&s, thread_main, p, spinning, role); }

void startm(sched& s, held_p p, bool spinning) noexcept {
    M* m;
    {
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        m = s.idle.take_m(wake);
        if (!m && !makes_threads(s, current_m())) return s.idle.leave_to_monitor(std::move(p), spinning, wake);
    }
    if (!m) {
        if (newm(s, p, spinning, m_role::worker)) return;
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        // An M may have gone to sleep since, having found no idle P while this one was held here.
        m = s.idle.take_m(wake);
        if (!m) return put_by(s, std::move(p), spinning, wake);
    }
    m->wake_as(m_role::worker, std::move(p), spinning);
}

void start_left_ps(sched& s) noexcept {
    bool spinning = false;
    while (held_p p = s.idle.take_left(spinning)) startm(s, std::move(p), spinning);
}

void handoffp(sched& s, held_p p) noexcept {
    if (s.procs.is_surplus(*p) || p->runq.owner_sees_work() || !s.globq.empty() ||
        (p->timers.first() != os::never && p->timers.first() <= os::nanotime())) {
        startm(s, std::move(p), false);
        return;
    }
    {
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        const std::int64_t first = p->timers.first();
        put_idle_p(s, std::move(p), wake);
        s.idle.cover_timer(first, wake);
    }
    wake_if_work(s);   // it gave up a P
}

bool ours_leave_a_core(const sched& s) noexcept {
    const std::uint32_t procs = s.procs.wanted(), idle = s.idle.ps();
    return procs - std::min(procs, idle) + s.limit.computing() < s.cores;
}

// Why other processes count: PostgreSQL on the same two cores took 1.3 s beside spinners, 0.85 without.
bool a_core_is_free(const sched& s) noexcept { return ours_leave_a_core(s) && s.load.has_room(); }

namespace {

// idle_wait: until when an idle M waits for orders; it spins for `spin` first, and then sleeps. idle_end: what an M does that
// woke by itself.
struct idle_wait {
    std::int64_t until, spin;
};
enum class idle_end : std::uint8_t { waits_on, works, exits };

// next_wait: the idle m waits until it is to retire, or for the timer that it keeps (wake_ahead.hpp).
idle_wait next_wait(sched& s, const M* m, std::int64_t retire_at) noexcept HANDOFF_REQUIRES(s.idle.lock) {
    if (s.idle.timekeeper != m || s.idle.timekeeper_until >= retire_at) return {retire_at, 0};
    const std::int64_t due = std::max<std::int64_t>(s.idle.timekeeper_until, 0);   // the length below must not overflow
    // The load of the machine now says nothing about then, so it is not asked; and wake_ahead bounds the time spent on
    // spinning.
    if (s.opts.spin_before_sleep.count() == 0 || !ours_leave_a_core(s)) return {due, 0};
    const std::int64_t now = os::nanotime(), length = due - now, early = s.idle.ahead.of(length, now);
    if (early < length) return {due - early, 0};
    if (length > 0) s.idle.ahead.spend(length, now);
    return {due, length};
}

// woke_up: the idle m woke by itself, at `now`: to see to a timer, to retire, or neither.
idle_end woke_up(sched& s, M* m, std::int64_t now, std::int64_t& retire_at, deferred_wake& wake) noexcept
    HANDOFF_REQUIRES(s.idle.lock) {
    if (s.idle.timekeeper == m && now >= s.idle.timekeeper_until) {
        s.idle.keeps_no_time();
        // find_runnable runs that P's timers, and those of the other Ps. Without an idle P all timers belong to Ps that run.
        P* with_timer = nullptr;
        s.idle.for_each_p([&](P& p) {
            if (p.timers.first() <= now) with_timer = &p;
        });
        held_p p = take_idle_p(s, with_timer, wake);
        if (!p) return idle_end::waits_on;
        s.idle.cover_timer(s.idle.first_timer(), wake);
        m->orders.p = std::move(p);
        s.idle.begin_spinning(m);
    } else if (now >= retire_at) {
        retire_at = os::never;
        if (s.idle.timekeeper == m || s.idle.is_waiter(*m) || !s.pool.retires(m, s.procs.wanted() + 1)) return idle_end::waits_on;
        s.count.threads_retired.add();
    } else {
        return idle_end::waits_on;
    }
    s.idle.leaves(*m);
    return m->retires ? idle_end::exits : idle_end::works;
}

// got_events: the idle m, which is the waiter, has events. It goes to work with them if there is an idle P for it. `alone`:
// nobody waits from then on, for some time.
idle_end got_events(sched& s, M* m, bool& alone, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock) {
    held_p p = take_idle_p(s, nullptr, wake);
    if (!p) return idle_end::waits_on;
    if (s.idle.timekeeper == m) {
        s.idle.keeps_no_time();
        s.idle.cover_timer(s.idle.first_timer(), wake);
    }
    alone = s.idle.unwatched > poller::soon_watched_ns;
    m->orders.p = std::move(p);
    s.idle.leaves(*m);
    return idle_end::works;
}

}  // namespace

bool stopm(M* m) noexcept {
    sched& s = *m->s;
    HANDOFF_CHECK(!m->due);
    std::int64_t retire_at = os::never;
    idle_wait w;
    bool keeps_time, polls, alone = false;
    event_batch events;
    {
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        if (s.life.stopping) return false;
        // m's goroutine may have ended without a P, as the last that ran: the monitor has to check for a standstill.
        if (s.opts.deadlock_after.count() != 0) s.idle.wake_deep_monitor(wake);
        if (s.pool.has_more_than(s.procs.wanted() + 1)) retire_at = os::nanotime() + s.opts.idle_thread_timeout.count();
        const std::int64_t first = s.idle.first_timer();
        if (first < s.idle.timekeeper_until) {
            s.idle.timekeeper = m;
            s.idle.timekeeper_until = first;
        }
        keeps_time = s.idle.timekeeper == m;
        polls = s.poller.in_use() && s.idle.becomes_waiter(*m);
        w = next_wait(s, m, retire_at);
        s.idle.put_m(*m);
    }
    const std::int64_t began = os::nanotime();
    if (a_core_is_free(s)) w.spin = std::max(w.spin, s.idle.spin_time.load(std::memory_order_relaxed));
    if (keeps_time) os::set_timer_slack(1);
    bool sleeps = keeps_time && w.until - began > w.spin;
    while (!(polls ? s.poller.wait(m->park, w.until, w.spin, events) : m->park.wait_until(w.until, w.spin))) {
        const std::int64_t now = os::nanotime();
        {
            deferred_wake wake;
            base::lock_guard hold(s.idle.lock);
            if (sleeps && now >= w.until) s.idle.ahead.learn(now - w.until);
            if (!s.idle.has(*m)) {
                w = {os::never, 0};   // m was taken from the idle set: the wake-up is on its way
                if (std::exchange(polls, false)) s.idle.waiter_leaves();
                continue;
            }
            const idle_end end = events.count != 0 ? got_events(s, m, alone, wake) : woke_up(s, m, now, retire_at, wake);
            if (end == idle_end::exits) return false;
            if (end == idle_end::works) break;
            w = next_wait(s, m, retire_at);
            sleeps = keeps_time && w.spin == 0;
        }
        if (events.count != 0) hooks.descriptors_ready(m, events);   // for the Ps that are busy
        events.count = 0;
    }
    if (polls) s.idle.waiter_leaves();
    if (keeps_time) os::set_timer_slack(s.pool.inherited.timer_slack_ns);
    s.idle.learn_spin_time(os::nanotime() - began, s.opts.spin_before_sleep.count());
    // If it was woken without orders, it looks again at what to do: it may have to exit, and will see `stopping`.
    put_on_ordered(m);
    if (events.count != 0) hooks.descriptors_ready(m, events);
    if (alone) wakep_any(s);
    return true;
}

void stop_locked_m(M* m) noexcept {
    sched& s = *m->s;
    if (m->p.load(std::memory_order_relaxed)) handoffp(s, take_off(m));
    m->park.wait(a_core_is_free(s) ? s.opts.spin_before_sleep.count() : 0);
    put_on_ordered(m);
}

void start_locked_m(M* m, G* g) noexcept {
    M* tied = g->m.load(std::memory_order_relaxed);
    tied->orders.p = take_off(m);
    tied->park.wake();
}

}  // namespace handoff::detail
