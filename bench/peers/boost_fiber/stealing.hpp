// The workloads that spread over two threads by themselves, in Boost.Fiber: on its work_stealing scheduler, as it comes
// (a thread without work looks for some, and does not sleep). See fork_join.cpp and scale.cpp in workloads/ for
// what is timed.
#pragma once

#include "../../workloads/fork_join.hpp"
#include "../../workloads/process_stats.hpp"
#include "../../workloads/scale.hpp"
#include "subject.hpp"

#include <boost/context/stack_context.hpp>
#include <boost/fiber/algo/work_stealing.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace peer {

// stealing_workers makes this thread and a second one steal from each other. A process can have it once only: Boost
// keeps the schedulers in an array as long as the number of threads.
class stealing_workers {
public:
    static constexpr unsigned threads = 2;

    stealing_workers() : other_([this] { work(); }) { take_part(); }
    ~stealing_workers() {
        {
            std::lock_guard lock(mutex_);
            stop_ = true;
        }
        stopped_.notify_all();
        other_.join();
    }
    stealing_workers(const stealing_workers&) = delete;
    stealing_workers& operator=(const stealing_workers&) = delete;

private:
    // take_part waits for the other thread to do the same.
    static void take_part() { fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(threads); }

    void work() {
        take_part();
        std::unique_lock lock(mutex_);
        stopped_.wait(lock, [this] { return stop_; });
    }

    fibers::mutex mutex_;
    fibers::condition_variable stopped_;
    bool stop_ = false;  // guarded by mutex_
    std::thread other_;
};

// shared_stacks is Boost's pool of stacks behind a lock, as that pool itself must not be shared. Without it each stack
// would come from malloc and go back to the kernel: most of the time would be spent in page faults.
class shared_stacks {
public:
    boost::context::stack_context allocate() {
        std::lock_guard lock(all().mutex);
        return all().stacks.allocate();
    }
    void deallocate(boost::context::stack_context& stack) noexcept {
        std::lock_guard lock(all().mutex);
        all().stacks.deallocate(stack);
    }

private:
    struct pool {
        std::mutex mutex;
        fibers::pooled_fixedsize_stack stacks{small_stack};  // guarded by mutex
    };
    // For fibers of the end of the process, too, it is never destroyed.
    static pool& all() {
        static pool& one = *new pool;
        return one;
    }
};

// start runs f in a fiber that may move between the threads.
template <class F>
fibers::fiber start(fibers::launch when, F f) {
    return fibers::fiber(when, std::allocator_arg, shared_stacks(), std::move(f));
}

inline void join_all(std::vector<fibers::fiber>& all) {
    for (auto& one : all) one.join();
}

// ---- fib, nqueens. A child runs at once (`dispatch`), and the parent can be stolen meanwhile; with `post` tens of
// thousands of fibers would be there at the same time.

inline unsigned fib(unsigned n) {
    if (n < 2) return n;
    unsigned first = 0;
    fibers::fiber child = start(fibers::launch::dispatch, [&first, n] { first = fib(n - 1); });
    const unsigned second = fib(n - 2);
    child.join();
    return first + second;
}

inline unsigned queens(const bench::board& b) {
    if (b.row == bench::board::forked_rows) return b.solutions();
    std::atomic<unsigned> count{0};
    std::vector<fibers::fiber> placements;
    for (unsigned open = b.free(); open != 0; open &= open - 1) {
        placements.push_back(start(fibers::launch::dispatch, [&count, next = b.with_queen(open & -open)] {
            count.fetch_add(queens(next), std::memory_order_relaxed);
        }));
    }
    join_all(placements);
    return count.load(std::memory_order_relaxed);
}

inline figures measure_fib(const char* work, const bench::settings& s) {
    stealing_workers workers;
    const auto compute = [n = bench::fib_of(s)] {
        unsigned result = 0;
        start(fibers::launch::post, [&result, n] { result = fib(n); }).join();
        bench::check_fib(n, result);
    };
    return {figure_of(work, workers.threads, bench::per_round(s, compute), "ms")};
}

inline figures measure_queens(const char* work, const bench::settings& s) {
    stealing_workers workers;
    const auto place = [n = bench::queens_of(s)] {
        unsigned solutions = 0;
        start(fibers::launch::post, [&solutions, n] { solutions = queens({.n = n}); }).join();
        bench::check_queens(n, solutions);
    };
    return {figure_of(work, workers.threads, bench::per_round(s, place), "ms")};
}

// ---- scale_*. There is no semaphore; the parked ones wait for a condition variable.

template <class AtHeight>
void parked_round(std::size_t n, AtHeight at_height) {
    fibers::mutex mutex;
    fibers::condition_variable opened;
    bool open = false;       // guarded by mutex
    std::size_t parked = 0;  // guarded by mutex
    std::vector<fibers::fiber> all;
    all.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        all.push_back(start(fibers::launch::post, [&] {
            std::unique_lock lock(mutex);
            ++parked;
            opened.wait(lock, [&] { return open; });
        }));
    }
    for (bool all_parked = false; !all_parked;) {
        boost::this_fiber::yield();
        std::lock_guard lock(mutex);
        all_parked = parked == n;
    }
    at_height();
    {
        std::lock_guard lock(mutex);
        open = true;
    }
    opened.notify_all();
    join_all(all);
}

template <class F>
void scale_round(std::size_t n, const F& f) {
    std::vector<fibers::fiber> all;
    all.reserve(n);
    for (std::size_t i = 0; i < n; ++i) all.push_back(start(fibers::launch::post, f));
    join_all(all);
}

inline void ready_round(std::size_t n) {
    scale_round(n, [] {
        for (int k = 0; k < 3; ++k) boost::this_fiber::yield();
    });
}

inline void sleeping_round(std::size_t n, std::chrono::nanoseconds length) {
    scale_round(n, [length] { boost::this_fiber::sleep_for(length); });
}

inline bench::figure scale_figure(const char* work, const bench::scale_shape& shape,
                                  const std::vector<double>& values) {
    bench::figure f = figure_of(work, stealing_workers::threads, values, "ns");
    f.extra.emplace_back("goroutines", static_cast<double>(shape.n));
    return f;
}

inline figures scale_parked(const char* work, const bench::settings& s) {
    const bench::scale_shape shape(s);
    stealing_workers workers;
    parked_round(1, [] {});
    const double before = bench::process_now().resident_mib;
    double height = before;
    parked_round(shape.n, [&] { height = bench::process_now().resident_mib; });
    const auto values = bench::per_task(shape, 0, [&] { parked_round(shape.n, [] {}); });
    bench::figure f = scale_figure(work, shape, values);
    f.extra.emplace_back("bytes", (height - before) * 1024 * 1024 / static_cast<double>(shape.n));
    return {f};
}

inline figures scale_ready(const char* work, const bench::settings& s) {
    const bench::scale_shape shape(s);
    stealing_workers workers;
    ready_round(shape.n);
    return {scale_figure(work, shape, bench::per_task(shape, 0, [&] { ready_round(shape.n); }))};
}

inline figures scale_sleeping(const char* work, const bench::settings& s) {
    const bench::scale_shape shape = bench::scale_shape(s).of_sleepers();
    const std::chrono::nanoseconds length(bench::sleep_ns(shape.n));
    stealing_workers workers;
    sleeping_round(shape.n, length);
    const auto values = bench::per_task(shape, static_cast<double>(length.count()),
                                        [&] { sleeping_round(shape.n, length); });
    return {scale_figure(work, shape, values)};
}

}  // namespace peer
