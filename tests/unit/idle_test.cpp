// README, promise 6: a process that only waits burns no processor time. And threads: those that idle leave,
// those that can't be had are reported (rule 8).
#include "testing.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <system_error>
#include <thread>
#include <unistd.h>

using handoff::handoff_policy;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// Switches to the runtime's threads; a sanitizer's own are no concern.
std::uint64_t switches_of(const runtime& rt) {
    const auto all = context_switches();
    std::uint64_t n = 0;
    for (const auto& m : rt.snapshot().threads)
        if (const auto it = all.find(m.tid); it != all.end()) n += it->second;
    return n;
}

// others: threads from before the runtime, as of runtimes that other tests have left alone, where one may leave just now.
void expect_no_switch_for_two_seconds(const runtime& rt, const std::map<pid_t, std::uint64_t>& others) {
    // Threads come to rest one after the other. A wake-up now and then would be seen by one of both looks.
    ASSERT_TRUE(eventually([&] {
        const auto before = switches_of(rt);
        std::this_thread::sleep_for(300ms);
        return switches_of(rt) == before;
    }));
    const auto threads_before = rt.stats().threads;
    const auto before = context_switches();
    const auto of_ours = switches_of(rt);
    std::this_thread::sleep_for(2s);
    EXPECT_EQ(switches_of(rt), of_ours);
    EXPECT_EQ(rt.stats().threads, threads_before);
    if (with_sanitizer) return;
    auto after = context_switches();
    for (const auto& [tid, n] : before) {
        if (others.count(tid) != 0) continue;
        EXPECT_EQ(after[tid], n) << "thread " << tid;
    }
}

TEST(idle, runtime_sleeps) {
    const auto others = context_switches();
    runtime rt({.procs = 4, .idle_thread_timeout = 1h});
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 200; ++i)
        all.push_back(rt.go([] {
            this_goroutine::sleep_for(1ms);
            handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(1000); });
            this_goroutine::yield();
        }));
    for (auto& h : all) h.join();
    expect_no_switch_for_two_seconds(rt, others);
    EXPECT_EQ(rt.run([] { return 1; }), 1);   // and wakes
}

TEST(idle, runtime_sleeps_while_its_goroutines_wait) {
    // One sleeps for a minute, one is in a call, one waits for that. The runtime is never destroyed: that would wait
    // for the minute to be over.
    static const auto others = context_switches();
    static runtime* const left_alone = new runtime({.procs = 2, .idle_thread_timeout = 1h});
    pipe_pair pipe;
    auto sleeper = left_alone->go([] { this_goroutine::sleep_for(60s); });
    auto reader = left_alone->go([&] { return handoff::blocking_call([&] { return pipe.read(); }); });
    auto joiner = left_alone->go([&] { reader.join(); });
    expect_no_switch_for_two_seconds(*left_alone, others);
    EXPECT_FALSE(sleeper.done());
    EXPECT_FALSE(joiner.done());
    pipe.write();
    joiner.join();
    sleeper.detach();
}

// Who waits for a timer looks at the clock now and then, but not all the time: also where one follows the other closely,
// and where they come from two processors.
TEST(idle, waiting_for_timers_costs_little) {
    runtime rt({.procs = 2});
    std::vector<handoff::join_handle<void>> all;
    const auto until = steady::now() + 1s;
    const auto cpu = process_cpu_time();
    for (const auto pause : {1ms, 3ms, 7ms})
        all.push_back(rt.go([until, pause] {
            while (steady::now() < until) this_goroutine::sleep_for(pause);
        }));
    for (auto& h : all) h.join();
    EXPECT_LT(process_cpu_time() - cpu, with_sanitizer ? 900ms : 400ms);
}

