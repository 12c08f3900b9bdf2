#include "testing.hpp"

#include <algorithm>
#include <mutex>
#include <thread>

using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

TEST(sleep, is_never_early) {
    auto rng = seeded_random("sleep.is_never_early");
    runtime rt({.procs = 2});
    std::vector<handoff::join_handle<void>> all;
    for (std::size_t i = 0; i < scaled(3'000); ++i)
        all.push_back(rt.go([pause = std::chrono::nanoseconds(rng() % 20'000'000)] {
            auto before = steady::now();
            this_goroutine::sleep_for(pause);
            EXPECT_GE(steady::now() - before, pause);
            const auto until = steady::now() + pause / 2;
            this_goroutine::sleep_until(until);
            EXPECT_GE(steady::now(), until);
        }));
    for (auto& h : all) h.join();
}

TEST(sleep, on_a_foreign_thread_blocks_it) {
    for (const std::chrono::nanoseconds pause : {0ns, 1ns, 100'000ns, 5'000'000ns}) {
        const auto before = steady::now();
        this_goroutine::sleep_for(pause);
        EXPECT_GE(steady::now() - before, pause);
    }
    const auto until = steady::now() + 2ms;
    this_goroutine::sleep_until(until);
    EXPECT_GE(steady::now(), until);
    this_goroutine::yield();
}

TEST(sleep, takes_any_duration_and_clock) {
    runtime rt({.procs = 1});
    rt.run([] {
        this_goroutine::sleep_for(-1s);
        this_goroutine::sleep_for(std::chrono::hours::min());
        this_goroutine::sleep_until(steady::time_point::min());
        this_goroutine::sleep_until(steady::now() - 1s);
        this_goroutine::sleep_for(std::chrono::duration<double, std::micro>(0.5));
        const auto until = std::chrono::system_clock::now() + 3ms;
        this_goroutine::sleep_until(until);
        EXPECT_GE(std::chrono::system_clock::now(), until);
    });
    // These sleep for centuries; nobody waits for them.
    static runtime* const left_alone = new runtime({.procs = 1});
    std::vector<handoff::join_handle<void>> all;
    all.push_back(left_alone->go([] { this_goroutine::sleep_for(std::chrono::nanoseconds::max()); }));
    all.push_back(left_alone->go([] { this_goroutine::sleep_for(std::chrono::hours::max()); }));
    all.push_back(left_alone->go([] { this_goroutine::sleep_for(std::chrono::duration<double>(1e300)); }));
    all.push_back(left_alone->go([] { this_goroutine::sleep_until(steady::time_point::max()); }));
    EXPECT_EVENTUALLY([&] {
        const auto s = left_alone->snapshot();
        return std::count_if(s.goroutines.begin(), s.goroutines.end(), [](const auto& g) {
                   return g.state == handoff::goroutine_state::waiting && g.waits_for == std::string("sleep");
               }) == 4;
    }());
    left_alone->run([] { this_goroutine::sleep_for(1ms); });
    for (auto& h : all) EXPECT_FALSE(h.done());
}

// Sleepers wake in the order of their times.
TEST(sleep, wakes_in_order) {
    constexpr int sleepers = 40;
    constexpr auto apart = 10ms;
    runtime rt({.procs = 1});
    std::atomic<int> late{1};
    for (int attempt = 0; attempt < 20 && late != 0; ++attempt) {   // on a busy machine some may come too late
        late = 0;
        std::mutex lock;
        std::vector<int> order;
        std::vector<handoff::join_handle<void>> all;
        const auto start = steady::now() + 50ms;
        for (int i = 0; i < sleepers; ++i) {
            const int which = i * 17 % sleepers;   // each once, in no order
            all.push_back(rt.go([&, which] {
                if (steady::now() > start) ++late;
                this_goroutine::sleep_until(start + which * apart);
                const std::lock_guard hold(lock);
                order.push_back(which);
            }));
        }
        for (auto& h : all) h.join();
        ASSERT_EQ(order.size(), static_cast<std::size_t>(sleepers));
        EXPECT_TRUE(late != 0 || std::is_sorted(order.begin(), order.end()));
    }
    EXPECT_EQ(late, 0);
}

TEST(sleep, many_at_once_all_wake) {
    runtime rt({.procs = 2});
    std::atomic<std::size_t> awake{0};
    const std::size_t n = scaled(20'000);
    std::vector<handoff::join_handle<void>> all;
    for (std::size_t i = 0; i < n; ++i)
        all.push_back(rt.go([&] {
            this_goroutine::sleep_for(10ms);
            ++awake;
        }));
    for (auto& h : all) h.join();
    EXPECT_EQ(awake, n);
}

// Rule 1: a sleeper is woken though its processor's goroutine is busy, blocks or has gone idle.
TEST(sleep, ends_while_the_processor_is_away) {
    for (const bool guarded : {true, false}) {
        runtime rt({.procs = 1});
        std::atomic<bool> woke{false};
        auto sleeper = rt.go([&] {
            this_goroutine::sleep_for(30ms);
            woke = true;
        });
        EXPECT_TRUE(rt.run([&] {
            const auto wait = [&] { return block_until([&] { return woke.load(); }); };
            return guarded ? handoff::blocking_call(handoff::handoff_policy::sysmon, wait) : wait();
        }));
        sleeper.join();
    }
    runtime rt({.procs = 1});
    std::atomic<bool> woke{false};
    auto sleeper = rt.go([&] {
        this_goroutine::sleep_for(30ms);
        woke = true;
    });
    EXPECT_TRUE(rt.run([&] { return compute_until([&] { return woke.load(); }); }));
    sleeper.join();
}

// A shorter sleep that begins later, wherever it begins, is not held up by who waits for a longer one.
TEST(sleep, short_ones_end_before_long_ones) {
    runtime rt({.procs = 3});
    std::atomic<bool> over{false};
    auto sleeper = rt.go([&] {
        while (!over) this_goroutine::sleep_for(1s);
    });
    for (int i = 0; i < 50; ++i) {
        const auto before = steady::now();
        if (i % 5 == 0) {
            ASSERT_EVENTUALLY(idle_processors(rt) == 3);
        }
        rt.run([] { this_goroutine::sleep_for(2ms); });
        EXPECT_LT(steady::now() - before, patience);
    }
    over = true;
    sleeper.join();
}

// Behind a long queue a timer that is due waits in its heap, but not for the queue's end.
TEST(sleep, ends_beside_many_that_yield) {
    runtime rt({.procs = 1});
    rt.run([] {
        std::atomic<int> awake{0};
        constexpr int sleepers = 200;
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < sleepers; ++i)
            all.push_back(handoff::go([&] {
                this_goroutine::sleep_for(1ms);
                ++awake;
            }));
        for (int i = 0; i < 200; ++i)
            all.push_back(handoff::go([&] {
                const auto start = steady::now();
                while (awake < sleepers && steady::now() - start < patience) this_goroutine::yield();
                EXPECT_EQ(awake, sleepers);
            }));
        for (auto& h : all) h.join();
    });
}

TEST(yield, lets_the_others_run_first) {
    runtime rt(no_retakes(1));
    std::vector<int> order;   // plain: one processor
    rt.run([&] {
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 3; ++i)
            all.push_back(handoff::go([&, i] {
                for (int k = 0; k < 4; ++k) {
                    order.push_back(i);
                    this_goroutine::yield();
                }
            }));
        this_goroutine::yield();
        for (auto& h : all) h.join();
    });
    ASSERT_EQ(order.size(), 12u);
    // In turns: each round holds each goroutine once.
    for (std::size_t round = 0; round < 4; ++round) {
        std::vector<int> part(order.begin() + static_cast<std::ptrdiff_t>(3 * round),
                              order.begin() + static_cast<std::ptrdiff_t>(3 * round + 3));
        std::sort(part.begin(), part.end());
        EXPECT_EQ(part, (std::vector<int>{0, 1, 2})) << "round " << round;
    }
}

// One that gives way to nobody else finds it when it looks further; two keep the processor's own queue from running dry.
TEST(yield, lets_goroutines_of_the_global_queue_run) {
    for (unsigned many : {1u, 2u}) {
        runtime rt(no_retakes(1));
        std::atomic<unsigned> spinning{0};
        std::atomic<bool> ran{false};
        std::vector<handoff::join_handle<void>> all;
        for (unsigned i = 0; i < many; ++i)
            all.push_back(rt.go([&] {
                ++spinning;
                while (!ran) this_goroutine::yield();
            }));
        ASSERT_EVENTUALLY(spinning == many);
        rt.go([&] { ran = true; }).join();
        for (auto& h : all) h.join();
    }
}

// Two that wake each other all the time share a slice and do not starve a third.
TEST(yield, pairs_do_not_starve_others) {
    runtime rt(no_retakes(1));
    bool over = false;
    std::uint64_t joins = 0;
    rt.run([&] {
        auto pair = handoff::go([&] {
            while (!over) {
                handoff::go([] {}).join();
                ++joins;
            }
        });
        auto third = handoff::go([&] {
            for (int i = 0; i < 100; ++i) this_goroutine::yield();
            over = true;
        });
        third.join();
        pair.join();
    });
    EXPECT_LT(joins, 100 * 1'000u);
}

}  // namespace
