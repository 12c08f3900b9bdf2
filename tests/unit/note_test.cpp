#include "os/clock.hpp"
#include "os/note.hpp"
#include "testing.hpp"

#include <csignal>
#include <memory>
#include <pthread.h>
#include <thread>

using handoff::os::nanotime;
using handoff::os::note;
using namespace handoff_test;

namespace {

constexpr std::int64_t ms = 1'000'000;

TEST(note, wait_after_wake_returns_at_once) {
    note n;
    n.wake();
    n.wait();
    // It is clear again.
    EXPECT_FALSE(n.wait_until(0));
    n.wake();
    EXPECT_TRUE(n.wait_until(0));
}

TEST(note, timeout_is_never_early) {
    note n;
    for (const std::int64_t pause : {ms / 100, ms / 10, ms, 5 * ms}) {
        for (const std::int64_t spin : {std::int64_t{0}, ms / 20}) {
            const std::int64_t deadline = nanotime() + pause;
            EXPECT_FALSE(n.wait_until(deadline, spin));
            EXPECT_GE(nanotime(), deadline);
        }
    }
    n.wake();
    EXPECT_TRUE(n.wait_until(nanotime() + ms));
}

TEST(note, spin_ends_with_the_deadline) {
    note n;
    const std::int64_t began = nanotime();
    EXPECT_FALSE(n.wait_until(began + ms, std::chrono::nanoseconds(30s).count()));
    EXPECT_GE(nanotime(), began + ms);
    EXPECT_LT(nanotime(), began + std::chrono::nanoseconds(20s).count());
    EXPECT_FALSE(n.wait_until(began, ms));   // it has passed
    n.wake();
    EXPECT_TRUE(n.wait_until(began, ms));
}

TEST(note, wake_ends_a_sleep) {
    note n;
    int message = 0;   // plain: the note orders it
    std::atomic<pid_t> tid{0};
    std::thread waiter([&] {
        tid = this_tid();
        n.wait();
        EXPECT_EQ(message, 42);
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    message = 42;
    n.wake();
    waiter.join();
}

TEST(note, wake_ends_a_spin) {
    note n;
    int message = 0;
    std::atomic<bool> about_to{false};
    std::thread waiter([&] {
        about_to = true;
        n.wait(std::chrono::nanoseconds(10s).count());
        EXPECT_EQ(message, 42);
    });
    ASSERT_EVENTUALLY(about_to.load());
    message = 42;
    n.wake();
    waiter.join();
}

TEST(note, ping_pong) {
    note ping, pong;
    int ball = 0;   // plain: the notes order it
    const int rounds = static_cast<int>(scaled(20'000));
    std::thread other([&] {
        for (int i = 0; i < rounds; ++i) {
            ping.wait(i % 2 ? 5'000 : 0);
            ++ball;
            pong.wake();
        }
    });
    for (int i = 0; i < rounds; ++i) {
        ++ball;
        ping.wake();
        pong.wait(i % 3 ? 5'000 : 0);
        ASSERT_EQ(ball, 2 * (i + 1));
    }
    other.join();
}

// The wake-up and the timeout race: each wake-up is seen once, now or by the next wait.
TEST(note, wake_races_with_timeout) {
    auto rng = seeded_random("note.wake_races_with_timeout");
    note n;
    std::atomic<int> round{0}, seen{0};
    const int rounds = static_cast<int>(scaled(10'000));
    int message = 0;
    std::thread waker([&, random = std::mt19937_64(rng())]() mutable {
        for (int i = 1; i <= rounds; ++i) {
            while (round.load() != i) handoff_test::this_tid();
            for (auto spins = random() % 300; spins > 0; --spins) std::atomic_signal_fence(std::memory_order_seq_cst);
            message = i;
            n.wake();
            while (seen.load() != i) handoff_test::this_tid();
        }
    });
    int timeouts = 0;
    for (int i = 1; i <= rounds; ++i) {
        round = i;
        const auto pause = static_cast<std::int64_t>(rng() % 20'000);
        while (!n.wait_until(nanotime() + pause)) ++timeouts;
        ASSERT_EQ(message, i);
        ASSERT_FALSE(n.wait_until(0)) << "one wake-up was seen twice";
        seen = i;
    }
    waker.join();
    RecordProperty("timeouts", timeouts);
}

// wake() is done with the note's memory once the waiter goes on.
TEST(note, memory_may_go_as_soon_as_the_wait_is_over) {
    std::atomic<note*> shared{nullptr};
    const int rounds = static_cast<int>(scaled(10'000));
    std::thread waker([&] {
        for (int i = 0; i < rounds; ++i) {
            note* n;
            while (!(n = shared.exchange(nullptr))) std::this_thread::yield();
            n->wake();
        }
    });
    for (int i = 0; i < rounds; ++i) {
        const auto n = std::make_unique<note>();
        shared = n.get();
        n->wait(i % 2 ? 20'000 : 0);
    }
    waker.join();
}

TEST(note, signals_do_not_end_a_wait) {
    struct sigaction quiet {}, before {};
    static std::atomic<int> delivered{0};
    quiet.sa_handler = [](int) { ++delivered; };   // without SA_RESTART
    ASSERT_EQ(::sigaction(SIGUSR2, &quiet, &before), 0);
    note n;
    std::atomic<pid_t> tid{0};
    std::atomic<bool> woken{false}, over{false};
    std::thread waiter([&] {
        tid = this_tid();
        n.wait();
        EXPECT_TRUE(woken.load());
        const std::int64_t deadline = nanotime() + 20 * ms;
        EXPECT_FALSE(n.wait_until(deadline));
        EXPECT_GE(nanotime(), deadline);
        over = true;
    });
    const pthread_t thread = waiter.native_handle();
    for (int i = 1; i <= 20; ++i) {
        ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
        ::pthread_kill(thread, SIGUSR2);
        ASSERT_EVENTUALLY(delivered.load() == i);
    }
    woken = true;
    n.wake();
    while (!over.load()) {
        ::pthread_kill(thread, SIGUSR2);
        std::this_thread::sleep_for(1ms);
    }
    waiter.join();
    ::sigaction(SIGUSR2, &before, nullptr);
}

}  // namespace
