"""Mutations of what shows under load, in faults, in unguarded calls."""

from mutations import mutation, MUTATIONS, Mutation, replacing

# ---- Under load: one for each program of tests/stress ----------------------------------------------------------------

mutation(
    "guarded_calls_keep_their_processor",
    "src/sched/monitor_round.cpp",
    "    if ((waits && (lasted >= grace || slice_is_over(p))) ||",
    "    if ((waits && lasted < 0 && slice_is_over(p)) ||",
    "*NothingIsLostAndCountersAddUp*",
    target="handoff_stress_blocking_test",
)
mutation(
    "pairs_keep_the_processor",
    "src/sched/schedule.cpp",
    "    if (!chain_lets_on(s, p))\n",
    "    if (p->runq.has_next())\n",
    "PingPong.*",
    target="handoff_stress_calls_test",
)
LOST_VALUE = replacing("            push_ring(c, s->slot);\n", "")
MUTATIONS.append(
    Mutation("receiver_loses_a_senders_value", "src/sync/channel.cpp", LOST_VALUE, "handoff_stress_channels_test",
             ["--gtest_brief=1", "--gtest_filter=*Crowd*"])
)
MUTATIONS.append(
    Mutation("chaos_misses_a_value", "src/sync/channel.cpp", LOST_VALUE, "handoff_chaos", ["--seconds", "20"])
)
mutation(
    "hogs_are_started_beyond_their_limit",
    "src/sched/compute_limit.hpp",
    "        return slice_ * (10 + 10 *",
    "        return 0 * (10 + 10 *",
    "Hogs.*",
    target="handoff_stress_hogs_test",
)
mutation(
    "surplus_processors_count_for_ever",
    "src/sched/idle_set.hpp",
    "{ --live_; }",
    "{}",
    "SetProcs.*",
    target="handoff_stress_lifecycle_test",
)
mutation(
    "goroutines_without_a_stack_are_forgotten",
    "src/sched/monitor.cpp",
    "        for (G* g = s.stackless.pop(); g; g = s.stackless.pop()) {",
    "        for (G* g = nullptr; g;) {",
    "StackShortage.*",
    target="handoff_stress_limits_test",
)
mutation(
    "barrier_opens_before_its_count_is_set",
    "src/sync/barrier.cpp",
    "    left_.store(expected_.load(std::memory_order_relaxed), std::memory_order_relaxed);\n    with_parked",
    "    struct late {\n        barrier_base& b;\n        ~late() { b.left_.store(b.expected_.load(std::memory_order_relaxed), "
    "std::memory_order_relaxed); }\n    } at_end{*this};\n    with_parked",
    "*BarrierKeepsPhasesTogether*",
    target="handoff_stress_locks_test",
)
mutation(
    "stacks_are_never_used_again",
    "src/context/stack.cpp",
    "    warm_.give(list);",
    "    (void)list;",
    "Many.WavesReuseTheStacks",
    target="handoff_stress_many_test",
)
mutation(
    "timer_fires_after_a_stop_if_it_was_due",
    "src/sync/timer.cpp",
    "    return std::exchange(pending, false);",
    "    return out ? pending : std::exchange(pending, false);",
    "*Timers*",
    target="handoff_stress_timers_test",
)
mutation(
    "timers_of_a_processor_in_a_call_wait",
    "src/sched/monitor_round.hpp",
    "        if (!p.runq.empty() || p.timers.first() <= now) return true;",
    "        if (!p.runq.empty()) return true;",
    "*TimersFireWhileTheirProcessorIsBlocked*",
    target="handoff_stress_wakeups_test",
)
mutation(
    "who_only_spawns_is_not_known",
    "src/sched/section.cpp",
    "    if (how == retake::asked_to_yield) m->declined.store(one_more(m->declined), std::memory_order_relaxed);\n    else if",
    "    if",
    "*leaves_pairs_their_part/spawning",
)

# ---- Faults, signals and simulations ---------------------------------------------------------------------------------

