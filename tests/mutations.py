"""The mutations that tests/mutants applies: what is broken, and which tests must notice.

Those that the explorer of schedules must find (tests/model/explore.hpp) are in tests/model/mutants.txt, those for which
more has to be built than a test program in tests/planted.py.
"""

import os
import subprocess
from collections import namedtuple

# `apply` gives the changed text of the file, or None if the mutation does not fit it any more. `target` is the program
# that must fail, with `arguments`.
Mutation = namedtuple("Mutation", "name file apply target arguments")
MUTATIONS = []


def replacing(old, new):
    return lambda text: text.replace(old, new) if text.count(old) == 1 else None


def mutation(name, file, old, new, tests, target="handoff_unit"):
    arguments = ["--gtest_brief=1", f"--gtest_filter={tests}"]
    MUTATIONS.append(Mutation(name, file, replacing(old, new), target, arguments))


def read_explored(path):
    """Blocks of a name in brackets, and lines of `key = value`: see the head of the file."""

    def edit(expression):
        def apply(text):
            changed = subprocess.run(["sed", "-E", expression], input=text, stdout=subprocess.PIPE, text=True, check=True).stdout
            return changed if changed != text else None

        return apply

    with open(path, encoding="utf-8") as f:
        blocks = [b for b in f.read().split("\n\n") if b.startswith("[")]
    for block in blocks:
        name, *lines = block.strip().splitlines()
        value = {key.strip(): text for key, text in (line.split("= ", 1) for line in lines)}
        target, *arguments = value["fails"].split()
        MUTATIONS.append(Mutation(name.strip("[]"), value["file"], edit(value["sed"]), target, arguments))


read_explored(os.path.join(os.path.dirname(os.path.abspath(__file__)), "model", "mutants.txt"))

# ---- Run queues ----------------------------------------------------------------------------------------------------

mutation(
    "push_overwrites_the_oldest",
    "src/sched/runq.hpp",
    "if (t - h >= capacity)",
    "if (t - h > capacity)",
    "runq.push_refuses_when_full",
)
mutation(
    "overflow_loses_one",
    "src/sched/schedule.cpp",
    "globq.push_batch(batch, global_queue::batch_size);",
    "globq.push_batch(batch, global_queue::batch_size - 1);",
    "goroutine.runs_once_if_its_queue_overflows",
)
mutation(
    "global_queue_is_looked_at_last",
    "src/sched/schedule.cpp",
    "    if (!globq.empty()) {\n        // What a fuller ring",
    "    if (false) {\n        // What a fuller ring",
    "yield.lets_goroutines_of_the_global_queue_run",
)
mutation(
    "next_is_never_put_back",
    "src/sched/schedule.cpp",
    "    G* g = p->runq.pop();\n    G* next = p->runq.take_next();\n    if (!g) return next;",
    "    G* g = p->runq.take_next();\n    G* next = nullptr;\n    if (!g) return p->runq.pop();",
    "yield.pairs_do_not_starve_others:*channel_lives.play_ping_pong_beside_a_hog*",
)

# ---- Wake-ups, idle processors and threads -------------------------------------------------------------------------

mutation(
    "spawn_wakes_nobody",
    "src/sched/spawn.cpp",
    "    put_local(m, g);\n    wakep();",
    "    put_local(m, g);",
    "runtime.all_processors_run_after_a_rest",
)
mutation(
    "spawn_from_outside_wakes_nobody",
    "src/sched/spawn.cpp",
    "    s->wakep_any();\n    return g;",
    "    return g;",
    "runtime.*:goroutine.*",
)
mutation(
    "threads_have_no_cap",
    "src/sched/idle.cpp",
    "        if (nm >= opts.max_threads) {",
    "        if (false) {",
    "thread_cap.*",
)
mutation(
    "threads_never_retire",
    "src/sched/idle.cpp",
    "            if (nm - leaving > nprocs.load(std::memory_order_relaxed) + 1 && timekeeper != m) {",
    "            if (false) {",
    "idle.threads_leave_*",
)
mutation(
    "threads_retire_at_once",
    "src/sched/idle.cpp",
    "            retire_at = os::nanotime() + opts.idle_thread_timeout.count();",
    "            retire_at = os::nanotime();",
    "idle.threads_stay_until_their_timeout",
)
mutation(
    "threads_are_not_joined",
    "src/sched/idle.cpp",
    "        ::pthread_join(m->thread, nullptr);",
    "",
    "runtime.leaves_nothing_behind:idle.*",
)
mutation(
    "timekeeper_oversleeps",
    "src/sched/idle.cpp",
    "        until = timekeeper == m ? std::min(retire_at, timekeeper_until) : retire_at;\n        m->is_idle",
    "        until = retire_at;\n        m->is_idle",
    "sleep.*:*timers.wake_an_idle_runtime_in_time*:idle.*",
)
mutation(
    "starved_processors_are_forgotten",
    "src/sched/monitor.cpp",
    "    bool again = starved.exchange(0, std::memory_order_relaxed) != 0;",
    "    bool again = false;",
    "threads.*",
    target="handoff_fault",
)
mutation(
    "monitor_never_sleeps",
    "src/sched/monitor.cpp",
    "        monitor_deep = deep;\n        monitor_until = until;",
    "        until = std::min(until, now + longest_pause_ns);\n        monitor_deep = deep;\n        monitor_until = until;",
    "idle.runtime_sleeps*",
)
mutation(
    "new_processors_stay_idle",
    "src/sched/lifecycle.cpp",
    "    empty_idle_surplus();\n    release_idle_ms();\n}",
    "}",
    "set_procs.*",
)

