// The workloads that block, in Boost.Fiber. It has no way to take other fibers off a thread that blocks, so the calls
// are handed to a plain pool of 64 threads, and the fiber waits for a fibers::future, as Boost.Fiber's documentation
// has it for asynchronous calls. The fibers are on two threads with the default scheduler, half of them on each. The
// pool is there before the clock starts. See storms.cpp, beside_blocking.cpp, file_reads.cpp, getaddrinfo.cpp and
// recovery.cpp in workloads/ for what is timed.
#pragma once

#include "../../workloads/blocking.hpp"
#include "../../workloads/process_stats.hpp"
#include "../threads/tasks.hpp"
#include "subject.hpp"

#include <array>
#include <memory>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace peer {

inline constexpr unsigned threads_with_fibers = 2;

// offload has f called in the pool, and returns or throws what it does.
template <class F>
auto offload(bench::task_pool& pool, F f) {
    using result = decltype(f());
    const auto call = std::make_shared<fibers::packaged_task<result()>>(std::move(f));
    fibers::future<result> outcome = call->get_future();
    pool.post([call] { (*call)(); });
    return outcome.get();
}

// for_all has f(i) run as a fiber for each i below n, an even number, and joins them. f must not throw.
template <class F>
void for_all(std::size_t n, const F& f) {
    on_both_threads([&](std::size_t thread) {
        std::vector<fibers::fiber> all;
        all.reserve(n / 2);
        for (std::size_t i = thread * (n / 2), end = i + n / 2; i < end; ++i)
            all.push_back(start_here([&f, i] { f(i); }));
        for (auto& one : all) one.join();
    });
}

// ---- blocking_storm, storm_*

inline double storm_ms(bench::task_pool& pool, const bench::storm_shape& shape) {
    const double start = bench::now_ns();
    for_all(shape.tasks, [&](std::size_t) { offload(pool, [&shape] { bench::block_for(shape.each_ns); }); });
    return (bench::now_ns() - start) * 1e-6;
}

template <const bench::storm_shape& shape>
figures storm(const char*, const bench::settings&) {
    bench::process_sampler sampler;
    bench::task_pool pool(bench::blocking_threads);
    const double first = storm_ms(pool, shape);
    const double second = storm_ms(pool, shape);
    const double threads = sampler.stop().threads;
    figures both{
        {shape.work, subject, threads_with_fibers, first, "ms", {{"threads", threads}, {"warm", second}}}};
    if (&shape == &bench::storm_1000x1ms) {
        both.push_back(
            {"blocking_storm_warm", subject, threads_with_fibers, second, "ms", {{"threads", threads}}});
    }
    return both;
}

inline figures storm_busy(const char* work, const bench::settings&) {
    bench::process_sampler sampler;
    bench::task_pool pool(bench::blocking_threads);
    start_here([] { bench::spin_for(100e6); }).join();
    const double first = storm_ms(pool, bench::storm_1000x1ms);
    const double threads = sampler.stop().threads;
    return {{work, subject, threads_with_fibers, first, "ms", {{"threads", threads}}}};
}

inline figures recovery(const char*, const bench::settings& s) {
    bench::task_pool pool(bench::blocking_threads);
    return {bench::measure_recovery(subject, threads_with_fibers, s,
                                    [&](const bench::storm_shape& shape) { storm_ms(pool, shape); })};
}

// ---- compute_beside_blocking

struct beside {
    double slices = 0;
    double calls = 0;
};

