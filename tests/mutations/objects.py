"""Mutations of events, recursive mutexes, permits by the number, values computed once, futures, watches and broadcasts."""

from mutations import mutation

# ---- Permits by the number -----------------------------------------------------------------------------------------

mutation(
    "permits_that_are_there_are_not_collected",
    "src/sync/semaphore.cpp",
    "        c.has = std::min(seen >> 1, n);\n",
    "        c.has = seen >> 1 < n ? 0 : n;\n",
    "*several_permits.are_collected_by_*",
)
mutation(
    "collected_permits_are_not_given_back",
    "src/sync/semaphore.cpp",
    "    if (waiting.empty()) word_.store(c.has * one, std::memory_order_release);\n",
    "",
    "*several_permits.are_acquired_*",
)
mutation(
    "collected_permits_pass_the_next_by",
    "src/sync/semaphore.cpp",
    "    if (serve(c.has, waiting, won, round)) {",
    "    if (false) {",
    "*several_permits.go_to_the_next_*:*several_permits.are_collected_on_*",
)
mutation(
    "collected_permits_are_lost_after_a_round",
    "src/sync/semaphore.cpp",
    "        bucket_of(this).push_front(c);\n        return true;",
    "        return false;",
    "*several_permits.go_to_a_crowd_*",
)
mutation(
    "collected_permits_leave_room_for_more",
    "src/sync/semaphore.cpp",
    "static_cast<const collector*>(first)->has : 0, most);",
    "0 : 0, most);",
    "*several_permits.count_for_the_maximum_*",
)
mutation(
    "permits_are_released_past_those_who_collect",
    "src/wait/parking_lot.cpp",
    "        if (served == most || n->tag != tag) break;",
    "        if (served == most) break;",
    "*several_permits.serve_in_order_*:*several_permits.are_all_there_*:*several_permits.go_to_*",
)
mutation(
    "permits_are_acquired_beyond_the_maximum",
    "include/handoff/semaphore.hpp",
    "        if (n <= 0 || n > Max) [[unlikely]]",
    "        if (n <= 0) [[unlikely]]",
    "*several_permits.have_to_be_one_*",
)
mutation(
    "permits_are_acquired_below_one",
    "include/handoff/semaphore.hpp",
    "        if (n <= 0 || n > Max) [[unlikely]]",
    "        if (n > Max) [[unlikely]]",
    "*several_permits.have_to_be_one_*",
)

# ---- Events --------------------------------------------------------------------------------------------------------

mutation(
    "event_wakes_nobody",
    "src/sync/event.cpp",
    "        if constexpr (kind == event_kind::manual) waiting.release_all(0, won);\n",
    "",
    "*events.wake_a_crowd*",
)
mutation(
    "event_that_lets_one_through_stays_set",
    "src/sync/event.cpp",
    "                if (waiting.empty()) word_.store(0, std::memory_order_relaxed);\n                return;",
    "                if (waiting.empty()) word_.store(is_set, std::memory_order_relaxed);\n                return;",
    "*events.let_one_after_the_other_*",
)
mutation(
    "event_forgets_who_is_left",
    "src/sync/event.cpp",
    "                if (waiting.empty()) word_.store(0, std::memory_order_relaxed);",
    "                word_.store(0, std::memory_order_relaxed);",
    "*events.let_one_after_the_other_*",
)
mutation(
    "event_is_not_reset_by_who_comes",
    "include/handoff/event.hpp",
    "                if (word_.compare_exchange_weak(seen, 0, std::memory_order_acquire",
    "                if (word_.compare_exchange_weak(seen, seen, std::memory_order_acquire",
    "*events.let_one_through_*",
)
mutation(
    "event_lets_the_next_through_twice",
    "src/sync/event.cpp",
    "kind == event_kind::manual ? is_set : 0;",
    "is_set;",
    "events_simulated.*",
)
mutation(
    "reset_takes_the_waiters_away",
    "include/handoff/event.hpp",
    "word_.fetch_and(~is_set, std::memory_order_acquire);",
    "word_.exchange(0, std::memory_order_acquire);",
    "*events.keep_out_*:*events.let_one_after_the_other_*",
)

