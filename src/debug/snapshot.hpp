// Snapshots of a runtime, as text too, and the trace lines of HANDOFF_DEBUG.
//
// A snapshot reads single relaxed atomics of things that go on meanwhile: each entry is true of some moment during the
// call, and links may cross a change.
#pragma once

#include <handoff/stats.hpp>

#include <cstdint>
#include <string>

namespace handoff::detail {

struct sched;

scheduler_snapshot snapshot_of(sched& s);   // runtime::snapshot

std::string text_of(const scheduler_snapshot& all);   // a line for each processor, thread and goroutine

std::string describe_goroutines(sched& s);   // by number; what does not depend on threads
std::string describe_all(sched& s);          // as sched_hooks has it

void trace(sched& s, std::int64_t now) noexcept;   // likewise

}  // namespace handoff::detail
