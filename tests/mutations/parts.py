"""Mutations of the parts of the scheduler, by tests of their own."""

from mutations import mutation

# ---- The parts of a scheduler, by themselves -------------------------------------------------------------------------

mutation(
    "lost_processors_are_not_noticed",
    "src/sched/held_p.hpp",
    "    ~held_p() {\n        if (p_) [[unlikely]] dropped(*p_);\n    }",
    "    ~held_p() = default;",
    "held_p_that_is_lost.*",
)
mutation(
    "processors_are_overwritten",
    "src/sched/held_p.hpp",
    "        if (p_) [[unlikely]] dropped(*p_);\n        p_ = std::exchange",
    "        p_ = std::exchange",
    "held_p_that_is_lost.*",
)
mutation(
    "processors_keep_their_last_thread",
    "src/sched/held_p.hpp",
    "        p.m.store(nullptr, std::memory_order_relaxed);\n",
    "",
    "held_p.*",
)
mutation(
    "put_on_tells_only_the_thread",
    "src/sched/held_p.cpp",
    "    p.m.store(m, std::memory_order_release);",
    "    p.m.store(p.m, std::memory_order_release);",
    "held_p.*",
)
mutation(
    "any_processor_is_as_good_as_the_last",
    "src/sched/idle_set.cpp",
    "    return unlink_p(preferred && has(*preferred) ? *preferred : ps_.front());",
    "    return unlink_p(ps_.front());",
    "idle_set_.*",
)
mutation(
    "slices_go_on_over_a_rest",
    "src/sched/idle_set.cpp",
    "    p.begin_slice();\n",
    "",
    "idle_set_.*",
)
mutation(
    "timekeepers_are_taken_as_they_come",
    "src/sched/idle_set.cpp",
    "&m != timekeeper && ",
    "",
    "idle_set_.*",
)
mutation(
    "timekeepers_leave_their_timers_to_nobody",
    "src/sched/idle_set.cpp",
    "        cover_timer(first_timer(), wake);\n",
    "",
    "idle_set_.*",
)
mutation(
    "monitor_is_woken_though_it_wakes_in_time",
    "src/sched/idle_set.cpp",
    "when >= timekeeper_until || when >= monitor_until",
    "when >= timekeeper_until || when > monitor_until",
    "idle_set_.*",
)
mutation(
    "first_timer_is_that_of_one_processor",
    "src/sched/idle_set.cpp",
    "    for (const P& p : ps_) first = std::min(first, p.timers.first());",
    "    for (const P& p : ps_) first = p.timers.first();",
    "idle_set_.*",
)
mutation(
    "left_processors_replace_each_other",
    "src/sched/idle_set.cpp",
    "    left_.store(p.next_left, std::memory_order_relaxed);",
    "    left_.store(nullptr, std::memory_order_relaxed);",
    "idle_set_.*",
)
mutation(
    "left_processors_spin_for_nobody",
    "src/sched/idle_set.cpp",
    "    spinning = p.left_spinning;\n",
    "    spinning = false;\n",
    "idle_set_.*",
)
mutation(
    "idle_threads_stop_to_spin_for_good",
    "src/sched/idle_set.cpp",
    "std::max(now / 2, most / 32);",
    "now / 2;",
    "idle_set_.*",
)
mutation(
    "refused_threads_keep_the_processor",
    "src/sched/thread_pool.cpp",
    "        p = std::move(m->orders.p);\n",
    "",
    "thread_pool.*",
)
mutation(
    "refused_threads_count",
    "src/sched/thread_pool.cpp",
    "        --threads_;\n        free_.push_back(m);",
    "        free_.push_back(m);",
    "thread_pool.*",
)
mutation(
    "those_that_retire_count_still",
    "src/sched/thread_pool.cpp",
    "    ++retiring_;\n",
    "",
    "thread_pool.*",
)
mutation(
    "those_that_have_retired_retire_for_ever",
    "src/sched/thread_pool.cpp",
    "    if (std::exchange(m->retires, false)) --retiring_;\n",
    "    m->retires = false;\n",
    "thread_pool.*",
)
mutation(
    "threads_that_exit_are_free",
    "src/sched/thread_pool.cpp",
    "        (gone ? free_ : exiting_).push_back(m);",
    "        free_.push_back(m);",
    "thread_pool.*",
)
mutation(
    "threads_inherit_how_the_last_one_ended",
    "src/sched/thread_pool.cpp",
    "    m->ends_with_its_goroutine = false;\n",
    "",
    "thread_pool.*",
)
mutation(
    "hogs_keep_back_whoever_comes",
    "src/sched/compute_limit.cpp",
    "    if (!is_reached(procs) || !is_computing(kind)) return false;",
    "    if (!is_reached(procs)) return false;",
    "compute_limit_.*",
)
mutation(
    "hogs_below_their_limit_keep_others_back",
    "src/sched/compute_limit.cpp",
    "    if (!is_reached(procs) || !is_computing(kind)) return false;",
    "    if (!is_computing(kind)) return false;",
    "compute_limit_.*",
)
mutation(
    "credit_wraps_around",
    "src/sched/compute_limit.cpp",
    "    credit = std::min<std::uint8_t>(credit + credit_of_a_start, most_credit);",
    "    credit = static_cast<std::uint8_t>(credit + credit_of_a_start);",
    "compute_limit_.*",
)
mutation(
    "let_through_is_for_good",
    "src/sched/compute_limit.cpp",
    "    if (!std::exchange(g->let_through, false) && credit == 0) {",
    "    if (!g->let_through && credit == 0) {",
    "compute_limit_.*",
)
mutation(
    "those_kept_back_are_released_one_by_one",
    "src/sched/compute_limit.cpp",
    "    while (G* g = take()) all.push(g);",
    "    if (G* g = take()) all.push(g);",
    "compute_limit_.*:who_computes.*",
)
mutation(
    "those_kept_back_are_released_beside_hogs",
    "src/sched/compute_limit.cpp",
    "    if (is_reached(procs)) return all;\n",
    "",
    "compute_limit_.*",
)
mutation(
    "sleepers_compute_for_ever",
    "src/sched/compute_limit.cpp",
    "    const bool awake = is == os::activity::computing || is == os::activity::unknown;",
    "    const bool awake = true;",
    "who_computes.*",
)
mutation(
    "who_has_slept_never_computes_again",
    "src/sched/compute_limit.cpp",
    "        m.computes = awake && wanted * 4 >= time;",
    "        m.computes = m.computes && awake && wanted * 4 >= time;",
    "who_computes.*",
)
mutation(
    "a_moment_is_enough_to_compute",
    "src/sched/compute_limit.cpp",
    "        if (awake && may_wait && wanted * 2 < time) return;",
    "        if (awake && wanted * 2 < time) return;",
    "who_computes.*",
)
mutation(
    "predictions_are_of_all_kinds",
    "src/sched/prediction.hpp",
    "{ return kind >> (64 - kind_bits); }",
    "{ return (kind >> (64 - kind_bits)) & 1; }",
    "prediction_.*",
)
mutation(
    "one_call_that_blocked_is_enough",
    "src/sched/prediction.hpp",
    "constexpr std::uint8_t blocks = 2;",
    "constexpr std::uint8_t blocks = 1;",
    "prediction_.*",
)
mutation(
    "one_more_processor_than_wanted",
    "src/sched/processors.hpp",
    "return p.id >= wanted(); }",
    "return p.id > wanted(); }",
    "processors.*",
)
mutation(
    "two_processors_are_not_several",
    "src/sched/processors.hpp",
    "return count_.load(std::memory_order_relaxed) != 1; }",
    "return count_.load(std::memory_order_relaxed) > 2; }",
    "processors.*",
)

