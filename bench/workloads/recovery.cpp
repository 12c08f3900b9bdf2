// recovery: after a storm of 1,000 goroutines that each block for 1 ms, how long until the process has given its
// threads back, on 2 Ps with the runtime's default idle_thread_timeout.
//
// The value is the time from the storm's end until the process has no more threads than before, or than `procs` + 3,
// whichever is more; after 15 s the wait ends (`capped` is 1 then). The process looks every 5 ms, and does nothing
// else. `threads_*` and `rss_*_mib` (resident memory) are before the storm, at its peak, and at the end of the wait.

#include "blocking.hpp"
#include "process_stats.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

namespace {

constexpr unsigned procs = 2;

void storm(const bench::storm_shape& shape) {
    handoff::task_group all;
    for (std::size_t i = 0; i < shape.tasks; ++i)
        all.go([ns = shape.each_ns] { handoff::blocking_call(bench::block_for, ns); });
    all.wait();
}

std::vector<bench::figure> measure(const bench::settings& s) {
    handoff::runtime rt({.procs = procs});
    rt.run([] {});   // warm-up
    const auto run = [&](const bench::storm_shape& shape) { rt.run(storm, shape); };
    return {bench::measure_recovery("handoff", procs, s, run)};
}

const bench::register_workload registered({{"recovery"}, "handoff", measure});

}  // namespace
