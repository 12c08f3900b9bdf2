// Calls against the other goroutines: loops of calls start and stop promptly, starve nobody, and what could run in
// parallel does.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>

namespace {

using namespace stress;
using handoff::handoff_policy;

// ---- Goroutines in loops of calls start and stop promptly (Go's TestSyscallLoops) -----------------------------------

struct loop_kind {
    const char* name;
    void (*call)(std::chrono::nanoseconds);
};

const loop_kind kinds[] = {
    {"adaptive", [](std::chrono::nanoseconds d) { handoff::blocking_call(sleep_in_kernel, d); }},
    {"sysmon", [](std::chrono::nanoseconds d) { handoff::blocking_call(handoff_policy::sysmon, sleep_in_kernel, d); }},
    {"immediate",
     [](std::chrono::nanoseconds d) { handoff::blocking_call(handoff_policy::immediate, sleep_in_kernel, d); }},
    // Between the calls it enters the runtime, which may find that its processor has gone.
    {"unguarded",
     [](std::chrono::nanoseconds d) {
         sleep_in_kernel(d);
         handoff::this_goroutine::yield();
     }},
};

class SyscallLoops : public testing::TestWithParam<unsigned> {};

TEST_P(SyscallLoops, StartAndStopPromptly) {
    constexpr unsigned loops = 8;
    const std::chrono::microseconds d(GetParam());
    for (const loop_kind& kind : kinds) {
        handoff::runtime rt({.procs = 2});
        const watchdog dog(&rt);
        std::atomic<unsigned> started{0};
        std::atomic<bool> stop{false};
        std::vector<std::uint64_t> calls(loops, 0);
        times start, end;
        const auto begin = steady::now();
        std::vector<handoff::join_handle<void>> all;
        for (unsigned i = 0; i < loops; ++i)
            all.push_back(rt.go([&, i] {
                started.fetch_add(1);
                while (!stop.load(std::memory_order_relaxed)) {
                    kind.call(d);
                    ++calls[i];
                }
            }));
        while (started.load() != loops) std::this_thread::yield();
        start.add(steady::now() - begin);
        // A goroutine that comes later gets its turn, time and again.
        times turns;
        for (int i = 0; i < 20; ++i) {
            const auto asked = steady::now();
            rt.run([] {});
            turns.add(steady::now() - asked);
        }
        const auto asked = steady::now();
        stop.store(true);
        for (auto& h : all) h.join();
        end.add(steady::now() - asked);
        std::printf("%4lld us, %-9s: started in %.1f ms, stopped in %.1f ms; ", static_cast<long long>(d.count()),
                    kind.name, start.quantile(1), end.quantile(1));
        turns.print("turns");
        EXPECT_LT(start.quantile(1), 2000) << kind.name;
        EXPECT_LT(end.quantile(1), 2000) << kind.name;
        EXPECT_LT(turns.quantile(0.5), 500) << kind.name;
        EXPECT_LT(turns.quantile(1), 2000) << kind.name;
        for (unsigned i = 0; i < loops; ++i) EXPECT_GE(calls[i], 1u) << kind.name << " loop " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Microseconds, SyscallLoops, testing::Values(10u, 100u, 1000u),
                         testing::PrintToStringParamName());

// ---- Loops of quick calls that never park don't starve sleepers -----------------------------------------------------

// Each is one round of a loop that keeps its processor for as long as it is let.
struct busy_kind {
    const char* name;
    void (*round)(int fd);
};

const busy_kind busy_kinds[] = {
    {"write", [](int fd) { EXPECT_EQ(handoff::blocking_call(::write, fd, "x", std::size_t{1}), 1); }},
    {"write, handed off",
     [](int fd) {
         EXPECT_EQ(handoff::blocking_call(handoff_policy::immediate, ::write, fd, "x", std::size_t{1}), 1);
     }},
    // Into the runtime and out again, without a call and without a switch.
    {"lock and unlock",
     [](int) {
         handoff::lock_os_thread();
         handoff::unlock_os_thread();
     }},
    {"spawn and join", [](int fd) { handoff::go([fd] { return ::write(fd, "x", 1); }).join(); }},
};

class BusyLoops : public testing::TestWithParam<unsigned> {};

TEST_P(BusyLoops, DontStarveSleepers) {
    const unsigned procs = GetParam();
    const int fd = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    for (const busy_kind& kind : busy_kinds) {
        handoff::runtime rt({.procs = procs});
        const watchdog dog(&rt);
        std::atomic<bool> stop{false};
        std::vector<handoff::join_handle<void>> loops;
        for (unsigned i = 0; i < procs; ++i)
            loops.push_back(rt.go([&] {
                while (!stop.load(std::memory_order_relaxed)) kind.round(fd);
            }));
        times late;
        rt.run([&] {
            for (int i = 0; i < pick(100, 40, 40); ++i) {
                const auto due = steady::now() + 1ms;
                handoff::this_goroutine::sleep_for(1ms);
                late.add(steady::now() - due);
            }
        });
        stop.store(true);
        for (auto& h : loops) h.join();
        std::printf("%-17s: ", kind.name);
        late.print("lateness of a 1 ms sleeper");
        EXPECT_GE(late.quantile(0), 0) << kind.name;
        EXPECT_LT(late.quantile(0.5), 100) << kind.name;
        // Fifty times what options::retake_running_after gives a loop.
        EXPECT_LT(late.quantile(1), 500) << kind.name;
    }
    ::close(fd);
}

INSTANTIATE_TEST_SUITE_P(Procs, BusyLoops, testing::Values(1u, 2u), testing::PrintToStringParamName());

// ---- Fairness between pairs ------------------------------------------------------------------------------------------

// Two goroutines that wake each other all the time may run ahead of the queue, but not for ever: each pair is one that
// spawns and joins, so that both switches of a round go through the place in front of the queue.
void expect_fair(const char* what, std::uint64_t a, std::uint64_t b) {
    const std::uint64_t more = std::max(a, b), less = std::min(a, b);
    std::printf("%s: %llu and %llu rounds\n", what, static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b));
    EXPECT_GT(less, 0u) << what;
    EXPECT_LT(more, 20 * less) << what;
}

TEST(PingPong, TwoPairsOnOneProcessorStayTogether) {
    constexpr std::uint64_t enough = pick(200'000u, 40'000u, 20'000u);
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    std::uint64_t rounds[2] = {0, 0}, meanwhile = 0;
    std::atomic<bool> stop{false};
    rt.run([&] {
        std::vector<handoff::join_handle<void>> pairs;
        for (auto& n : rounds)
            pairs.push_back(handoff::go([&] {
                while (!stop.load(std::memory_order_relaxed)) {
                    handoff::go([] {}).join();
                    if (++n == enough) stop.store(true);
                }
            }));
        // A third that only yields is not starved either.
        while (!stop.load(std::memory_order_relaxed)) {
            handoff::this_goroutine::yield();
            ++meanwhile;
        }
        for (auto& h : pairs) h.join();
    });
    expect_fair("two pairs of spawn and join", rounds[0], rounds[1]);
    EXPECT_GT(meanwhile, enough / 200) << "turns of a goroutine that yields";
}

// The second pair turns up when the first has been at it for a while.
TEST(PingPong, ALateComerIsServed) {
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> rounds[2] = {0, 0};
    std::atomic<bool> stop{false};
    rt.run([&] {
        const auto play = [&](std::atomic<std::uint64_t>& n) {
            while (!stop.load(std::memory_order_relaxed)) {
                handoff::go([] {}).join();
                n.fetch_add(1, std::memory_order_relaxed);
            }
        };
        auto first = handoff::go([&] { play(rounds[0]); });
        while (rounds[0].load() < 1000) handoff::this_goroutine::yield();
        const std::uint64_t before = rounds[0].load();
        auto second = handoff::go([&] { play(rounds[1]); });
        while (rounds[1].load() < pick(20'000u, 5'000u, 2'000u)) handoff::this_goroutine::yield();
        stop.store(true);
        first.join();
        second.join();
        rounds[0] -= before;
    });
    expect_fair("a late pair", rounds[0], rounds[1]);
}

TEST(PingPong, TwoPairsOfYieldingGoroutines) {
    constexpr std::uint64_t enough = pick(100'000u, 30'000u, 20'000u);
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> turn[2] = {0, 0};   // even: one's, odd: the other's
    std::atomic<bool> stop{false};
    rt.run([&] {
        std::vector<handoff::join_handle<void>> all;
        for (auto& t : turn)
            for (unsigned side : {0u, 1u})
                all.push_back(handoff::go([&t, &stop, side] {
                    while (!stop.load(std::memory_order_relaxed)) {
                        if (t.load(std::memory_order_relaxed) % 2 == side && t.fetch_add(1) + 1 >= enough)
                            stop.store(true);
                        handoff::this_goroutine::yield();
                    }
                }));
        for (auto& h : all) h.join();
    });
    expect_fair("two pairs of yields", turn[0].load(), turn[1].load());
}

// A great many from outside wait in the global queue, more than a processor's own queue holds: nobody goes to its end
// again.
TEST(GlobalQueue, KeepsItsOrder) {
    constexpr unsigned n = pick(20'000u, 10'000u, 5'000u);
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    std::vector<unsigned> order;
    order.reserve(n);
    std::atomic<bool> all_there{false};
    auto hog = rt.go([&all_there] {   // keeps the processor, for as long as it is let
        while (!all_there.load()) {
        }
    });
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < n; ++i)
        all.push_back(rt.go([&order, i] { order.push_back(i); }));   // one processor, so one at a time
    all_there.store(true);
    hog.join();
    for (auto& h : all) h.join();
    ASSERT_EQ(order.size(), n);
    unsigned furthest = 0;
    for (unsigned at = 0; at < n; ++at) furthest = std::max(furthest, order[at] > at ? order[at] - at : at - order[at]);
    std::printf("moved by %u places at most\n", furthest);
    EXPECT_LT(furthest, 2'000u);
}

// ---- What could run in parallel does ---------------------------------------------------------------------------------

// Two goroutines that wait for each other without entering the runtime. They get through with one processor as well,
// once the monitor takes it from the first (handoffs_computing): that it didn't have to is the point.
void meet(unsigned rounds) {
    std::atomic<unsigned> a{0}, b{0};
    const auto follow = [rounds](std::atomic<unsigned>& mine, const std::atomic<unsigned>& other) {
        for (unsigned i = 1; i <= rounds; ++i) {
            mine.store(i, std::memory_order_release);
            while (other.load(std::memory_order_acquire) < i) {
            }
        }
    };
    auto one = handoff::go([&] { follow(a, b); });
    auto two = handoff::go([&] { follow(b, a); });
    one.join();
    two.join();
}

TEST(Parallel, HogsMeetAlsoAfterTheThreadsSlept) {
    constexpr int times_met = 24;
    handoff::runtime rt({.procs = 2});
    const watchdog dog(&rt);
    unsigned with_help = 0;
    for (int i = 0; i < times_met; ++i) {
        const handoff::stats before = rt.stats();
        rt.run([i] {
            // Before: all threads asleep, or one back from a call, or nothing special.
            if (i % 3 == 0) handoff::this_goroutine::sleep_for(15ms);
            if (i % 3 == 1) handoff::blocking_call(handoff_policy::immediate, sleep_in_kernel, 15ms);
            meet(3);
        });
        with_help += rt.stats().handoffs_computing != before.handoffs_computing;
    }
    std::printf("%u of %d meetings needed the monitor\n", with_help, times_met);
    // Some may on a loaded machine, where a thread that was woken waits for its core for more than 10 ms.
    EXPECT_LT(with_help, times_met / 2);
}

// A goroutine comes back from a call: it runs beside the one that computes meanwhile, on the idle processor.
TEST(Parallel, ReturnFromACallFindsTheIdleProcessor) {
    for (const auto policy : {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate}) {
        handoff::runtime rt({.procs = 2});
        const watchdog dog(&rt);
        const pipe_ends pipe;
        for (int i = 0; i < 20; ++i) {
            std::atomic<bool> back{false};
            auto caller = rt.go([&] {
                handoff::blocking_call(policy, [&] { pipe.get(); });
                back.store(true);
            });
            auto hog = rt.go([&] {
                pipe.put();
                while (!back.load()) {
                }
            });
            hog.join();
            caller.join();
        }
        const handoff::stats s = wait_for_end(rt);
        EXPECT_EQ(s.exits_old_idle + s.exits_any_idle + s.exits_queued + s.regains + s.ended_without,
                  s.handoffs_sysmon + s.handoffs_immediate + s.handoffs_computing + s.started_without);
        EXPECT_LT(s.handoffs_computing, 10u);
    }
}

// On one processor the hog can only be ended by the goroutine that it keeps waiting.
TEST(Parallel, AHogOnTheOnlyProcessorIsOvertaken) {
    for (const auto policy : {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate}) {
        handoff::runtime rt({.procs = 1});
        const watchdog dog(&rt);
        const pipe_ends pipe;
        std::atomic<bool> back{false};
        auto caller = rt.go([&] {
            handoff::blocking_call(policy, [&] { pipe.get(); });
            handoff::lock_os_thread();   // until here it needs no processor
            back.store(true);
        });
        auto hog = rt.go([&] {
            pipe.put();
            while (!back.load()) {
            }
        });
        hog.join();
        caller.join();
        EXPECT_GE(rt.stats().handoffs_computing, 1u);
    }
}

}  // namespace
