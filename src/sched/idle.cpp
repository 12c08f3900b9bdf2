// Idle Ps and Ms: putting them by, waking them, making and ending threads. The argument against lost wake-ups is at
// the head of sched.hpp.
//
// Timers of idle Ps. Some thread must wake when the first of them is due: an M that goes to sleep becomes the
// `timekeeper` if it finds a timer that is due before the present timekeeper's time, and sleeps until then; where no M
// is about to sleep (a P is handed off without work, the timekeeper is called to work, or has work since its timer is due),
// the monitor is told, if its own time is later. All of it under the lock. How the timekeeper wakes in time: wake_ahead.hpp.
//
// Who makes threads. A thread inherits from the one that makes it: CPUs, niceness, policy, namespaces, capabilities, filters of
// calls. Tied goroutines change these of their threads, and foreign threads have their own; the Ms with neither, the monitor's
// among them, are made by each other, and the first of them by the thread that starts the runtime. So they alone make
// threads. Another one that finds no idle M leaves its P to the monitor (`left_ps`), which starts it at once. Meanwhile nobody
// else can take that P, as while a thread begins. (Go has a thread for this alone.)
//
// Joining. When a thread has done with the runtime its thread_local destructors are still to run, which may take long, or wait
// for a goroutine. So it is joined once it is gone (os::join_if_gone), by who looks for that anyway; the end of the runtime
// waits for all. The monitor goes to its deep sleep while some exit, but for pauses that double.
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

