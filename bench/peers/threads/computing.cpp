// The workloads of short tasks, without coroutines: in a thread per task (std_thread), a plain pool (thread_pool), and
// Boost.Asio's pool (asio). Values are those of the handoff workloads of the same names.
//
//   spawn            a batch of 128 tasks, then the next when all of the batch have counted themselves. A pool has one
//                    thread, and what starts the batches is a task of it, too. Threads are detached; one has yet to
//                    leave the kernel when it has counted itself, and some of that falls into the time of the next
//                    batch.
//   wait_group       a thousand tasks, whose ends are waited for with a latch (std_thread: by joining them), and the
//                    next thousand. A pool has one thread; the caller is another.
//   mutex_contended  8 threads, or tasks in a pool of two threads, that lock a std::mutex. The subject std_mutex has
//                    mutex_uncontended.
//   sleep_100k       asio alone, in two threads: 100,000 steady_timers that expire after 1 ms.
//   nqueens          std_thread alone: each placement is a std::async with a thread of its own. A task of a pool can't
//                    join others, and fib would need tens of thousands of threads at once.
//   scale_ready      a task that yields three times; in a pool of two threads one that posts itself three times.
//   scale_parked, scale_sleeping
//                    std_thread alone. The threads wait for a latch.

#include "../../workloads/fork_join.hpp"
#include "../../workloads/process_stats.hpp"
#include "../../workloads/registry.hpp"
#include "../../workloads/scale.hpp"
#include "tasks.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <stdexcept>
#include <thread>

#if HANDOFF_BENCH_HAS_ASIO
#include <boost/asio/steady_timer.hpp>
#endif

namespace {

using bench::thread_per_task;

// A thread costs so much more than a task of a pool that fewer are enough.
template <class Tasks>
constexpr std::size_t operations(std::size_t of_pools, std::size_t of_threads) {
    return std::is_same_v<Tasks, thread_per_task> ? of_threads : of_pools;
}

// ---- spawn

constexpr std::size_t batch = 128;

template <class Tasks>
void spawn_batches(Tasks& tasks, std::size_t n) {
    std::atomic<std::size_t> done{0};
    std::size_t started = 0;
    std::latch ended(1);
    const auto start_next = [&] {
        if (done.load(std::memory_order_relaxed) < started) return true;
        if (started >= n) return false;
        for (std::size_t i = 0; i < batch; ++i) tasks.post([&done] { done.fetch_add(1, std::memory_order_relaxed); });
        started += batch;
        return true;
    };
    bench::repeat(tasks, start_next, ended);
    ended.wait();
}

void spawn_batches(thread_per_task&, std::size_t n) {
    std::atomic<std::size_t> done{0};
    for (std::size_t started = 0; started < n;) {
        for (std::size_t i = 0; i < batch; ++i)
            std::thread([&done] { done.fetch_add(1, std::memory_order_relaxed); }).detach();
        started += batch;
        while (done.load(std::memory_order_relaxed) < started) std::this_thread::yield();
    }
}

template <class Tasks>
std::vector<bench::figure> measure_spawn(const bench::settings& s) {
    Tasks tasks(1);
    constexpr std::size_t n = batch * operations<Tasks>(1024, 8);
    return {bench::figure_of("spawn", tasks,
                             bench::per_operation(s, n, [&](std::size_t m) { spawn_batches(tasks, m); }), "ns")};
}

// ---- wait_group

template <class Tasks>
std::vector<bench::figure> measure_wait_group(const bench::settings& s) {
    constexpr std::size_t group = 1000;
    Tasks tasks(1);
    const auto wait_for_groups = [&](std::size_t n) {
        for (std::size_t started = 0; started < n; started += group)
            bench::for_all(tasks, group, [](std::size_t) {});
    };
    constexpr std::size_t n = group * operations<Tasks>(100, 4);
    return {bench::figure_of("wait_group", tasks, bench::per_operation(s, n, wait_for_groups), "ns")};
}

// ---- mutex_contended

struct guarded {
    std::mutex mutex;
    std::size_t pairs = 0;
    std::uint32_t state = 1;

