// The monitor (Go's sysmon): an M without a P that watches the Ps and takes those whose goroutines are away.
//
// It is a part that Ms play in turns. When the monitor finds a P to take, it hands the part to an idle M and runs the
// P itself: it is awake already, and waking somebody costs more than half of the whole handoff.
//
// Rounds. While something runs it looks every `syscall_grace`; where it finds nothing, after each 32nd part of the time
// since it last did, at most 10 ms: a call that comes after a quiet time waits for no more than some percent of that
// more. (Pauses that double, as Go's, leave one that comes after 2 ms waiting for up to another.) When all Ps are idle it
// doubles the pause, and then sleeps until it is woken. A timed sleep of 20 us lasts 50 to 100, so it looks again
// without sleeping, for a bounded time, while a P with waiting work is in a call (until the grace is over),
// and for a while after a find; only if a core is free, so that it takes no time from goroutines.
//
// What it takes:
//   a guarded call       seen twice, `syscall_grace` apart, if work waits; after `syscall_retake_after` in any case
//   an unguarded call    no entry into the runtime for `retake_running_after`, and the kernel says that it sleeps
//   a computation        one time slice for `retake_running_after`, if work waits, while fewer than `procs` goroutines
//                        compute without a P; beyond that only after over_limit_wait
//
// While a goroutine computes, the timers of its P wait for the end of its slice only if no P is idle: else one is woken.
//
// Hogs. When `procs` goroutines compute without a P, a new one of the same kind (closure type) as one of those is not
// started on the last P that is free: it would only take that out of use, too. It waits in `hogs` until another P is
// idle, one of them is done, or over_limit_wait has passed. So a thousand hogs are a few threads, and what is no hog
// finds a P. (Not with a single P: it would stand idle while there is work.)
#include "os/clock.hpp"
#include "sched/sched.hpp"

#include <algorithm>
#include <unistd.h>

namespace handoff::detail {

namespace {

constexpr std::int64_t longest_pause_ns = 10'000'000;
constexpr std::int64_t pauses_in_quiet_time = 32;      // see Rounds
constexpr std::int64_t doubles_after_ns = 1'000'000;   // where nothing runs

// How long it looks without sleeping, at a stretch and after a find: several times what one round of a loop of
// blocking calls takes. If nothing is found the pauses in between grow to 10 ms, so that it costs two percent of a
// core that nobody uses.
constexpr std::int64_t polling_ns = 200'000;

constexpr unsigned most_candidates = 64;   // a round; the others have their turn in the next

struct round {
    round(sched& owner, std::int64_t time) noexcept : s(owner), now(time) {}

    sched& s;
    const std::int64_t now;
    std::int64_t next_look = os::never;   // the first time at which a look could find something
    bool poll = false;                    // worth looking again without sleeping
    bool timers_wait = false;             // those of a P whose goroutine computes are due
    unsigned busy = 0;                    // Ps whose goroutines are not in a guarded call
    unsigned in_call = 0;
    retake_candidate candidates[most_candidates];
    unsigned count = 0;

    bool work_waits_for(const P& p) const noexcept {
        if (!p.runq.empty() || p.timers.first() <= now) return true;
        const bool idle = s.npidle.load(std::memory_order_relaxed) != 0 && s.starved.load(std::memory_order_relaxed) == 0;
        if (idle || s.nmspinning.load(std::memory_order_relaxed) != 0)
            return false;   // somebody is free to do what waits elsewhere
        return s.work_anywhere();
    }

    retake_candidate* add(P& p, M* m, std::uint32_t call, std::uint32_t section, retake as) noexcept {
        if (count == most_candidates) return nullptr;
        retake_candidate& c = candidates[count++];
        c = {};
        c.m = m;
        c.p = &p;
        c.call = call;
        c.section = section;
        c.as = as;
        c.slice_is_over = as == retake::taken_slice;
        return &c;
    }

    void soon(std::int64_t when) noexcept { next_look = std::min(next_look, when); }

