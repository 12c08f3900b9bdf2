// Where the tasks of a program without coroutines run: on a thread each (std_thread), on a plain pool of fixed size as
// people write it (thread_pool), or on Boost.Asio's pool (asio). All three have the same members, so that a workload is
// written once for them:
//
//   subject      the name in the figures
//   T(n)         has n threads; thread_per_task has as many as there are tasks
//   threads()    that number; of thread_per_task that of the cores
//   post(f)      has f run; a task may call it, too, but a task of thread_per_task must not
//
// A task must not throw, nor wait for another task: in a pool that other task may be queued behind those that wait.
#pragma once

#include "../../workloads/figures.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>
#include <type_traits>

#if __has_include(<boost/asio/thread_pool.hpp>)
#define HANDOFF_BENCH_HAS_ASIO 1
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/version.hpp>
#endif

namespace bench {

// What experienced people give a pool: as many threads as there are cores for the workloads that compute (here the two
// that every runtime gets), many more for calls that block.
constexpr unsigned computing_threads = 2;
constexpr unsigned blocking_threads = 64;

// thread_per_task joins its threads at the end of its life, or in wait().
class thread_per_task {
public:
    static constexpr const char* subject = "std_thread";

    explicit thread_per_task(unsigned = 0) {}
    ~thread_per_task() { wait(); }
    thread_per_task(const thread_per_task&) = delete;
    thread_per_task& operator=(const thread_per_task&) = delete;

    static unsigned threads() { return std::thread::hardware_concurrency(); }

    template <class F>
    void post(F f) {
        try {
            all_.emplace_back(std::move(f));
        } catch (const std::system_error& e) {
            throw std::system_error(e.code(), "thread " + std::to_string(all_.size() + 1));
        }
    }

    void wait() {
        for (auto& t : all_) t.join();
        all_.clear();
    }

private:
    std::vector<std::thread> all_;
};

// task_pool runs what was posted to its end before it goes.
class task_pool {
public:
    static constexpr const char* subject = "thread_pool";

    explicit task_pool(unsigned threads) {
        try {
            for (unsigned i = 0; i < threads; ++i) all_.emplace_back([this] { work(); });
        } catch (...) {
            stop();
            throw;
        }
    }
    ~task_pool() { stop(); }
    task_pool(const task_pool&) = delete;
    task_pool& operator=(const task_pool&) = delete;

    unsigned threads() const { return static_cast<unsigned>(all_.size()); }

    template <class F>
    void post(F f) {
        {
            std::lock_guard lock(mutex_);
            tasks_.emplace_back(std::move(f));
        }
        changed_.notify_one();
    }

private:
    void work() {
        for (;;) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
            if (tasks_.empty()) return;
            const std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
        }
    }

    void stop() {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        for (auto& t : all_) t.join();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> tasks_;  // guarded by mutex_
    bool stopping_ = false;                    // guarded by mutex_
    std::vector<std::thread> all_;             // immutable after the constructor
};

#if HANDOFF_BENCH_HAS_ASIO
class asio_pool {
public:
    static constexpr const char* subject = "asio";

    explicit asio_pool(unsigned threads) : threads_(threads), pool_(threads) {}
    ~asio_pool() { pool_.join(); }
    asio_pool(const asio_pool&) = delete;
    asio_pool& operator=(const asio_pool&) = delete;

    unsigned threads() const { return threads_; }
    auto executor() { return pool_.get_executor(); }

    template <class F>
    void post(F f) {
        boost::asio::post(pool_, std::move(f));
    }

private:
    unsigned threads_;
    boost::asio::thread_pool pool_;
};
#endif

// first_failure keeps the first exception that tasks caught, for whoever waits for them.
class first_failure {
public:
    template <class F>
    void guard(F f) noexcept {
        try {
            f();
        } catch (...) {
            std::lock_guard lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
    }
    // rethrow is for when the tasks have ended.
    void rethrow() const {
        if (failure_) std::rethrow_exception(failure_);
    }

private:
    std::mutex mutex_;
    std::exception_ptr failure_;  // guarded by mutex_
};

// for_all has f(i) run as a task for each i below n, waits for their ends, and throws what one of them threw.
template <class Tasks, class F>
void for_all(Tasks& tasks, std::size_t n, const F& f) {
    first_failure failure;
    std::latch ended(static_cast<std::ptrdiff_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
        tasks.post([&f, &ended, &failure, i] {
            failure.guard([&] { f(i); });
            ended.count_down();
        });
    }
    ended.wait();
    failure.rethrow();
}

// Whoever starts a thread per task joins them.
template <class F>
void for_all(thread_per_task&, std::size_t n, const F& f) {
    first_failure failure;
    {
        thread_per_task threads;
        for (std::size_t i = 0; i < n; ++i) threads.post([&f, &failure, i] { failure.guard([&] { f(i); }); });
    }
    failure.rethrow();
}

// repeat has step() run again and again until it returns false, and counts `ended` down then. What a coroutine does in
// a loop that yields is in a pool a task that posts itself again.
template <class Tasks, class Step>
void repeat(Tasks& tasks, Step step, std::latch& ended) {
    tasks.post([&tasks, step = std::move(step), &ended]() mutable {
        if (step()) repeat(tasks, std::move(step), ended);
        else ended.count_down();
    });
}

template <class Step>
void repeat(thread_per_task& threads, Step step, std::latch& ended) {
    threads.post([step = std::move(step), &ended]() mutable {
        while (step()) std::this_thread::yield();
        ended.count_down();
    });
}

// procs_of is how many of its threads can run at the same time.
template <class Tasks>
unsigned procs_of(const Tasks& tasks) {
    return std::min(tasks.threads(), std::thread::hardware_concurrency());
}

// about adds to a figure what there is to know of where the tasks ran.
template <class Tasks>
figure about(const Tasks& tasks, figure f) {
    if constexpr (!std::is_same_v<Tasks, thread_per_task>) f.extra.emplace_back("pool_threads", tasks.threads());
#if HANDOFF_BENCH_HAS_ASIO
    if constexpr (std::is_same_v<Tasks, asio_pool>) f.extra.emplace_back("version", BOOST_VERSION / 100);
#endif
    return f;
}

// figure_of is the median of what was measured, and its spread.
template <class Tasks>
figure figure_of(const char* work, const Tasks& tasks, const std::vector<double>& values, const char* unit) {
    return about(tasks, {work, Tasks::subject, procs_of(tasks), median(values), unit, spread_of(values)});
}

}  // namespace bench