# ---- Retake --------------------------------------------------------------------------------------------------------

mutation(
    "retake_inside_the_library",
    "src/sched/retake.cpp",
    "section % 2 == 0 && m.p",
    "m.p",
    "retake.*",
)
mutation(
    "exitsyscall_does_not_look",
    "src/sched/syscall.cpp",
    "        if (m->taken.load(std::memory_order_relaxed) != retake::none) [[unlikely]] return exit_slow(m);",
    "",
    "retake.*",
)
mutation(
    "hogs_keep_their_processor",
    "src/sched/monitor.cpp",
    "    if (retake_candidate* c = add(p, m, call, section, retake::taken_computing)) c->slice_is_over = !away;",
    "    (void)away;",
    "computing.*",
)
mutation(
    "unguarded_calls_keep_their_processor",
    "src/sched/monitor.cpp",
    "        if (retake_candidate* c = add(p, m, call, section, retake::taken_unguarded)) {",
    "        if (retake_candidate* c = nullptr) {",
    "unguarded.*",
)

# ---- Calls ---------------------------------------------------------------------------------------------------------

mutation(
    "exit_forgets_its_old_processor",
    "src/sched/syscall.cpp",
    "            p = s->take_idle_p(old, wake);",
    "            p = s->take_idle_p(nullptr, wake);",
    "exitsyscall.*",
)
mutation(
    "brackets_are_locked",
    "src/sched/syscall.cpp",
    "    m->call.store(begin_call(m), std::memory_order_release);\n}",
    "    m->call.exchange(begin_call(m), std::memory_order_seq_cst);\n}",
    "brackets.*",
)
mutation(
    "guards_never_learn",
    "src/sched/syscall.cpp",
    "    if (g->predict >= 2) [[unlikely]] hand_off_before_call(m, true);",
    "    if (g->predict >= 4) [[unlikely]] hand_off_before_call(m, true);",
    "adaptive_guard.*",
)
mutation(
    "who_comes_back_at_the_cap_goes_on",
    "src/sched/syscall.cpp",
    "            if (s->starved.load(std::memory_order_relaxed) != 0) s->globq.push(g);\n            else m->nextg = g;",
    "            m->nextg = g;",
    "thread_cap.*",
)
mutation(
    "work_stays_with_a_p_that_has_no_thread",
    "src/sched/idle.cpp",
    "    while (G* g = p->runq.take_next()) globq.push(g);\n    while (G* g = p->runq.pop()) globq.push(g);\n",
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
    "src/sched/syscall.cpp",
    "another_ran && lasted < grace / quick_call;",
    "another_ran;",
    "adaptive_guard.*",
)
mutation(
    "guards_unlearn_from_long_computations",
    "src/sched/syscall.cpp",
    " || lasted / long_computation > grace;",
    ";",
    "adaptive_guard.*",
)
mutation(
    "guards_never_unlearn",
    "src/sched/syscall.cpp",
    "    g->predict = predict_after(g->predict, blocked);\n    auto&",
    "    g->predict = predict_after(g->predict, true);\n    auto&",
    "adaptive_guard.*",
)
mutation(
    "errno_stays_behind",
    "src/sched/syscall.cpp",
    "    leave(m);\n    set_errno(e);\n}\n\ninline void open_bracket",
    "    leave(m);\n    (void)e;\n}\n\ninline void open_bracket",
    "blocking_call.*:guard.*",
)
mutation(
    "brackets_do_not_nest",
    "src/sched/syscall.cpp",
    "    if (g->syscall_depth != 0) [[unlikely]] {\n        ++g->syscall_depth;\n        return;\n    }\n    open_bracket(m, g);\n"
    "    if (g->predict",
    "    open_bracket(m, g);\n    if (g->predict",
    "guard.*",
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
    "src/sync/wait.hpp",
    "        else w->note.wake();",
    "",
    "goroutine.returns_its_result",
)
mutation(
    "tied_goroutines_run_anywhere",
    "src/sched/schedule.cpp",
    "        if (next->locked.load(std::memory_order_relaxed)) [[unlikely]] {",
    "        if (false) {",
    "lock_os_thread.*",
)

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
    "timer_stop_claims_success",
    "src/timer/timer_object.cpp",
    "    s->drain();\n    return was;\n}\n\nbool",
    "    s->drain();\n    return was || s->ch;\n}\n\nbool",
    "*timers.stop_*",
)
mutation(
    "timer_stop_leaves_the_time",
    "src/timer/timer_object.cpp",
    "    s->drain();\n    return was;\n}\n\nbool",
    "    return was;\n}\n\nbool",
    "*timers.stop_*",
)
mutation(
    "timer_reset_leaves_the_time",
    "src/timer/timer_object.cpp",
    "    s->drain();\n    s->start_locked",
    "    s->start_locked",
    "*timers.are_reset_while_*",
)
mutation(
    "timer_reset_keeps_an_earlier_time",
    "src/timer/timer_object.cpp",
    "        when = at;\n        add(m);\n    }",
    "        when = when != 0 ? std::min(when, at) : at;\n        add(m);\n    }",
    "*timers.are_reset_while_*",
)

