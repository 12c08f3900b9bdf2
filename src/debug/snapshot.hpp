// Snapshots of a runtime, also as text, and the trace lines of HANDOFF_DEBUG.
//
// A snapshot reads relaxed atomics, one by one, while goroutines run. Each entry is true for some moment during the call,
// but entries that refer to each other may be from different moments.
#pragma once

#include <handoff/stats.hpp>

#include <cstdint>
#include <string>

namespace handoff::detail {

struct sched;

scheduler_snapshot snapshot_of(sched& s);   // runtime::snapshot

std::string text_of(const scheduler_snapshot& all);   // a line for each processor, thread and goroutine

std::string describe_goroutines(sched& s);   // by number; only what does not depend on threads
std::string describe_all(sched& s);          // an entry of sched_hooks (sched/hooks.hpp)

void trace(sched& s, std::int64_t now) noexcept;   // likewise

}  // namespace handoff::detail
