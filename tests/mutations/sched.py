"""Mutations of the scheduler: queues, states, wake-ups, threads, time slices."""

from mutations import mutation

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
    "    if (s.globq.has_unspent()) {\n        // What a fuller ring",
    "    if (false) {\n        // What a fuller ring",
    "yield.lets_goroutines_of_the_global_queue_run",
)
mutation(
    "next_is_never_put_back",
    "src/sched/schedule.cpp",
    "    if (!chain_lets_on(s, p))\n",
    "    if (p->runq.has_next())\n",
    "yield.pairs_do_not_starve_others:*channel_lives.play_ping_pong_beside_a_hog*",
)

# ---- States --------------------------------------------------------------------------------------------------------

mutation(
    "words_are_left_unchecked",
    "src/sched/retake_word.hpp",
    "        if (!is_without_p(now)) [[unlikely]] bad_step(now, to);\n",
    "        (void)now;\n",
    "retake_word.steps_check_what_they_leave",
)
mutation(
    "questions_to_yield_are_withdrawn",
    "src/sched/retake_word.hpp",
    "        retake question = retake::asked;\n",
    "        retake question = seen() == retake::asked_to_yield ? retake::asked_to_yield : retake::asked;\n",
    "retake_word.asked_to_yield_stays_until_somebody_answers_who_can_give_way",
)
mutation(
    "ended_goroutines_are_freed_twice",
    "src/sched/join_word.hpp",
    "        if (now == ended) word_.compare_exchange_strong(now, detached, std::memory_order_acq_rel, std::memory_order_acquire);\n",
    "",
    "join_word.says_who_frees",
)
mutation(
    "goroutines_begin_unchecked",
    "src/sched/g_state.hpp",
    "        if (now != from) [[unlikely]] bad_step(now, from, to);\n",
    "        (void)now, (void)from;\n",
    "transition.of_a_goroutine_checks_the_state_that_it_leaves",
)

# ---- Wake-ups, idle processors and threads -------------------------------------------------------------------------

mutation(
    "spawn_wakes_nobody",
    "src/goroutine/spawn.cpp",
    "    put_local(m, g);\n    wakep(*m->s);",
    "    put_local(m, g);",
    "runtime.all_processors_run_after_a_rest",
)
mutation(
    "spawn_from_outside_wakes_nobody",
    "src/goroutine/spawn.cpp",
    "    wakep_any(*s);\n}",
    "}",
    "runtime.*:goroutine.*",
)
mutation(
    "threads_have_no_cap",
    "src/sched/thread_pool.cpp",
    "        if (threads_ >= most_) {",
    "        if (false) {",
    "thread_cap.*",
)
mutation(
    "threads_never_retire",
    "src/sched/thread_pool.cpp",
    "    if (threads_ - retiring_ <= wanted) return false;",
    "    return false;",
    "idle.threads_leave_*",
)
mutation(
    "threads_retire_at_once",
    "src/sched/handover.cpp",
    "retire_at = os::nanotime() + s.opts.idle_thread_timeout.count();",
    "retire_at = os::nanotime();",
    "idle.threads_stay_until_their_timeout",
)
mutation(
    "threads_are_not_joined",
    "src/sched/thread_pool.cpp",
    "        const bool gone = os::join_if_gone(m->thread);",
    "        const bool gone = true;",
    "runtime.leaves_nothing_behind:idle.*",
)
mutation(
    "threads_that_exit_are_waited_for",
    "src/sched/thread_pool.cpp",
    "        const bool gone = os::join_if_gone(m->thread);",
    "        const bool gone = ::pthread_join(m->thread, nullptr) == 0;",
    "procs/exiting.*",
)
mutation(
    "threads_that_exit_are_left_behind",
    "src/sched/sched.cpp",
    "    s.pool.join_all();\n",
    "    s.pool.join_gone();\n",
    "procs/exiting.*",
)
mutation(
    "idle_runtime_looks_at_threads_that_exit",
    "src/sched/monitor.cpp",
    "            notes.join_pause *= 2;\n",
    "",
    "exiting_threads.*",
)
mutation(
    "tied_goroutines_make_threads",
    "src/sched/handover.cpp",
    "m->s == &s && !m->locked_g && !m->ends_with_its_goroutine);",
    "m->s == &s && !m->ends_with_its_goroutine);",
    "procs/inherited.nothing_from_a_tied_goroutine*",
)
mutation(
    "threads_that_go_make_threads",
    "src/sched/handover.cpp",
    "m->s == &s && !m->locked_g && !m->ends_with_its_goroutine);",
    "m->s == &s && !m->locked_g);",
    "procs/inherited.nothing_from_threads_that_go*",
)
mutation(
    "threads_that_go_make_threads_for_their_joiners",
    "src/goroutine/goroutine_main.cpp",
    "    if (had_locked) m->ends_with_its_goroutine = true;\n    return had_locked;\n",
    "    return had_locked;\n",
    "procs/inherited.nothing_from_threads_that_go*:lock_os_thread.*",
)
mutation(
    "foreign_threads_make_threads",
    "src/sched/handover.cpp",
    "s.sim || (m && m->s == &s",
    "s.sim || !m || (m->s == &s",
    "procs/inherited.nothing_from_foreign*",
)
mutation(
    "other_runtimes_make_threads",
    "src/sched/handover.cpp",
    "s.sim || (m && m->s == &s && ",
    "s.sim || (m && ",
    "procs/inherited.nothing_from_another*",
)
mutation(
    "thread_locals_are_taken_out_of_the_stack",
    "src/os/thread.cpp",
    "stack_size + taken_of_stack(attr)",
    "stack_size",
    "ThreadLocals.*",
    target="handoff_stress_thread_locals_test",
)