mutation(
    "signals_end_waits",
    "src/os/note.cpp",
    "        if (error == ETIMEDOUT) {",
    "        if (error == ETIMEDOUT || error == EINTR) {",
    "signals.*",
    target="handoff_fault",
)
mutation(
    "stop_of_the_process_is_its_end",
    "src/os/note.cpp",
    "        if (error == ETIMEDOUT) {",
    "        if (error == ETIMEDOUT && nanotime() - deadline > 12'000'000) base::fatal(\"late\");\n"
    "        if (error == ETIMEDOUT) {",
    "process.goes_on_*",
    target="handoff_fault",
)
mutation(
    "simulation_depends_on_its_address",
    "src/sim/simulator.cpp",
    "rng_(seed), hash_(seed)",
    "rng_(seed ^ reinterpret_cast<std::uintptr_t>(this)), hash_(seed)",
    "simulation.same_seed_same_run_in_another_process",
)
mutation(
    "simulation_never_interleaves",
    "src/sim/simulator.cpp",
    "    const bool gives = quiet == 0 && others() && gives_way(",
    "    const bool gives = yields && quiet == 0 && others() && gives_way(",
    "*all_interleavings_of_two_appear*",
)
mutation(
    "simulated_timers_go_before_goroutines",
    "src/sim/simulator.cpp",
    "    if (due_.size() == 0) return false;\n    if (how_.by_priority)",
    "    if (due_.size() == 0) return false;\n    if (seed_ + 1 != 0) return true;\n    if (how_.by_priority)",
    "*same_instant.a_send_and_a_timeout*",
)
mutation(
    "simulated_timers_keep_the_order_of_their_start",
    "src/sim/simulator.cpp",
    "    return std::min(static_cast<std::int64_t>(static_cast<simulator*>(self)->random() >> 1), os::never - 1);",
    "    return static_cast<simulator*>(self)->now_;",
    "*same_instant.two_timers*",
)
mutation(
    "simulated_timers_lose_their_heap",
    "src/timer/timer_heap.cpp",
    "    while (timer* t = pop_due(now)) other.take_over(t, key(arg));",
    "    while (timer* t = pop_due(now)) {\n        other.take_over(t, key(arg));\n        t->heap.store(this, std::memory_order_relaxed);\n    }",
    "simulation.timers_that_are_due_can_be_stopped",
)
mutation(
    "simulated_joins_tell_out_of_turn",
    "src/goroutine/join.cpp",
    "    if (g->exception) await_turn_to_throw();\n",
    "",
    "failed_simulation.clean_up_that_takes_time_finds_what_it_refers_to",
)
mutation(
    "simulated_groups_cancel_out_of_turn",
    "src/wait/wait.cpp",
    "    await_turn_to_throw();\n    if (const M* m = current_m(); m && m->s->sim)",
    "    if (const M* m = current_m(); m && m->s->sim)",
    "failed_simulation.groups_keep_what_the_children_of_their_members_refer_to",
)
mutation(
    "simulated_waits_await_their_turn_with_the_lock",
    "src/sync/condition_variable.cpp",
    "    if (how == wait_end::cancelled) await_turn_to_throw();   // before it has the lock again\n",
    "",
    "failed_simulation.members_await_their_turn_without_the_lock",
)
mutation(
    "ending_of_a_simulation_takes_any_order",
    "src/sim/ending.cpp",
    "    how_ = {.by_priority = true, .preempts_one_in = circle};\n",
    "",
    "failed_simulation.who_goes_on_normally_does_so_after_the_younger",
)
mutation(
    "simulated_turns_come_too_late",
    "src/sim/ending.cpp",
    "|| advance_time() || let_one_unwind()) return true;",
    "|| advance_time()) return true;",
    "failed_simulation.ends_where_clean_up_waits_for_who_awaits_its_turn",
)
mutation(
    "settle_does_not_wait",
    "src/sim/simulator.cpp",
    "if (!others() && !ending_ && !settling_.empty()) let_go_on(",
    "if (!ending_ && !settling_.empty()) let_go_on(",
    "simulation.settle_*",
)

