// getaddrinfo: 200 goroutines on 2 Ps look up "localhost" five times each, under the default guard. The value is the
// time until all are joined per call, in microseconds: the median of several such rounds.

#include "blocking.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

namespace {

constexpr unsigned procs = 2;

void look_up_all() {
    handoff::task_group all;
    for (std::size_t i = 0; i < bench::lookup_tasks; ++i) {
        all.go([] {
            for (std::size_t j = 0; j < bench::lookups_each; ++j) handoff::blocking_call(bench::look_up_localhost);
        });
    }
    all.wait();
}

std::vector<bench::figure> measure(const bench::settings& s) {
    handoff::runtime rt({.procs = procs});
    return {bench::lookups_figure("handoff", procs, rt.run([&] { return bench::per_round(s, look_up_all); }))};
}

const bench::register_workload registered({{"getaddrinfo"}, "handoff", measure});

void getaddrinfo(benchmark::State& state) {
    handoff::runtime rt({.procs = procs});
    rt.run([&] {
        for (auto _ : state) look_up_all();
    });
}
BENCHMARK(getaddrinfo)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
