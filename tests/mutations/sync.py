"""Mutations of channels, select, locks."""

from mutations import mutation

# ---- Channels and select -------------------------------------------------------------------------------------------

mutation(
    "channel_serves_the_last_first",
    "src/sync/channel.cpp",
    "    waiter w(m, false);\n    wait_node n;\n    n.who = &w;\n    n.slot = slot;\n    push_back(list, n);",
    "    waiter w(m, false);\n    wait_node n;\n    n.who = &w;\n    n.slot = slot;\n"
    "    if (wait_node* f = list.first.load(std::memory_order_relaxed)) {\n        n.next = f;\n        f->prev = &n;\n"
    "        n.queued = true;\n        list.first.store(&n, std::memory_order_relaxed);\n    } else push_back(list, n);",
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
    "        if (served == most || n->tag != tag) break;",
    "        if (n->tag != tag) break;",
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
    "    if (rounds_ < ~0u) {",
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
    "semaphore_is_released_past_those_who_wait",
    "src/sync/semaphore.cpp",
    "waiting.release_up_to(std::min(n, round.size() - served), 0, won);",
    "std::min(n, waiting.release_up_to(round.size() - served, 0, won));",
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
    "        else g.cut_short = true;\n",
    "",
    "*nested_groups.that_ended_in_time_*:*task_groups.*",
)
mutation(
    "failed_group_takes_more",
    "src/sync/task_group.cpp",
    "    if (g->over.load(std::memory_order_relaxed)) [[unlikely]]",
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
    "    if (!enter_staying(m)) [[unlikely]] return spawn_outside(m->s, ops, task, opts, site, false);",
    "    m = enter(m);",
    "*starting.*",
)
mutation(
    "go_gives_way",
    "src/sched/section.cpp",
    "    if (how == retake::asked_to_yield) m->declined.store(one_more(m->declined), std::memory_order_relaxed);",
    "    if (how == retake::asked_to_yield) m = give_way(m);",
    "*starting.a_goroutine_does_not_switch*",
)

# ---- Unbounded and nil channels, the two ends -------------------------------------------------------------------------

mutation(
    "overflowed_values_are_closed_away",
    "src/sync/channel.cpp",
    "    if (c.overflow) return;   // what was sent will be received\n",
    "",
    "*unbounded_channels*",
)
mutation(
    "spare_nodes_are_kept",
    "src/sync/channel_overflow.cpp",
    "    if (o.spares.load(std::memory_order_relaxed) <= most_spares) return;\n",
    "    return;\n",
    "*unbounded_channels.give_memory_back*",
)
mutation(
    "overflowed_values_lie_as_they_come",
    "src/sync/channel_overflow.cpp",
    "return (sizeof(wait_node) + ops.align - 1) / ops.align * ops.align; }",
    "return sizeof(wait_node); }",
    "*unbounded_channels.respect_alignment*",
)
mutation(
    "overflowed_values_outlive_their_channel",
    "include/handoff/channel.hpp",
    "take_overflowed(*this, left.bytes);) std::destroy_at(&left.get());",
    "take_overflowed(*this, left.bytes);) {}",
    "*unbounded_channels.that_are_dropped*",
)
mutation(
    "selects_do_not_count_on_room",
    "src/sync/select.cpp",
    "n < ch->cap || ch->overflow || ",
    "n < ch->cap || ",
    "*unbounded_channels.work_in_selects*",
)
mutation(
    "nil_channels_meet",
    "include/handoff/channel.hpp",
    "        made.c_->special = true;\n",
    "",
    "*channel_ends.nil_ones_have_no_meeting*",
)
mutation(
    "handles_without_a_channel_are_never_chosen",
    "include/handoff/channel.hpp",
    '        if (!ch.c_) refuse_no_channel("select");\n        return ch.c_->is_nil() ? nullptr : ch.c_;',
    "        return !ch.c_ || ch.c_->is_nil() ? nullptr : ch.c_;",
    "*channel_ends.a_handle_without_a_channel*",
)
mutation(
    "last_sender_leaves_the_channel_open",
    "include/handoff/channel_ends.hpp",
    "    ~channel_end() { close_if_open(channel_access::of(ch)); }",
    "    ~channel_end() = default;",
    "*channel_ends.the_last_*",
)

# ---- Cases of select for other things than channels ---------------------------------------------------------------------

mutation(
    "selects_do_not_know_their_case",
    "src/wait/wait.hpp",
    "            if (w != &queued && end != contest::lost) w->fired = &queued;\n",
    "",
    "*select_cases.wait_for_counters*",
)
mutation(
    "selects_stay_in_the_parking_lot",
    "src/sync/select.cpp",
    "        if (at.parked->queued) b.remove(*at.parked);\n",
    "",
    "*select_cases.leave_no_waiter_behind*",
)
mutation(
    "ended_goroutines_do_not_tell_selects",
    "src/goroutine/join.cpp",
    "    else if (in_select) j.told",
    "    else if (false) j.told",
    "*select_cases.wait_for_the_end_of_a_goroutine*",
)
mutation(
    "selects_wait_for_the_same_twice",
    "src/sync/select.cpp",
    "        if (begins_again && events == event_places::result::joined_elsewhere)",
    "        if (false)",
    "*select_cases.of_bad_handles_throw*",
)

# ---- Limits, results and time limits of groups ----------------------------------------------------------------------------

mutation(
    "groups_have_no_limit",
    "src/sync/task_group.cpp",
    "    if (!slots || slots->try_acquire()) return true;",
    "    return true;",
    "*group_limits.bound_what_runs_at_once*:*group_limits.are_seen_by_try_go*",
)
mutation(
    "places_in_a_group_are_not_given_back",
    "src/sync/task_group.cpp",
    "    if (g_->slots) g_->slots->release();\n",
    "",
    "*group_limits.bound_what_runs_at_once*",
)
mutation(
    "cancelled_callers_wait_for_a_place",
    "src/sync/task_group.cpp",
    "== cancel_reason::none || this_goroutine::cancelled()) throw;",
    "== cancel_reason::none) throw;",
    "*group_limits.waits_for_a_place_end_with_the_group*",
)
mutation(
    "failures_of_groups_are_told_twice",
    "src/goroutine/join.cpp",
    "        if (g->ops->told_elsewhere) g->exception = nullptr;\n        else ",
    "        ",
    "*group_limits.failures_reach*:*group_limits.those_not_run*:*group_limits.are_given_back*",
)
mutation(
    "timed_waits_of_groups_are_cancelled",
    "src/sync/task_group.cpp",
    "    const cancellation_blocker not_now;   // as in wait()\n",
    "",
    "*group_limits.timed_waits_are_not_cancelled*",
)
mutation(
    "started_work_is_not_counted",
    "include/handoff/wait_group.hpp",
    "            if (of_) of_->done();",
    "            (void)of_;",
    "*group_limits.wait_groups_start_goroutines*",
)
