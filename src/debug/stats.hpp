// The counters of a runtime.
#pragma once

#include <handoff/stats.hpp>

namespace handoff::detail {

struct sched;

struct stats stats_of(sched& s);   // runtime::stats

}  // namespace handoff::detail
