"""Mutations of timers and clocks."""

from mutations import mutation

# ---- Timers --------------------------------------------------------------------------------------------------------

mutation(
    "timers_are_early",
    "src/timer/timer_heap.cpp",
    "heap_[0].when <= now) {",
    "heap_[0].when <= now + 1'000'000) {",
    "sleep.*:timer_heap.*:*timers.*",
)
mutation(
    "heap_sifts_down_to_the_first_child",
    "src/timer/timer_heap.cpp",
    "            if (heap_[c].when < heap_[least].when) least = c;",
    "            (void)c;",
    "timer_heap.*",
)
mutation(
    "heap_forgets_to_sift_up",
    "src/timer/timer_heap.cpp",
    "        sift_down(i);\n        sift_up(slots_[last.slot].index);",
    "        sift_down(i);",
    "timer_heap.*",
)

mutation(
    "due_timers_come_in_batches_out_of_order",
    "src/timer/timer_heap.cpp",
    "            due[n++] = t;",
    "            due[n++] = t;\n            if (n > 1 && n % 8 == 0) std::swap(due[n - 2], due[n - 1]);",
    "timer_heap.*",
)
mutation(
    "take_due_stops_after_a_batch",
    "src/timer/timer_heap.cpp",
    "    } while (n == settled_at_once);",
    "    } while (false);",
    "timer_heap.*",
)
mutation(
    "timers_wait_for_a_short_queue",
    "src/sched/schedule.cpp",
    "(look_further || queued < topped_up_to)",
    "queued < topped_up_to",
    "sleep.ends_beside_many_that_yield",
)
mutation(
    "clock_is_looked_at_for_nothing",
    "src/sched/wake_ahead.hpp",
    "paid_at_ = std::max(paid_at_, now) + ns * one_part_in;",
    "paid_at_ = std::max(paid_at_, now) + ns;",
    "wake_ahead.*",
)
mutation(
    "one_late_wakeup_is_learnt_for_good",
    "src/sched/wake_ahead.hpp",
    "std::clamp<std::int64_t>(late, 0, most_ns) - late_;",
    "std::max<std::int64_t>(late, late_) - late_;",
    "wake_ahead.*",
)
mutation(
    "notes_spin_past_their_deadline",
    "src/os/note.cpp",
    "std::min(nanotime() + spin_ns, deadline);",
    "nanotime() + spin_ns;",
    "note.*",
)
mutation(
    "timers_are_waited_for_awake",
    "src/sched/handover.cpp",
    "    if (early < length) return {due - early, 0};",
    "    if (early < 0) return {due - early, 0};",
    "idle.waiting_for_timers_costs_little",
)

mutation(
    "timer_stop_claims_success",
    "src/sync/timer.cpp",
    "    return s->drain() || was;",
    "    return s->drain() || was || s->to;",
    "*timers.stop_*",
)
mutation(
    "timer_stop_leaves_the_time",
    "src/sync/timer.cpp",
    "    return s->drain() || was;",
    "    return was;",
    "*timers.stop_*",
)
mutation(
    "timer_stop_does_not_count_a_time_that_it_takes_back",
    "src/sync/timer.cpp",
    "    return s->drain() || was;",
    "    s->drain();\n    return was;",
    "*timers.stop_*",
)
mutation(
    "timer_reset_does_not_count_a_time_that_it_takes_back",
    "src/sync/timer.cpp",
    "    const bool was = s->drain() || stopped;",
    "    s->drain();\n    const bool was = stopped;",
    "*timers.are_reset_while_*",
)
mutation(
    "after_keeps_its_timer",
    "include/handoff/channel.hpp",
    "        this->end();   // before",
    "        // before",
    "*timers.of_after_go_*",
)
mutation(
    "after_goes_on_sending_to_a_channel_that_is_gone",
    "src/sync/timer.cpp",
    "        t->stop_locked();\n    }\n    t->drop();",
    "    }\n    t->drop();",
    "*timers.of_after_*",
)
mutation(
    "ticks_go_beyond_the_end_of_time",
    "src/sync/timer.cpp",
    "    return period < last_deadline - last ? last + period : last_deadline;",
    "    return static_cast<std::int64_t>(static_cast<std::uint64_t>(last) + static_cast<std::uint64_t>(period));",
    "virtual_time.*",
)
mutation(
    "timer_reset_leaves_the_time",
    "src/sync/timer.cpp",
    "    const bool was = s->drain() || stopped;",
    "    const bool was = stopped;",
    "*timers.are_reset_while_*",
)
mutation(
    "timer_reset_keeps_an_earlier_time",
    "src/sync/timer.cpp",
    "        when = at;\n        add(m);\n    }",
    "        when = when != 0 ? std::min(when, at) : at;\n        add(m);\n    }",
    "*timers.are_reset_while_*",
)

