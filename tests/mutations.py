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
    "    if (&*it == timekeeper && std::next(it) != ms_.end()) ++it;\n",
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
    "pairs/slices.*",
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
    "kinds/polling.*",
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
    "spent_are_those_of_a_whole_slice",
    "src/sched/monitor_round.cpp",
    "p.watch.slice_seen >= s.opts.retake_running_after.count() / 2;",
    "p.watch.slice_seen >= s.opts.retake_running_after.count();",
    "spent.come_after_slow_ones",
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
    "threads_are_wanted_once_a_grace",
    "src/sched/monitor.cpp",
    "        if (s.idle.is_starved()) until = std::min(until, now + longest_pause_ns);\n",
    "",
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
    "    if (g->predict >= 2) [[unlikely]] hand_off_before_call(m, true);",
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
    "if (ready == 1 || static_cast<std::uint64_t>(os::random_number()) * ready >> 32 == 0) chosen = i;",
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
    "src/wait/parking_lot.cpp",
    "            first->stands_for.trailing = n.next == first ? nullptr : &node_of(n.next);",
    "            (void)first;",
    "bucket.keeps_*",
)
mutation(
    "first_of_a_queue_leaves_who_points_ahead",
    "src/wait/parking_lot.cpp",
    "        if (next.stands_for.trailing == &n) next.stands_for.trailing = &next;\n",
    "",
    "bucket.keeps_*",
)
mutation(
    "objects_below_one_that_goes_are_lost",
    "src/wait/parking_lot.cpp",
    "    *at = leaf;",
    "    *at = nullptr;",
    "bucket.*",
)
mutation(
    "any_object_from_below_takes_its_place",
    "src/wait/parking_lot.cpp",
    "    while (*below(*end)) end = below(*end);",
    "",
    "bucket.*",
)
mutation(
    "objects_form_a_list",
    "src/wait/parking_lot.hpp",
    "at = &(*at)->stands_for.child[path >> 63];",
    "at = &(*at)->stands_for.child[0];",
    "bucket.finds_*",
)
mutation(
    "waiters_of_one_object_are_nodes_of_the_tree",
    "src/wait/parking_lot.hpp",
    "    for (; *at && (*at)->address != address; path <<= 1)",
    "    for (; *at; path <<= 1)",
    "bucket.*",
)
mutation(
    "objects_share_few_buckets",
    "src/wait/parking_lot.hpp",
    "return buckets[hash_of(address) >> (64 - bucket_bits)]; }",
    "return buckets[hash_of(address) >> (64 - bucket_bits) & 7]; }",
    "bucket.spreads_*",
)
mutation(
    "release_of_some_releases_all",
    "src/wait/parking_lot.cpp",
    "        if (served == most) break;",
    "",
    "*parking_lot.releases_as_many_*",
)
mutation(
    "those_released_together_are_forgotten_after_a_round",
    "src/wait/parking_lot.cpp",
    "        more = end_.next != &end_;",
    "        more = false;",
    "*parking_lot.releases_all_*",
)
mutation(
    "readers_behind_a_round_are_not_let_in",
    "src/sync/shared_mutex.cpp",
    "            round.grow();\n            return true;",
    "            return false;",
    "*shared_mutexes.let_in_all_readers_*",
)
mutation(
    "who_waits_for_a_thread_never_sleeps",
    "src/os/backoff.cpp",
    "    if (rounds_ < yields) {",
    "    if (rounds_ != yields + 1) {",
    "spin_lock.*:backoff.spins_*",
)
mutation(
    "end_of_a_runtime_only_yields",
    "src/sched/sched.cpp",
    "    for (os::backoff a_moment;; a_moment.give_up_core()) {",
    "    for (;; sched_yield()) {",
    "backoff.lets_*",
)
mutation(
    "plain_unlock_wakes_whoever_is_there",
    "src/sync/mutex.cpp",
    "        if (first && first->tag == tag_mutex) waiting",
    "        if (first) waiting",
    "*mutexes.that_are_gone_wake_nobody_else*",
)
mutation(
    "timers_wait_for_a_computation",
    "src/sched/monitor.cpp",
    "        if (r.timers_wait) wakep_any(s);",
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
    "            if (notified) return;",
    "            (void)notified;\n            return;",
    "*condition_variables.a_notification_is_not_lost_on_*",
)
mutation(
    "semaphore_is_released_past_those_who_wait",
    "src/sync/semaphore.cpp",
    "waiting.release_up_to(std::min(n, round.size()), 0, won);",
    "std::min(n, waiting.release_up_to(round.size(), 0, won));",
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
    "counts_begin_below_zero",
    "include/handoff/detail/count.hpp",
    "    if (n < 0 || n > most)",
    "    if (n > most)",
    "semaphore.has_no_*:latch.counts_*:barrier.expects_*",
)
mutation(
    "counts_begin_beyond_their_maximum",
    "include/handoff/detail/count.hpp",
    "    if (n < 0 || n > most)",
    "    if (n < 0)",
    "semaphore.has_no_*:latch.counts_*:barrier.expects_*",
)
mutation(
    "completions_may_throw",
    "include/handoff/barrier.hpp",
    "    static void run(void* f) noexcept {",
    "    static void run(void* f) {",
    "barrier_death.*",
)
mutation(
    "wait_ends_without_the_lock",
    "include/handoff/condition_variable.hpp",
    "            std::terminate();",
    "            throw;",
    "condition_variable_death.*",
)
mutation(
    "lock_is_not_taken_again_by_who_is_cancelled",
    "include/handoff/condition_variable.hpp",
    "            throw_if_simulation_failed();",
    "            throw;",
    "*condition_variables.that_are_cancelled_have_*",
)
mutation(
    "lock_is_taken_again_but_for_a_cancellation",
    "include/handoff/condition_variable.hpp",
    "        const cancellation_blocker not_now;\n        lock_or",
    "        lock_or",
    "*condition_variables.that_are_cancelled_have_*",
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
    "src/wait/wait.cpp",
    "    if (scope.cancelled.load(std::memory_order_relaxed)) return false;\n    scope.current = &w;",
    "    scope.current = &w;",
    "*cancellation.*:*task_groups.*",
)

