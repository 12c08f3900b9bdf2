// page_faults: what is left to goroutines that compute when others wait for pages of a mapped file, on 2 Ps.
//
// As in compute_beside_blocking two goroutines compute in slices of some 20 µs, and yield after each, for 300 ms: first
// with nobody beside them, then beside 64 goroutines that walk over a file of 256 MiB that is mapped and not in the page
// cache. They yield after 16 pages. No guard is possible: the program does not know which access waits for the device.
// The value is the number of slices of the second time in percent of that of the first. `pages_per_s` is how many pages
// were touched in that time, by the second, `threads` the most threads that the process had. The two belong together, as
// there. The file is in $TMPDIR, else /tmp; on a tmpfs the pages come from memory.

#include "computing.hpp"
#include "page_faults.hpp"
#include "process_stats.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <atomic>

namespace {

constexpr unsigned procs = 2;

std::vector<bench::figure> measure(const bench::settings& s) {
    const bench::faults_shape shape(s);
    const bench::mapped_file file(shape.file_size);
    handoff::runtime rt({.procs = procs});
    return rt.run([&] {
        const double alone = bench::compute(shape.beside);
        bench::process_sampler sampler;
        std::atomic<bool> stop{false};
        std::atomic<std::size_t> pages{0};
        handoff::task_group walkers;
        for (std::size_t i = 0; i < shape.walkers; ++i) {
            walkers.go([&, walker = bench::walker(shape, file, i)]() mutable {
                while (!stop.load(std::memory_order_relaxed)) {
                    pages.fetch_add(walker.step(), std::memory_order_relaxed);
                    handoff::this_goroutine::yield();
                }
            });
        }
        const double beside = bench::compute(shape.beside);
        const std::size_t touched = pages.load(std::memory_order_relaxed);
        stop.store(true, std::memory_order_relaxed);
        walkers.wait();
        const unsigned threads = sampler.stop().threads;
        return std::vector{bench::faults_figure("handoff", procs, shape, alone, beside, touched, threads)};
    });
}

const bench::register_workload registered({{"page_faults"}, "handoff", measure});

}  // namespace
