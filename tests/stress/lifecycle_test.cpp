// Runtimes that come and go, from several threads, with goroutines that know each other across runtimes; processors
// that come and go under load; threads tied to goroutines.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <sys/syscall.h>

namespace {

using namespace stress;
using handoff::handoff_policy;

long this_tid() { return ::syscall(SYS_gettid); }

// What all tests here have their goroutines do: a tree of goroutines that sleep, block, yield, compute, tie themselves
// to threads, and count themselves.
struct tally {
    std::atomic<std::uint64_t> begun{0}, ended{0}, moved_while_tied{0};
};

void random_work(tally& t, std::uint64_t id, unsigned depth) {
    t.begun.fetch_add(1, std::memory_order_relaxed);
    rng rnd(id);
    const auto d = std::chrono::microseconds(rnd.between(1, 200));
    for (auto steps = rnd.below(3); steps-- > 0;) {
        switch (rnd.below(8)) {
            case 0: handoff::this_goroutine::sleep_for(d); break;
            case 1: handoff::blocking_call(sleep_in_kernel, d); break;
            case 2: handoff::blocking_call(handoff_policy::immediate, sleep_in_kernel, d / 4); break;
            case 3: handoff::blocking_call(handoff_policy::sysmon, sleep_in_kernel, d / 4); break;
            case 4: compute(d / 10); break;
            case 5: {   // tied, through switches and calls
                handoff::lock_os_thread();
                const long tid = this_tid();
                handoff::this_goroutine::yield();
                if (rnd.one_in(2)) handoff::this_goroutine::sleep_for(d / 4);
                if (rnd.one_in(2)) handoff::blocking_call(handoff_policy::immediate, sleep_in_kernel, d / 8);
                if (rnd.one_in(2)) handoff::go([] {}).join();
                if (this_tid() != tid) t.moved_while_tied.fetch_add(1);
                if (!rnd.one_in(8)) handoff::unlock_os_thread();   // else it takes the thread with it
                break;
            }
            default: handoff::this_goroutine::yield();
        }
    }
    if (depth != 0) {
        std::vector<handoff::join_handle<void>> children;
        for (std::uint64_t i = 0; i < rnd.between(1, 3); ++i)
            children.push_back(handoff::go([&t, id, i, depth] { random_work(t, id * 4 + i + 1, depth - 1); }));
        for (auto& h : children)
            if (rnd.one_in(4)) h.detach();
            else h.join();
    }
    t.ended.fetch_add(1, std::memory_order_relaxed);
}

TEST(Lifecycle, RuntimesComeAndGoConcurrently) {
    constexpr unsigned starters = 4, rounds = pick(100u, 25u, 15u);
    const watchdog dog;
    { handoff::runtime first; }   // what stays for good is there
    const long threads = status_of_process("Threads:");
    const unsigned descriptors = open_descriptors();
    tally t;
    std::vector<std::thread> all;
    for (unsigned s = 0; s < starters; ++s)
        all.emplace_back([&t, s] {
            rng rnd(s);
            for (unsigned r = 0; r < rounds; ++r) {
                handoff::runtime rt({.procs = static_cast<unsigned>(rnd.between(1, 4)),
                                     .idle_thread_timeout = std::chrono::microseconds(rnd.between(0, 2000)),
                                     .spin_before_sleep = std::chrono::microseconds(rnd.below(30))});
                const std::uint64_t trees = rnd.below(12);
                for (std::uint64_t i = 0; i < trees; ++i) {
                    auto h = rt.go([&t, id = rnd()] { random_work(t, id, 3); });
                    if (rnd.one_in(2)) h.join();
                }
                if (rnd.one_in(4)) wait_for_end(rt);
                // Else it ends with goroutines that still run, and waits for them.
            }
        });
    for (auto& thread : all) thread.join();
    EXPECT_EQ(t.begun.load(), t.ended.load());
    EXPECT_EQ(t.moved_while_tied.load(), 0u);
    // A thread that was joined may be visible for a moment longer.
    for (int i = 0; i < 2000 && status_of_process("Threads:") != threads; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(status_of_process("Threads:"), threads);
    EXPECT_EQ(open_descriptors(), descriptors);
}

// A runtime ends while somebody drops the handles of its goroutines, or keeps them longer than it lives.
TEST(Lifecycle, HandlesOutliveTheRuntime) {
    constexpr unsigned rounds = pick(800u, 300u, 300u), handles = 64;
    const watchdog dog;
    unsigned not_done = 0, wrong = 0;
    for (unsigned r = 0; r < rounds; ++r) {
        rng rnd(r);
        auto rt = std::make_unique<handoff::runtime>(handoff::options{.procs = 1 + r % 2});
        std::vector<handoff::join_handle<std::string>> dropped, kept;
        for (unsigned i = 0; i < handles; ++i) {
            dropped.push_back(rt->go([i] { return std::string(i, 'x'); }));
            if (i % 8 == 0) kept.push_back(rt->go([i] { return std::string(i + 100, 'y'); }));
        }
        if (rnd.one_in(2)) wait_for_end(*rt);
        std::atomic<bool> go_on{false};
        std::thread dropper([&] {
            while (!go_on.load()) {
            }
            dropped.clear();
        });
        go_on.store(true);
        if (rnd.one_in(2)) compute(std::chrono::nanoseconds(rnd.below(20'000)));
        rt.reset();
        dropper.join();
        for (unsigned i = 0; i < kept.size(); ++i) {
            not_done += !kept[i].done();
            if (i % 2 == 0) wrong += kept[i].join().size() != i * 8 + 100;
        }
    }
    EXPECT_EQ(not_done, 0u);
    EXPECT_EQ(wrong, 0u);
}

// Goroutines of one runtime join those of another, in both directions; the join is the last thing that one of them
// waits for.
TEST(Lifecycle, JoinsAcrossRuntimes) {
    constexpr unsigned rounds = pick(300u, 100u, 100u), n = 40;
    handoff::runtime lasting({.procs = 3});
    const watchdog dog(&lasting);
    std::atomic<std::uint64_t> sum{0};
    for (unsigned r = 0; r < rounds; ++r) {
        handoff::runtime passing({.procs = 2});
        // The argument ends in the lasting runtime, its waiter in the passing one, which then has nothing left.
        for (unsigned i = 0; i < n; ++i) {
            auto there = lasting.go([i, r] {
                for (unsigned k = 0; k < (i * 7 + r) % 20; ++k) handoff::this_goroutine::yield();
                return i;
            });
            passing.go([&sum, waits_for = std::move(there)]() mutable { sum.fetch_add(waits_for.join()); });
        }
        // And back: spawned here by a goroutine of the other.
        if (r % 3 == 0)
            lasting.run([&] { sum.fetch_add(passing.go([] { return handoff::go([] { return 1u; }).join(); }).join()); });
        // A goroutine may end a runtime as well.
        if (r % 5 == 0)
            lasting.run([] {
                handoff::runtime inner({.procs = 1});
                inner.run([] { handoff::this_goroutine::sleep_for(100us); });
            });
    }
    EXPECT_EQ(sum.load(), rounds * (n * (n - 1) / 2) + (rounds + 2) / 3);
}

TEST(Lifecycle, ForeignThreadsSpawnAndJoin) {
    constexpr unsigned threads = 6, rounds = pick(3000u, 1000u, 400u);
    handoff::runtime rt({.procs = 2});
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> sum{0};
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; ++t)
        all.emplace_back([&rt, &sum, t] {
            rng rnd(t);
            std::vector<handoff::join_handle<unsigned>> open;
            for (unsigned i = 0; i < rounds; ++i) {
                open.push_back(rt.go([i] {
                    if (i % 16 == 0) handoff::this_goroutine::yield();
                    return i;
                }));
                if (rnd.one_in(8)) {
                    std::swap(open[rnd.below(open.size())], open.back());
                    sum.fetch_add(open.back().join());
                    open.pop_back();
                }
            }
            for (auto& h : open) sum.fetch_add(h.join());
        });
    for (auto& thread : all) thread.join();
    EXPECT_EQ(sum.load(), std::uint64_t{threads} * rounds * (rounds - 1) / 2);
    EXPECT_EQ(wait_for_end(rt).spawned, std::uint64_t{threads} * rounds);
}

// ---- The number of processors changes ---------------------------------------------------------------------------------

TEST(SetProcs, ChangesUnderLoad) {
    constexpr unsigned changes = pick(300u, 150u, 100u);
    handoff::runtime rt({.procs = 4});
    const watchdog dog(&rt);
    tally t;
    std::atomic<bool> stop{false};
    std::vector<std::thread> feeders;
    for (unsigned f = 0; f < 2; ++f)
        feeders.emplace_back([&, f] {
            rng rnd(f);
            std::vector<handoff::join_handle<void>> open;
            while (!stop.load()) {
                open.push_back(rt.go([&t, id = rnd()] { random_work(t, id, 4); }));
                if (open.size() == 16) {
                    for (auto& h : open) h.join();
                    open.clear();
                }
            }
        });
    rng rnd(99);
    unsigned last = 4;
    for (unsigned i = 0; i < changes; ++i) {
        last = static_cast<unsigned>(rnd.between(1, 16));
        if (rnd.one_in(4)) rt.run([&rt, last] { rt.set_procs(last); });   // from inside
        else rt.set_procs(last);
        if (rnd.one_in(2)) compute(std::chrono::microseconds(rnd.below(2000)));
        if (i % 16 == 0) {
            const auto snapshot = rt.snapshot();   // holds together while everything moves
            EXPECT_LE(snapshot.processors.size(), 16u);
        }
    }
    stop.store(true);
    for (auto& thread : feeders) thread.join();
    EXPECT_EQ(rt.procs(), last);
    const handoff::stats s = wait_for_end(rt);
    EXPECT_EQ(t.begun.load(), t.ended.load());
    EXPECT_EQ(t.moved_while_tied.load(), 0u);
    EXPECT_EQ(s.procs, last);
    // Surplus processors go away: of the idle ones, at the latest when the next goroutine has come by.
    while (rt.snapshot().processors.size() != last) rt.run([] {});
}

// Two threads disagree. The last word counts, and both return.
TEST(SetProcs, FromTwoThreadsAtOnce) {
    constexpr unsigned rounds = pick(400u, 200u, 150u);
    handoff::runtime rt({.procs = 16});
    const watchdog dog(&rt);
    for (unsigned r = 0; r < rounds; ++r) {
        std::atomic<int> ready{0};
        const auto set = [&](unsigned n) {
            ready.fetch_add(1);
            while (ready.load() < 2) {
            }
            rt.set_procs(n);
        };
        std::thread other(set, 1);
        set(16);
        other.join();
        const unsigned now = rt.procs();
        EXPECT_TRUE(now == 1 || now == 16);
        std::atomic<unsigned> ran{0};
        rt.run([&ran] {
            auto a = handoff::go([&ran] { ran.fetch_add(1); }), b = handoff::go([&ran] { ran.fetch_add(1); });
            a.join();
            b.join();
        });
        EXPECT_EQ(ran.load(), 2u);
        rt.set_procs(16);
    }
}

// ---- Goroutines tied to threads -----------------------------------------------------------------------------------------

// The one that a tied goroutine waits for runs, however it waits, also on one processor.
TEST(Tied, WaitsForOthers) {
    using wait = std::function<void(const std::atomic<bool>&)>;
    const wait ways[] = {
        [](const std::atomic<bool>& flag) { while (!flag.load()) handoff::this_goroutine::yield(); },
        [](const std::atomic<bool>& flag) { while (!flag.load()) handoff::this_goroutine::sleep_for(10us); },
        [](const std::atomic<bool>& flag) { while (!flag.load()) handoff::blocking_call(sleep_in_kernel, 10us); },
        [](const std::atomic<bool>& flag) {
            while (!flag.load()) handoff::blocking_call(handoff_policy::immediate, sleep_in_kernel, 10us);
        },
        [](const std::atomic<bool>& flag) { while (!flag.load()) sleep_in_kernel(100us); },
        [](const std::atomic<bool>& flag) { while (!flag.load()) handoff::go([] {}).join(); },
    };
    for (const unsigned procs : {1u, 2u}) {
        handoff::runtime rt({.procs = procs});
        const watchdog dog(&rt);
        for (unsigned round = 0; round < 40; ++round)
            for (const wait& way : ways)
                rt.run([&way, round] {
                    std::atomic<bool> flag{false};
                    handoff::lock_os_thread();
                    const long tid = this_tid();
                    auto other = handoff::go([&flag, tid, round] {
                        if (round % 2 == 0) handoff::lock_os_thread();
                        if (round % 3 == 0) handoff::this_goroutine::sleep_for(10us);
                        EXPECT_NE(this_tid(), tid);   // nobody else runs there
                        flag.store(true);
                    });
                    way(flag);
                    EXPECT_EQ(this_tid(), tid);
                    other.join();
                    EXPECT_EQ(this_tid(), tid);
                    handoff::unlock_os_thread();
                });
        EXPECT_EQ(wait_for_end(rt).goroutines, 0u);
    }
}

// Those that end tied take their threads with them, while the monitor looks at what they do.
TEST(Tied, ThreadsEndWithTheirGoroutines) {
    constexpr unsigned n = pick(200u, 100u, 60u);
    handoff::runtime rt({.procs = 2, .retake_running_after = 500us});
    const watchdog dog(&rt);
    std::atomic<unsigned> ended{0};
    rt.run([&ended] {
        std::vector<handoff::join_handle<void>> all;
        for (unsigned i = 0; i < n; ++i)
            all.push_back(handoff::go([&ended, i] {
                rng rnd(i);
                handoff::lock_os_thread();
                if (rnd.one_in(2)) compute(std::chrono::microseconds(rnd.below(2500)));
                else sleep_in_kernel(std::chrono::microseconds(rnd.below(2500)));
                ended.fetch_add(1);
            }));
        for (auto& h : all) h.join();
    });
    EXPECT_EQ(ended.load(), n);
    handoff::stats s = wait_for_end(rt);
    // The last ones are on their way.
    while (s.threads_retired < n || s.threads_created != s.threads + s.threads_retired) s = rt.stats();
    EXPECT_EQ(s.threads_retired, n);
}

}  // namespace