mutation(
    "callbacks_of_groups_are_switched",
    "src/sync/task_group.cpp",
    "    const pinned_goroutine while_callbacks_run;\n    cancel_list* const before",
    "    cancel_list* const before",
    "*stop_callback*.*",
)
mutation(
    "requested_callbacks_are_switched",
    "src/sync/task_group.cpp",
    "    const pinned_goroutine while_callbacks_run;\n    return source",
    "    return source",
    "*stop_callbacks.of_any_source_*",
)
mutation(
    "callbacks_of_ours_are_switched",
    "include/handoff/cancellation.hpp",
    "        const callback_pin here;\n",
    "",
    "*stop_callbacks.of_ours_stay_*",
)
mutation(
    "who_is_pinned_gives_way",
    "src/sched/schedule.cpp",
    "        if (m->locked_g->pinned != 0) return m;",
    "",
    "*stop_callback.gives_no_way*",
)
mutation(
    "end_of_a_call_unpins",
    "src/sched/g.hpp",
    "lock_depth != 0 || pinned != 0 ||",
    "lock_depth != 0 ||",
    "*stop_callbacks.nest_with_other_ties*",
)
mutation(
    "cancelling_recurs_into_inner_groups",
    "src/sync/task_group.cpp",
    "            if (g.begin_cancel(cancel_reason::outside)) found.push(group_ref(g));",
    "            g.cancel(cancel_reason::outside);",
    "*nested_groups.are_cancelled_however_deep*",
)
mutation(
    "cancelling_recurs_through_tokens",
    "src/sync/task_group.cpp",
    "    if (!list) return cancel(cancel_reason::outside);",
    "    if (list || !list) return cancel(cancel_reason::outside);",
    "*nested_groups.that_are_chained_*",
)
mutation(
    "inner_groups_are_not_cancelled",
    "src/sync/task_group.cpp",
    "            if (g.begin_cancel(cancel_reason::outside)) found.push(group_ref(g));",
    "            (void)found, (void)g;",
    "*task_groups.of_inner_goroutines_*",
)
mutation(
    "group_that_was_in_time_throws",
    "src/sync/task_group.cpp",
    "        if (!s_->cut_short && !e &&",
    "        if (!e && why == cancel_reason::none &&",
    "*nested_groups.that_ended_in_time_*",
)
mutation(
    "group_that_was_cut_short_says_nothing",
    "src/sync/task_group.cpp",
    "    cut_short = !scopes.empty();\n",
    "",
    "*nested_groups.that_were_cut_short_*:*task_groups.*",
)
mutation(
    "group_forgets_whom_it_did_not_run",
    "src/sync/task_group.cpp",
    "            g.cut_short = true;\n",
    "",
    "*nested_groups.that_ended_in_time_*:*task_groups.*",
)
mutation(
    "failed_group_takes_more",
    "src/sync/task_group.cpp",
    "    if (g_->over.load(std::memory_order_relaxed)) [[unlikely]]",
    "    if (false)",
    "*nested_groups.that_failed_*",
)
mutation(
    "moves_of_values_are_not_marked",
    "src/sync/channel.cpp",
    "        const move_mark here(c.ops->loud);\n",
    "",
    "*channel_moves.that_call_*",
)
mutation(
    "quick_moves_of_values_are_not_marked",
    "include/handoff/channel.hpp",
    "            const move_mark here(ops.loud);\n            ::new",
    "            ::new",
    "*channel_moves.that_call_*",
)
mutation(
    "threads_block_in_moves",
    "src/wait/wait.cpp",
    "    refuse_in_move();\n    if (w.note.wait_until",
    "    if (w.note.wait_until",
    "*channel_moves.that_call_the_library_are_found_*",
)
mutation(
    "closures_are_moved_in_a_section",
    "src/goroutine/spawn.cpp",
    "    if (!ops.quiet) return spawn_moving",
    "    if (!m) return spawn_moving",
    "*channel_moves.of_closures_*",
)
mutation(
    "go_waits_for_a_processor",
    "src/goroutine/spawn.cpp",
    "    if (!enter_staying(m)) [[unlikely]] return spawn_outside(m->s, ops, task, opts, site);",
    "    m = enter(m);",
    "*starting.*",
)
mutation(
    "go_gives_way",
    "src/sched/section.cpp",
    "    else if (is_without_p(how)) has_p = regain_at_once(m, how);",
    "    else if (is_without_p(how)) has_p = regain_at_once(m, how);\n    else if (how == retake::asked_to_yield) m->s->give_way(m);",
    "*starting.a_goroutine_does_not_switch*",
)

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
    "yielded_goroutines_wake_nobody",
    "src/sched/schedule.cpp",
    "    put_spent(*m->s, g);\n    wakep(*m->s);\n",
    "    put_spent(*m->s, g);\n",
    "*LeavesItsPlaceToAnotherProcessor*",
    target="handoff_stress_wakeups_test",
)

