#include "sched/monitor_round.hpp"

#include "base/sizes.hpp"
#include "os/clock.hpp"
#include "os/thread.hpp"
#include "sched/handover.hpp"
#include "sched/schedule.hpp"
#include "sched/slice.hpp"

#include <utility>

namespace handoff::detail {

namespace {

// Where the kernel does not tell what a thread does, it counts as asleep if it has used less than an eighth of a core for so
// long.
constexpr std::int64_t asleep_by_clock_ns = 200'000;

// The processor time within which a goroutine that was asked to yield has to answer. A loop of fast paths does so within a
// microsecond.
constexpr std::int64_t time_to_answer_ns = base::sized(100'000, 0);   // computations in the explorer's tests last for 1,600

// For how long the monitor polls (looks again without sleeping), at a stretch and after a find: several times what one round of
// a loop of blocking calls takes. If it finds nothing, the pauses in between grow to 10 ms. So polling costs two percent of a
// core that is otherwise unused.
constexpr std::int64_t polling_ns = 200'000;

constexpr std::int64_t looks_at_load_every_ns = 20'000;

}  // namespace

// note_slice notes whether a slice, or a turn of the spent, has begun on p since the last look. m runs p; null: no M does.
void monitor_round::note_slice(P& p, const M* m, std::int64_t seen) noexcept {
    auto& w = p.watch;
    const std::uint64_t tick = p.schedtick.load(std::memory_order_relaxed);
    const std::uint32_t turns = p.spent_turns.load(std::memory_order_relaxed);
    const std::uint32_t declined = m ? m->declined.load(std::memory_order_relaxed) : 0;   // p gets an M: noted below
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

// expect_answer: p's M is about to be asked to yield. When it answers, it has to know what is over: the slice, or also the turn
// of the others. Another slice begins with its answer.
void monitor_round::expect_answer(P& p) noexcept {
    // If several goroutines had a part of the slice, watch.schedtick is a value that p no longer has, so none is taken for
    // spent.
    const bool used_up = now - p.watch.slice_seen >= s.opts.retake_running_after.count();
    p.spent_at.store(used_up ? p.watch.schedtick : 0, std::memory_order_relaxed);
    say_whether_spent_are_due(p);
    soon(now);
}

// ask asks the goroutine that m runs on p to yield, where it next enters the library.
void monitor_round::ask(P& p, M* m) noexcept {
    expect_answer(p);
    retake found;
    m->taken.ask(retake::asked_to_yield, found);   // retake_ps may follow in a later round
}

void monitor_round::look_at(P& p) noexcept {
    auto& w = p.watch;
    // Relaxed: what is seen here is only a reason to try; retake_ps checks again.
    M* m = p.m.load(std::memory_order_acquire);   // pairs with held_p::put_on: M::tid
    if (p.status.load(std::memory_order_relaxed) != p_status::running || !m) return look_at_one_without_m(p);
    const std::uint32_t call = m->call.load(std::memory_order_relaxed), section = m->section.load(std::memory_order_relaxed);
    const bool new_stay = w.m != m || w.call != call || w.section != section;
    // Read the clock after the look: `now` may be long past, if something else ran on the monitor's core.
    const std::int64_t seen = new_stay ? os::nanotime() : now;
    note_slice(p, m, seen);   // an M that is put on a P is in the library first, so a slice begins with a new stay
    if (new_stay) {
        w.asked = w.fast_paths_closed = false;
        w.call_began = w.m == m ? w.last_look : seen;
        w.call = call;
        w.section = section;
        w.call_seen = w.section_seen = w.next_probe = seen;
        w.cpu = -1;
        w.m = m;
    } else {
        soon(p.timers.first());   // m may still be away then
    }
    w.last_look = now;
    ++(call % 2 != 0 ? in_call : busy);
    if (p.id >= s.procs.wanted()) {
        // A surplus P: to be taken as soon as its M is away, whatever its goroutine does.
        add(p, m, call, section, retake::taken_slice, true);
    } else if (section % 2 != 0) {
        // In the library. The goroutine may be one that enters all the time: it has to yield when its slice is over.
        if (!turn_is_over(p)) soon(turn_ends(p));
        else if (work_waits_for(p)) ask(p, m);
    } else if (call % 2 != 0) {
        look_at_call(p, m, call, section);
    } else {
        look_at_user_code(p, m, call, section);
    }
}

// p is idle, or on its way to an M, whose thread may have to wait for a core. Where Ps are handed off all the time, as by a
// chain of goroutines of which each starts the next and blocks, most looks may find it so.
void monitor_round::look_at_one_without_m(P& p) noexcept {
    note_slice(p, nullptr, now);
    ++without_m;
    p.watch.m = nullptr;
    p.watch.last_look = now;
    if (!turn_is_over(p) || !work_waits_for(p)) return;
    say_whether_spent_are_due(p);
    p.over_on_its_way.store(p.slice(), std::memory_order_relaxed);   // if p is idle, a new slice begins when it is taken
}

// The goroutine that runs on a P that is on its way may block at once, or go on in a slice that is nearly over.
void monitor_round::expect_those_on_their_way() noexcept {
    const std::uint32_t idle = s.idle.ps();
    if (without_m <= idle) return;
    if (idle == 0) unguarded_matters = true;
    soon(now + s.opts.retake_running_after.count());
}

void monitor_round::look_at_call(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    const auto& w = p.watch;
    const bool waits = work_waits_for(p);
    const std::int64_t lasted = now - w.call_seen;
    const std::int64_t grace = s.opts.syscall_grace.count();
    // A loop of short calls never shows the same call for as long as the grace: it may keep its P for a time slice.
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
bool monitor_round::sleeps(P& p, M* m, long& call_number) noexcept {
    auto& w = p.watch;
    const pid_t tid = m->tid.load(std::memory_order_relaxed);
    const os::thread_activity is = s.monitor.activities.of(tid);
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

void monitor_round::look_at_user_code(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    auto& w = p.watch;
    if (p.timers.first() <= now) timers_wait = true;
    const std::int64_t limit = s.opts.retake_running_after.count();
    const std::int64_t grace = std::min(s.opts.unguarded_grace.count(), limit);
    const std::int64_t stay = now - w.section_seen;
    const bool waits = work_waits_for(p);
    if (waits || s.idle.ps() == 0) unguarded_matters = true;
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

// The goroutine is awake, and its slice, or the turn of those that are not spent, may be over.
void monitor_round::look_at_computation(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept {
    auto& w = p.watch;
    const std::int64_t limit = s.opts.retake_running_after.count();
    if (!turn_is_over(p) || !work_waits_for(p)) return;   // it keeps nothing waiting
    if (m->declined.load(std::memory_order_relaxed) != w.declined) return look_at_long_slice(p, m, call, section, true);
    const std::int64_t cpu = os::thread_cpu_time(m->tid.load(std::memory_order_relaxed));
    // By its CPU time: it may have waited for a core.
    const bool had_time = cpu < 0 || cpu - w.cpu_when_asked >= time_to_answer_ns;
    if (!w.asked || (!w.fast_paths_closed && had_time)) {
        // Do not close the fast paths at once for a goroutine that was in the library a moment ago: it may well answer, and
        // they are closed for all others, too.
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

// The goroutine was asked to yield, and computes. Or it `declines`, like one that only spawns: it enters the library all the
// time where it can't yield, and its P is taken wherever in user code it is.
void monitor_round::look_at_long_slice(P& p, M* m, std::uint32_t call, std::uint32_t section, bool declines) noexcept {
    const auto& w = p.watch;
    if (!slice_is_over(p)) return soon(slice_ends(p));   // only the turn of the others is over
    const std::int64_t slice = now - w.slice_seen;
    const std::uint32_t procs = s.procs.wanted();
    std::uint32_t without_p = s.limit.computing();
    for (unsigned i = 0; i < count; ++i) without_p += candidates[i].as == retake::taken_computing;
    if (without_p >= procs && slice < s.limit.wait_over_limit(without_p, procs)) return;
    add(p, m, call, section, retake::taken_computing, declines);
}

// worth_polling says whether to look again at once: for a bounded time, and on a core that nobody else needs.
bool monitor_round::worth_polling() noexcept {
    auto& w = s.monitor.notes;
    const bool expects = poll || (busy + in_call != 0 && now - w.last_find < polling_ns);
    if (!expects || busy + s.limit.computing() >= s.cores) return false;
    if (now - w.load_looked_at >= looks_at_load_every_ns) {
        w.load_looked_at = now;
        w.machine_has_room = s.load.has_room();
    }
    if (!w.machine_has_room) return false;
    if (w.polling_since == 0) w.polling_since = now;
    if (now - w.polling_since >= polling_ns && now - w.last_find >= polling_ns) return false;
    for (int i = 0; i < 8; ++i) base::cpu_relax();   // let the owners have their cache lines
    return true;
}

// take tries to take the round's candidates. It hands off the Ps that it got, except for one that has work, which the caller is
// to run.
held_p monitor_round::take() noexcept {
    M* computes[most_candidates] = {};   // retake_ps may reset c.m
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        if (c.as != retake::taken_computing) continue;
        const G* g = c.m->curg.load(std::memory_order_acquire);
        s.limit.begin(c.m, g ? g->kind.load(std::memory_order_relaxed) : 0);   // before the owner can end it
        computes[i] = c.m;
    }
    retake_ps(s, candidates, count);
    held_p mine;
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        if (!c.taken) {
            if (computes[i]) let_go(s, s.limit.end(computes[i], s.procs.wanted()));
            continue;
        }
        s.monitor.notes.last_find = now;
        P& p = *c.taken;
        if (c.as == retake::taken_slice || c.as == retake::taken_computing) {
            say_whether_spent_are_due(p);
            end_slice(s, own_p(c.taken));
        }
        const bool work = p.runq.owner_sees_work() || p.timers.first() <= now ||
                          !s.globq.empty();
        if (c.as == retake::taken_slice) {
            // It may have left the call in which it was seen; c.call is what it was when the P was taken.
            (c.call % 2 != 0 ? s.count.handoffs_sysmon : s.count.handoffs_computing).add();
        } else if (c.as == retake::taken_call) {
            s.count.handoffs_sysmon.add();
            s.predict.learn(c.m->curg.load(std::memory_order_acquire), true);   // so that others need not wait for its end
            if (work) p.handoff = handoff_cause::sysmon, p.handoff_began = p.watch.call_began;
        } else if (c.as == retake::taken_unguarded) {
            s.count.handoffs_unguarded.add();
            s.predict.learn(c.m->curg.load(std::memory_order_acquire), true);
            if (work) p.handoff = handoff_cause::unguarded, p.handoff_began = p.watch.section_seen;
        } else {
            s.count.handoffs_computing.add();
            s.limit.found(c.m);
        }
        p.watch.m = nullptr;
        if (work && !mine) mine = std::move(c.taken);
        else handoffp(s, std::move(c.taken));
    }
    return mine;
}

}  // namespace handoff::detail
