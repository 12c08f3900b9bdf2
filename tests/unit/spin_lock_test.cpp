// spin_lock: who waits for long lets go of his core, first for others of his priority, then for all.
#include "testing.hpp"

#include <handoff/detail/spin_lock.hpp>

#include <mutex>
#include <thread>

using handoff::detail::spin_lock;
using namespace handoff_test;

namespace {

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

}  // namespace
