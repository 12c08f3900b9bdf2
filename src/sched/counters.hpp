// The event counters of a runtime. struct stats (handoff/stats.hpp) says what each of them counts.
#pragma once

#include "base/atomic.hpp"

namespace handoff::detail {

struct counters {
    base::shared_counter handoffs_sysmon, handoffs_immediate, handoffs_unguarded, handoffs_computing, retakes_given_up;
    base::shared_counter exits_old_idle, exits_any_idle, exits_queued, regains, started_without;
    base::shared_counter threads_created, threads_retired, thread_cap_hits, thread_create_failures, stack_failures;
    base::atomic<int> thread_create_errno{0};
    base::atomic<bool> warned_no_stack{false};   // the first of stack_failures was reported
    base::shared_counter exits_unmatched, timers_lost, traces_lost;   // for base::warn_nth
};

}  // namespace handoff::detail