mutation(
    "who_only_spawns_is_not_known",
    "src/sched/section.cpp",
    "    if (how == retake::asked_to_yield) m->declined.store(one_more(m->declined), std::memory_order_relaxed);\n    else if",
    "    if",
    "*leaves_pairs_their_part/spawning",
)

mutation(
    "answer_of_a_caller_knows_not_what_is_over",
    "src/sched/monitor_round.hpp",
    "        if (wherever) expect_answer(p);\n",
    "",
    "*leaves_pairs_their_part/calls",
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
    "unguarded.call_loses_its_processor_and_is_named",
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
    "    put_global(s, s.limit.judge(now, procs, activities));\n",
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

# ---- Faults, floating point, deep code -----------------------------------------------------------------------------

mutation(
    "fault_handler_goes_over_later_ones",
    "src/context/overflow.cpp",
    "    if (came_later) return;\n",
    "",
    "fault_handlers.one_that_came_later_keeps_its_place",
)
mutation(
    "fault_handler_passes_on_to_who_has_called_it",
    "src/context/overflow.cpp",
    "return ::sigaction(h.signal, nullptr, &now) == 0 && same_handler(now, h.before);",
    "return false;",
    "fault_handlers.one_installed_again_over_ours_is_called_once",
)
mutation(
    "fault_goes_round_in_a_longer_circle",
    "src/context/overflow.cpp",
    "    if (passing.info == info && frame < passing.frame) return true;\n",
    "",
    "fault_handlers.longer_circles_of_others_end",
)
mutation(
    "fault_handler_is_not_put_back_over_nobody",
    "src/context/overflow.cpp",
    "h.was_placed && !is_nobody(now) &&",
    "h.was_placed &&",
    "fault_handlers.overflow_is_reported_after_another_has_gone",
)
mutation(
    "fault_handlers_are_installed_unasked",
    "src/sched/sched.cpp",
    "if (opts.fault_handlers) context::install_overflow_handler",
    "context::install_overflow_handler",
    "fault_handlers.are_not_installed_by_who_must_not",
)
mutation(
    "float_mode_passes_to_the_next",
    "src/goroutine/goroutine_main.cpp",
    "    g->s->floats.begin();   // the last one on this thread may have left its own\n",
    "",
    "float_mode.of_one_that_ended_is_not_inherited",
)
mutation(
    "float_mode_forgets_the_x87",
    "src/context/float_mode.hpp",
    "if (x87 != x87_) [[unlikely]]",
    "if (false)",
    "float_mode.of_one_that_ended_is_not_inherited",
)
mutation(
    "guards_are_one_page",
    "src/context/stack.cpp",
    "std::max<std::size_t>(64 * 1024, page_size())",
    "page_size()",
    "stack_pool.guards_are_as_long_as_large_frames:overflow.of_a_large_frame_is_reported",
)
mutation(
    "deep_code_waits_on_g0",
    "src/sched/schedule.cpp",
    "if (G* tied = m->locked_g; tied && tied->deep)",
    "if (G* tied = m->locked_g; tied && tied->deep && tied->lock_depth == 0)",
    "thread_stack.frames_survive_waiting",
)
mutation(
    "deep_code_is_not_tied",
    "src/goroutine/thread_stack.cpp",
    "        m->locked_g = g;\n",
    "        g->locked.store(false, std::memory_order_relaxed);\n",
    "thread_stack.the_goroutine_keeps_its_thread:thread_stack.calls_nest",
)
mutation(
    "deep_code_may_untie_itself",
    "src/goroutine/this_goroutine.cpp",
    "g->lock_depth > (g->deep ? 1u : 0u)",
    "g->lock_depth > 0",
    "thread_stack.tie_is_not_the_callers_to_undo",
)
mutation(
    "deep_code_stays_tied",
    "src/goroutine/thread_stack.cpp",
    "        m_->locked_g = nullptr;\n",
    "",
    "thread_stack.the_goroutine_keeps_its_thread:thread_stack.calls_nest",
)
mutation(
    "threads_have_small_stacks",
    "src/os/thread.cpp",
    "::pthread_attr_setstacksize(&attr, room);",
    "::pthread_attr_setstacksize(&attr, size);",
    "thread_stack.has_the_room_of_a_thread",
)
mutation(
    "threads_insist_on_large_stacks",
    "src/os/thread.cpp",
    "if (e == EAGAIN && room > size && memory_is_short(room)) {",
    "if (false) {",
    "thread_stack.is_smaller_where_memory_is_short",
)
mutation(
    "overflow_of_the_threads_stack_has_no_name",
    "src/debug/report.cpp",
    "    const bool own = (g->deep ? g->deep->guards(at) : st.guards(at)) ||\n"
    "                     is_stepped_over(at, static_cast<const char*>(sp), g->deep ? g->deep->guard_hi : st.usable_lo());\n",
    "    const bool own = st.guards(at);\n",
    "thread_stack.overflow_is_reported_with_the_goroutine",
)
mutation(
    "end_of_a_thread_has_no_name",
    "src/goroutine/goroutine_main.cpp",
    "        g->exception = caught_exception();",
    "        g->exception = std::current_exception();",
    "thread_end.*",
)
mutation(
    "end_of_a_thread_in_a_group_has_no_name",
    "src/sync/task_group.cpp",
    "g.fail(caught_exception());",
    "g.fail(std::current_exception());",
    "thread_end.*",
)

# ---- Counters, names, locals and memory ------------------------------------------------------------------------------

mutation(
    "own_exits_are_a_difference",
    "src/debug/stats.cpp",
    "            if (ended > others) m.own_told = std::max(m.own_told, ended - others);\n",
    "            m.own_told = ended - others;\n",
    "procs/counts.never_go_back/*",
)
mutation(
    "calls_that_lose_their_processor_count_as_own",
    "src/goroutine/syscall.cpp",
    "    m->calls_not_own.add();\n    m->calls_without.add();\n    count_call(m);\n",
    "    m->calls_without.add();\n    count_call(m);\n",
    "procs/counts.are_exact_once_all_is_quiet/*",
)
mutation(
    "snapshots_keep_the_lock",
    "src/debug/snapshot.cpp",
    "        for (std::size_t i = 0; i < n; ++i) all.goroutines.push_back(with_name(*s.store, some[i]));\n",
    "        base::lock_guard still(s.lock);\n        at = s.store->visit(at < s.store->places() ? at : 0, [](const G&) {});\n"
    "        std::array<seen, 64> none;\n        s.store->for_each([&](const G& g) {\n"
    "            const g_state state = g.state.seen();\n"
    "            if (state == g_state::idle || state == g_state::dead) return;\n            none[0] = look_at(g, state);\n"
    "            all.goroutines.push_back(with_name(*s.store, none[0]));\n        });\n        break;\n",
    "inspection_of_counts.snapshots_let_others_on",
)
mutation(
    "names_are_of_memory",
    "src/sched/g_store.cpp",
    "it != names.end() && it->second.id == id ?",
    "it != names.end() && id != 0 ?",
    "g_store.names_are_of_one_goroutine",
)
mutation(
    "memory_of_goroutines_stays",
    "src/sched/g_cache.cpp",
    "    if (g_store::chunk_bytes % context::page_size() == 0) ::madvise(gs, g_store::chunk_bytes, MADV_DONTNEED);\n",
    "    (void)gs;\n",
    "goroutine_memory.goes_back_when_idle",
)
mutation(
    "gs_of_whole_chunks_are_given_out_again",
    "src/sched/g_store.cpp",
    "    if (!whole.empty()) std::erase_if(lent, [&count](const G* g) { return count[g->chunk] == chunk_size; });\n",
    "",
    "g_store.whole_chunks_rest_and_come_back",
)
mutation(
    "locals_of_threads_end_once",
    "src/goroutine/goroutine_local.cpp",
    "    if (pthread_key_t key; find_key(key) && ::pthread_setspecific(key, of_thread) != 0) throw std::bad_alloc();\n",
    "",
    "procs/goroutine_locals.of_threads_*:procs/goroutine_locals.that_pthread_keys_use*",
)
mutation(
    "locals_of_the_main_thread_end_once",
    "src/goroutine/goroutine_local.cpp",
    "        if (std::atexit(destroy_those_of_thread) != 0) throw std::bad_alloc();\n",
    "",
    "goroutine_locals_at_exit.*",
)
mutation(
    "locals_of_dropped_results_stay",
    "src/goroutine/goroutine_main.cpp",
    "    drop_outcome(g, *g->s->store);\n    if (g->locals) [[unlikely]] destroy_locals(g->locals);\n",
    "    drop_outcome(g, *g->s->store);\n",
    "procs/goroutine_locals.that_a_dropped_result_uses*",
)
mutation(
    "groups_start_a_runtime",
    "src/sched/sched.cpp",
    "    if (sched* s = of_default_runtime.load(std::memory_order_acquire)) return s;   // with its store: all of it\n",
    "    if (sched* s = hooks.default_sched()) return s;\n",
    "default_runtime.is_started_by_no_group_or_timer",
)
mutation(
    "groups_run_where_go_is_called",
    "src/sync/task_group.cpp",
    "    if (!m || m->s->link != g_->home) {\n",
    "    if (!g_) {\n",
    "procs/named_runtime.*",
)
mutation(
    "timers_forget_their_runtime",
    "src/sync/timer.cpp",
    "(of ? of : sched_of_maker(",
    "(sched_of_maker(",
    "procs/named_runtime.has_timers/*",
)
