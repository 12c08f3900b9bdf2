// Storms: many goroutines, each of which blocks its thread once in nanosleep, under the default guard, on 2 Ps.
//
//   blocking_storm      1,000 × 1 ms
//   storm_10000x100us   10,000 × 100 µs
//   storm_100x50ms      100 × 50 ms
//   unguarded_storm     1,000 × 1 ms, without any guard. The peers do there what they do in blocking_storm: threads have
//                       no guard, Go brackets each syscall.Nanosleep, and in Tokio it is under spawn_blocking.
//
// The value is the time from the first spawn until all are joined, in milliseconds: the first time in a fresh process
// and runtime. `threads` is the most that the process had in that time, or in a second storm, with the threads of the
// first still there, which is `warm` (of blocking_storm a figure of its own, blocking_storm_warm).
// blocking_storm_busy is again a first time in a fresh process, but one in which a goroutine has computed for 100 ms
// before: a monitor that found nothing to do for a while has become slow by then (Go's looks every 10 ms, and misses
// calls that are shorter).

#include "blocking.hpp"
#include "process_stats.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

namespace {

constexpr unsigned procs = 2;

void block_guarded(long ns) { handoff::blocking_call(bench::block_for, ns); }

double storm_ms(const bench::storm_shape& shape, void (*block)(long)) {
    const double start = bench::now_ns();
    std::vector<handoff::join_handle<void>> all;
    all.reserve(shape.tasks);
    for (std::size_t i = 0; i < shape.tasks; ++i) {
        all.push_back(handoff::go([block, ns = shape.each_ns] { block(ns); }));
    }
    for (auto& g : all) g.join();
    return (bench::now_ns() - start) * 1e-6;
}

template <const bench::storm_shape& shape, void (*block)(long) = block_guarded>
std::vector<bench::figure> measure(const bench::settings&) {
    bench::process_sampler sampler;
    handoff::runtime rt({.procs = procs});
    const double first = rt.run(storm_ms, shape, block);
    const double second = rt.run(storm_ms, shape, block);
    const double threads = sampler.stop().threads;
    std::vector<bench::figure> figures{
        {shape.work, "handoff", procs, first, "ms", {{"threads", threads}, {"warm", second}}}};
    if (&shape == &bench::storm_1000x1ms)
        figures.push_back({"blocking_storm_warm", "handoff", procs, second, "ms", {{"threads", threads}}});
    return figures;
}

std::vector<bench::figure> measure_busy(const bench::settings&) {
    handoff::runtime rt({.procs = procs});
    const double first = rt.run([] {
        bench::spin_for(100e6);
        return storm_ms(bench::storm_1000x1ms, block_guarded);
    });
    return {{"blocking_storm_busy", "handoff", procs, first, "ms"}};
}

const bench::register_workload registered({{"blocking_storm", "blocking_storm_warm"},
                                           "handoff",
                                           measure<bench::storm_1000x1ms>});
const bench::register_workload registered_busy({{"blocking_storm_busy"}, "handoff", measure_busy});
const bench::register_workload registered_short({{"storm_10000x100us"}, "handoff", measure<bench::storm_10000x100us>});
const bench::register_workload registered_long({{"storm_100x50ms"}, "handoff", measure<bench::storm_100x50ms>});
const bench::register_workload registered_unguarded({{"unguarded_storm"},
                                                     "handoff",
                                                     measure<bench::unguarded_1000x1ms, bench::block_for>});

// A fresh runtime for each iteration; the process is only fresh for the first.
template <const bench::storm_shape& shape>
void storm(benchmark::State& state) {
    for (auto _ : state) {
        handoff::runtime rt({.procs = procs});
        state.SetIterationTime(rt.run(storm_ms, shape, block_guarded) * 1e-3);
    }
}
BENCHMARK(storm<bench::storm_1000x1ms>)
    ->Name("blocking_storm")
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(10);
BENCHMARK(storm<bench::storm_10000x100us>)
    ->Name("storm_10000x100us")
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5);
BENCHMARK(storm<bench::storm_100x50ms>)
    ->Name("storm_100x50ms")
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5);

void blocking_storm_warm(benchmark::State& state) {
    handoff::runtime rt({.procs = procs});
    rt.run(storm_ms, bench::storm_1000x1ms, block_guarded);
    for (auto _ : state) state.SetIterationTime(rt.run(storm_ms, bench::storm_1000x1ms, block_guarded) * 1e-3);
}
BENCHMARK(blocking_storm_warm)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(10);

}  // namespace
