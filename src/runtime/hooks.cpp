#include "sched/hooks.hpp"

#include "debug/held_mutexes.hpp"
#include "debug/report.hpp"
#include "debug/snapshot.hpp"
#include "goroutine/goroutine_main.hpp"
#include "net/descriptor.hpp"
#include "sync/plain_unlock.hpp"

#include <handoff/runtime.hpp>

namespace handoff::detail {

namespace {

void runtime_starts(bool membarrier) noexcept {
    allow_plain_unlocks(membarrier);
    held_mutexes::look_for_check();
}

sched* default_sched() { return sched_of(default_runtime()); }

}  // namespace

constinit const sched_hooks hooks{
    .goroutine_main = goroutine_main,
    .unguarded_call_ended = unguarded_call_ended,
    .describe_all = describe_all,
    .descriptors_ready = descriptors_ready,
    .poller_ended = poller_ended,
    .trace = trace,
    .describe_overflow = describe_overflow,
    .runtime_starts = runtime_starts,
    .default_sched = default_sched,
};

}  // namespace handoff::detail