TEST(idle, threads_leave_after_their_timeout) {
    runtime rt({.procs = 2, .idle_thread_timeout = 50ms});
    const auto many_threads = [&] {
        std::atomic<int> inside{0};
        std::vector<handoff::join_handle<bool>> all;
        for (int i = 0; i < 20; ++i)
            all.push_back(rt.go([&] {
                return handoff::blocking_call(handoff::handoff_policy::immediate, [&] {
                    ++inside;
                    return block_until([&] { return inside == 20; });
                });
            }));
        for (auto& h : all) EXPECT_TRUE(h.join());
    };
    const std::size_t others = threads().size() - rt.stats().threads;
    for (int round = 0; round < 3; ++round) {
        const auto retired = rt.stats().threads_retired;
        many_threads();
        EXPECT_GE(rt.stats().threads + rt.stats().threads_retired - retired, 21u);
        EXPECT_EVENTUALLY(rt.stats().threads <= 3);   // as many as processors, and the monitor
        EXPECT_GE(rt.stats().threads_retired, retired + 18);
        EXPECT_EVENTUALLY(threads().size() <= others + 3);
        std::this_thread::sleep_for(150ms);
        EXPECT_EQ(rt.stats().threads, 3u) << "the last ones stay";
        EXPECT_EQ(rt.run([] { return 1; }), 1);
    }
    const auto s = rt.stats();
    EXPECT_EQ(s.threads_created - s.threads_retired, 3u);
}

TEST(idle, threads_stay_until_their_timeout) {
    runtime rt({.procs = 1, .idle_thread_timeout = 1h});
    std::atomic<int> inside{0};
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 10; ++i)
        all.push_back(rt.go([&] {
            handoff::blocking_call(handoff::handoff_policy::immediate, [&] {
                ++inside;
                block_until([&] { return inside == 10; });
            });
        }));
    for (auto& h : all) h.join();
    const auto threads_then = rt.stats().threads;
    EXPECT_GE(threads_then, 11u);
    EXPECT_TRUE(all_others_sleep_for(200ms) || with_sanitizer);
    EXPECT_EQ(rt.stats().threads, threads_then);
    EXPECT_EQ(rt.stats().threads_retired, 0u);
}

TEST(idle, threads_leave_that_set_procs_made_surplus) {
    runtime rt({.procs = 8, .idle_thread_timeout = 50ms});
    std::atomic<int> here{0};
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 8; ++i)
        all.push_back(rt.go([&] {
            ++here;
            block_until([&] { return here == 8; });
        }));
    for (auto& h : all) h.join();
    rt.set_procs(1);
    EXPECT_TRUE(eventually([&] { return rt.stats().threads <= 2; }, 5s)) << rt.stats().threads << " threads";
}

// ---- Rule 8: threads that can't be had -----------------------------------------------------------------------------

// At the cap a processor waits, with its work, until a thread comes back.
TEST(thread_cap, work_waits_for_a_thread) {
    constexpr unsigned cap = 4;
    runtime rt({.procs = 1, .max_threads = cap});
    pipe_pair pipe;
    std::atomic<unsigned> inside{0};
    std::vector<handoff::join_handle<ssize_t>> readers;
    for (unsigned i = 0; i < 2 * cap; ++i)
        readers.push_back(rt.go([&] {
            return handoff::blocking_call([&] {
                ++inside;
                return pipe.read();
            });
        }));
    ASSERT_EVENTUALLY(inside == cap - 1);   // all but the monitor
    auto waits = rt.go([] { return 5; });
    EXPECT_EVENTUALLY(rt.stats().thread_cap_hits > 0);
    EXPECT_LE(rt.stats().threads, cap);
    EXPECT_FALSE(waits.done());
    pipe.write(2 * cap);
    EXPECT_EQ(waits.join(), 5);
    for (auto& r : readers) EXPECT_EQ(r.join(), 1);
    EXPECT_EQ(inside, 2 * cap);
    EXPECT_LE(rt.stats().threads_created, cap);
}

