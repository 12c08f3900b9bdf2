// scale_*: what a goroutine costs as their number N grows (--goroutines N), on 2 Ps. The value is the time of a round
// divided by N, in nanoseconds; a round that is not timed comes first.
//
//   scale_parked     N goroutines wait for a semaphore. When all have come to it, N permits are given at once, and
//                    all are waited for. `bytes` is the growth of the resident memory per goroutine in the first
//                    round, from before the first spawn until all wait.
//   scale_ready      N goroutines yield three times each, and end.
//   scale_sleeping   N goroutines sleep: 1 ms up to N = 1,000, 10 ms up to 100,000, else 100 ms. The round without
//                    that time.

#include "process_stats.hpp"
#include "registry.hpp"
#include "scale.hpp"

#include <handoff/handoff.hpp>

#include <atomic>
#include <chrono>

namespace {

using namespace std::chrono_literals;

constexpr unsigned procs = 2;

template <class AtHeight>
void parked_round(std::size_t n, AtHeight at_height) {
    handoff::counting_semaphore<> gate(0);
    handoff::wait_group all;
    std::atomic<std::size_t> about_to_park{0};
    all.add(static_cast<std::ptrdiff_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
        handoff::go([&] {
            about_to_park.fetch_add(1, std::memory_order_relaxed);
            gate.acquire();
            all.done();
        });
    }
    while (about_to_park.load(std::memory_order_relaxed) < n) handoff::this_goroutine::yield();
    at_height();
    gate.release(static_cast<std::ptrdiff_t>(n));
    all.wait();
}

void ready_round(std::size_t n) {
    handoff::wait_group all;
    all.add(static_cast<std::ptrdiff_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
        handoff::go([&all] {
            for (int k = 0; k < 3; ++k) handoff::this_goroutine::yield();
            all.done();
        });
    }
    all.wait();
}

void sleeping_round(std::size_t n, std::chrono::nanoseconds length) {
    handoff::wait_group all;
    all.add(static_cast<std::ptrdiff_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
        handoff::go([&all, length] {
            handoff::this_goroutine::sleep_for(length);
            all.done();
        });
    }
    all.wait();
}

bench::figure figure_of(const char* work, const bench::scale_shape& shape, const std::vector<double>& values) {
    bench::figure f{work, "handoff", procs, bench::median(values), "ns", bench::spread_of(values)};
    f.extra.emplace_back("goroutines", static_cast<double>(shape.n));
    return f;
}

std::vector<bench::figure> measure_parked(const bench::settings& s) {
    const bench::scale_shape shape(s);
    handoff::runtime rt({.procs = procs});
    return rt.run([&] {
        parked_round(1, [] {});
        const double before = bench::process_now().resident_mib;
        double height = before;
        parked_round(shape.n, [&] {
            handoff::this_goroutine::sleep_for(10ms);   // for those between the count and the park
            height = bench::process_now().resident_mib;
        });
        const auto values = bench::per_task(shape, 0, [&] { parked_round(shape.n, [] {}); });
        bench::figure f = figure_of("scale_parked", shape, values);
        f.extra.emplace_back("bytes", (height - before) * 1024 * 1024 / static_cast<double>(shape.n));
        return std::vector{f};
    });
}

std::vector<bench::figure> measure_ready(const bench::settings& s) {
    const bench::scale_shape shape(s);
    handoff::runtime rt({.procs = procs});
    return rt.run([&] {
        ready_round(shape.n);
        return std::vector{
            figure_of("scale_ready", shape, bench::per_task(shape, 0, [&] { ready_round(shape.n); }))};
    });
}

std::vector<bench::figure> measure_sleeping(const bench::settings& s) {
    const bench::scale_shape shape = bench::scale_shape(s).of_sleepers();
    const std::chrono::nanoseconds length(bench::sleep_ns(shape.n));
    handoff::runtime rt({.procs = procs});
    return rt.run([&] {
        sleeping_round(shape.n, length);
        const auto values = bench::per_task(shape, static_cast<double>(length.count()),
                                            [&] { sleeping_round(shape.n, length); });
        return std::vector{figure_of("scale_sleeping", shape, values)};
    });
}

const bench::register_workload registered_parked({{"scale_parked"}, "handoff", measure_parked});
const bench::register_workload registered_ready({{"scale_ready"}, "handoff", measure_ready});
const bench::register_workload registered_sleeping({{"scale_sleeping"}, "handoff", measure_sleeping});

}  // namespace