    void step() {
        std::lock_guard lock(mutex);
        ++pairs;
        bench::scramble(state);
    }
};

template <class Tasks>
std::vector<bench::figure> measure_contended(const bench::settings& s) {
    constexpr std::size_t contenders = 8;
    Tasks tasks(bench::computing_threads);
    const auto contend = [&](std::size_t n) {
        guarded shared;
        bench::for_all(tasks, contenders, [&](std::size_t) {
            for (std::size_t i = 0; i < n / contenders; ++i) shared.step();
        });
        if (shared.pairs != n) throw std::runtime_error("pairs were lost");
    };
    return {bench::figure_of("mutex_contended", tasks, bench::per_operation(s, 2'000'000, contend), "ns")};
}

// ---- sleep_100k

#if HANDOFF_BENCH_HAS_ASIO
std::vector<bench::figure> measure_timers(const bench::settings& s) {
    constexpr std::size_t sleepers = 100'000;
    bench::asio_pool pool(bench::computing_threads);
    const auto sleep_all = [&] {
        std::latch ended(sleepers);
        std::vector<boost::asio::steady_timer> timers;
        timers.reserve(sleepers);
        for (std::size_t i = 0; i < sleepers; ++i) {
            timers.emplace_back(pool.executor(), std::chrono::milliseconds(1));
            timers.back().async_wait([&ended](const boost::system::error_code&) { ended.count_down(); });
        }
        ended.wait();
    };
    return {bench::figure_of("sleep_100k", pool, bench::per_round(s, sleep_all), "ms")};
}
#endif

// ---- nqueens

unsigned queens(const bench::board& b) {
    if (b.row == bench::board::forked_rows) return b.solutions();
    std::vector<std::future<unsigned>> placements;
    for (unsigned open = b.free(); open != 0; open &= open - 1)
        placements.push_back(std::async(std::launch::async, queens, b.with_queen(open & -open)));
    unsigned count = 0;
    for (auto& p : placements) count += p.get();
    return count;
}

std::vector<bench::figure> measure_queens(const bench::settings& s) {
    const auto place = [n = bench::queens_of(s)] { bench::check_queens(n, queens({.n = n})); };
    return {bench::figure_of("nqueens", thread_per_task(), bench::per_round(s, place), "ms")};
}

// ---- scale_*

template <class Tasks>
void ready_round(Tasks& tasks, std::size_t n) {
    std::latch ended(static_cast<std::ptrdiff_t>(n));
    for (std::size_t i = 0; i < n; ++i) bench::repeat(tasks, [yields = 3]() mutable { return yields-- > 0; }, ended);
    ended.wait();
}

void ready_round(thread_per_task& threads, std::size_t n) {
    bench::for_all(threads, n, [](std::size_t) {
        for (int yields = 3; yields > 0; --yields) std::this_thread::yield();
    });
}

template <class AtHeight>
void parked_round(std::size_t n, AtHeight at_height) {
    std::latch gate(1);
    std::atomic<std::size_t> about_to_park{0};
    thread_per_task threads;
    try {
        for (std::size_t i = 0; i < n; ++i) {
            threads.post([&] {
                about_to_park.fetch_add(1, std::memory_order_relaxed);
                gate.wait();
            });
        }
    } catch (...) {
        gate.count_down();  // else those that were started would never end
        throw;
    }
    while (about_to_park.load(std::memory_order_relaxed) < n) std::this_thread::yield();
    at_height();
    gate.count_down();
    threads.wait();
}

void sleeping_round(std::size_t n, std::chrono::nanoseconds length) {
    thread_per_task threads;
    bench::for_all(threads, n, [&](std::size_t) { std::this_thread::sleep_for(length); });
}

template <class Tasks>
bench::figure scale_figure(const char* work, const Tasks& tasks, const bench::scale_shape& shape,
                           const std::vector<double>& values) {
    bench::figure f = bench::figure_of(work, tasks, values, "ns");
    f.extra.emplace_back("goroutines", static_cast<double>(shape.n));
    return f;
}

template <class Tasks>
std::vector<bench::figure> measure_ready(const bench::settings& s) {
    const bench::scale_shape shape(s);
    Tasks tasks(bench::computing_threads);
    ready_round(tasks, shape.n);
    return {scale_figure("scale_ready", tasks, shape,
                         bench::per_task(shape, 0, [&] { ready_round(tasks, shape.n); }))};
}

std::vector<bench::figure> measure_parked(const bench::settings& s) {
    const bench::scale_shape shape(s);
    parked_round(1, [] {});
    const double before = bench::process_now().resident_mib;
    double height = before;
    parked_round(shape.n, [&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));  // for those between the count and the park
        height = bench::process_now().resident_mib;
    });
    const auto values = bench::per_task(shape, 0, [&] { parked_round(shape.n, [] {}); });
    bench::figure f = scale_figure("scale_parked", thread_per_task(), shape, values);
    f.extra.emplace_back("bytes", (height - before) * 1024 * 1024 / static_cast<double>(shape.n));
    return {f};
}

std::vector<bench::figure> measure_sleeping(const bench::settings& s) {
    const bench::scale_shape shape = bench::scale_shape(s).of_sleepers();
    const std::chrono::nanoseconds length(bench::sleep_ns(shape.n));
    sleeping_round(shape.n, length);
    const auto values = bench::per_task(shape, static_cast<double>(length.count()),
                                        [&] { sleeping_round(shape.n, length); });
    return {scale_figure("scale_sleeping", thread_per_task(), shape, values)};
}

template <class Tasks>
struct register_for {
    register_for() {
        using bench::register_workload;
        register_workload({{"spawn"}, Tasks::subject, measure_spawn<Tasks>});
        register_workload({{"wait_group"}, Tasks::subject, measure_wait_group<Tasks>});
        register_workload({{"mutex_contended"}, Tasks::subject, measure_contended<Tasks>});
        register_workload({{"scale_ready"}, Tasks::subject, measure_ready<Tasks>});
    }
};

const register_for<thread_per_task> in_threads;
const bench::register_workload queens_in_threads({{"nqueens"}, thread_per_task::subject, measure_queens});
const bench::register_workload parked_threads({{"scale_parked"}, thread_per_task::subject, measure_parked});
const bench::register_workload sleeping_threads({{"scale_sleeping"}, thread_per_task::subject, measure_sleeping});
const register_for<bench::task_pool> in_pool;
#if HANDOFF_BENCH_HAS_ASIO
const register_for<bench::asio_pool> in_asio;
const bench::register_workload timers({{"sleep_100k"}, bench::asio_pool::subject, measure_timers});
#endif

}  // namespace
