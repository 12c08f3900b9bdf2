"""Mutations of calls: the retake word, the brackets, goroutines without a processor."""

from mutations import mutation

# ---- Retake --------------------------------------------------------------------------------------------------------

mutation(
    "exitsyscall_does_not_look",
    "src/goroutine/syscall.cpp",
    "        if (!m->taken.is_none()) [[unlikely]] return exit_slow(m);",
    "",
    "without_a_processor.*",
)
mutation(
    "hogs_keep_their_processor",
    "src/sched/monitor_round.cpp",
    "    add(p, m, call, section, retake::taken_computing, declines);",
    "",
    "computing.*",
)
mutation(
    "unguarded_calls_keep_their_processor",
    "src/sched/monitor_round.cpp",
    "        if (retake_candidate* c = add(p, m, call, section, retake::taken_unguarded)) {",
    "        if (retake_candidate* c = nullptr) {",
    "unguarded.*",
)

# ---- Calls ---------------------------------------------------------------------------------------------------------

mutation(
    "regain_forgets_the_old_processor",
    "src/sched/section.cpp",
    "            p = take_idle_p(*s, old, wake);",
    "            p = take_idle_p(*s, nullptr, wake);",
    "entering.*",
)
mutation(
    "brackets_are_locked",
    "src/goroutine/syscall.cpp",
    "    m->call.store(begin_call(m), std::memory_order_release);\n}",
    "    m->call.exchange(begin_call(m), std::memory_order_seq_cst);\n}",
    "brackets.*",
)
mutation(
    "guards_never_learn",
    "src/goroutine/syscall.cpp",
    "    if (g->predict >= prediction::blocks) [[unlikely]] hand_off_before_call(m, true);",
    "    if (g->predict >= 4) [[unlikely]] hand_off_before_call(m, true);",
    "adaptive_guard.*",
)
mutation(
    "who_comes_back_at_the_cap_goes_on",
    "src/sched/section.cpp",
    "            if (s->idle.is_starved()) s->globq.push(g);\n            else m->nextg = g;",
    "            m->nextg = g;",
    "thread_cap.*",
)
mutation(
    "work_stays_with_a_p_that_has_no_thread",
    "src/sched/handover.cpp",
    "    while (G* g = p->runq.take_next()) s.globq.push(g);\n    while (G* g = p->runq.pop()) s.globq.push(g);\n",
    "",
    "thread_cap.work_that_waits*",
)
mutation(
    "timers_stay_with_a_p_that_has_no_thread",
    "src/sched/monitor.cpp",
    "            fire_timers(m, mine);",
    "            ;",
    "thread_cap.*",
)
mutation(
    "calls_that_compute_tell_little",
    "src/goroutine/syscall.cpp",
    "another_ran && lasted < grace / quick_call;",
    "another_ran;",
    "adaptive_guard.*",
)
mutation(
    "guards_unlearn_from_long_computations",
    "src/goroutine/syscall.cpp",
    " || lasted / long_computation > grace;",
    ";",
    "adaptive_guard.*",
)
mutation(
    "guards_never_unlearn",
    "src/goroutine/syscall.cpp",
    "    g->predict = predict_after(g->predict, blocked);\n    m->s->predict.learn",
    "    g->predict = predict_after(g->predict, true);\n    m->s->predict.learn",
    "adaptive_guard.*",
)
mutation(
    "errno_stays_behind",
    "src/sched/section.cpp",
    "m = settle(m, how);\n    os::set_errno(e);\n    return m;",
    "m = settle(m, how);\n    (void)e;\n    return m;",
    "blocking_call.*:guard.*",
)
mutation(
    "brackets_do_not_nest",
    "src/goroutine/syscall.cpp",
    "    if (g->syscall_depth != 0) [[unlikely]] {\n        ++g->syscall_depth;\n        return;\n    }\n    open_bracket(m, g);\n"
    "    if (g->predict",
    "    open_bracket(m, g);\n    if (g->predict",
    "guard.*",
)

# ---- Calls: without a processor, and callbacks -----------------------------------------------------------------------

