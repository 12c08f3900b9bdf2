// The workloads that block, without coroutines: in a thread per task (std_thread), and in a plain pool (thread_pool)
// and Boost.Asio's (asio) of 64 threads, which is what people configure who know that their tasks block. A pool's
// threads are there before the clock starts, as a program has its pool from the start on.
//
//   blocking_storm, blocking_storm_warm, blocking_storm_busy, storm_*, unguarded_storm, file_reads, getaddrinfo
//                            see storms.cpp, file_reads.cpp and getaddrinfo.cpp in workloads/. A reader is a task; the
//                            time for which it waits for a thread is no part of a read's p99_us.
//   compute_beside_blocking  the blockers have the pool of 64 threads, those who compute a second one of two. Where a
//                            goroutine would yield, and after each blocking call, a pool's task posts itself again.
//   page_faults              see workloads/page_faults.cpp; with the two pools of compute_beside_blocking
//   call_not_blocking        a task that calls getppid, until its result has come through a future, less a bare getppid,
//                            in turns; the median of the differences. A thread per call is std::async's.
//   recovery                 a pool keeps its threads, so that its process is at once what it was before the storm:
//                            see threads_after.

#include "../../workloads/page_faults.hpp"
#include "../../workloads/process_stats.hpp"
#include "../../workloads/registry.hpp"
#include "tasks.hpp"

#include <benchmark/benchmark.h>

#include <atomic>
#include <future>
#include <memory>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// ---- blocking_storm, storm_*

template <class Tasks>
double storm_ms(Tasks& tasks, const bench::storm_shape& shape) {
    const double start = bench::now_ns();
    bench::for_all(tasks, shape.tasks, [&](std::size_t) { bench::block_for(shape.each_ns); });
    return (bench::now_ns() - start) * 1e-6;
}

template <class Tasks, const bench::storm_shape& shape>
std::vector<bench::figure> measure_storm(const bench::settings&) {
    bench::process_sampler sampler;
    Tasks tasks(bench::blocking_threads);
    const unsigned procs = bench::procs_of(tasks);
    const double first = storm_ms(tasks, shape);
    const double second = storm_ms(tasks, shape);
    const double threads = sampler.stop().threads;
    std::vector<bench::figure> figures{bench::about(
        tasks, {shape.work, Tasks::subject, procs, first, "ms", {{"threads", threads}, {"warm", second}}})};
    if (&shape == &bench::storm_1000x1ms) {
        figures.push_back(bench::about(
            tasks, {"blocking_storm_warm", Tasks::subject, procs, second, "ms", {{"threads", threads}}}));
    }
    return figures;
}

template <class Tasks>
std::vector<bench::figure> measure_storm_busy(const bench::settings&) {
    bench::process_sampler sampler;
    Tasks tasks(bench::blocking_threads);
    bench::for_all(tasks, 1, [](std::size_t) { bench::spin_for(100e6); });
    const double first = storm_ms(tasks, bench::storm_1000x1ms);
    const double threads = sampler.stop().threads;
    return {bench::about(
        tasks,
        {"blocking_storm_busy", Tasks::subject, bench::procs_of(tasks), first, "ms", {{"threads", threads}}})};
}

template <class Tasks>
std::vector<bench::figure> measure_recovery(const bench::settings& s) {
    Tasks tasks(bench::blocking_threads);
    return {bench::about(tasks, bench::measure_recovery(Tasks::subject, bench::procs_of(tasks), s,
                                                        [&](const bench::storm_shape& shape) {
                                                            storm_ms(tasks, shape);
                                                        }))};
}

// ---- compute_beside_blocking

// What one computing task has done.
struct alignas(64) computed {
    std::uint32_t state = 1;
    std::size_t slices = 0;
};