// Rule 6 at the cap: whoever tries again for a thread does so now and then.
TEST(thread_cap, waiting_costs_next_to_nothing) {
    runtime rt({.procs = 1, .max_threads = 3});
    pipe_pair pipe;
    std::vector<handoff::join_handle<ssize_t>> readers;
    for (int i = 0; i < 3; ++i)
        readers.push_back(rt.go([&] { return handoff::blocking_call([&] { return pipe.read(); }); }));
    ASSERT_EVENTUALLY(rt.stats().thread_cap_hits > 0);
    const auto hits = rt.stats().thread_cap_hits;
    const auto cpu = process_cpu_time();
    std::this_thread::sleep_for(1s);
    EXPECT_LT(process_cpu_time() - cpu, 100ms);
    EXPECT_LT(rt.stats().thread_cap_hits - hits, 5'000u);
    pipe.write(3);
    for (auto& r : readers) r.join();
}

// Makes short calls until that holds; false after `patience`.
template <class F>
bool call_until(handoff_policy policy, F&& holds) {
    const auto start = steady::now();
    while (!holds()) {
        if (steady::now() - start > patience) return false;
        handoff::blocking_call(policy, [] { ::usleep(200); });
    }
    return true;
}

// At the cap nobody takes the processor while a call lasts. The thread that comes back from it has to.
TEST(thread_cap, calls_in_a_row_let_others_run) {
    for (const handoff_policy policy : policies) {
        runtime rt({.procs = 1, .max_threads = 2});
        rt.run([&] {
            std::atomic<bool> ran{false};
            auto other = handoff::go([&] { ran = true; });
            EXPECT_TRUE(call_until(policy, [&] { return ran.load(); }));
            other.join();
        });
    }
}

// One thread is left, and makes calls; the other has left work, or a timer, on a processor of its own.
template <class Leave>
void beside_a_blocked_thread(handoff_policy policy, Leave leave_behind) {
    runtime rt({.procs = 2, .max_threads = 3, .unguarded_grace = 1h, .retake_running_after = 1h});
    pipe_pair pipe;
    std::atomic<bool> blocked{false}, done{false};
    rt.run([&] {
        auto reader = handoff::go([&] {
            leave_behind(done);
            handoff::blocking_call(handoff_policy::immediate, [&] {
                blocked = true;
                pipe.read();
            });
        });
        compute_until([&] { return blocked.load(); });   // it can only run on the other processor
        EXPECT_TRUE(call_until(policy, [&] { return done.load(); }));
        pipe.write();
        reader.join();
    });
}

TEST(thread_cap, work_of_a_processor_without_thread_is_done) {
    for (const handoff_policy policy : policies)
        beside_a_blocked_thread(policy, [](auto& done) { handoff::go([&] { done = true; }).detach(); });
}

// Where whoever has a processor will look, even if it never runs out of work of its own.
TEST(thread_cap, work_that_waits_for_a_thread_is_in_the_global_queue) {
    runtime rt({.procs = 1, .max_threads = 2});
    pipe_pair pipe;
    std::atomic<bool> blocked{false};
    auto reader = rt.go([&] {
        auto waits = handoff::go([] {});
        handoff::blocking_call(handoff_policy::immediate, [&] {
            blocked = true;
            pipe.read();
        });
        waits.join();
    });
    ASSERT_EVENTUALLY(blocked);
    EXPECT_EVENTUALLY(rt.snapshot().queued_globally == 1);
    pipe.write();
    reader.join();
}

TEST(thread_cap, timers_of_a_processor_without_thread_fire) {
    for (const handoff_policy policy : policies)
        beside_a_blocked_thread(policy, [](auto& done) {
            handoff::go([&] {
                this_goroutine::sleep_for(5ms);
                done = true;
            }).detach();
            this_goroutine::yield();   // until it sleeps
        });
}

bool work_waits_when_threads_fail() {
    runtime rt({.procs = 1});
    rt.run([] {});
    if (!forbid_threads()) return false;
    pipe_pair pipe;
    std::vector<handoff::join_handle<ssize_t>> readers;
    for (int i = 0; i < 4; ++i)
        readers.push_back(rt.go([&] { return handoff::blocking_call([&] { return pipe.read(); }); }));
    auto waits = rt.go([] { return 5; });
    if (!eventually([&] { return rt.stats().thread_create_failures > 0; })) return false;
    if (rt.stats().thread_create_errno != EAGAIN) return false;
    const auto cpu = process_cpu_time();
    std::this_thread::sleep_for(500ms);
    if (process_cpu_time() - cpu > 100ms) return false;
    pipe.write(4);
    for (auto& r : readers) r.join();
    return waits.join() == 5;
}

TEST(thread_shortage, work_waits_for_a_thread) { EXPECT_IN_CHILD(work_waits_when_threads_fail(), ""); }

bool constructor_throws_when_threads_fail() {
    if (!forbid_threads()) return false;
    const auto mappings = mapping_count();
    for (int i = 0; i < 20; ++i) {
        try {
            const runtime rt({.procs = 2});
            return false;
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::resource_unavailable_try_again) return false;
            if (std::string(e.what()).find("handoff: ") != 0) return false;
        }
    }
    return threads().size() == 1 && mapping_count() < mappings + 10;
}

TEST(thread_shortage, constructor_throws) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer has a thread of its own";
    EXPECT_IN_CHILD(constructor_throws_when_threads_fail(), "");
}

}  // namespace
