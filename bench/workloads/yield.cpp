// yield: two goroutines on 1 P that do nothing but yield to each other. The value is the time per yield, which is
// the time per switch; starting and joining the two is part of it, once in a million.

#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

namespace {

constexpr std::size_t yields = 1'000'000;

void yield_pair(std::size_t n) {
    const auto half = [n] {
        for (std::size_t i = 0; i < n / 2; ++i) handoff::this_goroutine::yield();
    };
    auto a = handoff::go(half);
    auto b = handoff::go(half);
    a.join();
    b.join();
}

std::vector<bench::figure> measure(const bench::settings& s) {
    handoff::runtime rt({.procs = 1});
    const auto samples = rt.run([&] { return bench::per_operation(s, yields, yield_pair); });
    return {{"yield", "handoff", 1, bench::median(samples), "ns", bench::spread_of(samples)}};
}

const bench::register_workload registered({{"yield"}, "handoff", measure});

void yield(benchmark::State& state) {
    constexpr std::size_t batch = 10'000;
    handoff::runtime rt({.procs = 1});
    rt.run([&] {
        while (state.KeepRunningBatch(batch)) yield_pair(batch);
    });
}
BENCHMARK(yield)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