// compute_all has the computing tasks run for their time, and returns how many slices they have done.
template <class Tasks>
double compute_all(Tasks& tasks, const bench::beside_shape& shape) {
    const double until = bench::now_ns() + shape.for_ns;
    std::vector<computed> all(shape.computers);
    std::latch ended(static_cast<std::ptrdiff_t>(shape.computers));
    for (computed& one : all) {
        const auto slice = [&one, until] {
            if (bench::now_ns() >= until) return false;
            bench::compute_slice(one.state);
            ++one.slices;
            return true;
        };
        bench::repeat(tasks, slice, ended);
    }
    ended.wait();
    double slices = 0;
    for (const computed& one : all) {
        if (one.state == 0) throw std::runtime_error("xorshift has come to 0");  // it can't, but must be computed
        slices += static_cast<double>(one.slices);
    }
    return slices;
}

template <class Tasks>
std::vector<bench::figure> measure_compute_beside(const bench::settings& s) {
    const bench::beside_shape shape(s);
    Tasks computers(bench::computing_threads);
    Tasks blockers(bench::blocking_threads);
    const double alone = compute_all(computers, shape);

    bench::process_sampler sampler;
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> calls{0};
    std::latch ended(static_cast<std::ptrdiff_t>(shape.blockers));
    for (std::size_t i = 0; i < shape.blockers; ++i) {
        const auto call = [&stop, &calls, each_ns = shape.each_ns] {
            if (stop.load(std::memory_order_relaxed)) return false;
            bench::block_for(each_ns);
            calls.fetch_add(1, std::memory_order_relaxed);
            return true;
        };
        bench::repeat(blockers, call, ended);
    }
    const double beside = compute_all(computers, shape);
    const auto completed = static_cast<double>(calls.load(std::memory_order_relaxed));
    stop.store(true, std::memory_order_relaxed);
    ended.wait();
    const double threads = sampler.stop().threads;
    bench::figure f{"compute_beside_blocking", Tasks::subject, bench::procs_of(computers), 100 * beside / alone, "%",
                    {{"blocking_calls", completed}, {"threads", threads}}};
    return {bench::about(blockers, f)};
}

// ---- page_faults

template <class Tasks>
std::vector<bench::figure> measure_faults(const bench::settings& s) {
    const bench::faults_shape shape(s);
    const bench::mapped_file file(shape.file_size);
    Tasks computers(bench::computing_threads);
    Tasks walkers(bench::blocking_threads);
    const double alone = compute_all(computers, shape.beside);

    bench::process_sampler sampler;
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> pages{0};
    std::latch ended(static_cast<std::ptrdiff_t>(shape.walkers));
    for (std::size_t i = 0; i < shape.walkers; ++i) {
        const auto walk = [&stop, &pages, walker = bench::walker(shape, file, i)]() mutable {
            if (stop.load(std::memory_order_relaxed)) return false;
            pages.fetch_add(walker.step(), std::memory_order_relaxed);
            return true;
        };
        bench::repeat(walkers, walk, ended);
    }
    const double beside = compute_all(computers, shape.beside);
    const std::size_t touched = pages.load(std::memory_order_relaxed);
    stop.store(true, std::memory_order_relaxed);
    ended.wait();
    const unsigned threads = sampler.stop().threads;
    return {bench::about(walkers, bench::faults_figure(Tasks::subject, bench::procs_of(computers), shape, alone, beside,
                                                       touched, threads))};
}

// ---- call_not_blocking

long getppid_call() { return ::syscall(SYS_getppid); }

template <class Tasks>
long getppid_in(Tasks& tasks) {
    // std::function, and with it the plain pool, only takes what can be copied.
    const auto call = std::make_shared<std::packaged_task<long()>>(getppid_call);
    std::future<long> result = call->get_future();
    tasks.post([call] { (*call)(); });
    return result.get();
}

long getppid_in(bench::thread_per_task&) { return std::async(std::launch::async, getppid_call).get(); }

