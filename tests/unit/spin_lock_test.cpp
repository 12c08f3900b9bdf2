// spin_lock and backoff: who waits for long lets go of his core, first for others of his priority, then for all.
#include "testing.hpp"

#include "os/backoff.hpp"

#include <handoff/detail/spin_lock.hpp>
#include <handoff/runtime.hpp>

#include <chrono>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <thread>

namespace os = handoff::os;
using handoff::detail::spin_lock;
using namespace handoff_test;

namespace {

void pin_to_one_core() {
    cpu_set_t allowed, one;
    ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; ++i)
        if (CPU_ISSET(i, &allowed)) {
            CPU_SET(i, &one);
            break;
        }
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
}

TEST(spin_lock, excludes) {
    spin_lock lock;
    unsigned long n = 0;   // under the lock
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int k = 0; k < 10'000; ++k) {
                const std::lock_guard hold(lock);
                ++n;
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(n, 40'000u);
}

// Its holder may have lost its core to the very thread that waits.
TEST(spin_lock, sleeps_if_it_is_held_for_long) {
    spin_lock lock;
    std::atomic<pid_t> tid{0};
    lock.lock();
    std::thread waits([&] {
        tid = this_tid();
        lock.lock();
        lock.unlock();
    });
    EXPECT_EVENTUALLY(tid != 0 && asleep(tid));
    lock.unlock();
    waits.join();
}

// The same of every loop that waits for another thread.
TEST(backoff, spins_yields_and_sleeps) {
    os::backoff b;
    const auto sleeps_in = [&b](unsigned pauses) {
        rusage before{}, after{};
        ::getrusage(RUSAGE_THREAD, &before);
        const auto began = std::chrono::steady_clock::now();
        for (unsigned i = 0; i < pauses; ++i) b.pause();
        const auto took = std::chrono::steady_clock::now() - began;
        ::getrusage(RUSAGE_THREAD, &after);
        // A sleep is as long as it is at least; a yield may be as long as it likes, but is no voluntary switch. A sleep is none
        // either where the thread lost its core before the kernel put it to sleep, and the time was over when it came back.
        return after.ru_nvcsw - before.ru_nvcsw >= 10 && took >= 20 * std::chrono::nanoseconds(os::backoff::sleep_ns);
    };
    EXPECT_FALSE(sleeps_in(os::backoff::spins_a_round - 1));
    sleeps_in(os::backoff::spins_a_round * os::backoff::yields);
    EXPECT_TRUE(sleeps_in(os::backoff::spins_a_round * 20));
}

// A real-time thread that only yields keeps its core from the threads that it waits for, until the kernel stops it for using
// 95 % of a second.
TEST(backoff, lets_threads_of_a_lower_priority_on) {
    bool real_time = false;
    long used_ms = 0;
    std::thread([&] {
        pin_to_one_core();   // the runtime's threads as well
        handoff::options o;
        o.procs = 2;
        auto rt = std::make_unique<handoff::runtime>(o);
        rt->run([] {});
        const sched_param lowest{.sched_priority = 1};
        real_time = ::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &lowest) == 0;
        if (!real_time) return;
        rusage before{}, after{};
        ::getrusage(RUSAGE_THREAD, &before);
        rt.reset();
        ::getrusage(RUSAGE_THREAD, &after);
        const auto ms = [](const timeval& t) { return t.tv_sec * 1'000 + t.tv_usec / 1'000; };
        used_ms = ms(after.ru_utime) + ms(after.ru_stime) - ms(before.ru_utime) - ms(before.ru_stime);
    }).join();
    if (!real_time) GTEST_SKIP() << "it takes the right to real-time priorities";
    EXPECT_LT(used_ms, 500);
}

}  // namespace