    void look_at(P& p) noexcept;
    bool worth_polling() noexcept;
    void look_at_call(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    void look_at_user_code(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
};

void round::look_at(P& p) noexcept {
    auto& w = p.watch;
    // Relaxed: what is seen here is only a reason to try; retake_ps looks again.
    M* m = p.m.load(std::memory_order_acquire);   // with acquirep: M::thread
    if (p.status.load(std::memory_order_relaxed) != p_status::running || !m) {
        w.m = nullptr;
        w.last_look = now;
        return;
    }
    const std::uint32_t call = m->call.load(std::memory_order_relaxed),
                        section = m->section.load(std::memory_order_relaxed),
                        slice = p.schedtick.load(std::memory_order_relaxed);
    const bool new_slice = w.m != m || w.schedtick != slice, new_stay = w.m != m || w.call != call || w.section != section;
    // By the clock after the look: `now` may be long past, if something else ran on the monitor's core.
    const std::int64_t seen = new_slice || new_stay ? os::nanotime() : now;
    if (new_slice) {
        w.schedtick = slice;
        w.slice_seen = seen;
    }
    if (new_stay) {
        w.call_began = w.m == m ? w.last_look : seen;
        w.call = call;
        w.section = section;
        w.call_seen = w.section_seen = seen;
        w.cpu_when_seen = -1;
        w.m = m;
    } else {
        soon(p.timers.first());   // it may still be away then
    }
    w.last_look = now;
    ++(call % 2 != 0 ? in_call : busy);
    if (p.id >= s.nprocs.load(std::memory_order_relaxed)) {
        // Surplus: to be taken as soon as its goroutine is away, whatever it does.
        add(p, m, call, section, retake::taken_slice);
    } else if (section % 2 != 0) {
        // In the library. If its goroutine is one that comes back all the time, it is to yield when its slice is over.
        if (now - w.slice_seen >= s.opts.retake_running_after.count() && work_waits_for(p))
            add(p, m, call, section, retake::taken_slice);
    } else if (call % 2 != 0) {
        look_at_call(p, m, call, section);
    } else {
        look_at_user_code(p, m, call, section);
    }
}

void round::look_at_call(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    const auto& w = p.watch;
    const bool waits = work_waits_for(p);
    const std::int64_t lasted = now - w.call_seen;
    const std::int64_t grace = s.opts.syscall_grace.count();
    // A loop of short calls never shows the same one twice for long: it may keep its P for a time slice.
    const bool slice_is_over = now - w.slice_seen >= s.opts.retake_running_after.count();
    if ((waits && (lasted >= grace || slice_is_over)) || lasted >= s.opts.syscall_retake_after.count()) {
        add(p, m, call, section, lasted < grace ? retake::taken_slice : retake::taken_call);
    } else if (waits) {
        soon(w.call_seen + grace);
        poll = true;
    } else {
        soon(w.call_seen + s.opts.syscall_retake_after.count());
    }
}

void round::look_at_user_code(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    auto& w = p.watch;
    if (p.timers.first() <= now) timers_wait = true;
    const std::int64_t limit = s.opts.retake_running_after.count();
    const std::uint32_t procs = s.nprocs.load(std::memory_order_relaxed);
    const bool away = now - w.section_seen >= limit;
    if (!away && now - w.slice_seen < limit) {
        soon(std::min(w.section_seen, w.slice_seen) + limit);
        return;
    }
    const bool waits = work_waits_for(p);
    if (!away && !waits) return;
    // A thread that used less than half of the time may be blocked, or may have been kept from its core by others:
    // the kernel knows.
    const std::int64_t cpu = os::thread_cpu_time(m->tid.load(std::memory_order_relaxed));
    const std::int64_t before = std::exchange(w.cpu_when_seen, cpu);
    os::thread_activity is{os::activity::computing, -1};
    if (!away || before < 0 || cpu - before < (now - w.section_seen) / 2)
        is = os::activity_of(m->tid.load(std::memory_order_relaxed));
    if (is.what == os::activity::in_call || is.what == os::activity::in_fault) {
        if (!away) return;   // it may be a short one
        if (retake_candidate* c = add(p, m, call, section, retake::taken_unguarded)) {
            c->since = w.section_seen;
            c->call_number = is.call;
        }
        return;
    }
    if (!waits) return;   // it computes, and nobody minds
    const std::int64_t slice = now - w.slice_seen;
    if (slice < limit) return;
    std::uint32_t without_p = s.computing.load(std::memory_order_relaxed);
    for (unsigned i = 0; i < count; ++i) without_p += candidates[i].as == retake::taken_computing;
    if (without_p >= procs && slice < s.over_limit_wait(without_p)) return;
    if (retake_candidate* c = add(p, m, call, section, retake::taken_computing)) c->slice_is_over = !away;
}

// worth_polling says whether to look again at once: for a bounded time, and on a core that nobody else needs.
bool round::worth_polling() noexcept {
    auto& w = s.watch;
    const bool expects = poll || (busy + in_call != 0 && now - w.last_find < polling_ns);
    if (!expects || busy + s.computing.load(std::memory_order_relaxed) >= s.cores) return false;
    if (w.polling_since == 0) w.polling_since = now;
    if (now - w.polling_since >= polling_ns && now - w.last_find >= polling_ns) return false;
    for (int i = 0; i < 8; ++i) base::cpu_relax();   // leave the owners their cache lines
    return true;
}

// take tries the round's candidates. The Ps that were taken are handed on, but for one that the caller shall run.
P* take(round& r) noexcept {
    sched& s = r.s;
    for (unsigned i = 0; i < r.count; ++i) {
        retake_candidate& c = r.candidates[i];
        if (c.as != retake::taken_computing) continue;
        const G* g = c.m->curg.load(std::memory_order_relaxed);
        c.kind = g ? g->kind.load(std::memory_order_relaxed) : 0;
        s.begin_computing(c.kind);   // before the owner can end it
    }
    retake_ps(s, r.candidates, r.count);
    P* mine = nullptr;
    for (unsigned i = 0; i < r.count; ++i) {
        retake_candidate& c = r.candidates[i];
        if (!c.taken) {
            if (c.as == retake::taken_computing) s.end_of_computing(c.kind);
            continue;
        }
        s.watch.last_find = r.now;
        P& p = *c.p;
        const bool work = p.runq.owner_sees_work() || p.timers.first() <= r.now ||
                          !s.globq.empty();
        if (c.as == retake::taken_slice) {
            // It may have left the call in which it was seen.
            (c.call % 2 != 0 ? s.handoffs_sysmon : s.handoffs_computing).add();
        } else if (c.as == retake::taken_call) {
            s.handoffs_sysmon.add();
            // Those that follow need not wait until this call is over to learn from it.
            if (const G* g = c.m->curg.load(std::memory_order_relaxed)) {
                auto& kind = s.kinds[g->kind.load(std::memory_order_relaxed)];
                // A hint: another's may get lost.
                kind.store(predict_after(kind.load(std::memory_order_relaxed), true), std::memory_order_relaxed);
            }
            if (work) p.handoff = handoff_kind::sysmon, p.handoff_began = p.watch.call_began;
        } else if (c.as == retake::taken_unguarded) {
            s.handoffs_unguarded.add();
            if (work) p.handoff = handoff_kind::unguarded, p.handoff_began = p.watch.section_seen;
        } else {
            s.handoffs_computing.add();
        }
        p.watch.m = nullptr;
        if (work && !mine) mine = &p;
        else s.handoffp(&p);
    }
    return mine;
}

}  // namespace

// pass_monitor_role makes another M the monitor; false if there is none to be had.
bool sched::pass_monitor_role() noexcept {
    M* m;
    {
        deferred_wake wake;
        base::lock_guard hold(lock);
        m = take_idle_m(wake);
    }
    if (!m) return newm(nullptr, false, m_role::monitor);
    m->wake_as(m_role::monitor, nullptr, false);
    return true;
}

// monitor plays the part on m's thread until it passes it on, and then returns the P that m shall run, or until the
// runtime stops (null).
P* sched::monitor(M* m) noexcept {
    m->is_monitor.store(true, std::memory_order_relaxed);
    os::set_timer_slack(1);   // the default of 50 us would make each short pause that much longer
    monitor_wakes_up();
    P* mine = nullptr;
    while (!mine) {
        round r(*this, os::nanotime());
        coarse_now.store(r.now, std::memory_order_relaxed);
        for_each_p([&](P& p) { r.look_at(p); });
        if (r.count != 0) mine = take(r);
        if (r.timers_wait) wakep_any();   // who looks for work takes them; as Go's sysmon
        if (watch.last_find == r.now) watch.pause = opts.syscall_grace.count(), watch.busy_since = r.now;
        if (!mine && !r.worth_polling()) {
            if (!monitor_sleeps(r.now, r.next_look, mine)) break;
            watch.polling_since = 0;
        }
        if (mine && !pass_monitor_role()) {
            watch.short_of_threads_until = r.now + watch.pause;
            fire_timers(m, mine);   // who could take it instead may be busy with other Ps for ever
            handoffp(std::exchange(mine, nullptr));
        }
    }
    os::set_timer_slack(threads.timer_slack_ns);
    m->is_monitor.store(false, std::memory_order_relaxed);
    return mine;
}

// fire_timers runs p's timers that are due. p is in the caller's hands, and stays there.
void sched::fire_timers(M* m, P* p) noexcept {
    acquirep(m, p);
    const std::int64_t now = os::nanotime();
    while (run_timers(m, p, now) != 0) run_due(m);
    releasep(m);
}

void sched::monitor_wakes_up() noexcept {
    watch.pause = opts.syscall_grace.count();
    watch.busy_since = os::nanotime();
    watch.polling_since = 0;
}

// monitor_sleeps ends a round: chores, then the pause, or a deep sleep if all is idle. A P whose timers are due while
// nobody else waits for them comes back in `due`. False: the runtime stops.
bool sched::monitor_sleeps(std::int64_t now, std::int64_t next_look, P*& due) noexcept {
    reap();
    retry_starved();
    if (watch.surplus) empty_idle_surplus();
    if (nhogs.load(std::memory_order_relaxed) != 0 &&
        now - watch.hog_started >= over_limit_wait(computing.load(std::memory_order_relaxed))) {
        watch.hog_started = now;
        start_hog();
    }
    // Once it has looked at its longest pause, and found nothing, it gives memory back; then it may sleep for good.
    const bool rests = watch.pause >= longest_pause_ns;
    const bool has_memory = rests && give_memory_back();
    const std::int64_t grace = opts.syscall_grace.count();
    const std::int64_t quiet = now - watch.busy_since;
    std::int64_t until = os::never;
    bool deep = false;
    {
        base::lock_guard hold(lock);
        if (stopping) return false;
        watch.surplus = live_procs > nprocs.load(std::memory_order_relaxed);
        const bool all_idle = npidle.load(std::memory_order_relaxed) == live_procs;
        if (!all_idle) watch.pause = std::min(std::max(quiet / pauses_in_quiet_time, grace), longest_pause_ns);
        else if (quiet > doubles_after_ns) watch.pause = std::min(watch.pause * 2, longest_pause_ns);
        until = std::min(now + watch.pause, std::max(next_look, now + grace));
        const std::int64_t first = first_idle_timer();
        if (first < timekeeper_until) {
            if (first <= now && now >= watch.short_of_threads_until) {
                due = take_idle_p_with_timer(first);
                if (due) return true;
            }
            until = std::min(until, std::max(first, watch.short_of_threads_until));
        }
        deep = all_idle && rests && !watch.surplus && !has_memory && !work_anywhere() &&
               stackless.empty() && hogs.empty() && starved.load(std::memory_order_relaxed) == 0;
        if (deep) until = first < timekeeper_until ? std::max(first, watch.short_of_threads_until) : os::never;
        if (debug.schedtrace.count() != 0) until = std::min(until, watch.next_trace);
        if (!deep || opts.deadlock_after.count() == 0 || !all_wait()) watch.stalled_since = 0, watch.stall_reported = false;
        else if (watch.stalled_since == 0) watch.stalled_since = now;
        if (watch.stalled_since != 0 && !watch.stall_reported)
            until = std::min(until, watch.stalled_since + opts.deadlock_after.count());
        monitor_deep = deep;
        monitor_until = until;
    }
    const bool woken = monitor_note.wait_until(until);
    {
        base::lock_guard hold(lock);
        monitor_deep = false;
        monitor_until = os::never;   // awake: it looks again before it sleeps
    }
    if (deep && woken) monitor_wakes_up();
    else if (watch.stalled_since != 0 && !woken) report_stall();
    if (debug.schedtrace.count() != 0) trace(os::nanotime());
    return true;
}

// all_wait says whether nothing in this runtime can go on by itself: all Ps are idle, no timer is set, no M has a
// goroutine (which would be in a call, or compute), and there are some.
bool sched::all_wait() const noexcept {
    if (outsiders.load(std::memory_order_relaxed) != 0 || all_ended()) return false;
    bool timers = false;
    for_each_p([&](const P& p) { timers |= p.timers.first() != os::never; });
    return !timers && std::none_of(allm.begin(), allm.end(), [](const auto& m) {
        return m->curg.load(std::memory_order_relaxed) != nullptr;
    });
}

// report_stall tells of a standstill that has lasted for long enough; once.
void sched::report_stall() noexcept {
    if (watch.stall_reported || os::nanotime() < watch.stalled_since + opts.deadlock_after.count()) return;
    {
        base::lock_guard hold(lock);
        if (npidle.load(std::memory_order_relaxed) != live_procs || !all_wait()) return;
    }
    watch.stall_reported = true;
    std::string report;
    try {
        report = "handoff: all goroutines wait for each other\n" + describe_all();
    } catch (const std::bad_alloc&) {
        base::warn("all goroutines wait for each other, and there is no memory to say who");
        return;
    }
    if (opts.on_deadlock) {
        // To the library it is a thread like any other: this M has no goroutine for which it could do anything.
        M* m = current_m();
        set_current_m(nullptr);
        opts.on_deadlock(report);
        set_current_m(m);
        return;
    }
    [[maybe_unused]] const auto written = ::write(2, report.data(), report.size());
}

// give_memory_back trims the stacks of an idle runtime, some at a time; true if there may be more.
bool sched::give_memory_back() noexcept {
    constexpr unsigned at_a_time = 1024;   // a millisecond's work
    {
        base::lock_guard hold(lock);
        if (npidle.load(std::memory_order_relaxed) != live_procs) return false;
        for (P& p : pidle)
            for (context::stack* st = p.free_stacks; st; st = st->next) context::stack_pool::trim_deep(*st);
    }
    return stacks.trim(at_a_time) == at_a_time;
}

// over_limit_wait is how long things wait when `without_p` goroutines compute without a P, which is enough: the longer,
// the more there are.
std::int64_t sched::over_limit_wait(std::uint32_t without_p) const noexcept {
    return opts.retake_running_after.count() * (10 + 10 * (without_p / nprocs.load(std::memory_order_relaxed)));
}

// defer_hog keeps the fresh g from being started, if it is likely to be one hog too many.
bool sched::defer_hog(G* g) noexcept {
    if (hog_kinds[g->kind.load(std::memory_order_relaxed)].load(std::memory_order_relaxed) == 0) return false;
    if (npidle.load(std::memory_order_relaxed) != 0 || nprocs.load(std::memory_order_relaxed) == 1) return false;
    base::lock_guard hold(lock);
    // Again under the lock, where end_of_computing looks for those to start.
    if (computing.load(std::memory_order_relaxed) < nprocs.load(std::memory_order_relaxed)) return false;
    if (std::exchange(g->let_through, false)) return false;
    hogs.push(g);
    nhogs.store(nhogs.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return true;
}

// take_hog takes the first of the deferred ones, to be started whatever happens; null if there is none.
G* sched::take_hog() noexcept {
    G* g = hogs.pop();
    if (!g) return nullptr;
    nhogs.store(nhogs.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    g->let_through = true;
    return g;
}

// start_hog lets the first of the deferred ones through.
void sched::start_hog() noexcept {
    {
        base::lock_guard hold(lock);
        G* g = take_hog();
        if (!g) return;
        globq.push(g);
    }
    wakep_any();
}

// begin_computing and end_of_computing keep count of the goroutines that compute without a P.
void sched::begin_computing(std::uint8_t kind) noexcept {
    hog_kinds[kind].fetch_add(1, std::memory_order_relaxed);
    computing.fetch_add(1, std::memory_order_relaxed);
}

void sched::end_of_computing(std::uint8_t kind) noexcept {
    bool starts_one;
    {
        base::lock_guard hold(lock);
        hog_kinds[kind].fetch_sub(1, std::memory_order_relaxed);
        computing.fetch_sub(1, std::memory_order_relaxed);
        starts_one = !hogs.empty();
    }
    if (starts_one) start_hog();
}

// take_idle_p_with_timer takes the idle P whose first timer is the one due at `first`.
P* sched::take_idle_p_with_timer(std::int64_t first) noexcept {
    for (P& p : pidle) {
        if (p.timers.first() > first) continue;
        pidle.erase(pidle.iterator_to(p));
        npidle.store(npidle.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
        return &p;
    }
    return nullptr;   // somebody is about to run it
}

// retry_starved makes good for threads and stacks that could not be had.
void sched::retry_starved() noexcept {
    bool again = starved.exchange(0, std::memory_order_relaxed) != 0;
    {
        base::lock_guard hold(lock);
        for (G* g = stackless.pop(); g; g = stackless.pop()) {
            globq.push(g);
            again = true;
        }
    }
    if (!again || !work_anywhere()) return;
    wakep_any();
    // If it could not, startm has said so again; if somebody spins, he looks for it.
}

}  // namespace handoff::detail
