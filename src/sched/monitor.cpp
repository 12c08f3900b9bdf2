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
//   an unguarded call    no entry into the runtime for `unguarded_grace` if work waits, else for `retake_running_after`, and
//                        the kernel says that the thread sleeps
//   a computation        one time slice (slice.cpp) for `retake_running_after`, if work waits, while fewer than `procs`
//                        goroutines compute without a P; beyond that only after over_limit_wait (hogs.cpp)
//
// Unguarded calls. While work waits, or none is idle who could take what comes, it asks the kernel what the thread of a P
// does whose goroutine is in user code: when it first sees that, since one that sleeps then is worth another look after the
// grace, and from the grace on at doubling intervals. That is a descriptor and a microsecond a look
// (os/thread_activity.hpp). It pauses for 1 ms at most meanwhile, which together stays below a percent of a core; where it
// has found something lately it looks much sooner. Where the kernel does not tell, a thread that has used no processor time
// for a while counts as asleep.
//
// While a goroutine computes, the timers of its P wait for the end of its slice only if no P is idle: else one is woken.
//
// Fast paths. A goroutine in a loop of free locks or ready channels takes their inline paths, and never enters the runtime. So
// one that seems to compute when its slice is over is asked to yield first; if it has not entered for as long as a slice, or
// does not answer, these ways are closed until the next look (sched/fast_path.hpp): if it is such a loop it enters, and answers.
// If not, its P is taken then, wherever in user code it is.
#include "base/sizes.hpp"
#include "os/clock.hpp"
#include "sched/fast_path.hpp"
#include "sched/hooks.hpp"
#include "sched/sched.hpp"

#include <algorithm>
#include <unistd.h>