// acquire_nextp: m gets the P that it was started or woken with, if any. While that was on its way nobody could be asked to
// yield: where its slice was over by then, it ends now.
void sched::acquire_nextp(M* m) noexcept {
    P* p = std::exchange(m->nextp, nullptr);
    if (!p) return;
    acquirep(m, p);
    if (p->over_on_its_way.load(std::memory_order_relaxed) == p->slice()) end_slice(p);
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
    p->begin_slice();
    p->end_turn_of_spent();
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

// startm gives p to an idle M, or a new one, else it is put by.
void sched::startm(P* p, bool spinning) noexcept {
    M* m;
    {
        deferred_wake wake;
        base::lock_guard hold(lock);
        m = take_idle_m(wake);
    }
    if (!m) {
        if (!makes_threads(current_m())) return leave_to_monitor(p, spinning);
        if (newm(p, spinning, m_role::worker)) return;
        deferred_wake wake;
        base::lock_guard hold(lock);
        // One may have gone to sleep since, having found no idle P while this one was in our hands.
        m = take_idle_m(wake);
        if (!m) return put_by(p, spinning, wake);
    }
    m->wake_as(m_role::worker, p, spinning);
}

// makes_threads: see "Who makes threads". m: the calling thread's, or null.
bool sched::makes_threads(const M* m) const noexcept { return sim || (m && m->s == this && !m->locked_g && !m->exits); }

void sched::leave_to_monitor(P* p, bool spinning) noexcept {
    deferred_wake wake;
    base::lock_guard hold(lock);
    p->left_spinning = spinning;
    p->next_left = left_ps.load(std::memory_order_relaxed);
    left_ps.store(p, std::memory_order_relaxed);   // looked at without the lock only as a hint: the note wakes
    monitor_deep = false;
    wake.set(monitor_note);
}

// start_left_ps is for the monitor, in each round.
void sched::start_left_ps() noexcept {
    while (left_ps.load(std::memory_order_relaxed)) {
        P* p;
        {
            base::lock_guard hold(lock);
            p = left_ps.load(std::memory_order_relaxed);
            left_ps.store(p->next_left, std::memory_order_relaxed);
        }
        startm(p, p->left_spinning);
    }
}

// put_by: there is no M for p, which becomes idle, and the monitor tries again. Its work goes to the global queue: an M that
// has a P of its own, or that comes back from a call and takes another, would never look here as long as it finds something
// to do elsewhere. Under the lock.
void sched::put_by(P* p, bool spinning, deferred_wake& wake) noexcept {
    if (spinning) nmspinning.fetch_sub(1, std::memory_order_relaxed);
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

// ours_leave_a_core: neither those who hold a P nor those who compute without one have all cores.
bool sched::ours_leave_a_core() const noexcept {
    const std::uint32_t procs = nprocs.load(std::memory_order_relaxed), idle = npidle.load(std::memory_order_relaxed);
    return procs - std::min(procs, idle) + computing.load(std::memory_order_relaxed) < cores;
}

// a_core_is_free: who spins takes no core from anybody, also not from goroutines back from their calls, or another process
// (PostgreSQL on the same two cores took 1.3 s beside spinners, 0.85 without).
bool sched::a_core_is_free() const noexcept { return ours_leave_a_core() && load.has_room(); }

namespace {

void thread_main(void* arg) {
    M* m = static_cast<M*>(arg);
    sched* s = m->s;
    m->thread = ::pthread_self();
    m->tid.store(os::this_tid(), std::memory_order_relaxed);
    s->threads.apply();
    s->floats.restore();
    set_current_m(m);
    {
        os::signal_stack on_overflow;
        m->exceptions = context::thread_exception_state();
        context::adopt_thread(m->g0);
        s->acquire_nextp(m);
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
            count.thread_cap_hits.add();
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
            count.thread_create_failures.add();
            count.thread_create_errno.store(ENOMEM, std::memory_order_relaxed);
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
        count.thread_create_failures.add();
        count.thread_create_errno.store(e, std::memory_order_relaxed);
        base::lock_guard hold(lock);
        --nm;
        free_ms.push_back(m);
        return false;
    }
    count.threads_created.add();
    return true;
}

// thread_exits is the last that a thread does with the runtime. Its destructors, which follow, are a foreign thread's code.
void sched::thread_exits(M* m) noexcept {
    deferred_wake wake;   // we are joined before the runtime goes
    base::lock_guard hold(lock);
    --nm;
    if (std::exchange(m->leaves, false)) --leaving;
    exited.push_back(m);
    if (!monitor_deep) return;
    // It joins us, soon: a thread that was not joined keeps its stack.
    monitor_deep = false;
    wake.set(monitor_note);
}

bool sched::reap() noexcept {
    std::size_t looks = ~std::size_t{0};   // at each once
    for (;;) {
        M* m;
        {
            base::lock_guard hold(lock);
            looks = std::min(looks, exited.size());
            if (looks-- == 0) return exited.empty();
            m = exited.front();
            exited.erase(exited.begin());
        }
        const bool gone = os::join_if_gone(m->thread);
        if (gone) m->tid.store(0, std::memory_order_relaxed);
        base::lock_guard hold(lock);
        (gone ? free_ms : exited).push_back(m);
    }
}

void sched::join_all() noexcept {
    for (;;) {
        M* m;
        {
            base::lock_guard hold(lock);
            if (exited.empty()) return;
            m = exited.back();
            exited.pop_back();
        }
        ::pthread_join(m->thread, nullptr);
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

// next_wait: the idle m waits until it is to retire, or for the timer that it keeps (wake_ahead.hpp).
idle_wait sched::next_wait(const M* m, std::int64_t retire_at) noexcept {
    if (timekeeper != m || timekeeper_until >= retire_at) return {retire_at, 0};
    const std::int64_t due = std::max<std::int64_t>(timekeeper_until, 0);   // from a time long past nothing can be taken
    // Who wants a core now tells nothing of then; and the time that goes into it has its own bound.
    if (opts.spin_before_sleep.count() == 0 || !ours_leave_a_core()) return {due, 0};
    const std::int64_t now = os::nanotime(), length = due - now, early = ahead.of(length, now);
    if (early < length) return {due - early, 0};
    if (length > 0) ahead.spend(length, now);
    return {due, length};
}

// woke_up: it is time for the idle m to see to a timer, or to retire, or neither.
idle_end sched::woke_up(M* m, std::int64_t now, std::int64_t& retire_at, deferred_wake& wake) noexcept {
    if (timekeeper == m && now >= timekeeper_until) {
        timekeeper = nullptr;
        timekeeper_until = os::never;
        // Its own timers, and those of the other Ps, are run by find_runnable. Without an idle P all of them
        // belong to Ps that run.
        P* with_timer = nullptr;
        for (P& p : pidle)
            if (p.timers.first() <= now) with_timer = &p;
        P* p = take_idle_p(with_timer, wake);
        if (!p) return idle_end::waits_on;
        cover_timer(first_idle_timer(), wake);
        m->nextp = p;
        m->spinning = true;
        nmspinning.fetch_add(1, std::memory_order_relaxed);
    } else if (now >= retire_at) {
        retire_at = os::never;
        if (nm - leaving <= nprocs.load(std::memory_order_relaxed) + 1 || timekeeper == m) return idle_end::waits_on;
        m->leaves = true;
        ++leaving;
        count.threads_retired.add();
    } else {
        return idle_end::waits_on;
    }
    midle.erase(midle.iterator_to(*m));
    m->is_idle.store(false, std::memory_order_relaxed);
    return m->leaves ? idle_end::exits : idle_end::works;
}

// stopm puts m, which has no P, to sleep until somebody gives it one, or a part to play. False: the thread should exit.
bool sched::stopm(M* m) noexcept {
    HANDOFF_CHECK(!m->due);
    std::int64_t retire_at = os::never;
    idle_wait w;
    bool keeps_time;
    {
        deferred_wake wake;
        base::lock_guard hold(lock);
        if (stopping) return false;
        if (monitor_deep && opts.deadlock_after.count() != 0) {   // its goroutine may have ended without a P, the last that ran
            monitor_deep = false;
            wake.set(monitor_note);
        }
        if (nm - leaving > nprocs.load(std::memory_order_relaxed) + 1)
            retire_at = os::nanotime() + opts.idle_thread_timeout.count();
        const std::int64_t first = first_idle_timer();
        if (first < timekeeper_until) {
            timekeeper = m;
            timekeeper_until = first;
        }
        keeps_time = timekeeper == m;
        w = next_wait(m, retire_at);
        m->is_idle.store(true, std::memory_order_relaxed);
        midle.push_front(*m);
    }
    const std::int64_t began = os::nanotime();
    if (a_core_is_free()) w.spin = std::max(w.spin, spin_time.load(std::memory_order_relaxed));
    if (keeps_time) os::set_timer_slack(1);
    bool sleeps = keeps_time && w.until - began > w.spin;
    while (!m->park.wait_until(w.until, w.spin)) {
        const std::int64_t now = os::nanotime();
        deferred_wake wake;
        base::lock_guard hold(lock);
        if (sleeps) ahead.learn(now - w.until);
        if (!m->idle_link.is_linked()) {
            w = {os::never, 0};   // taken: the wake-up is on its way
            continue;
        }
        const idle_end end = woke_up(m, now, retire_at, wake);
        if (end == idle_end::exits) return false;
        if (end == idle_end::works) break;
        w = next_wait(m, retire_at);
        sleeps = keeps_time && w.spin == 0;
    }
    if (keeps_time) os::set_timer_slack(threads.timer_slack_ns);
    learn_spin_time(os::nanotime() - began);
    // Without orders it was woken to exit: it will see `stopping`.
    acquire_nextp(m);
    return true;
}

// stop_locked_m waits on m's thread, without a P, until its tied goroutine is to run.
void sched::stop_locked_m(M* m) noexcept {
    if (P* p = m->p.load(std::memory_order_relaxed)) {
        releasep(m);
        handoffp(p);
    }
    m->park.wait(a_core_is_free() ? opts.spin_before_sleep.count() : 0);
    acquire_nextp(m);
}

// start_locked_m gives m's P to the thread that g is tied to.
void sched::start_locked_m(M* m, G* g) noexcept {
    P* p = releasep(m);
    M* tied = g->m.load(std::memory_order_relaxed);
    tied->nextp = p;
    tied->park.wake();
}

}  // namespace handoff::detail
