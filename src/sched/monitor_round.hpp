// One look of the monitor at all Ps (monitor.hpp): which Ps it wants to take, which goroutines it asks to yield, and when the
// next look could find something.
#pragma once

#include "sched/handover.hpp"
#include "sched/retake.hpp"
#include "sched/sched.hpp"

#include <algorithm>
#include <cstdint>

namespace handoff::detail {

inline constexpr unsigned most_candidates = 64;   // in one round; others get their turn in the next

struct monitor_round {
    monitor_round(sched& owner, std::int64_t time) noexcept : s(owner), now(time) {}

    sched& s;
    const std::int64_t now;
    std::int64_t next_look = os::never;   // the first time at which a look could find something
    bool poll = false;                    // it is worth looking again without sleeping
    bool timers_wait = false;             // timers are due of a P whose goroutine is in user code
    bool unguarded_matters = false;       // if a goroutine in user code blocks, it keeps others waiting
    bool asks = false;                    // to close the fast paths: a goroutine that was asked to yield may loop in them
    unsigned busy = 0;                    // Ps whose goroutines are not in a guarded call
    unsigned in_call = 0;
    unsigned without_m = 0;               // Ps that are idle, or on their way to an M
    unsigned spent_running = 0;           // Ps on which the spent have their turn (slice.cpp)
    retake_candidate candidates[most_candidates];
    unsigned count = 0;

    bool work_waits_for(const P& p) const noexcept {
        if (!p.runq.empty() || p.timers.first() <= now) return true;
        const bool idle = s.idle.ps() != 0 && !s.idle.is_starved();
        if (idle || s.idle.spinning() != 0)
            return false;   // an M is free, or can be had, for what waits elsewhere
        return work_anywhere(s);
    }

    // add: p is to be taken from m. `wherever`: also if m has entered and left the library meanwhile, or is in another call.
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

    // slice_ends: when the slice on p is over. spent_come: when it is the turn of the spent. turn_ends: the earlier of the two.
    // See slice.cpp.
    std::int64_t slice_ends(const P& p) const noexcept { return p.watch.slice_seen + s.opts.retake_running_after.count(); }
    std::int64_t spent_come(const P& p) const noexcept {
        const std::int64_t wait = s.globq.spent(), run = s.monitor.notes.spent_running;
        if (wait == 0 || p.is_turn_of_spent()) return os::never;
        return p.watch.turn_seen + s.opts.retake_running_after.count() * std::max(run + 1, wait) / wait;
    }
    std::int64_t turn_ends(const P& p) const noexcept { return std::min(slice_ends(p), spent_come(p)); }
    bool slice_is_over(const P& p) const noexcept { return now >= slice_ends(p); }
    bool turn_is_over(const P& p) const noexcept { return now >= turn_ends(p); }
    // For end_slice (slice.hpp), on whatever thread that is called.
    void say_whether_spent_are_due(P& p) const noexcept { p.spent_due.store(now >= spent_come(p), std::memory_order_relaxed); }

    void soon(std::int64_t when) noexcept { next_look = std::min(next_look, when); }

    void note_slice(P& p, const M* m, std::int64_t seen) noexcept;
    void expect_answer(P& p) noexcept;
    void ask(P& p, M* m) noexcept;
    void look_at(P& p) noexcept;
    void look_at_one_without_m(P& p) noexcept;
    void expect_those_on_their_way() noexcept;
    bool worth_polling() noexcept;
    held_p take() noexcept;
    void look_at_call(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    bool sleeps(P& p, M* m, long& call_number) noexcept;
    void look_at_user_code(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    void look_at_computation(P& p, M* m, std::uint32_t call, std::uint32_t section) noexcept;
    void look_at_long_slice(P& p, M* m, std::uint32_t call, std::uint32_t section, bool declines) noexcept;
};

}  // namespace handoff::detail
