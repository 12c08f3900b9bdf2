// wait_group: a goroutine on 1 P adds to a wait group and starts a goroutine that takes itself off it again, a thousand
// times, then waits for the thousand. The value is the time per started goroutine.

#include "on_runtime.hpp"

namespace {

constexpr std::size_t batch = 1000;

void wait_for_batches(std::size_t n) {
    handoff::wait_group all;
    for (std::size_t started = 0; started < n; started += batch) {
        for (std::size_t i = 0; i < batch; ++i) {
            all.add(1);
            handoff::go([&all] { all.done(); });
        }
        all.wait();
    }
}

std::vector<bench::figure> measure(const bench::settings& s) {
    return bench::operations_on(1, "wait_group", s, batch * 400, wait_for_batches);
}

const bench::register_workload registered({{"wait_group"}, "handoff", measure});

void wait_group(benchmark::State& state) { bench::batches_on(1, state, batch, wait_for_batches); }
BENCHMARK(wait_group)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