mutation(
    "any_load_leaves_room",
    "src/os/load.cpp",
    "    return std::strtol(begin, nullptr, 10) <= cpus_;",
    "    return std::strtol(begin, nullptr, 10) >= 0;",
    "load.*",
)
mutation(
    "unknown_load_leaves_no_room",
    "src/os/load.cpp",
    "    if (n <= 0) return true;",
    "    if (n <= 0) return false;",
    "load.*",
)
mutation(
    "random_numbers_repeat",
    "src/os/random.cpp",
    "    random_state = x;\n",
    "",
    "random_number.*",
)
mutation(
    "random_state_stays",
    "src/os/random.cpp",
    "    return std::exchange(random_state, state);",
    "    return state ^ random_state;",
    "random_number.*",
)
mutation(
    "code_is_named_by_its_path",
    "src/base/code_address.cpp",
    "object ? object + 1 : where.dli_fname",
    "object ? object : where.dli_fname",
    "code_address.*",
)
mutation(
    "code_is_named_by_its_address",
    "src/base/code_address.cpp",
    "static_cast<const char*>(address) - static_cast<const char*>(where.dli_fbase)));",
    "reinterpret_cast<unsigned long>(address)));",
    "code_address.*",
)
mutation(
    "the_second_note_replaces_the_first",
    "src/sched/deferred_wake.hpp",
    "            if (place && place != &n) continue;\n",
    "",
    "deferred_wake.wakes_two",
)