# ---- Time slices -----------------------------------------------------------------------------------------------------

mutation(
    "the_woken_begin_a_slice",
    "src/sched/schedule.cpp",
    "        p->schedtick.store(tick, std::memory_order_relaxed);   // in its waker's slice",
    "        p->schedtick.store(tick + P::new_slice, std::memory_order_relaxed);",
    "pairs/slices.*",
)
mutation(
    "the_woken_go_first_after_a_slice",
    "src/sched/slice.cpp",
    "    if (G* next = p->runq.take_next()) put_behind(s, p, next);\n",
    "",
    "slice_end.puts_what_was_next_behind_the_others",
)
mutation(   # both that it comes back for it, and that who gets it ends the slice: either helps without the other
    "processors_on_their_way_are_not_looked_at",
    "src/sched/monitor_round.cpp",
    "!m) return look_at_one_without_m(p);",
    "!m) return void(w.m = nullptr);",
    "slices_of_chains.*",
)
mutation(
    "chains_end_at_the_next_look",
    "src/sched/slice.cpp",
    "    if (now >= c.until) {\n",
    "    if (now >= c.until || now > 0) {\n",
    "pairs/slices.are_as_long_*",
)
mutation(
    "chains_let_on_each_time",
    "src/sched/slice.cpp",
    "    if (now < c.goes_on_until) return false;\n",
    "",
    "pairs/slices.are_as_long_*",
)
mutation(
    "chains_have_no_end",
    "src/sched/slice.cpp",
    "    if (now >= c.until) {\n",
    "    if (now >= c.until && now == 0) {\n",
    "pairs/slices.of_pairs_with_short_turns_*",
)
mutation(
    "timers_wait_for_the_spent",
    "src/sched/slice.cpp",
    "    p->timers_first = true;\n",
    "",
    "slice_end.lets_those_go_first_whose_timers_are_due",
)
mutation(
    "spent_stay_in_the_ring",
    "src/sched/schedule.cpp",
    "    return yield_inline(m, spent);",
    "    return yield_inline(m, spent && false);",
    "kinds/polling.*",
)
mutation(
    "spent_by_computing_come_back_at_once",
    "src/sched/section.cpp",
    "    if (spent) s->globq.push_spent(g);",
    "    if (spent && false) s->globq.push_spent(g);",
    "spent.are_those_that_computed_*",
)
mutation(
    "spent_come_after_each_other",
    "src/sched/slice.cpp",
    "p->spent_due.load(std::memory_order_relaxed) && !was_turn_of_spent;",
    "true;",
    "spent.come_after_the_others",
)
mutation(
    "spent_have_no_turn",
    "src/sched/monitor_round.hpp",
    "        if (wait == 0 || p.is_turn_of_spent()) return os::never;\n",
    "        if (wait == 0 || run >= 0) return os::never;\n",
    "kinds/polling.*:spent.*",
)
mutation(
    "several_are_spent_together",
    "src/sched/monitor_round.cpp",
    "used_up ? p.watch.schedtick : 0,",
    "used_up ? p.schedtick.load(std::memory_order_relaxed) : 0,",
    "spent.come_after_the_others",
)
mutation(
    "timekeeper_oversleeps",
    "src/sched/handover.cpp",
    "        w = next_wait(s, m, retire_at);\n        s.idle.put_m",
    "        w = {retire_at, 0};\n        s.idle.put_m",
    "sleep.*:*timers.wake_an_idle_runtime_in_time*:idle.*",
)
mutation(
    "starved_processors_are_forgotten",
    "src/sched/monitor.cpp",
    "    bool again = s.idle.starved.exchange(0, std::memory_order_relaxed) != 0;",
    "    bool again = false;",
    "threads.*",
    target="handoff_fault",
)
mutation(
    "monitor_never_sleeps",
    "src/sched/monitor.cpp",
    "        s.idle.monitor_deep = deep;\n        s.idle.monitor_until = until;",
    "        until = std::min(until, now + longest_pause_ns);\n        s.idle.monitor_deep = deep;\n        s.idle.monitor_until = until;",
    "idle.runtime_sleeps*",
)
mutation(
    "new_processors_stay_idle",
    "src/sched/sched.cpp",
    "    empty_idle_surplus(s);\n    release_idle_ms(s);\n}",
    "}",
    "set_procs.*",
)
