// What the tests of locks share: numbers of processors, who waits for what, and crowds of goroutines and threads.
#pragma once

#include "testing.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <type_traits>

namespace handoff_test {

// A suite that runs with 1, 2 and 4 processors. `other_` is a second runtime of as many.
class with_procs : public testing::TestWithParam<unsigned> {
protected:
    handoff::runtime rt_{{.procs = GetParam()}};
    handoff::runtime other_{{.procs = GetParam()}};
};
#define INSTANTIATE_WITH_PROCS(suite) \
    INSTANTIATE_TEST_SUITE_P(procs, suite, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName())

// How many of rt's goroutines wait for `what`, as snapshot() calls it.
inline std::size_t waiting(const handoff::runtime& rt, std::string_view what) {
    const handoff::scheduler_snapshot s = rt.snapshot();
    return static_cast<std::size_t>(std::count_if(s.goroutines.begin(), s.goroutines.end(), [&](const auto& g) {
        return g.state == handoff::goroutine_state::waiting && what == g.waits_for;
    }));
}

// crowd runs functions on goroutines of several runtimes and on threads, and waits for them.
class crowd {
public:
    crowd() = default;
    ~crowd() { join(); }
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;

    template <class F>
    void go(handoff::runtime& rt, F f) {
        goroutines_.push_back(rt.go(std::move(f)));
    }
    // thread returns a place where the new thread has left its kernel id once f is about to be called.
    template <class F>
    const std::atomic<pid_t>& thread(F f) {
        auto& tid = *tids_.emplace_back(std::make_unique<std::atomic<pid_t>>(0));
        threads_.emplace_back([f = std::move(f), &tid]() mutable {
            tid = this_tid();
            f();
        });
        return tid;
    }
    // starts on a goroutine, or a thread.
    template <class F>
    void start(handoff::runtime& rt, bool on_thread, F f) {
        if (on_thread) thread(std::move(f));
        else go(rt, std::move(f));
    }
    // Every thread started so far sleeps in the kernel.
    bool threads_sleep() const {
        return std::all_of(tids_.begin(), tids_.end(), [](const auto& t) { return *t != 0 && asleep(*t); });
    }
    void join() {
        for (auto& g : goroutines_) g.join();
        for (auto& t : threads_) t.join();
        goroutines_.clear();
        threads_.clear();
        tids_.clear();
    }

private:
    std::vector<handoff::join_handle<void>> goroutines_;
    std::vector<std::thread> threads_;
    std::vector<std::unique_ptr<std::atomic<pid_t>>> tids_;
};

// on_both calls f on a goroutine of rt, and on this thread, where groups and timers that it makes are the default runtime's.
template <class F>
void on_both(handoff::runtime& rt, F f) {
    {
        SCOPED_TRACE("on a goroutine");
        rt.run([&] { f(); });
    }
    SCOPED_TRACE("on a thread");
    handoff::default_runtime();
    f();
}

// critical finds out whether two are inside at once, without any order of its own but for the counters'.
class critical {
public:
    void enter() noexcept {
        if (inside_.fetch_add(1, std::memory_order_relaxed) != 0) ++collisions_;
        ++entries_;
    }
    void leave() noexcept { inside_.fetch_sub(1, std::memory_order_relaxed); }
    std::size_t entries() const noexcept { return entries_; }
    int collisions() const noexcept { return collisions_; }

private:
    std::atomic<int> inside_{0}, collisions_{0};
    std::size_t entries_ = 0;   // guarded by what is tested: a thread sanitizer sees if it is not
};

// busy stays in user code for a moment that depends on r.
inline void busy(std::uint64_t r) noexcept {
    for (std::uint64_t i = r % 256; i > 0; --i) __asm__ volatile("" ::: "memory");
}

// Calls f, which must take no less than d, and returns its result.
template <class F>
auto never_earlier_than(std::chrono::nanoseconds d, F f) {
    const auto before = steady::now();
    auto result = f();
    EXPECT_GE(steady::now() - before, d);
    return result;
}

// What f throws of type E, as text; empty if it throws nothing.
template <class E, class F>
std::string thrown_by(F f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    }
    return {};
}

}  // namespace handoff_test