# ---- Recursive mutexes ---------------------------------------------------------------------------------------------

mutation(
    "recursive_mutex_belongs_to_the_thread",
    "src/sync/recursive_mutex.cpp",
    "    if (m) return m->curg",
    "    if (m && m->curg.load(std::memory_order_relaxed) == nullptr) return m->curg",
    "recursive_mutex.belongs_to_*",
)
mutation(
    "recursive_mutex_is_unlocked_by_anybody",
    "include/handoff/recursive_mutex.hpp",
    "        if (!is_owner(self())) [[unlikely]] not_owner();\n",
    "",
    "recursive_mutex_death.*",
)
mutation(
    "recursive_mutex_is_free_after_one_unlock",
    "include/handoff/recursive_mutex.hpp",
    "        if (--depth_ != 0) return;",
    "        --depth_;",
    "*recursive_mutexes.are_locked_again_*",
)
mutation(
    "recursive_mutex_loses_count",
    "include/handoff/recursive_mutex.hpp",
    "        if (depth_ == max_depth()) too_deep();\n",
    "",
    "recursive_mutex.is_locked_no_more_*",
)

# ---- Values and results --------------------------------------------------------------------------------------------

mutation(
    "once_value_is_never_destroyed",
    "include/handoff/once_value.hpp",
    "            made_ = true;\n",
    "",
    "once_value.destroys_*",
)
mutation(
    "broken_promise_says_nothing",
    "include/handoff/future.hpp",
    "        s_->satisfy([this] { s_->error = std::make_exception_ptr(std::future_error(std::future_errc::broken_promise)); });\n",
    "",
    "*futures.fail_as_*",
)
mutation(
    "promise_is_satisfied_twice",
    "include/handoff/future.hpp",
    "            if (satisfied) return false;\n",
    "",
    "*futures.fail_as_*",
)
mutation(
    "promise_is_satisfied_before_it_has_a_value",
    "include/handoff/future.hpp",
    "            write();\n            satisfied = true;",
    "            satisfied = true;\n            write();",
    "future.may_be_satisfied_*",
)
mutation(
    "watch_shows_a_value_again",
    "include/handoff/watch.hpp",
    "        seen_ = s_->version;\n",
    "",
    "*watches.show_*",
)
mutation(
    "watch_takes_a_value_for_seen_that_could_not_be_copied",
    "include/handoff/watch.hpp",
    "        T copy = s_->value;\n        seen_ = s_->version;",
    "        seen_ = s_->version;\n        T copy = s_->value;",
    "watch.is_as_before_*",
)
mutation(
    "watch_tells_nobody",
    "include/handoff/watch.hpp",
    "            ++s_->version;\n        }\n        s_->changed.notify_all();",
    "            ++s_->version;\n        }",
    "*watches.wake_all_*",
)
mutation(
    "closing_tells_no_receiver",
    "include/handoff/detail/receiving.hpp",
    "        changed.notify_all();\n",
    "",
    "*watches.wake_all_*:*broadcasts.wake_all_*",
)
mutation(
    "broadcast_does_not_say_what_was_missed",
    "include/handoff/broadcast.hpp",
    "        missed_ += gone;\n",
    "",
    "*broadcasts.drop_*",
)
mutation(
    "broadcast_keeps_all",
    "include/handoff/broadcast.hpp",
    "            if (s_->values.size() > s_->capacity) s_->values.pop_front();\n",
    "",
    "*broadcasts.drop_*",
)
mutation(
    "broadcast_loses_a_value_that_could_not_be_copied",
    "include/handoff/broadcast.hpp",
    "next_ + gone - s_->oldest())]);\n        missed_ += gone;\n        next_ += gone + 1;",
    "(next_ += gone + 1) - 1 - s_->oldest())]);\n        missed_ += gone;",
    "broadcast.brings_*",
)
mutation(
    "free_permit_is_refused_after_a_stop",
    "src/sync/semaphore.cpp",
    "    if (try_take()) return true;\n",
    "",
    "several_permits_simulated.that_are_free_are_taken_after_a_stop",
)