# ---- Channels and select -------------------------------------------------------------------------------------------

mutation(
    "channel_serves_the_last_first",
    "src/sync/channel.cpp",
    "    waiter w(m, false);\n    wait_node n;\n    n.who = &w;\n    n.slot = slot;\n    push_back(list, n);",
    "    waiter w(m, false);\n    wait_node n;\n    n.who = &w;\n    n.slot = slot;\n    push_front(list, n);",
    "*channels.serve_those_who_wait_in_their_order*",
)
mutation(
    "receiver_leaves_senders_waiting",
    "src/sync/channel.cpp",
    "        if (wait_node* s = first_waiter(c.senders, won)) {   // there is room now",
    "        if (wait_node* s = nullptr) {",
    "*channels.*:*channel_lives.*",
)
mutation(
    "quick_send_passes_receivers_by",
    "include/handoff/channel.hpp",
    "        if (n == cap || !receivers.empty() || closed.load(std::memory_order_relaxed)) return false;",
    "        if (n == cap || closed.load(std::memory_order_relaxed)) return false;",
    "*channel*",
)
mutation(
    "select_prefers_the_first",
    "src/sync/select.cpp",
    "if (ready == 1 || static_cast<std::uint64_t>(random_number()) * ready >> 32 == 0) chosen = i;",
    "if (ready == 1) chosen = i;",
    "*select_choices.choose_evenly*:*select_choices.are_fair*",
)

# ---- Locks and the like --------------------------------------------------------------------------------------------

