// What the workloads share whose operations are run by one goroutine of a runtime of their own.
#pragma once

#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace bench {

// operations_on is the figure of a workload whose value is that of per_operation.
template <class Run>
std::vector<figure> operations_on(unsigned procs, const char* work, const settings& s, std::size_t operations, Run run,
                                  const char* subject = "handoff") {
    handoff::runtime rt({.procs = procs});
    const auto samples = rt.run([&] { return per_operation(s, operations, run); });
    return {{work, subject, procs, median(samples), "ns", spread_of(samples)}};
}

// rounds_on is the figure of a workload whose value is that of per_round.
template <class Run>
std::vector<figure> rounds_on(unsigned procs, const char* work, const settings& s, Run run) {
    handoff::runtime rt({.procs = procs});
    const auto samples = rt.run([&] { return per_round(s, run); });
    return {{work, "handoff", procs, median(samples), "ms", spread_of(samples)}};
}

// batches_on and repeat_on are the same under Google Benchmark.
template <class Run>
void batches_on(unsigned procs, benchmark::State& state, std::size_t batch, Run run) {
    handoff::runtime rt({.procs = procs});
    rt.run([&] {
        while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(batch))) run(batch);
    });
}

template <class Run>
void repeat_on(unsigned procs, benchmark::State& state, Run run) {
    handoff::runtime rt({.procs = procs});
    rt.run([&] {
        for (auto _ : state) run();
    });
}

}  // namespace bench