mutation(
    "calls_settle_as_they_end",
    "src/goroutine/syscall.cpp",
    "learn_from_handoff(m, g);\n    m->taken.go_on_without();\n",
    "learn_from_handoff(m, g);\n    m->taken.go_on_without();\n    leave(enter(m));\n",
    "without_a_processor.*",
)
mutation(
    "calls_give_way_as_they_end",
    "src/goroutine/syscall.cpp",
    "    if (how != retake::simulated) return;\n    const int e = os::get_errno();",
    "    if (how == retake::asked_to_yield) leave(enter(m));\n    if (how != retake::simulated) return;\n"
    "    const int e = os::get_errno();",
    "asked_to_yield.*:*goroutine_stays_on_its_thread_when_its_slice_is_over*",
)
mutation(
    "calls_never_give_way",
    "src/goroutine/syscall.cpp",
    "    const bool gives_way = how == retake::asked_to_yield ||\n                           (",
    "    const bool gives_way = (",
    "asked_to_yield.*",
)
mutation(
    "away_is_never_left",
    "src/sched/section.cpp",
    "    m->taken.settle();\n    m = regain",
    "    if (how != retake::away) m->taken.settle();\n    m = regain",
    "without_a_processor.*:entering.*",
)
mutation(
    "calls_without_keep_their_thread_where_there_are_few",
    "src/goroutine/syscall.cpp",
    "(is_without_p(how) && m->s->idle.is_starved());",
    "false;",
    "without_a_processor.*",
)
mutation(
    "calls_without_teach",
    "src/goroutine/syscall.cpp",
    "    if (how == retake::away) return;\n",
    "    if (how == retake::away) return void(g->predict = predict_after(g->predict, true));\n",
    "without_a_processor.later_calls_teach_nothing",
)
mutation(
    "calls_without_are_not_counted",
    "src/goroutine/syscall.cpp",
    "    m->calls_without.add();\n",
    "",
    "without_a_processor.*",
)
mutation(
    "callbacks_are_not_tied",
    "src/sched/section.cpp",
    "    if (m->s->sim || (g->syscall_depth & G::tied_by_call) != 0) return;",
    "    if (g) return;",
    "callback.*:procs/with_procs.a_callback*",
)
mutation(
    "tie_outlives_the_call",
    "src/goroutine/syscall.cpp",
    "    g->syscall_depth = 1;\n    untie_if_free(m, g);",
    "    g->syscall_depth = 1;",
    "callback.*",
)
mutation(
    "inner_end_is_the_end",
    "src/goroutine/syscall.cpp",
    "    if (depth > 1) {\n        --g->syscall_depth;\n",
    "    if (depth > 1) {\n        g->syscall_depth = depth - 1;\n        g->locked.store(false, std::memory_order_relaxed);\n"
    "        m->locked_g = nullptr;\n",
    "callback.*",
)
mutation(
    "end_of_a_call_unlocks_the_thread",
    "src/sched/g.hpp",
    "return lock_depth != 0 || pinned != 0",
    "return pinned != 0",
    "callback.*",
)
mutation(
    "callbacks_are_cancelled_where_they_ask",
    "src/wait/wait.cpp",
    "    if (!m || holds_cancellation_back(m)) return;",
    "    if (!m) return;",
    "callback.is_not_cancelled*",
)
mutation(
    "waits_of_callbacks_are_cancelled",
    "src/wait/cancel.hpp",
    "return cancellable && !holds_cancellation_back(m); }",
    "return cancellable && m; }",
    "callback.wait_under_a_guard*",
)

# ---- Goroutines ----------------------------------------------------------------------------------------------------

mutation(
    "published_before_its_context",
    "src/sched/schedule.cpp",
    "    m->commit = commit;\n    m->commit_g = g;\n    m->commit_arg = arg;\n    return",
    "    commit(m, g, arg);\n    return",
    "goroutine.*:sleep.*",
)
mutation(
    "exceptions_stay_on_the_thread",
    "src/context/context.hpp",
    "    from.exceptions = *s->exceptions;\n    *s->exceptions = to.exceptions;\n",
    "",
    "exceptions.*",
)
mutation(
    "stacks_have_no_guard",
    "src/context/stack.cpp",
    "guard_kind make_guard(char* lo) noexcept {\n",
    "guard_kind make_guard(char* lo) noexcept {\n    if (lo) return guard_kind::light;\n",
    "stack_pool.guard_faults:overflow.*",
)
mutation(
    "threads_that_join_are_not_woken",
    "src/wait/wait.hpp",
    "    void wake_first(M* m) noexcept {\n        waiter* w = first_;\n        first_ = w->next_to_wake;\n        if (w->g) ready(m, w->g);\n        else w->note.wake();",
    "    void wake_first(M* m) noexcept {\n        waiter* w = first_;\n        first_ = w->next_to_wake;\n        if (w->g) ready(m, w->g);",
    "goroutine.returns_its_result",
)
mutation(
    "tied_goroutines_run_anywhere",
    "src/sched/schedule.cpp",
    "        if (next->locked.load(std::memory_order_relaxed)) [[unlikely]] {",
    "        if (false) {",
    "lock_os_thread.*",
)

