// Idle Ps and Ms: putting them by, waking them, making and ending threads. The argument against lost wake-ups is at
// the head of sched.hpp.
//
// Timers of idle Ps. Some thread must wake when the first of them is due: an M that goes to sleep becomes the
// `timekeeper` if it finds a timer that is due before the present timekeeper's time, and sleeps until then; where no M
// is about to sleep (a P is handed off without work, the timekeeper is called to work), the monitor is told, if its own
// time is later. All of it under the lock.
#include "os/clock.hpp"
#include "sched/sched.hpp"

#include <algorithm>
#include <cerrno>

namespace handoff::detail {

void sched::acquirep(M* m, P* p) noexcept {
    p->transition(p_status::idle, p_status::running);
    share_if_not_alone(p);
    p->m.store(m, std::memory_order_release);   // with the monitor's acquire: M::thread
    m->p.store(p, std::memory_order_relaxed);
}

// releasep takes m's P away; it is then in the caller's hands: idle, and in no list.
P* sched::releasep(M* m) noexcept {
    P* p = m->p.load(std::memory_order_relaxed);
    p->transition(p_status::running, p_status::idle);
    p->m.store(nullptr, std::memory_order_relaxed);
    m->p.store(nullptr, std::memory_order_relaxed);
    return p;
}

// put_idle_p gives a P that is in the caller's hands to whoever wants it. A full fence and a look at the queues must
// follow.
void sched::put_idle_p(P* p, deferred_wake& wake) noexcept {
    pidle.push_front(*p);
    npidle.store(npidle.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    check_drained(wake);
}

// take_idle_p takes `preferred` if it is idle, else any idle one; null if there is none.
P* sched::take_idle_p(P* preferred, deferred_wake& wake) noexcept {
    if (pidle.empty()) return nullptr;
    P* p = preferred && preferred->idle_link.is_linked() ? preferred : &pidle.front();
    pidle.erase(pidle.iterator_to(*p));
    npidle.store(npidle.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    if (monitor_deep) {   // it must not sleep while anything runs, and its clock has stood still
        coarse_now.store(os::nanotime(), std::memory_order_relaxed);
        monitor_deep = false;
        wake.set(monitor_note);
    }
    return p;
}

// first_idle_timer is when the first timer of an idle P is due.
std::int64_t sched::first_idle_timer() const noexcept {
    std::int64_t first = os::never;
    for (const P& p : pidle) first = std::min(first, p.timers.first());
    return first;
}

// cover_timer sees to it that somebody wakes at `when`.
void sched::cover_timer(std::int64_t when, deferred_wake& wake) noexcept {
    if (when >= timekeeper_until || when >= monitor_until) return;
    monitor_deep = false;
    wake.set(monitor_note);
}

// add_timer_outside gives t to the first P. If that is idle now, somebody has to wake in time; if it becomes so later, it
// is with t in its heap.
void sched::add_timer_outside(timer* t) {
    const std::int64_t when = t->when;
    P& p = *allp[0].load(std::memory_order_acquire);
    p.timers.add(t);
    deferred_wake wake;
    base::lock_guard hold(lock);
    if (p.status.load(std::memory_order_relaxed) == p_status::idle) cover_timer(when, wake);
}

// take_idle_m takes the M that went to sleep last, but the timekeeper only if there is no other.
M* sched::take_idle_m(deferred_wake& wake) noexcept {
    if (midle.empty()) return nullptr;
    auto it = midle.begin();
    if (&*it == timekeeper && std::next(it) != midle.end()) ++it;
    return unlink_idle_m(*it, wake);
}

M* sched::unlink_idle_m(M& m, deferred_wake& wake) noexcept {
    midle.erase(midle.iterator_to(m));
    m.is_idle.store(false, std::memory_order_relaxed);
    if (&m == timekeeper) {
        timekeeper = nullptr;
        timekeeper_until = os::never;
        cover_timer(first_idle_timer(), wake);
    }
    return &m;
}

void sched::wakep_any() noexcept {
    base::full_fence();   // sched.hpp
    if (npidle.load(std::memory_order_relaxed) == 0) return;
    std::uint32_t none = 0;
    if (nmspinning.load(std::memory_order_relaxed) != 0 ||
        !nmspinning.compare_exchange_strong(none, 1, std::memory_order_relaxed))
        return;
    P* p;
    {
        deferred_wake wake;
        base::lock_guard hold(lock);
        p = take_idle_p(nullptr, wake);
        // Under the lock: sched.hpp.
        if (!p) nmspinning.fetch_sub(1, std::memory_order_relaxed);
    }
    if (p) startm(p, true);
}

// startm gives p to an idle M, or a new one. Without either p becomes idle, and the monitor tries again. Its work goes to
// the global queue: an M that has a P of its own, or that comes back from a call and takes another, would never look here
// as long as it finds something to do elsewhere.
void sched::startm(P* p, bool spinning) noexcept {
    M* m;
    {
        deferred_wake wake;
        base::lock_guard hold(lock);
        m = take_idle_m(wake);
    }
    if (m) {
        m->wake_as(m_role::worker, p, spinning);
        return;
    }
    if (newm(p, spinning, m_role::worker)) return;
    if (spinning) nmspinning.fetch_sub(1, std::memory_order_relaxed);
    deferred_wake wake;
    base::lock_guard hold(lock);
    while (G* g = p->runq.take_next()) globq.push(g);
    while (G* g = p->runq.pop()) globq.push(g);
    put_idle_p(p, wake);
    // Not before p is idle: the monitor would look for it in vain, and only once. It takes the lock before it looks.
    starved.fetch_add(1, std::memory_order_relaxed);
    if (!monitor_deep) return;   // it looks in its next round
    monitor_deep = false;
    wake.set(monitor_note);
}

// handoffp finds a new M for p, which is in the caller's hands, if there is anything that it could run.
void sched::handoffp(P* p) noexcept {
    const bool surplus = p->id >= nprocs.load(std::memory_order_relaxed);
    if (surplus || p->runq.owner_sees_work() || !globq.empty() ||
        (p->timers.first() != os::never && p->timers.first() <= os::nanotime())) {
        startm(p, false);
        return;
    }
    {
        deferred_wake wake;
        base::lock_guard hold(lock);
        put_idle_p(p, wake);
        cover_timer(p->timers.first(), wake);
    }
    base::full_fence();   // sched.hpp: gave up a P
    if (work_anywhere()) wakep_any();
}

bool sched::a_core_is_free() const noexcept {
    const std::uint32_t procs = nprocs.load(std::memory_order_relaxed), idle = npidle.load(std::memory_order_relaxed);
    return procs - std::min(procs, idle) + computing.load(std::memory_order_relaxed) < cores;
}

namespace {

void thread_main(void* arg) {
    M* m = static_cast<M*>(arg);
    sched* s = m->s;
    m->thread = ::pthread_self();
    m->tid.store(os::this_tid(), std::memory_order_relaxed);
    s->threads.apply();
    set_current_m(m);
    {
        os::signal_stack on_overflow;
        m->exceptions = context::thread_exception_state();
        context::adopt_thread(m->g0);
        if (P* p = std::exchange(m->nextp, nullptr)) s->acquirep(m, p);
        s->thread_loop(m);
    }
    set_current_m(nullptr);
    s->thread_exits(m);
}

}  // namespace

// newm starts a thread that runs p (or plays the monitor); false if max_threads or the system forbids it.
bool sched::newm(P* p, bool spinning, m_role role) noexcept {
    reap();
    M* m = nullptr;
    {
        base::lock_guard hold(lock);
        if (nm >= opts.max_threads) {
            thread_cap_hits.add();
            return false;
        }
        try {
            if (free_ms.empty()) {
                exited.reserve(allm.size() + 1);    // so that thread_exits and reap need no memory
                free_ms.reserve(allm.size() + 1);
                allm.push_back(std::make_unique<M>(this, static_cast<int>(allm.size())));
                m = allm.back().get();
            } else {
                m = free_ms.back();
                free_ms.pop_back();
            }
        } catch (const std::bad_alloc&) {
            thread_create_failures.add();
            thread_create_errno.store(ENOMEM, std::memory_order_relaxed);
            return false;
        }
        most_nm = std::max(most_nm, ++nm);
    }
    m->nextp = p;
    m->spinning = spinning;
    m->role = role;
    m->exits = false;
    pthread_t t;
    if (const int e = os::create_thread(t, thread_main, m)) {
        thread_create_failures.add();
        thread_create_errno.store(e, std::memory_order_relaxed);
        base::lock_guard hold(lock);
        --nm;
        free_ms.push_back(m);
        return false;
    }
    threads_created.add();
    return true;
}

// thread_exits is the last that a thread does with the runtime.
void sched::thread_exits(M* m) noexcept {
    deferred_wake wake;   // we are joined before the runtime goes
    base::lock_guard hold(lock);
    --nm;
    if (std::exchange(m->leaves, false)) --leaving;
    exited.push_back(m);
    if (!monitor_deep) return;
    // It joins us: a thread that was not joined keeps its stack.
    monitor_deep = false;
    wake.set(monitor_note);
}

void sched::reap() noexcept {
    for (;;) {
        M* m;
        {
            base::lock_guard hold(lock);
            if (exited.empty()) return;
            m = exited.back();
            exited.pop_back();
        }
        ::pthread_join(m->thread, nullptr);
        m->tid.store(0, std::memory_order_relaxed);
        base::lock_guard hold(lock);
        free_ms.push_back(m);
    }
}

// learn_spin_time fits the time for which idle Ms spin to how soon they have been called: somewhat longer than that
// if it was within spin_before_sleep, else less and less. A sleeping thread on a halted core takes 20 us to wake, a
// spinning one 0.2.
void sched::learn_spin_time(std::int64_t waited) noexcept {
    const std::int64_t most = opts.spin_before_sleep.count(), now = spin_time.load(std::memory_order_relaxed);
    const std::int64_t next = waited < most ? std::min(most, std::max(now, 2 * waited)) : std::max(now / 2, most / 32);
    if (next != now) spin_time.store(next, std::memory_order_relaxed);   // a hint: another's may get lost
}

// stopm puts m, which has no P, to sleep until somebody gives it one, or a part to play. False: the thread should exit.
bool sched::stopm(M* m) noexcept {
    HANDOFF_CHECK(!m->due);
    std::int64_t retire_at = os::never, until;
    {
        base::lock_guard hold(lock);
        if (stopping) return false;
        if (nm - leaving > nprocs.load(std::memory_order_relaxed) + 1)
            retire_at = os::nanotime() + opts.idle_thread_timeout.count();
        const std::int64_t first = first_idle_timer();
        if (first < timekeeper_until) {
            timekeeper = m;
            timekeeper_until = first;
        }
        until = timekeeper == m ? std::min(retire_at, timekeeper_until) : retire_at;
        m->is_idle.store(true, std::memory_order_relaxed);
        midle.push_front(*m);
    }
    const std::int64_t began = os::nanotime();
    std::int64_t spin = a_core_is_free() ? spin_time.load(std::memory_order_relaxed) : 0;
    const bool keeps_time = until < retire_at;
    if (keeps_time) os::set_timer_slack(1);
    while (!m->park.wait_until(until, std::exchange(spin, 0))) {
        deferred_wake wake;
        base::lock_guard hold(lock);
        if (!m->idle_link.is_linked()) {
            until = os::never;   // taken: the wake-up is on its way
            continue;
        }
        const std::int64_t now = os::nanotime();
        bool leaves = false;
        if (timekeeper == m && now >= timekeeper_until) {
            timekeeper = nullptr;
            timekeeper_until = os::never;
            // Its own timers, and those of the other Ps, are run by find_runnable. Without an idle P all of them
            // belong to Ps that run.
            if (P* p = take_idle_p(nullptr, wake)) {
                m->nextp = p;
                m->spinning = true;
                nmspinning.fetch_add(1, std::memory_order_relaxed);
                leaves = true;
            }
        } else if (now >= retire_at) {
            if (nm - leaving > nprocs.load(std::memory_order_relaxed) + 1 && timekeeper != m) {
                ++leaving;
                m->leaves = true;
                threads_retired.add();
                midle.erase(midle.iterator_to(*m));
                m->is_idle.store(false, std::memory_order_relaxed);
                return false;
            }
            retire_at = os::never;
        }
        until = timekeeper == m ? std::min(retire_at, timekeeper_until) : retire_at;
        if (!leaves) continue;
        midle.erase(midle.iterator_to(*m));
        m->is_idle.store(false, std::memory_order_relaxed);
        break;
    }
    if (keeps_time) os::set_timer_slack(threads.timer_slack_ns);
    learn_spin_time(os::nanotime() - began);
    // Without orders it was woken to exit: it will see `stopping`.
    if (P* p = std::exchange(m->nextp, nullptr)) acquirep(m, p);
    return true;
}

// stop_locked_m waits on m's thread, without a P, until its tied goroutine is to run.
void sched::stop_locked_m(M* m) noexcept {
    if (P* p = m->p.load(std::memory_order_relaxed)) {
        releasep(m);
        handoffp(p);
    }
    m->park.wait(a_core_is_free() ? opts.spin_before_sleep.count() : 0);
    acquirep(m, std::exchange(m->nextp, nullptr));
}

// start_locked_m gives m's P to the thread that g is tied to.
void sched::start_locked_m(M* m, G* g) noexcept {
    P* p = releasep(m);
    M* tied = g->m.load(std::memory_order_relaxed);
    tied->nextp = p;
    tied->park.wake();
}

}  // namespace handoff::detail