namespace handoff::detail {

namespace {

constexpr std::int64_t longest_pause_ns = 10'000'000;
constexpr std::int64_t pauses_in_quiet_time = 32;      // see Rounds
constexpr std::int64_t doubles_after_ns = 1'000'000;   // where nothing runs
constexpr std::int64_t longest_busy_pause_ns = 1'000'000;   // where an unguarded call would keep others waiting

// For how long a thread has to use less than an eighth of a core to count as asleep, where the kernel does not tell.
constexpr std::int64_t asleep_by_clock_ns = 200'000;

// The processor time in which one has to answer that was asked to yield. Loops of fast paths do so within a microsecond.
constexpr std::int64_t time_to_answer_ns = base::sized(100'000, 0);   // explored computations last for 1,600

// How long it looks without sleeping, at a stretch and after a find: several times what one round of a loop of
// blocking calls takes. If nothing is found the pauses in between grow to 10 ms, so that it costs two percent of a
// core that nobody uses.
constexpr std::int64_t polling_ns = 200'000;

constexpr std::int64_t looks_at_load_every_ns = 20'000;

constexpr unsigned most_candidates = 64;   // a round; the others have their turn in the next

struct round {
    round(sched& owner, std::int64_t time) noexcept : s(owner), now(time) {}

    sched& s;
    const std::int64_t now;
    std::int64_t next_look = os::never;   // the first time at which a look could find something
    bool poll = false;                    // worth looking again without sleeping
    bool timers_wait = false;             // those of a P whose goroutine computes are due
    bool unguarded_matters = false;       // a goroutine in user code keeps others waiting if it blocks
    bool asks = false;                    // somebody to yield, who may be in a loop of fast paths
    unsigned busy = 0;                    // Ps whose goroutines are not in a guarded call
    unsigned in_call = 0;
    unsigned without_m = 0;               // idle, or on their way to an M
    unsigned spent_running = 0;           // Ps on which the spent have their turn
    retake_candidate candidates[most_candidates];
    unsigned count = 0;

    bool work_waits_for(const P& p) const noexcept {
        if (!p.runq.empty() || p.timers.first() <= now) return true;
        const bool idle = s.npidle.load(std::memory_order_relaxed) != 0 && s.starved.load(std::memory_order_relaxed) == 0;
        if (idle || s.nmspinning.load(std::memory_order_relaxed) != 0)
            return false;   // somebody is free to do what waits elsewhere
        return s.work_anywhere();
    }

    // add: p is to be taken from m; `wherever` in user code that is by then, or in a call.
    retake_candidate* add(P& p, M* m, std::uint32_t call, std::uint32_t section, retake as, bool wherever = false) noexcept {
        if (count == most_candidates) return nullptr;
        retake_candidate& c = candidates[count++];
        c = {};
        c.m = m;
        c.p = &p;
        c.call = call;
        c.section = section;
        c.as = as;
        c.slice_is_over = wherever;
        if (wherever) expect_answer(p);
        return &c;
    }

    // When the slice on p is over, when it is the turn of the spent, and when either: slice.cpp.
    std::int64_t slice_ends(const P& p) const noexcept { return p.watch.slice_seen + s.opts.retake_running_after.count(); }
    std::int64_t spent_come(const P& p) const noexcept {
        const std::int64_t wait = s.globq.spent(), run = s.watch.spent_running;
        if (wait == 0 || p.is_turn_of_spent()) return os::never;
        return p.watch.turn_seen + s.opts.retake_running_after.count() * std::max(run + 1, wait) / wait;
    }
    std::int64_t turn_ends(const P& p) const noexcept { return std::min(slice_ends(p), spent_come(p)); }
    bool slice_is_over(const P& p) const noexcept { return now >= slice_ends(p); }
    bool turn_is_over(const P& p) const noexcept { return now >= turn_ends(p); }
    // For sched::end_slice, on whatever thread it comes.
    void say_whether_spent_are_due(P& p) const noexcept { p.spent_due.store(now >= spent_come(p), std::memory_order_relaxed); }

    void soon(std::int64_t when) noexcept { next_look = std::min(next_look, when); }

    void note_slice(P& p, const M* m, std::int64_t seen) noexcept;
    void expect_answer(P& p) noexcept;
    void ask(P& p, M* m) noexcept;
    void look_at(P& p) noexcept;
    void look_at_one_without_m(P& p) noexcept;
    void expect_those_on_their_way() noexcept;
    bool worth_polling() noexcept;
    void look_at_call(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    bool sleeps(P& p, M* m, long& call_number) noexcept;
    void look_at_user_code(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    void look_at_computation(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    void look_at_long_slice(P& p, M* m, std::uint32_t call, std::uint32_t section, bool declines) noexcept;
};

// note_slice looks whether a slice has begun on p, which m runs (null: nobody), since the last look, and a turn of the spent.
void round::note_slice(P& p, const M* m, std::int64_t seen) noexcept {
    auto& w = p.watch;
    const std::uint64_t tick = p.schedtick.load(std::memory_order_relaxed);
    const std::uint32_t turns = p.spent_turns.load(std::memory_order_relaxed);
    const std::uint32_t declined = m ? m->declined.load(std::memory_order_relaxed) : 0;   // set when one has it
    if (w.schedtick / P::new_slice != tick / P::new_slice) {
        w.schedtick = tick;
        w.slice_seen = seen;
        w.declined = declined;
    }
    if (w.spent_turns != turns) {
        w.spent_turns = turns;
        w.turn_seen = seen;
    }
    if (w.m != m) w.declined = declined;
    if (p.is_turn_of_spent()) ++spent_running;
}

// expect_answer: p's M is to be asked to yield, and to know by then what is over. Another slice begins with its answer.
void round::expect_answer(P& p) noexcept {
    // If other goroutines had a part of the slice, its schedtick is none that p has, or will have. Half of one is enough: where it
    // is the turn of the spent, who had begun his slice a little after it would come back before the others each time.
    const bool used_up = now - p.watch.slice_seen >= s.opts.retake_running_after.count() / 2;
    p.spent_at.store(used_up ? p.watch.schedtick : 0, std::memory_order_relaxed);
    say_whether_spent_are_due(p);
    soon(now);
}

// ask asks the goroutine that m runs on p to yield, where it next enters the library.
void round::ask(P& p, M* m) noexcept {
    expect_answer(p);
    retake none = retake::none;
    // seq_cst: as in retake_ps, which may follow in a later round.
    m->taken.compare_exchange_strong(none, retake::asked_to_yield, std::memory_order_seq_cst);
}

void round::look_at(P& p) noexcept {
    auto& w = p.watch;
    // Relaxed: what is seen here is only a reason to try; retake_ps looks again.
    M* m = p.m.load(std::memory_order_acquire);   // with acquirep: M::thread
    if (p.status.load(std::memory_order_relaxed) != p_status::running || !m) return look_at_one_without_m(p);
    const std::uint32_t call = m->call.load(std::memory_order_relaxed), section = m->section.load(std::memory_order_relaxed);
    const bool new_stay = w.m != m || w.call != call || w.section != section;
    // By the clock after the look: `now` may be long past, if something else ran on the monitor's core.
    const std::int64_t seen = new_stay ? os::nanotime() : now;
    note_slice(p, m, seen);   // what is put on enters the library first, so that a slice begins with a stay
    if (new_stay) {
        w.asked = w.fast_paths_closed = false;
        w.call_began = w.m == m ? w.last_look : seen;
        w.call = call;
        w.section = section;
        w.call_seen = w.section_seen = w.next_probe = seen;
        w.cpu = -1;
        w.m = m;
    } else {
        soon(p.timers.first());   // it may still be away then
    }
    w.last_look = now;
    ++(call % 2 != 0 ? in_call : busy);
    if (p.id >= s.nprocs.load(std::memory_order_relaxed)) {
        // Surplus: to be taken as soon as its goroutine is away, whatever it does.
        add(p, m, call, section, retake::taken_slice, true);
    } else if (section % 2 != 0) {
        // In the library. If its goroutine is one that comes back all the time, it is to yield when its slice is over.
        if (!turn_is_over(p)) soon(turn_ends(p));
        else if (work_waits_for(p)) ask(p, m);
    } else if (call % 2 != 0) {
        look_at_call(p, m, call, section);
    } else {
        look_at_user_code(p, m, call, section);
    }
}

// p is idle, or on its way to an M, whose thread may have to wait for a core. Where processors are handed off all the time, as
// by a chain of goroutines of which each starts the next and blocks, that may be what most looks see.
void round::look_at_one_without_m(P& p) noexcept {
    note_slice(p, nullptr, now);
    ++without_m;
    p.watch.m = nullptr;
    p.watch.last_look = now;
    if (!turn_is_over(p) || !work_waits_for(p)) return;
    say_whether_spent_are_due(p);
    p.over_on_its_way.store(p.slice(), std::memory_order_relaxed);   // if it is idle, another begins when it is taken
}

// Who gets a P that is on its way may block at once, or go on in a slice that is nearly over.
void round::expect_those_on_their_way() noexcept {
    const std::uint32_t idle = s.npidle.load(std::memory_order_relaxed);
    if (without_m <= idle) return;
    if (idle == 0) unguarded_matters = true;
    soon(now + s.opts.retake_running_after.count());
}

void round::look_at_call(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    const auto& w = p.watch;
    const bool waits = work_waits_for(p);
    const std::int64_t lasted = now - w.call_seen;
    const std::int64_t grace = s.opts.syscall_grace.count();
    // A loop of short calls never shows the same one twice for long: it may keep its P for a time slice.
    if ((waits && (lasted >= grace || slice_is_over(p))) || lasted >= s.opts.syscall_retake_after.count()) {
        const bool slice = lasted < grace;
        add(p, m, call, section, slice ? retake::taken_slice : retake::taken_call, slice);
    } else if (waits) {
        if (turn_is_over(p)) ask(p, m);
        soon(w.call_seen + grace);
        poll = true;
    } else {
        soon(w.call_seen + s.opts.syscall_retake_after.count());
    }
}

// sleeps says whether the thread of m, whose goroutine is in user code, is asleep, and in which call.
bool round::sleeps(P& p, M* m, long& call_number) noexcept {
    auto& w = p.watch;
    const pid_t tid = m->tid.load(std::memory_order_relaxed);
    const os::thread_activity is = s.activities.of(tid);
    call_number = is.call;
    if (is.what != os::activity::unknown) return is.what != os::activity::computing;
    call_number = unknown_call;
    const std::int64_t cpu = os::thread_cpu_time(tid);
    if (w.cpu >= 0 && now - w.cpu_at < asleep_by_clock_ns) return false;
    const bool asleep = w.cpu >= 0 && (cpu - w.cpu) * 8 < now - w.cpu_at;
    w.cpu = cpu;
    w.cpu_at = now;
    return asleep;
}

void round::look_at_user_code(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    auto& w = p.watch;
    if (p.timers.first() <= now) timers_wait = true;
    const std::int64_t limit = s.opts.retake_running_after.count();
    const std::int64_t grace = std::min(s.opts.unguarded_grace.count(), limit);
    const std::int64_t stay = now - w.section_seen;
    const bool waits = work_waits_for(p);
    if (waits || s.npidle.load(std::memory_order_relaxed) == 0) unguarded_matters = true;
    if (now >= w.next_probe && (waits || stay >= limit)) {
        long number = -1;
        const bool asleep = sleeps(p, m, number);
        if (asleep && stay >= grace) {
            if (retake_candidate* c = add(p, m, call, section, retake::taken_unguarded)) {
                c->since = w.section_seen;
                c->call_number = number;
            }
            return;
        }
        w.next_probe = asleep ? w.section_seen + grace : now + std::clamp(stay, grace, limit);
        if (asleep) soon(w.next_probe);
    }
    if (stay >= limit || turn_is_over(p)) look_at_computation(p, m, call, section);
    else soon(std::min(w.section_seen + limit, turn_ends(p)));
}

// It is awake, and its slice, or the turn of those that are not spent, may be over.
void round::look_at_computation(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    auto& w = p.watch;
    const std::int64_t limit = s.opts.retake_running_after.count();
    if (!turn_is_over(p) || !work_waits_for(p)) return;   // nobody minds
    if (m->declined.load(std::memory_order_relaxed) != w.declined) return look_at_long_slice(p, m, call, section, true);
    const std::int64_t cpu = os::thread_cpu_time(m->tid.load(std::memory_order_relaxed));
    // By the processor's clock: it may wait for a core.
    const bool had_time = cpu < 0 || cpu - w.cpu_when_asked >= time_to_answer_ns;
    if (!w.asked || (!w.fast_paths_closed && had_time)) {
        // Not closed at once for one that was here a moment ago: it may well answer, and others' ways are closed with its.
        w.fast_paths_closed = w.asked || now - w.section_seen >= limit;
        ask(p, m);
        w.asked = true;
        w.cpu_when_asked = cpu;
    } else if (had_time) {
        return look_at_long_slice(p, m, call, section, false);
    }
    asks |= w.fast_paths_closed;
    soon(now + time_to_answer_ns);
}

// It was asked to yield, and computes; or it `declines`, as one does that only spawns: it comes by all the time, and its P is
// taken wherever in user code it is.
void round::look_at_long_slice(P& p, M* m, std::uint32_t call, std::uint32_t section, bool declines) noexcept {
    const auto& w = p.watch;
    if (!slice_is_over(p)) return soon(slice_ends(p));   // only the turn is over
    const std::int64_t slice = now - w.slice_seen;
    const std::uint32_t procs = s.nprocs.load(std::memory_order_relaxed);
    std::uint32_t without_p = s.computing.load(std::memory_order_relaxed);
    for (unsigned i = 0; i < count; ++i) without_p += candidates[i].as == retake::taken_computing;
    if (without_p >= procs && slice < s.over_limit_wait(without_p)) return;
    add(p, m, call, section, retake::taken_computing, declines);
}

// worth_polling says whether to look again at once: for a bounded time, and on a core that nobody else needs.
bool round::worth_polling() noexcept {
    auto& w = s.watch;
    const bool expects = poll || (busy + in_call != 0 && now - w.last_find < polling_ns);
    if (!expects || busy + s.computing.load(std::memory_order_relaxed) >= s.cores) return false;
    if (now - w.load_looked_at >= looks_at_load_every_ns) {
        w.load_looked_at = now;
        w.machine_has_room = s.load.has_room();
    }
    if (!w.machine_has_room) return false;
    if (w.polling_since == 0) w.polling_since = now;
    if (now - w.polling_since >= polling_ns && now - w.last_find >= polling_ns) return false;
    for (int i = 0; i < 8; ++i) base::cpu_relax();   // leave the owners their cache lines
    return true;
}

// take tries the round's candidates. The Ps that were taken are handed on, but for one that the caller shall run.
P* take(round& r) noexcept {
    sched& s = r.s;
    M* computes[most_candidates] = {};   // retake_ps forgets those that it can't have
    for (unsigned i = 0; i < r.count; ++i) {
        retake_candidate& c = r.candidates[i];
        if (c.as != retake::taken_computing) continue;
        const G* g = c.m->curg.load(std::memory_order_relaxed);
        s.begin_computing(c.m, g ? g->kind.load(std::memory_order_relaxed) : 0);   // before the owner can end it
        computes[i] = c.m;
    }
    retake_ps(s, r.candidates, r.count);
    P* mine = nullptr;
    for (unsigned i = 0; i < r.count; ++i) {
        retake_candidate& c = r.candidates[i];
        if (!c.taken) {
            if (computes[i]) s.end_of_computing(computes[i]);
            continue;
        }
        s.watch.last_find = r.now;
        P& p = *c.p;
        if (c.as == retake::taken_slice || c.as == retake::taken_computing) {
            r.say_whether_spent_are_due(p);
            s.end_slice(&p);
        }
        const bool work = p.runq.owner_sees_work() || p.timers.first() <= r.now ||
                          !s.globq.empty();
        if (c.as == retake::taken_slice) {
            // It may have left the call in which it was seen.
            (c.call % 2 != 0 ? s.count.handoffs_sysmon : s.count.handoffs_computing).add();
        } else if (c.as == retake::taken_call) {
            s.count.handoffs_sysmon.add();
            s.learn_of_kind(c.m->curg.load(std::memory_order_relaxed), true);   // those that follow need not wait for its end
            if (work) p.handoff = handoff_kind::sysmon, p.handoff_began = p.watch.call_began;
        } else if (c.as == retake::taken_unguarded) {
            s.count.handoffs_unguarded.add();
            s.learn_of_kind(c.m->curg.load(std::memory_order_relaxed), true);
            if (work) p.handoff = handoff_kind::unguarded, p.handoff_began = p.watch.section_seen;
        } else {
            s.count.handoffs_computing.add();
            s.found_computing(c.m);
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
    const auto open_what_is_closed = [&] {
        if (std::exchange(watch.fast_paths_closed, false)) open_fast_paths();
    };
    P* mine = nullptr;
    while (!mine) {
        round r(*this, os::nanotime());
        coarse_now.store(r.now, std::memory_order_relaxed);
        for_each_p([&](P& p) { r.look_at(p); });
        r.expect_those_on_their_way();
        watch.all_busy = r.unguarded_matters;
        watch.spent_running = r.spent_running;
        if (r.asks != watch.fast_paths_closed) {
            if (r.asks) close_fast_paths();
            else open_fast_paths();
            watch.fast_paths_closed = r.asks;
        }
        if (r.count != 0) mine = take(r);
        start_left_ps();
        if (r.timers_wait) wakep_any();   // who looks for work takes them; as Go's sysmon
        if (watch.last_find == r.now) watch.pause = std::min(opts.syscall_grace.count(), longest_pause_ns), watch.busy_since = r.now;
        if (!mine && !r.worth_polling()) {
            if (!monitor_sleeps(r.now, r.next_look, mine)) break;
            watch.polling_since = 0;
        }
        if (!mine) continue;
        open_what_is_closed();   // the next monitor may come late; and what is in `watch` is his from then on
        if (!pass_monitor_role()) {
            watch.short_of_threads_until = r.now + watch.pause;
            fire_timers(m, mine);   // who could take it instead may be busy with other Ps for ever
            handoffp(std::exchange(mine, nullptr));
        }
    }
    if (!mine) open_what_is_closed();   // the runtime stops
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
    watch.pause = std::min(opts.syscall_grace.count(), longest_pause_ns);
    watch.busy_since = os::nanotime();
    watch.polling_since = 0;
}

// monitor_sleeps ends a round: chores, then the pause, or a deep sleep if all is idle. A P whose timers are due while
// nobody else waits for them comes back in `due`. False: the runtime stops.
bool sched::monitor_sleeps(std::int64_t now, std::int64_t next_look, P*& due) noexcept {
    if (reap()) watch.reap_pause = longest_pause_ns;
    retry_starved();
    if (watch.surplus) empty_idle_surplus();
    if (nhogs.load(std::memory_order_relaxed) != 0 &&
        now - watch.hog_started >= over_limit_wait(computing.load(std::memory_order_relaxed))) {
        watch.hog_started = now;
        start_hog();
    }
    judge_computing(now);
    // Once it has looked at its longest pause, and found nothing, it gives memory back; then it may sleep for good.
    const bool rests = watch.pause >= longest_pause_ns;
    if (rests && now - watch.last_find >= longest_pause_ns * pauses_in_quiet_time) activities.close_all();
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
        const std::int64_t pause = watch.all_busy ? std::min(watch.pause, longest_busy_pause_ns) : watch.pause;
        until = std::min(now + pause, std::max(next_look, now + grace));
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
        // Where a thread is wanted it looks again soon, however long the grace is.
        if (starved.load(std::memory_order_relaxed) != 0) until = std::min(until, now + longest_pause_ns);
        if (deep) until = first < timekeeper_until ? std::max(first, watch.short_of_threads_until) : os::never;
        if (deep && !exited.empty()) {
            until = std::min(until, now + watch.reap_pause);
            watch.reap_pause *= 2;
        }
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
    if (debug.schedtrace.count() != 0) hooks.trace(*this, os::nanotime());
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
        report = "handoff: all goroutines wait for each other\n" + hooks.describe_all(*this);
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

// give_memory_back trims the stacks and Gs of an idle runtime, some at a time; true if there may be more.
bool sched::give_memory_back() noexcept {
    constexpr unsigned at_a_time = 1024;   // a millisecond's work
    {
        base::lock_guard hold(lock);
        if (npidle.load(std::memory_order_relaxed) != live_procs) return false;
        for (P& p : pidle)
            for (context::stack* st = p.free_stacks; st; st = st->next) context::stack_pool::trim_deep(*st);
    }
    const bool more_gs = give_gs_back();
    return stacks.trim(at_a_time) == at_a_time || more_gs;
}

// take_idle_p_with_timer takes the idle P whose first timer is the one due at `first`.
P* sched::take_idle_p_with_timer(std::int64_t first) noexcept {
    for (P& p : pidle) {
        if (p.timers.first() > first) continue;
        pidle.erase(pidle.iterator_to(p));
        npidle.store(npidle.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
        p.begin_slice();
        p.end_turn_of_spent();
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