# ---- Calls that can be cancelled -----------------------------------------------------------------------------------

mutation(
    "call_is_begun_after_a_stop",
    "src/sync/cancellable_call.cpp",
    "    if (progress_.fetch_or(begun, std::memory_order_relaxed) != 0) throw_if_cancelled(wait_end::cancelled);",
    "    progress_.fetch_or(begun, std::memory_order_relaxed);",
    "*cancellable_calls.are_not_begun_after_a_stop*",
)
mutation(
    "canceller_is_called_before_its_call",
    "src/sync/cancellable_call.cpp",
    "    if (progress_.fetch_or(stopped, std::memory_order_relaxed) != begun) return;",
    "    if ((progress_.fetch_or(stopped, std::memory_order_relaxed) & over) != 0) return;",
    "*cancellable_calls.are_not_begun_after_a_stop*",
)
mutation(
    "canceller_is_called_after_its_call",
    "src/sync/cancellable_call.cpp",
    "    if (progress_.fetch_or(stopped, std::memory_order_relaxed) != begun) return;",
    "    if ((progress_.fetch_or(stopped, std::memory_order_relaxed) & begun) == 0) return;",
    "*cancellable_calls.race_*",
)
mutation(
    "cancelled_call_returns",
    "src/sync/cancellable_call.cpp",
    "    if ((progress_.fetch_or(over, std::memory_order_relaxed) & stopped) != 0) throw_if_cancelled(wait_end::cancelled);",
    "    progress_.fetch_or(over, std::memory_order_relaxed);",
    "*cancellable_calls.are_ended_by_their_group/*",
)
mutation(
    "group_cancels_calls_under_a_blocker",
    "src/sync/cancellable_call.cpp",
    "unblocked_scope(m) && !holds_cancellation_back(m)",
    "m && !holds_cancellation_back(m)",
    "*cancellable_calls.are_left_alone_*",
)
mutation(
    "group_cancels_calls_within_a_guard",
    "src/sync/cancellable_call.cpp",
    "unblocked_scope(m) && !holds_cancellation_back(m)",
    "unblocked_scope(m)",
    "*cancellable_calls.are_left_alone_*",
)
mutation(
    "canceller_is_called_only_once",
    "src/sync/cancellable_call.cpp",
    "    if (plan_.repeat == 0) return;",
    "    return;",
    "cancellable_call.in_simulations_is_stopped_again_*",
)
mutation(
    "cancellers_run_two_at_a_time",
    "src/sync/cancellable_call.cpp",
    "        const std::unique_lock mine(lock, std::try_to_lock);\n        if (mine && !over)",
    "        if (!over)",
    "cancellable_call.waits_for_a_canceller_that_runs",
)
mutation(
    "call_returns_while_its_canceller_runs",
    "src/sync/cancellable_call.cpp",
    "        const std::unique_lock after_it(repeated_->lock);\n",
    "",
    "cancellable_call.waits_for_a_canceller_that_runs",
)
mutation(
    "late_repetitions_call_the_canceller",
    "src/sync/cancellable_call.cpp",
    "        repeated_->over = true;",
    "",
    "cancellable_call.in_simulations_is_stopped_again_*",
)
mutation(
    "wait_for_a_canceller_leaves_its_errno",
    "src/sync/cancellable_call.cpp",
    "    os::set_errno(e);",
    "    (void)e;",
    "*cancellable_calls.keep_errno_while_*",
)
mutation(
    "wait_for_a_canceller_keeps_the_processor",
    "include/handoff/cancellable_call.hpp",
    "    const syscall_guard guard;\n    detail::cancellable_call call(plan, call_canceller<C>::call, &by);",
    "    detail::cancellable_call call(plan, call_canceller<C>::call, &by);\n    const syscall_guard guard;",
    "cancellable_call.waits_for_a_canceller_that_runs",
)
