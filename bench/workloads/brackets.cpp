// brackets: an entersyscall + exitsyscall pair around nothing, on 1 P.
//
// The value is the whole loop's time per pair. Go has no public pair; there it is syscall.Syscall(SYS_GETPPID) less
// syscall.RawSyscall of the same call. So that the same can be said of handoff, `around_getppid` is a guarded
// getppid less a bare one, in turns, the median of the differences. (Go's program reports `bare`, its pair alone in a
// loop.)
//
// call_not_blocking is that `around_getppid` on 2 Ps: what it costs a call that returns at once to be announced as one
// that may block.

#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr std::size_t pairs = 4'000'000;
constexpr std::size_t calls = 40'000;  // a sample; there are five times as many samples as elsewhere

void bare_pairs(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) handoff::syscall_guard guard;
}

void raw_calls(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) benchmark::DoNotOptimize(::syscall(SYS_getppid));
}

void guarded_calls(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        handoff::syscall_guard guard;
        benchmark::DoNotOptimize(::syscall(SYS_getppid));
    }
}

double around_getppid(const bench::settings& s) {
    const std::size_t n = s.quick ? calls / 4 : calls;
    std::vector<double> differences;
    for (unsigned i = 0; i <= 5 * bench::sample_count(s); ++i) {
        const double t0 = bench::now_ns();
        guarded_calls(n);
        const double t1 = bench::now_ns();
        raw_calls(n);
        const double t2 = bench::now_ns();
        if (i == 0) continue;  // warm-up
        differences.push_back(((t1 - t0) - (t2 - t1)) / static_cast<double>(n));
    }
    return bench::median(differences);
}

std::vector<bench::figure> measure(const bench::settings& s) {
    handoff::runtime rt({.procs = 1});
    return rt.run([&] {
        const auto samples = bench::per_operation(s, pairs, bare_pairs);
        bench::figure f{"brackets", "handoff", 1, bench::median(samples), "ns", bench::spread_of(samples)};
        f.extra.emplace_back("around_getppid", around_getppid(s));
        return std::vector{f};
    });
}

std::vector<bench::figure> measure_call(const bench::settings& s) {
    handoff::runtime rt({.procs = 2});
    return {{"call_not_blocking", "handoff", 2, rt.run(around_getppid, s), "ns"}};
}

const bench::register_workload registered({{"brackets"}, "handoff", measure});
const bench::register_workload registered_call({{"call_not_blocking"}, "handoff", measure_call});

void brackets(benchmark::State& state) {
    handoff::runtime rt({.procs = 1});
    rt.run([&] {
        for (auto _ : state) handoff::syscall_guard guard;
    });
}
BENCHMARK(brackets)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
