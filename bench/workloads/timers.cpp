// sleep_100k: 100,000 goroutines that each sleep for 1 ms, on 2 Ps. The value is the time from the first spawn until
// all are joined, in milliseconds; the first go, with which the stacks come, is the warm-up.

#include "on_runtime.hpp"

#include <chrono>
#include <vector>

namespace {

using namespace std::chrono_literals;

void sleep_all() {
    constexpr std::size_t sleepers = 100'000;
    std::vector<handoff::join_handle<void>> all;
    all.reserve(sleepers);
    for (std::size_t i = 0; i < sleepers; ++i)
        all.push_back(handoff::go([] { handoff::this_goroutine::sleep_for(1ms); }));
    for (auto& g : all) g.join();
}

std::vector<bench::figure> measure(const bench::settings& s) { return bench::rounds_on(2, "sleep_100k", s, sleep_all); }

const bench::register_workload registered({{"sleep_100k"}, "handoff", measure});

void sleep_100k(benchmark::State& state) { bench::repeat_on(2, state, sleep_all); }
BENCHMARK(sleep_100k)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