template <class Tasks>
std::vector<bench::figure> measure_call(const bench::settings& s) {
    Tasks tasks(bench::blocking_threads);
    const std::size_t n = s.quick ? 100 : 400;
    std::vector<double> differences;
    for (unsigned i = 0; i <= 5 * bench::sample_count(s); ++i) {
        const double t0 = bench::now_ns();
        for (std::size_t j = 0; j < n; ++j) benchmark::DoNotOptimize(getppid_in(tasks));
        const double t1 = bench::now_ns();
        for (std::size_t j = 0; j < n; ++j) benchmark::DoNotOptimize(getppid_call());
        const double t2 = bench::now_ns();
        if (i == 0) continue;  // warm-up
        differences.push_back(((t1 - t0) - (t2 - t1)) / static_cast<double>(n));
    }
    return {bench::figure_of("call_not_blocking", tasks, differences, "ns")};
}

// ---- file_reads

template <class Tasks>
std::vector<bench::figure> measure_reads(const bench::settings& s) {
    const bench::reads_shape shape(s);
    const bench::uncached_file file(shape.file_size);
    const auto numbers = shape.block_numbers();
    std::vector<double> each(shape.reads());
    Tasks tasks(bench::blocking_threads);

    bench::process_sampler sampler;
    const double start = bench::now_ns();
    bench::for_all(tasks, shape.readers, [&](std::size_t reader) {
        for (std::size_t i = reader * shape.reads_each, end = i + shape.reads_each; i < end; ++i) {
            file.drop(numbers[i]);
            const double before = bench::now_ns();
            file.read(numbers[i]);
            each[i] = bench::now_ns() - before;
        }
    });
    const double all = bench::now_ns() - start;
    const unsigned threads = sampler.stop().threads;
    return {bench::about(tasks,
                         bench::reads_figure(Tasks::subject, bench::procs_of(tasks), all, each, threads))};
}

// ---- getaddrinfo

template <class Tasks>
std::vector<bench::figure> measure_lookups(const bench::settings& s) {
    Tasks tasks(bench::blocking_threads);
    const auto rounds_ms = bench::per_round(s, [&] {
        bench::for_all(tasks, bench::lookup_tasks, [](std::size_t) {
            for (std::size_t i = 0; i < bench::lookups_each; ++i) bench::look_up_localhost();
        });
    });
    return {bench::about(tasks, bench::lookups_figure(Tasks::subject, bench::procs_of(tasks), rounds_ms))};
}

template <class Tasks>
struct register_for {
    register_for() {
        using bench::register_workload;
        register_workload({{"blocking_storm", "blocking_storm_warm"},
                       Tasks::subject,
                       measure_storm<Tasks, bench::storm_1000x1ms>});
        register_workload({{"blocking_storm_busy"}, Tasks::subject, measure_storm_busy<Tasks>});
        register_workload({{"storm_10000x100us"}, Tasks::subject, measure_storm<Tasks, bench::storm_10000x100us>});
        register_workload({{"storm_100x50ms"}, Tasks::subject, measure_storm<Tasks, bench::storm_100x50ms>});
        register_workload({{"unguarded_storm"}, Tasks::subject, measure_storm<Tasks, bench::unguarded_1000x1ms>});
        register_workload({{"page_faults"}, Tasks::subject, measure_faults<Tasks>});
        register_workload({{"recovery"}, Tasks::subject, measure_recovery<Tasks>});
        register_workload({{"compute_beside_blocking"}, Tasks::subject, measure_compute_beside<Tasks>});
        register_workload({{"call_not_blocking"}, Tasks::subject, measure_call<Tasks>});
        register_workload({{"file_reads"}, Tasks::subject, measure_reads<Tasks>});
        register_workload({{"getaddrinfo"}, Tasks::subject, measure_lookups<Tasks>});
    }
};

const register_for<bench::thread_per_task> in_threads;
const register_for<bench::task_pool> in_pool;
#if HANDOFF_BENCH_HAS_ASIO
const register_for<bench::asio_pool> in_asio;
#endif

}  // namespace
