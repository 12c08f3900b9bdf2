#include "sched/monitor.hpp"

#include "base/check.hpp"
#include "os/clock.hpp"
#include "os/thread.hpp"
#include "sched/due.hpp"
#include "sched/fast_path.hpp"
#include "sched/g_cache.hpp"
#include "sched/handover.hpp"
#include "sched/hooks.hpp"
#include "sched/monitor_round.hpp"
#include "sched/schedule.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <unistd.h>
#include <utility>

namespace handoff::detail {

namespace {

constexpr std::int64_t longest_pause_ns = 10'000'000;
constexpr std::int64_t pauses_in_quiet_time = 32;      // see Rounds, monitor.hpp
constexpr std::int64_t doubles_after_ns = 1'000'000;   // in that quiet time, where nothing runs, pauses begin to double
constexpr std::int64_t longest_busy_pause_ns = 1'000'000;   // where an unguarded call would keep others waiting

}  // namespace

// pass_on makes another M the monitor; false if no M can be had.
bool monitor::pass_on() noexcept {
    M* m;
    {
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        m = s.idle.take_m(wake);
    }
    held_p none;
    if (!m) return newm(s, none, false, m_role::monitor);
    m->wake_as(m_role::monitor, {}, false);
    return true;
}

void monitor::open_what_is_closed() noexcept {
    if (std::exchange(notes.fast_paths_closed, false)) open_fast_paths();
}

held_p monitor::play(M* m) noexcept {
    m->is_monitor.store(true, std::memory_order_relaxed);
    os::set_timer_slack(1);   // the default of 50 us would make each short pause that much longer
    wakes_up();
    held_p mine;
    while (!mine) {
        monitor_round r(s, os::nanotime());
        s.coarse_now.store(r.now, std::memory_order_relaxed);
        s.procs.for_each([&](P& p) { r.look_at(p); });
        r.expect_those_on_their_way();
        notes.all_busy = r.unguarded_matters;
        notes.spent_running = r.spent_running;
        if (r.asks != notes.fast_paths_closed) {
            if (r.asks) close_fast_paths();
            else open_fast_paths();
            notes.fast_paths_closed = r.asks;
        }
        if (r.count != 0) mine = r.take();
        start_left_ps(s);
        watch_descriptors(m, r.now);
        if (r.timers_wait) wakep_any(s);   // an M that looks for work takes them; as Go's sysmon
        if (notes.last_find == r.now) {
            notes.pause = std::min(s.opts.syscall_grace.count(), longest_pause_ns);
            notes.busy_since = r.now;
        }
        if (!mine && !r.worth_polling()) {
            if (!sleep(r.now, r.next_look, mine)) break;
            notes.polling_since = 0;
        }
        if (!mine) continue;
        open_what_is_closed();   // the next monitor may start late; and the notes belong to it from then on
        if (!pass_on()) {
            notes.short_of_threads_until = r.now + notes.pause;
            fire_timers(m, mine);   // threads that could take it may be busy with other Ps for ever
            handoffp(s, std::move(mine));
        }
    }
    if (!mine) open_what_is_closed();   // the runtime stops
    os::set_timer_slack(s.pool.inherited.timer_slack_ns);
    m->is_monitor.store(false, std::memory_order_relaxed);
    return mine;
}

// watch_descriptors asks for events where nobody waits for them, nor has asked for a while.
void monitor::watch_descriptors(M* m, std::int64_t now) noexcept {
    if (!unwatched(s)) return;
    if (now - s.poller.asked_at() >= s.opts.syscall_grace.count()) {
        event_batch events;
        s.poller.poll_all(notes.shard, events);
        if (events.count != 0) hooks.descriptors_ready(m, events);
    }
    // An M that finds nothing to do becomes the waiter.
    const std::int64_t empty_for = now - s.idle.waiter_left_at.load(std::memory_order_relaxed);
    if (s.idle.ps() != 0 && !s.idle.is_starved() && empty_for >= poller::soon_watched_ns) wakep_any(s);
}

// fire_timers runs p's timers that are due, on m.
void monitor::fire_timers(M* m, held_p& p) noexcept {
    put_on(m, std::move(p));
    const std::int64_t now = os::nanotime();
    while (run_timers(m, *own_p(m), now) != 0) run_due(m);
    p = take_off(m);
}

void monitor::wakes_up() noexcept {
    notes.pause = std::min(s.opts.syscall_grace.count(), longest_pause_ns);
    notes.busy_since = os::nanotime();
    notes.polling_since = 0;
}

// do_chores does what each round ends with, apart from the pause.
void monitor::do_chores(std::int64_t now) noexcept {
    if (s.pool.join_gone()) notes.join_pause = longest_pause_ns;
    retry_starved();
    if (notes.surplus) empty_idle_surplus(s);
    const std::uint32_t procs = s.procs.wanted();
    if (s.limit.kept_back() != 0 && now - notes.hog_started >= s.limit.wait_over_limit(s.limit.computing(), procs)) {
        notes.hog_started = now;
        if (G* g = s.limit.let_through()) submit(s, g);
    }
    let_go(s, s.limit.judge(now, procs, activities));
}

// next_stall_report is when to report a standstill, if there is one. `deep`: the monitor has nothing else to do. Under the
// scheduler's lock.
std::int64_t monitor::next_stall_report(bool deep, std::int64_t now) noexcept {
    if (!deep || s.opts.deadlock_after.count() == 0 || !all_wait()) {
        notes.stalled_since = 0;
        notes.stall_reported = false;
    } else if (notes.stalled_since == 0) {
        notes.stalled_since = now;
    }
    return notes.stalled_since != 0 && !notes.stall_reported ? notes.stalled_since + s.opts.deadlock_after.count() : os::never;
}

// sleep ends a round: chores, then the pause, or a deep sleep if all Ps are idle. If an idle P has timers that are due, and no
// timekeeper waits for them, it returns that P in `due`. False: the runtime stops.
bool monitor::sleep(std::int64_t now, std::int64_t next_look, held_p& due) noexcept {
    do_chores(now);
    // Once the pause is at its longest, and nothing was found, the monitor gives memory back; then it may sleep deep.
    const bool rests = notes.pause >= longest_pause_ns;
    if (rests && now - notes.last_find >= longest_pause_ns * pauses_in_quiet_time) activities.close_all();
    const bool has_memory = rests && give_memory_back();
    const std::int64_t grace = s.opts.syscall_grace.count();
    const std::int64_t quiet = now - notes.busy_since;
    std::int64_t until = os::never;
    bool deep = false;
    {
        base::lock_guard hold(s.idle.lock);
        if (s.life.stopping) return false;
        notes.surplus = s.idle.live() > s.procs.wanted();
        const bool all_idle = s.idle.all_ps();
        if (!all_idle) notes.pause = std::min(std::max(quiet / pauses_in_quiet_time, grace), longest_pause_ns);
        else if (quiet > doubles_after_ns) notes.pause = std::min(notes.pause * 2, longest_pause_ns);
        const bool nobody_waits = unwatched(s);   // for descriptors
        std::int64_t pause = notes.all_busy ? std::min(notes.pause, longest_busy_pause_ns) : notes.pause;
        if (nobody_waits) pause = std::min(pause, poller::longest_unwatched_ns);
        until = std::min(now + pause, std::max(next_look, now + grace));
        const std::int64_t first = s.idle.first_timer();
        if (first < s.idle.timekeeper_until) {
            if (first <= now && now >= notes.short_of_threads_until) {
                due = s.idle.take_p_if([](const P& p, std::int64_t at) noexcept { return p.timers.first() <= at; }, first);
                if (due) return true;   // else another thread is about to run it
            }
            until = std::min(until, std::max(first, notes.short_of_threads_until));
        }
        deep = all_idle && rests && !nobody_waits && !notes.surplus && !has_memory && !work_anywhere(s) && s.stackless.empty() &&
               s.limit.kept_back() == 0 && !s.idle.is_starved();
        if (deep) until = first < s.idle.timekeeper_until ? std::max(first, notes.short_of_threads_until) : os::never;
        if (deep && s.pool.some_exit()) {
            until = std::min(until, now + notes.join_pause);
            notes.join_pause *= 2;
        }
        if (s.debug.schedtrace.count() != 0) until = std::min(until, notes.next_trace);
        until = std::min(until, next_stall_report(deep, now));
        s.idle.monitor_deep = deep;
        s.idle.monitor_until = until;
    }
    const bool woken = rest(until);
    if (deep && woken) wakes_up();
    else if (notes.stalled_since != 0 && !woken) report_stall();
    if (s.debug.schedtrace.count() != 0) hooks.trace(s, os::nanotime());
    return true;
}

// rest waits until then, or until the monitor is woken; true if it was.
bool monitor::rest(std::int64_t until) noexcept {
    const bool woken = s.idle.monitor_note.wait_until(until);
    {
        base::lock_guard hold(s.idle.lock);
        s.idle.monitor_deep = false;
        s.idle.monitor_until = os::never;   // awake: it looks again before it sleeps
    }
    return woken;
}

// all_wait says whether there are goroutines, and none can go on by itself: all Ps are idle (the caller has checked that), no
// timer is set, and no M has a goroutine (which would be in a call, or compute). Under the scheduler's lock.
bool monitor::all_wait() const noexcept HANDOFF_NO_TSA {
    if (s.life.outsiders.load(std::memory_order_relaxed) != 0 || s.life.launching != 0 || all_ended(s)) return false;
    bool can_go_on = s.poller.in_use();   // events may come from outside
    s.procs.for_each([&](const P& p) { can_go_on |= p.timers.first() != os::never; });
    if (can_go_on) return false;
    s.pool.for_each([&](const M& m) { can_go_on |= m.curg.load(std::memory_order_relaxed) != nullptr; });
    return !can_go_on;
}

// report_stall reports a standstill that has lasted long enough; once.
void monitor::report_stall() noexcept {
    if (notes.stall_reported || os::nanotime() < notes.stalled_since + s.opts.deadlock_after.count()) return;
    {
        base::lock_guard hold(s.idle.lock);
        if (!s.idle.all_ps() || !all_wait()) return;
    }
    notes.stall_reported = true;
    std::string report;
    try {
        report = "handoff: all goroutines wait for each other\n" + hooks.describe_all(s);
    } catch (const std::bad_alloc&) {
        base::warn("all goroutines wait for each other, and there is no memory to say who");
        return;
    }
    if (s.opts.on_deadlock) {
        // During the callback this is a foreign thread to the library: the M has no goroutine for which the library could act.
        M* m = current_m();
        set_current_m(nullptr);
        s.opts.on_deadlock(report);
        set_current_m(m);
        return;
    }
    [[maybe_unused]] const auto written = ::write(2, report.data(), report.size());
}

// give_memory_back gives memory of stacks and Gs of an idle runtime back to the kernel, some at a time; true if there may be
// more.
bool monitor::give_memory_back() noexcept {
    constexpr unsigned at_a_time = 1024;   // a millisecond's work
    {
        base::lock_guard hold(s.idle.lock);
        if (!s.idle.all_ps()) return false;
        s.idle.for_each_p([](P& p) {
            for (context::stack* st = p.free_stacks; st; st = st->next) context::stack_pool::trim_deep(*st);
        });
    }
    const bool more_gs = give_gs_back(s);
    return s.stacks.trim(at_a_time) == at_a_time || more_gs;
}

void monitor::retry_starved() noexcept {
    bool again = s.idle.starved.exchange(0, std::memory_order_relaxed) != 0;
    {
        base::lock_guard hold(s.idle.lock);
        for (G* g = s.stackless.pop(); g; g = s.stackless.pop()) {
            s.globq.push(g);
            again = true;
        }
    }
    if (!again || !work_anywhere(s)) return;
    wakep_any(s);
    // If no M could be had, startm has counted that in `starved` again. If an M spins, that one finds the work.
}

}  // namespace handoff::detail