# ---- Clocks --------------------------------------------------------------------------------------------------------

mutation(
    "times_are_rounded_before_they_are_subtracted",
    "include/handoff/detail/time.hpp",
    "        return in_nanoseconds<unit>(way);",
    "        return std::chrono::nanoseconds(in_range(t).count() / 2 - in_range(now).count() / 2) * 2;",
    "clocks/*",
)
mutation(
    "counts_are_subtracted_in_their_own_type",
    "include/handoff/detail/time.hpp",
    "    if constexpr (is_integer<Rep> && is_integer<NowRep>) {",
    "    if constexpr (sizeof(Rep) == 0) {",
    "clocks/*:time_between.*",
)
mutation(
    "another_clock_is_not_asked_again",
    "include/handoff/detail/time.hpp",
    "    bool over() const { return left().count() <= 0; }",
    "    bool over() const { return true; }",
    "clocks/*",
)
mutation(
    "select_does_not_ask_another_clock_again",
    "src/sync/select.cpp",
    "if (cases[end.index]->kind != case_kind::timeout || cases[end.index]->over()) return end;",
    "return end;",
    "clocks/*",
)
mutation(
    "condition_variable_says_timeout_by_the_wrong_clock",
    "include/handoff/condition_variable.hpp",
    "nullptr) || !limit.over() ?",
    "nullptr) ?",
    "clocks/*",
)
mutation(
    "condition_variable_gives_up_by_the_wrong_clock",
    "include/handoff/condition_variable.hpp",
    "            if (!wait_with(lock, limit.deadline(), stop) && limit.over()) return holds();",
    "            if (!wait_with(lock, limit.deadline(), stop)) return holds();",
    "clocks/*",
)
mutation(
    "group_is_cancelled_by_the_wrong_clock",
    "src/sync/task_group.cpp",
    "    const std::int64_t next = later ? later() : at_once;",
    "    const std::int64_t next = at_once;\n    (void)later;",
    "clocks/*",
)
mutation(
    "waits_last_for_73_years",
    "include/handoff/detail/time.hpp",
    "    return wait < last_deadline - now ? now + wait : last_deadline;",
    "    return now + std::min(wait, INT64_MAX / 4);",
    "virtual_time.*",
)
mutation(
    "virtual_time_passes_its_end",
    "src/sim/simulator.cpp",
    "    if (first >= last_deadline || ++idle_advances_",
    "    if (first == os::never || ++idle_advances_",
    "virtual_time.*",
)
mutation(
    "virtual_time_overflows",
    "src/sim/simulator.cpp",
    "        now_ += std::min<std::int64_t>(options_.time_per_step.count(), last_deadline - 1 - now_);",
    "        now_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(now_) + static_cast<std::uint64_t>(options_.time_per_step.count()));",
    "virtual_time.*:simulation.time_that_steps_take_ends_with_time",
)
mutation(
    "what_is_no_number_is_waited_for",
    "include/handoff/detail/time.hpp",
    "        if (ns != ns) refuse_nan();",
    "",
    "durations.*",
)
