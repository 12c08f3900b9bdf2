// blocking_storm: 1,000 goroutines that each block their thread for 1 ms in nanosleep, under the default guard, on
// 2 Ps. The value is the time from the first spawn until all are joined, in milliseconds: the first time in a fresh
// process and runtime. blocking_storm_warm is the second time, with the threads of the first still there.
// blocking_storm_busy is again a first time in a fresh process, but one in which a goroutine has computed for 100 ms
// before: a monitor that found nothing to do for a while has become slow by then (Go's looks every 10 ms, and misses
// calls that are shorter).

#include "works.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

#include <ctime>

namespace {

constexpr std::size_t goroutines = 1000;
constexpr unsigned procs = 2;

double storm_ms() {
    const double start = bench::now_ns();
    std::vector<handoff::join_handle<void>> all;
    all.reserve(goroutines);
    for (std::size_t i = 0; i < goroutines; ++i) {
        all.push_back(handoff::go([] {
            const timespec one_ms{0, 1'000'000};
            handoff::blocking_call([&] { ::nanosleep(&one_ms, nullptr); });
        }));
    }
    for (auto& g : all) g.join();
    return (bench::now_ns() - start) * 1e-6;
}

std::vector<bench::figure> measure(const bench::settings&) {
    handoff::runtime rt({.procs = procs});
    const double first = rt.run(storm_ms);
    const double second = rt.run(storm_ms);
    const auto threads = static_cast<double>(rt.stats().threads_created);
    return {{"blocking_storm", "handoff", procs, first, "ms", {{"threads", threads}}},
            {"blocking_storm_warm", "handoff", procs, second, "ms", {{"threads", threads}}}};
}

std::vector<bench::figure> measure_busy(const bench::settings&) {
    handoff::runtime rt({.procs = procs});
    const double first = rt.run([] {
        bench::spin_for(100e6);
        return storm_ms();
    });
    return {{"blocking_storm_busy", "handoff", procs, first, "ms"}};
}

const bench::register_work registered({{"blocking_storm", "blocking_storm_warm"}, "handoff", measure});
const bench::register_work registered_busy({{"blocking_storm_busy"}, "handoff", measure_busy});

// A fresh runtime for each iteration; the process is only fresh for the first.
void blocking_storm(benchmark::State& state) {
    for (auto _ : state) {
        handoff::runtime rt({.procs = procs});
        state.SetIterationTime(rt.run(storm_ms) * 1e-3);
    }
}
BENCHMARK(blocking_storm)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(10);

void blocking_storm_warm(benchmark::State& state) {
    handoff::runtime rt({.procs = procs});
    rt.run(storm_ms);
    for (auto _ : state) state.SetIterationTime(rt.run(storm_ms) * 1e-3);
}
BENCHMARK(blocking_storm_warm)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(10);

}  // namespace