# ---- The end of a runtime, and its threads -------------------------------------------------------------------------

mutation(
    "shutdown_refuses_nobody",
    "src/sched/sched.cpp",
    "    s.life.closed = true;",
    "",
    "*shutdowns.refuse_goroutines_from_outside*",
)
mutation(
    "shutdown_refuses_its_own",
    "src/goroutine/spawn.cpp",
    "    if (from_outside && s->life.closed)",
    "    if (s->life.closed)",
    "shutdown.lets_goroutines_without_a_processor_start_others",
)
mutation(
    "shutdown_overlooks_what_is_being_started",
    "src/sched/sched.cpp",
    " || s.life.launching != 0) return false;",
    ") return false;",
    "*shutdowns.wait_for_what_is_being_started*",
)
mutation(
    "shutdown_wakes_one_of_all",
    "src/sched/sched.cpp",
    "    if (w.next) w.next->ended.wake();",
    "",
    "*shutdowns.may_be_called_by_several_at_once*",
)
mutation(
    "shutdown_leaves_before_it_is_woken",
    "src/sched/sched.cpp",
    "        if (gives_up(s, w)) return false;",
    "        gives_up(s, w);\n        return false;",
    "*shutdowns.race_with_the_end*",
)
mutation(
    "shutdown_keeps_the_processor",
    "src/runtime/runtime.cpp",
    "    const syscall_guard waits(handoff_policy::immediate);\n    close",
    "    close",
    "*shutdowns.by_a_goroutine_of_another_*",
)
mutation(
    "threads_exit_untold",
    "src/sched/handover.cpp",
    '    call_option(s.opts.on_thread_exit, "on_thread_exit");   // it counts against max_threads no longer\n',
    "",
    "*thread_options.are_called_*",
)
mutation(
    "thread_exit_counts_against_max_threads",
    "src/sched/handover.cpp",
    '    s.pool.ends(m);\n    call_option(s.opts.on_thread_exit, "on_thread_exit");',
    '    call_option(s.opts.on_thread_exit, "on_thread_exit");\n    s.pool.ends(m);',
    "thread_exit.keeps_no_place_of_max_threads",
)
mutation(
    "threads_are_named_after_their_start",
    "src/sched/handover.cpp",
    '    os::name_this_thread(m->id);\n    call_option(s.opts.on_thread_start, "on_thread_start");',
    '    call_option(s.opts.on_thread_start, "on_thread_start");\n    os::name_this_thread(m->id);',
    "thread_names.may_be_changed",
)

# ---- Lines on stderr that would come again and again ----------------------------------------------------------------

mutation(
    "same_line_comes_each_time",
    "src/base/check.cpp",
    "    if (!is_told(nth)) return;\n",
    "",
    "warning.of_the_same_thing_*:debug_output.unguarded_calls_of_a_place_*:guard.exits_without_enter_*",
)
mutation(
    "unguarded_call_is_each_time_the_first",
    "src/debug/report.cpp",
    "        nth = ++site.count;",
    "        ++site.count;\n        nth = 1;",
    "debug_output.unguarded_calls_of_a_place_*",
)
mutation(
    "exit_without_enter_is_each_time_the_first",
    "src/goroutine/syscall.cpp",
    "base::warn_nth(m->s->count.exits_unmatched.add(), ",
    "base::warn_nth(1, ",
    "guard.exits_without_enter_*",
)
mutation(
    "long_line_loses_its_number",
    "src/base/check.cpp",
    "std::vsnprintf(line + n, most - most_at_end - 9, format, args);\n    if (n >= most - most_at_end) n = most - most_at_end - 1;",
    "std::vsnprintf(line + n, most - 9, format, args);\n    if (n > most - 2) n = most - 2;",
    "warning.that_is_too_long_still_tells_its_number",
)
