// spawn: start, run and end of a goroutine that nobody joins, on 1 P. The spawner starts a batch that fits a local
// run queue, then yields until all of the batch have counted themselves. The value is the time per goroutine; the
// count (one atomic addition each) and the spawner's yield are part of it, here and in the peers.

#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

#include <atomic>

namespace {

constexpr std::size_t batch = 128;
constexpr std::size_t goroutines = batch * 4096;

void spawn_batches(std::size_t n) {
    std::atomic<std::size_t> done{0};
    for (std::size_t started = 0; started < n;) {
        for (std::size_t i = 0; i < batch; ++i) {
            handoff::go([&done] { done.fetch_add(1, std::memory_order_relaxed); });
        }
        started += batch;
        while (done.load(std::memory_order_relaxed) < started) handoff::this_goroutine::yield();
    }
}

std::vector<bench::figure> measure(const bench::settings& s) {
    handoff::runtime rt({.procs = 1});
    const auto samples = rt.run([&] { return bench::per_operation(s, goroutines, spawn_batches); });
    return {{"spawn", "handoff", 1, bench::median(samples), "ns", bench::spread_of(samples)}};
}

const bench::register_workload registered({{"spawn"}, "handoff", measure});

void spawn(benchmark::State& state) {
    handoff::runtime rt({.procs = 1});
    rt.run([&] {
        while (state.KeepRunningBatch(batch)) spawn_batches(batch);
    });
}
BENCHMARK(spawn)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