# ---- Unguarded calls, hogs, goroutines without a processor ------------------------------------------------------------

mutation(
    "unguarded_calls_wait_for_the_slice",
    "src/sched/monitor_round.cpp",
    "if (now >= w.next_probe && (waits || stay >= limit)) {",
    "if (now >= w.next_probe && stay >= limit) {",
    "unguarded.call_keeps_nobody_waiting_for_a_slice",
)
mutation(
    "clock_tells_nothing_of_sleepers",
    "src/sched/monitor_round.cpp",
    "    return asleep;\n",
    "    return false;\n",
    "unguarded.call_is_found_without_a_descriptor",
)
mutation(
    "descriptors_of_threads_are_kept_for_ever",
    "src/os/thread_activity.cpp",
    "        if (f.tid != 0) ::close(f.fd);\n        f = {};\n    }\n",
    "        f = {};\n    }\n",
    "unguarded.watching_leaves_no_descriptor_behind",
)
mutation(
    "fast_paths_stay_open",
    "src/sched/monitor.cpp",
    "if (r.asks != notes.fast_paths_closed) {",
    "if (false) {",
    "computing.loops_of_*_let_others_on",
)
mutation(
    "kinds_are_those_of_types_alone",
    "src/goroutine/spawn.cpp",
    "std::uint64_t{line} << 48;",
    "std::uint64_t{line} * 0;",
    "computing.kinds_are_told_apart_by_place",
)
mutation(
    "asked_kinds_are_ignored",
    "src/goroutine/spawn.cpp",
    "asked_kind = o ? o->kind : 0;",
    "asked_kind = 0;",
    "adaptive_guard.learns_of_the_kinds_that_the_program_tells",
)
mutation(
    "sleepers_count_as_computing_for_ever",
    "src/sched/monitor.cpp",
    "    let_go(s, s.limit.judge(now, procs, activities));\n",
    "",
    "computing.is_over_in_an_unguarded_call",
)
mutation(
    "kinds_earn_no_credit",
    "src/sched/compute_limit.cpp",
    "credit_of_a_start = 1,",
    "credit_of_a_start = 0,",
    "computing.kinds_that_mostly_do_not_are_let_on",
)
mutation(
    "those_kept_back_before_stay_so",
    "src/sched/compute_limit.cpp",
    "        if (next->kind.load(std::memory_order_relaxed) == kind) also = next;\n        else keep(next);",
    "        keep(next);",
    "computing.kinds_that_mostly_do_not_are_let_on",
)
mutation(
    "hogs_cost_their_kind_no_credit",
    "src/sched/compute_limit.cpp",
    "    credit -= std::min(credit, credit_of_a_hog);",
    "    credit -= std::min(credit, std::uint8_t{0});",
    "computing.kinds_that_mostly_do_again_are_not",
)
mutation(
    "who_waits_for_a_core_does_not_compute",
    "src/sched/compute_limit.cpp",
    "        if (awake && may_wait && wanted * 2 < time) return;",
    "",
    "computing.is_not_over_on_an_overloaded_machine",
)
mutation(
    "yield_forgets_the_global_queue",
    "src/sched/schedule.cpp",
    "if (!next && !s.globq.empty() && !s.sim)",
    "if (false)",
    "yield.lets_one_of_the_global_queue_on",
)
mutation(
    "nothing_begins_without_a_processor",
    "src/sched/prediction.hpp",
    "constexpr std::uint8_t blocks = 2;",
    "constexpr std::uint8_t blocks = 9;",
    "without_a_processor.begins_what_will_block",
)
mutation(
    "what_began_without_unlearns_nothing",
    "src/sched/without.cpp",
    "s.predict.learn(g, false);",
    "(void)0;",
    "without_a_processor.kinds_that_no_longer_block_are_begun_with_one_again",
)
mutation(
    "monitor_sleeps_through_a_standstill",
    "src/sched/handover.cpp",
    "if (s.opts.deadlock_after.count() != 0) s.idle.wake_deep_monitor(wake);",
    "",
    "procs/deadlocks.are_not_reported_while_something_goes_on/*",
)
