// compute_beside_blocking: what is left to goroutines that compute when others block, on 2 Ps.
//
// Two goroutines compute in slices of some 20 µs, and yield after each, for 300 ms: first with nobody beside them,
// then beside 64 goroutines that block their threads for 1 ms again and again, in nanosleep under the default guard.
// The value is the number of slices of the second time in percent of that of the first. `blocking_calls` is the number
// of calls that came to their end in that time, `threads` the most threads that the process had. The two belong
// together: who lets the blocked ones wait longer has more time to compute.

#include "computing.hpp"
#include "process_stats.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <atomic>

namespace {

constexpr unsigned procs = 2;

std::vector<bench::figure> measure(const bench::settings& s) {
    const bench::beside_shape shape(s);
    handoff::runtime rt({.procs = procs});
    return rt.run([&] {
        const double alone = bench::compute(shape);
        bench::process_sampler sampler;
        std::atomic<bool> stop{false};
        std::atomic<std::size_t> calls{0};
        handoff::task_group blockers;
        for (std::size_t i = 0; i < shape.blockers; ++i) {
            blockers.go([&] {
                while (!stop.load(std::memory_order_relaxed)) {
                    handoff::blocking_call(bench::block_for, shape.each_ns);
                    calls.fetch_add(1, std::memory_order_relaxed);
                }
            });
        }
        const double beside = bench::compute(shape);
        const auto completed = static_cast<double>(calls.load(std::memory_order_relaxed));
        stop.store(true, std::memory_order_relaxed);
        blockers.wait();
        const double threads = sampler.stop().threads;
        return std::vector<bench::figure>{{"compute_beside_blocking",
                                           "handoff",
                                           procs,
                                           100 * beside / alone,
                                           "%",
                                           {{"blocking_calls", completed}, {"threads", threads}}}};
    });
}

const bench::register_workload registered({{"compute_beside_blocking"}, "handoff", measure});

}  // namespace
