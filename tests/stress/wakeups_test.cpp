// No lost wake-up. Each round hands over one piece of work while the runtime is on its way into some kind of idleness,
// and waits for it without a time limit: a lost one ends in the watchdog, with a dump.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>

#include <fstream>
#include <string>

namespace {

using namespace stress;
using handoff::handoff_policy;

// Runtimes that idle in different ways: threads that spin, that sleep at once, that leave.
struct idle_kind {
    const char* name;
    std::chrono::nanoseconds spin, timeout;
};

const idle_kind idle_kinds[] = {
    {"spins", 100us, 10s},
    {"sleeps at once", 0ns, 10s},
    {"leaves", 0ns, 0ns},
    {"spins and leaves", 5us, 30us},
};

handoff::options options_of(unsigned procs, const idle_kind& kind) {
    handoff::options o;
    o.procs = procs;
    o.spin_before_sleep = kind.spin;
    o.idle_thread_timeout = kind.timeout;
    return o;
}

// A pause of random length, mostly near the time that the way into idleness takes.
void pause(rng& rnd) {
    switch (rnd.below(4)) {
        case 0: break;
        case 1: compute(std::chrono::nanoseconds(rnd.below(3'000))); break;
        case 2: compute(std::chrono::nanoseconds(rnd.below(40'000))); break;
        default:
            if (rnd.one_in(8)) sleep_in_kernel(std::chrono::nanoseconds(rnd.below(100'000)));
            else if (rnd.one_in(100)) sleep_in_kernel(25ms);   // until the monitor sleeps deeply
    }
}

class Wakeups : public testing::TestWithParam<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Procs, Wakeups, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

TEST_P(Wakeups, FromAForeignThread) {
    constexpr unsigned rounds = pick(800u, 500u, 300u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime rt(options_of(GetParam(), kind));
        const watchdog dog(&rt);
        rng rnd(GetParam());
        for (unsigned i = 0; i < rounds; ++i) {
            std::atomic<bool> ran{false};
            auto h = rt.go([&ran] { ran.store(true); });
            if (i % 2 == 0) h.join();   // asleep on a futex
            else while (!ran.load()) std::this_thread::yield();
            pause(rnd);
        }
    }
}

TEST_P(Wakeups, FromSeveralForeignThreads) {
    constexpr unsigned threads = 3, rounds = pick(800u, 400u, 300u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime rt(options_of(GetParam(), kind));
        const watchdog dog(&rt);
        std::atomic<unsigned> ran{0};
        std::vector<std::thread> all;
        for (unsigned t = 0; t < threads; ++t)
            all.emplace_back([&, t] {
                rng rnd(t * 100 + GetParam());
                for (unsigned i = 0; i < rounds; ++i) {
                    rt.run([&ran] { ran.fetch_add(1, std::memory_order_relaxed); });
                    pause(rnd);
                }
            });
        for (auto& thread : all) thread.join();
        EXPECT_EQ(ran.load(), threads * rounds);
    }
}

// A goroutine spawns for other processors and then keeps its own without entering the runtime. The child can only run
// elsewhere: at once if another processor is idle, and else when the monitor has taken this one (handoffs_computing).
TEST_P(Wakeups, OfIdleProcessorsFromABusyOne) {
    constexpr unsigned rounds = pick(800u, 400u, 200u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime rt(options_of(GetParam(), kind));
        const watchdog dog(&rt);
        const unsigned n = GetParam() == 1 ? rounds / 100 : rounds;
        rt.run([&, n] {
            rng rnd(GetParam());
            for (unsigned i = 0; i < n; ++i) {
                std::atomic<unsigned> ran{0};
                const auto children = static_cast<unsigned>(rnd.between(1, GetParam()));
                for (unsigned k = 0; k < children; ++k) handoff::go([&ran] { ran.fetch_add(1); });
                while (ran.load() != children) {
                }
                if (rnd.one_in(4)) handoff::this_goroutine::yield();
                else pause(rnd);
            }
        });
        const handoff::stats s = wait_for_end(rt);
        std::printf("P=%u, %-16s: %u rounds, %llu helped by the monitor\n", GetParam(), kind.name, n,
                    static_cast<unsigned long long>(s.handoffs_computing));
        if (GetParam() != 1) {
            // A few are fair: a thread that was woken may have to wait for its core.
            EXPECT_LT(s.handoffs_computing, n / 10) << kind.name;
        }
    }
}

// asleep says whether the kernel has the thread wait for something.
bool asleep(pid_t tid) {
    std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/stat");
    std::string all;
    std::getline(file, all);
    const auto name_ends = all.rfind(") ");
    return name_ends != std::string::npos && all[name_ends + 2] == 'S';
}

// stalled says whether a goroutine waits in a queue while a processor is idle and no thread is on its way to it: all but
// the caller's are asleep. (One that was the monitor and has taken a processor, or one that was woken, may wait for a core.)
bool stalled(const handoff::runtime& rt) {
    const handoff::scheduler_snapshot now = rt.snapshot();
    bool idle = false, waits = now.queued_globally != 0;
    for (const auto& p : now.processors) {
        idle |= p.thread < 0;
        waits |= p.queued != 0;
    }
    unsigned awake = 0;
    for (const auto& t : now.threads) awake += !asleep(t.tid);
    return idle && waits && awake == 1 && now.threads.size() == rt.stats().threads;
}

// Two goroutines on one processor, one of which yields to the other, which computes: whatever the idle processor saw
// of the queue, it has to take the one that yielded. Seen by the one that computes.
TEST(Yield, LeavesItsPlaceToAnotherProcessor) {
    handoff::runtime rt({.procs = 2});
    const watchdog dog(&rt);
    std::atomic<unsigned> stalls{0}, rounds{0};
    rt.run([&] {
        rng rnd(1);
        // On a loaded machine a round takes milliseconds.
        for (const auto end = steady::now() + 2500ms; rounds.load() < 5'000 && steady::now() < end; rounds.fetch_add(1)) {
            std::atomic<bool> back{false};
            auto hog = handoff::go([&] {
                unsigned seen = 0;
                for (auto next = steady::now() + 2ms; !back.load();) {
                    if (steady::now() < next) continue;
                    seen = stalled(rt) ? seen + 1 : 0;
                    if (seen == 2) stalls.fetch_add(1);
                    next = steady::now() + 1ms;
                }
            });
            if (rnd.one_in(2)) compute(std::chrono::nanoseconds(rnd.below(5'000)));
            handoff::this_goroutine::yield();
            back.store(true);
            hog.join();
            if (rnd.one_in(3)) compute(std::chrono::nanoseconds(rnd.below(60'000)));
        }
    });
    std::printf("%u of %u rounds stalled\n", stalls.load(), rounds.load());
    EXPECT_EQ(stalls.load(), 0u);
}

// Chains: each goroutine wakes the next one, of another runtime, and the processors fall asleep in between.
TEST_P(Wakeups, BackAndForthBetweenRuntimes) {
    constexpr unsigned rounds = pick(2'000u, 800u, 400u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime here(options_of(GetParam(), kind)), there(options_of(1, kind));
        const watchdog dog(&here);
        const unsigned sum = here.run([&] {
            rng rnd(GetParam());
            unsigned n = 0;
            for (unsigned i = 0; i < rounds; ++i) {
                n += there.go([] { return 1u; }).join();
                if (rnd.one_in(4)) pause(rnd);
            }
            return n;
        });
        EXPECT_EQ(sum, rounds);
    }
}

// ---- Timers -------------------------------------------------------------------------------------------------------------

TEST_P(Wakeups, SleepsEndAndAreNeverEarly) {
    constexpr unsigned sleepers = 16, rounds = pick(100u, 50u, 30u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime rt(options_of(GetParam(), kind));
        const watchdog dog(&rt);
        std::atomic<unsigned> early{0};
        times late;
        std::mutex lock;
        std::vector<handoff::join_handle<void>> all;
        for (unsigned s = 0; s < sleepers; ++s)
            all.push_back(rt.go([&, s] {
                rng rnd(s);
                for (unsigned i = 0; i < rounds; ++i) {
                    const auto d = std::chrono::nanoseconds(rnd.one_in(10) ? rnd.below(5'000'000) : rnd.below(100'000));
                    const auto due = steady::now() + d;
                    if (rnd.one_in(2)) handoff::this_goroutine::sleep_for(d);
                    else handoff::this_goroutine::sleep_until(due);
                    const auto now = steady::now();
                    if (now < due) early.fetch_add(1);
                    if (rnd.one_in(16)) compute(std::chrono::nanoseconds(rnd.below(50'000)));
                    const std::lock_guard hold(lock);
                    late.add(now - due);
                }
            }));
        for (auto& h : all) h.join();
        EXPECT_EQ(early.load(), 0u);
        std::printf("P=%u, %-16s: ", GetParam(), kind.name);
        late.print("lateness");
        EXPECT_LT(late.quantile(0.5), 100) << kind.name;
    }
}

// One sleeper, and nothing else: every wake-up comes from a runtime that is idle.
TEST_P(Wakeups, ALoneSleeperIsWoken) {
    constexpr unsigned rounds = pick(250u, 150u, 100u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime rt(options_of(GetParam(), kind));
        const watchdog dog(&rt);
        const unsigned early = rt.run([] {
            rng rnd(7);
            unsigned n = 0;
            for (unsigned i = 0; i < rounds; ++i) {
                const auto due = steady::now() + std::chrono::nanoseconds(rnd.one_in(50) ? 12ms : 1ns * rnd.below(300'000));
                handoff::this_goroutine::sleep_until(due);
                n += steady::now() < due;
            }
            return n;
        });
        EXPECT_EQ(early, 0u);
    }
}

// Sleepers come from outside in no order, so that ever nearer timers have to change the mind of whoever keeps the time.
TEST_P(Wakeups, NearerTimersComeLater) {
    constexpr unsigned rounds = pick(15u, 10u, 8u);
    for (const idle_kind& kind : idle_kinds) {
        handoff::runtime rt(options_of(GetParam(), kind));
        const watchdog dog(&rt);
        for (unsigned i = 0; i < rounds; ++i) {
            rng rnd(i);
            std::vector<handoff::join_handle<bool>> all;
            for (int k = 10; k > 0; --k) {
                all.push_back(rt.go([k] {
                    const auto due = steady::now() + k * 500us;
                    handoff::this_goroutine::sleep_until(due);
                    return steady::now() >= due;
                }));
                if (rnd.one_in(2)) pause(rnd);
            }
            for (auto& h : all) EXPECT_TRUE(h.join());
        }
    }
}

// The processor that has the timers is with a goroutine that blocks until one of the sleepers wakes it: nothing here
// ends unless timers fire meanwhile.
TEST_P(Wakeups, TimersFireWhileTheirProcessorIsBlocked) {
    constexpr unsigned rounds = pick(12u, 8u, 6u);
    using wait = void (*)(const pipe_ends&);
    struct way {
        const char* name;
        wait read;
    };
    const way ways[] = {
        {"adaptive", [](const pipe_ends& p) { handoff::blocking_call([&] { p.get(); }); }},
        {"sysmon", [](const pipe_ends& p) { handoff::blocking_call(handoff_policy::sysmon, [&] { p.get(); }); }},
        {"immediate", [](const pipe_ends& p) { handoff::blocking_call(handoff_policy::immediate, [&] { p.get(); }); }},
        {"unguarded", [](const pipe_ends& p) { p.get(); }},
        {"computing",
         [](const pipe_ends& p) {
             ::fcntl(p.fd[0], F_SETFL, O_NONBLOCK);
             while (!p.get()) {
             }
         }},
    };
    for (const way& w : ways) {
        handoff::runtime rt(options_of(GetParam(), idle_kinds[0]));
        const watchdog dog(&rt);
        for (unsigned i = 0; i < rounds; ++i)
            rt.run([&w, i] {
                const pipe_ends pipe;
                // As many blockers as sleepers on this processor; each sleeper frees one.
                std::vector<handoff::join_handle<void>> all;
                for (unsigned k = 0; k <= i % 3; ++k)
                    all.push_back(handoff::go([&pipe, k] {
                        handoff::this_goroutine::sleep_for(k * 300us + 200us);
                        pipe.put();
                    }));
                handoff::this_goroutine::yield();   // they sleep now, here or stolen
                for (unsigned k = 0; k <= i % 3; ++k) w.read(pipe);
                for (auto& h : all) h.join();
            });
        EXPECT_EQ(wait_for_end(rt).goroutines, 0u) << w.name;
    }
}

}  // namespace