mutation(
    "mutex_wakes_nobody",
    "src/sync/mutex.cpp",
    "        if ((seen & parked) != 0 && (seen & woken) == 0) break;",
    "",
    "*mutexes.exclude_goroutines*",
)
mutation(
    "mutex_is_never_handed_over",
    "src/sync/mutex.cpp",
    "        const bool starves = first && os::nanotime() - first->since > starving_after;",
    "        const bool starves = false && first;",
    "*mutexes.let_in_*:*mutexes.are_handed_over_*",
)
mutation(
    "mutex_forgets_who_is_left",
    "src/sync/mutex.cpp",
    "        const std::uint32_t rest = waiting.empty() ? 0 : parked;",
    "        const std::uint32_t rest = 0;",
    "*mutexes.*",
)
mutation(
    "who_points_ahead_may_be_gone",
    "src/sync/parking_lot.hpp",
    "        if (trailing == &n) trailing = n.next;",
    "",
    "bucket.*",
)
mutation(
    "plain_unlock_wakes_whoever_is_there",
    "src/sync/mutex.cpp",
    "            if (n->kind == kind_mutex) waiting",
    "            waiting",
    "*mutexes.that_are_gone_wake_nobody_else*",
)
mutation(
    "timers_wait_for_a_computation",
    "src/sched/monitor.cpp",
    "        if (r.timers_wait) wakep_any();",
    "        ",
    "timers_beside_a_computation.*",
)
mutation(
    "readers_pass_writers_by",
    "include/handoff/shared_mutex.hpp",
    "        if ((before & (writer | parked)) != 0) [[unlikely]] lock_shared_slow();",
    "        if ((before & writer) != 0) [[unlikely]] lock_shared_slow();",
    "*shared_mutexes.*",
)
mutation(
    "readers_pass_a_writer_that_has_it",
    "include/handoff/shared_mutex.hpp",
    "        if ((before & (writer | parked)) != 0) [[unlikely]] lock_shared_slow();",
    "        if ((before & parked) != 0) [[unlikely]] lock_shared_slow();",
    "*shared_mutexes.exclude_*",
)
mutation(
    "notification_is_lost_on_one_that_gave_up",
    "src/sync/condition_variable.cpp",
    "            if (notified && !all) return;",
    "            if (!all) return;\n            (void)notified;",
    "*condition_variables.a_notification_is_not_lost_on_*",
)
mutation(
    "semaphore_is_released_past_those_who_wait",
    "src/sync/semaphore.cpp",
    "        while (served < std::min(n, in_a_round) && waiting.release_first(0, won)) ++served;\n        n -= served;",
    "        while (waiting.release_first(0, won)) ++served;\n        n -= std::min(n, served);",
    "*semaphores.*",
)
mutation(
    "counts_go_below_zero",
    "src/sync/countdown.cpp",
    "            if (!fits) return;",
    "",
    "*wait_groups.refuse_*:*latches.refuse_*",
)
mutation(
    "once_is_done_after_an_exception",
    "src/sync/once.cpp",
    "        state_.store(state, std::memory_order_release);",
    "        state_.store(done, std::memory_order_release);",
    "*once.*",
)
mutation(
    "failed_group_does_not_cancel",
    "src/sync/task_group.cpp",
    "    cancel(cancel_reason::exception);",
    "",
    "*task_groups.cancel_the_others_when_one_throws*",
)
mutation(
    "cancellation_misses_waits_under_way",
    "src/sync/task_group.cpp",
    "            if (s.current) won.claim(*s.current, wait_end::cancelled);",
    "",
    "*cancellation.ends_each_wait_*",
)
mutation(
    "waits_begin_though_cancelled",
    "src/sync/wait.cpp",
    "    if (scope.cancelled.load(std::memory_order_relaxed)) return false;\n    scope.current = &w;",
    "    scope.current = &w;",
    "*cancellation.*:*task_groups.*",
)

# ---- Under load: one for each program of tests/stress ----------------------------------------------------------------

mutation(
    "guarded_calls_keep_their_processor",
    "src/sched/monitor.cpp",
    "    if ((waits && (lasted >= grace || slice_is_over)) ||",
    "    if ((waits && lasted < 0 && slice_is_over) ||",
    "*NothingIsLostAndCountersAddUp*",
    target="handoff_stress_blocking_test",
)
mutation(
    "pairs_keep_the_processor",
    "src/sched/schedule.cpp",
    "    G* g = p->runq.pop();\n    G* next = p->runq.take_next();\n    if (!g) return next;",
    "    G* g = p->runq.take_next();\n    G* next = nullptr;\n    if (!g) return p->runq.pop();",
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
    "src/sched/monitor.cpp",
    "    return opts.retake_running_after.count() * (10 + 10 *",
    "    return 0 * (10 + 10 *",
    "Hogs.*",
    target="handoff_stress_hogs_test",
)
mutation(
    "surplus_processors_count_for_ever",
    "src/sched/lifecycle.cpp",
    "    --live_procs;",
    "",
    "SetProcs.*",
    target="handoff_stress_lifecycle_test",
)
mutation(
    "goroutines_without_a_stack_are_forgotten",
    "src/sched/monitor.cpp",
    "        for (G* g = stackless.pop(); g; g = stackless.pop()) {",
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
    "src/timer/timer_object.cpp",
    "    return std::exchange(pending, false);",
    "    return out ? pending : std::exchange(pending, false);",
    "*Timers*",
    target="handoff_stress_timers_test",
)
mutation(
    "timers_of_a_processor_in_a_call_wait",
    "src/sched/monitor.cpp",
    "        if (!p.runq.empty() || p.timers.first() <= now) return true;",
    "        if (!p.runq.empty()) return true;",
    "*TimersFireWhileTheirProcessorIsBlocked*",
    target="handoff_stress_wakeups_test",
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
    "    const bool gives = !ready_.empty() && gives_way(m->curg.load(std::memory_order_relaxed), false);",
    "    const bool gives = false;",
    "*all_interleavings_of_two_appear*",
)