// compute_on_both has a fiber compute on each of the two threads, with half of the blockers beside it.
inline beside compute_on_both(bench::task_pool& pool, const bench::beside_shape& shape, std::size_t blockers) {
    struct alignas(64) share {
        std::size_t slices = 0, calls = 0;
    };
    std::array<share, 2> both;
    const double until = bench::now_ns() + shape.for_ns;
    on_both_threads([&](std::size_t thread) {
        bool stop = false;
        std::size_t calls = 0;
        std::vector<fibers::fiber> all;
        for (std::size_t i = 0; i < blockers / 2; ++i) {
            all.push_back(start_here([&] {
                while (!stop) {
                    offload(pool, [&shape] { bench::block_for(shape.each_ns); });
                    ++calls;
                }
            }));
        }
        both[thread].slices = bench::compute_until(until, static_cast<std::uint32_t>(thread + 1),
                                                   [] { boost::this_fiber::yield(); });
        both[thread].calls = calls;
        stop = true;
        for (auto& one : all) one.join();
    });
    return {static_cast<double>(both[0].slices + both[1].slices), static_cast<double>(both[0].calls + both[1].calls)};
}

inline figures compute_beside(const char* work, const bench::settings& s) {
    const bench::beside_shape shape(s);
    bench::task_pool pool(bench::blocking_threads);
    const beside alone = compute_on_both(pool, shape, 0);
    bench::process_sampler sampler;
    const beside blocked = compute_on_both(pool, shape, shape.blockers);
    const double threads = sampler.stop().threads;
    return {{work,
             subject,
             threads_with_fibers,
             100 * blocked.slices / alone.slices,
             "%",
             {{"blocking_calls", blocked.calls}, {"threads", threads}}}};
}

// ---- call_not_blocking: a getppid that the pool calls, less a bare one, in turns; the median of the differences.

inline figures call_not_blocking(const char* work, const bench::settings& s) {
    bench::task_pool pool(bench::blocking_threads);
    const std::size_t n = s.quick ? 100 : 400;
    const auto getppid_call = [] { return ::syscall(SYS_getppid); };
    const long parent = getppid_call();
    const auto check = [parent](long answer) {
        if (answer != parent) throw std::runtime_error("getppid gave another process");
    };
    std::vector<double> differences;
    for (unsigned i = 0; i <= 5 * bench::sample_count(s); ++i) {
        const double t0 = bench::now_ns();
        for (std::size_t j = 0; j < n; ++j) check(offload(pool, getppid_call));
        const double t1 = bench::now_ns();
        for (std::size_t j = 0; j < n; ++j) check(getppid_call());
        const double t2 = bench::now_ns();
        if (i == 0) continue;  // warm-up
        differences.push_back(((t1 - t0) - (t2 - t1)) / static_cast<double>(n));
    }
    return {figure_of(work, 1, differences, "ns")};
}

// ---- file_reads, getaddrinfo

inline figures file_reads(const char*, const bench::settings& s) {
    const bench::reads_shape shape(s);
    const auto numbers = shape.block_numbers();
    const bench::uncached_file file(shape.file_size);
    std::vector<double> each(shape.reads());
    bench::task_pool pool(bench::blocking_threads);
    bench::first_failure failure;
    bench::process_sampler sampler;
    const double start = bench::now_ns();
    for_all(shape.readers, [&](std::size_t reader) {
        failure.guard([&] {
            for (std::size_t i = reader * shape.reads_each, end = i + shape.reads_each; i < end; ++i) {
                offload(pool, [&] { file.drop(numbers[i]); });
                const double begun = bench::now_ns();
                offload(pool, [&] { file.read(numbers[i]); });
                each[i] = bench::now_ns() - begun;
            }
        });
    });
    const double all = bench::now_ns() - start;
    failure.rethrow();
    return {bench::reads_figure(subject, threads_with_fibers, all, each, sampler.stop().threads)};
}

inline figures lookups(const char*, const bench::settings& s) {
    bench::task_pool pool(bench::blocking_threads);
    bench::first_failure failure;
    const auto rounds_ms = bench::per_round(s, [&] {
        for_all(bench::lookup_tasks, [&](std::size_t) {
            failure.guard([&] {
                for (std::size_t i = 0; i < bench::lookups_each; ++i) offload(pool, bench::look_up_localhost);
            });
        });
    });
    failure.rethrow();
    return {bench::lookups_figure(subject, threads_with_fibers, rounds_ms)};
}

}  // namespace peer
