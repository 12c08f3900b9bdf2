// What a runtime tells about itself: stats, snapshot, dump, and the lines of HANDOFF_DEBUG.
#include "testing.hpp"

#include "debug/report.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"
#include "sched/section.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using handoff::goroutine_info;
using handoff::goroutine_state;
using handoff::processor_state;
using handoff::runtime;
using handoff::thread_state;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

std::map<std::string, goroutine_info> by_name(const handoff::scheduler_snapshot& s) {
    std::map<std::string, goroutine_info> all;
    for (const auto& g : s.goroutines) all[g.who.name] = g;
    return all;
}

std::size_t count(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) ++n;
    return n;
}

// A goroutine that runs and one in a call, which have both processors.
class inspection : public testing::Test {
protected:
    inspection() {
        runs_line_ = __LINE__ + 1;
        add(rt_.go(named("runs"), [&] { block_until([&] { return over_.load(); }); }));
        add(rt_.go(named("calls"), [&] {
            const handoff::syscall_guard g(handoff::handoff_policy::sysmon);
            in_call_ = true;
            block_until([&] { return over_.load(); });
        }));
    }
    // Called once both processors are taken.
    void add_one_that_queues() { add(rt_.go(named("fresh"), [] {})); }
    ~inspection() override {
        over_ = true;
        for (auto& h : handles_) h.join();
    }
    static handoff::spawn_options named(const char* name, handoff::call_site site = handoff::call_site::current()) {
        return {.name = name, .site = site};
    }
    void add(handoff::join_handle<void> h) { handles_.push_back(std::move(h)); }

    std::atomic<bool> over_{false}, in_call_{false};
    unsigned runs_line_ = 0;
    runtime rt_{no_retakes(2)};
    std::vector<handoff::join_handle<void>> handles_;
};

TEST_F(inspection, snapshot_tells_states_and_who_runs_what) {
    ASSERT_EVENTUALLY(in_call_ && by_name(rt_.snapshot())["runs"].state == goroutine_state::running);
    add_one_that_queues();
    const auto s = rt_.snapshot();
    auto gs = by_name(s);
    ASSERT_EQ(s.goroutines.size(), 3u);
    EXPECT_EQ(gs["runs"].state, goroutine_state::running);
    EXPECT_TRUE(gs["runs"].started);
    EXPECT_STREQ(gs["runs"].waits_for, "");
    EXPECT_EQ(gs["runs"].who.created, "inspection_test.cpp:" + std::to_string(runs_line_));
    EXPECT_EQ(gs["calls"].state, goroutine_state::syscall);
    EXPECT_EQ(gs["fresh"].state, goroutine_state::runnable);
    EXPECT_FALSE(gs["fresh"].started);
    EXPECT_EQ(gs["fresh"].thread, -1);
    EXPECT_EQ(s.queued_globally, 1u);

    // Goroutines, threads and processors agree on who runs what.
    ASSERT_EQ(s.processors.size(), 2u);
    std::map<int, handoff::thread_info> ms;
    for (const auto& m : s.threads) EXPECT_TRUE(ms.emplace(m.id, m).second);
    for (const char* name : {"runs", "calls"}) {
        const goroutine_info& g = gs[name];
        ASSERT_EQ(ms.count(g.thread), 1u) << name;
        const auto& m = ms[g.thread];
        EXPECT_EQ(m.goroutine, g.who.id);
        EXPECT_EQ(m.state, g.state == goroutine_state::running ? thread_state::running : thread_state::syscall);
        const auto p = std::find_if(s.processors.begin(), s.processors.end(),
                                    [&](const auto& each) { return each.id == m.processor; });
        ASSERT_NE(p, s.processors.end()) << name;
        EXPECT_EQ(p->thread, m.id);
        EXPECT_EQ(p->state,
                  g.state == goroutine_state::running ? processor_state::running : processor_state::syscall);
    }
    // The threads are the kernel's.
    const auto tids = threads();
    for (const auto& m : s.threads) EXPECT_EQ(std::count(tids.begin(), tids.end(), m.tid), 1) << m.tid;
    EXPECT_EVENTUALLY([&] {   // its thread may have just been made
        const auto now = rt_.snapshot().threads;
        return std::count_if(now.begin(), now.end(), [](const auto& m) { return m.state == thread_state::monitor; });
    }() == 1);
}

TEST_F(inspection, dump_says_what_the_snapshot_says) {
    ASSERT_EVENTUALLY(in_call_ && by_name(rt_.snapshot())["runs"].state == goroutine_state::running);
    add_one_that_queues();
    const auto s = rt_.snapshot();
    std::ostringstream out;
    rt_.dump(out);
    const std::string text = out.str();
    EXPECT_EQ(count(text, "\n  goroutine "), s.goroutines.size()) << text;
    EXPECT_EQ(count(text, "\n  M"), s.threads.size()) << text;
    EXPECT_EQ(count(text, "\n  P"), s.processors.size()) << text;
    EXPECT_EQ(text.find("2 processors, " + std::to_string(s.threads.size()) + " threads, 3 goroutines"), 0u) << text;
    for (const auto& g : s.goroutines)
        EXPECT_NE(text.find(g.who.describe() + ": " + handoff::to_string(g.state)), text.npos) << text;
    for (const auto& m : s.threads)
        EXPECT_NE(text.find("M" + std::to_string(m.id) + ": "), text.npos) << text;
    EXPECT_EQ(count(text, " fresh"), 1u) << text;
}

TEST(inspection_of_waits, names_what_goroutines_wait_for) {
    runtime rt({.procs = 1});
    std::atomic<bool> over{false};
    const auto start = steady::now();
    auto sleeper = rt.go(handoff::spawn_options{.name = "sleeps"}, [&] {
        while (!over) this_goroutine::sleep_for(50ms);
    });
    auto joiner = rt.go(handoff::spawn_options{.name = "joins"}, [&] { sleeper.join(); });
    ASSERT_EVENTUALLY(by_name(rt.snapshot())["joins"].state == goroutine_state::waiting &&
                      by_name(rt.snapshot())["sleeps"].state == goroutine_state::waiting);
    ASSERT_EVENTUALLY([&] {   // it wakes now and then
        const auto s = rt.snapshot();
        const auto gs = by_name(s);
        const auto& sleeps = gs.at("sleeps");
        const auto& joins = gs.at("joins");
        unsigned timers = 0;
        for (const auto& p : s.processors) timers += p.timers;
        return sleeps.waits_for == std::string("sleep") && joins.waits_for == std::string("join") && timers == 1 &&
               sleeps.thread == -1 && joins.started && joins.since + 10ms >= start && joins.since <= steady::now();
    }());
    std::ostringstream out;
    EXPECT_TRUE(eventually([&] {
        out.str("");
        rt.dump(out);
        return out.str().find(": waiting for sleep since ") != std::string::npos;
    })) << out.str();
    EXPECT_NE(out.str().find(": waiting for join since "), std::string::npos) << out.str();
    over = true;
    joiner.join();
}

// Also after a rest, in which the monitor slept as well.
TEST(inspection_of_waits, says_since_when) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer has a thread that wakes now and then";
    runtime rt({.procs = 1});
    rt.run([] {});
    ASSERT_TRUE(all_others_sleep_for(300ms));
    const auto start = steady::now();
    auto sleeper = rt.go([] { this_goroutine::sleep_for(100ms); });
    ASSERT_EVENTUALLY(sleeper.done() || rt.snapshot().goroutines.at(0).state == goroutine_state::waiting);
    const auto s = rt.snapshot();
    const auto now = steady::now();
    if (s.goroutines.empty()) GTEST_SKIP() << "the machine was too busy to look at the goroutine while it slept";
    EXPECT_GE(s.goroutines[0].since + 100ms, start);   // 10 ms on a machine of its own
    EXPECT_LE(s.goroutines[0].since, now);
    sleeper.join();
}

TEST(inspection_of_counts, stats_and_dump_agree) {
    runtime rt({.procs = 2});
    const std::size_t n = scaled(2'000);
    std::atomic<bool> over{false};
    std::vector<handoff::join_handle<void>> all;
    for (std::size_t i = 0; i < n; ++i)
        all.push_back(rt.go([&] {
            while (!over) this_goroutine::sleep_for(20ms);
        }));
    EXPECT_EQ(rt.stats().spawned, n);
    EXPECT_EQ(rt.stats().goroutines, n);
    EXPECT_EQ(rt.snapshot().goroutines.size(), n);
    std::ostringstream out;
    rt.dump(out);
    EXPECT_EQ(count(out.str(), "\n  goroutine "), n);
    std::set<handoff::goroutine_id> ids;
    for (const auto& g : rt.snapshot().goroutines) ids.insert(g.who.id);
    EXPECT_EQ(ids.size(), n);
    over = true;
    for (auto& h : all) h.join();
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
    EXPECT_EVENTUALLY(rt.snapshot().goroutines.empty());
    const auto s = rt.stats();
    EXPECT_GE(s.switches, n);
    EXPECT_GT(s.stacks_mapped, 0u);
    EXPECT_EQ(s.stacks_without_guard, 0u);
    EXPECT_EQ(s.stack_failures, 0u);
    EXPECT_EQ(s.thread_create_failures, 0u);
}

// A name goes with its goroutine, not with the memory.
TEST(inspection_of_counts, names_end_with_their_goroutines) {
    runtime rt({.procs = 1});
    for (int i = 0; i < 300; ++i) rt.go(handoff::spawn_options{.name = "named"}, [] {}).join();
    std::vector<handoff::join_handle<void>> all;
    std::atomic<bool> over{false};
    for (int i = 0; i < 300; ++i)
        all.push_back(rt.go([&] {
            while (!over) this_goroutine::sleep_for(10ms);
        }));
    for (const auto& g : rt.snapshot().goroutines) EXPECT_EQ(g.who.name, "");
    over = true;
    for (auto& h : all) h.join();
}

TEST(inspection_of_counts, threads_are_those_of_the_kernel) {
    const auto before = threads();
    runtime rt({.procs = 3});
    rt.run([] {});
    ASSERT_EVENTUALLY(idle_processors(rt) == 3);
    EXPECT_EVENTUALLY(rt.stats().threads == rt.snapshot().threads.size());   // one may be on its way
    const auto s = rt.stats();
    EXPECT_LE(s.threads, s.threads_created);
    EXPECT_LT(s.threads_idle, s.threads);
    for (const auto& m : rt.snapshot().threads) EXPECT_EQ(std::count(before.begin(), before.end(), m.tid), 0);
    // One that saw work before it was done may take a processor once more, to find nothing.
    EXPECT_EVENTUALLY(std::ranges::all_of(rt.snapshot().threads, [](const auto& m) { return m.goroutine == 0 && m.processor == -1; }));
}

TEST(inspection_of_counts, may_be_asked_for_while_all_changes) {
    runtime rt({.procs = 3});
    std::atomic<bool> over{false};
    std::vector<std::thread> observers;
    for (int t = 0; t < 2; ++t)
        observers.emplace_back([&] {
            while (!over) {
                std::ostringstream out;
                rt.dump(out);
                const auto s = rt.stats();
                EXPECT_LE(s.goroutines, s.spawned);
            }
        });
    rt.run([&] {
        for (std::size_t i = 0; i < scaled(300); ++i) {
            std::vector<handoff::join_handle<void>> all;
            for (int k = 0; k < 20; ++k)
                all.push_back(handoff::go(handoff::spawn_options{.name = "worker"}, [k] {
                    if (k % 3 == 0) this_goroutine::yield();
                    if (k % 3 == 1) this_goroutine::sleep_for(10us);
                    if (k % 3 == 2) handoff::blocking_call(handoff::handoff_policy::immediate, [] {});
                }));
            for (auto& h : all) h.join();
        }
    });
    over = true;
    for (auto& t : observers) t.join();
}

// All counters of a runtime, and those of each bucket.
std::vector<std::uint64_t> counters(const handoff::stats& s) {
    std::vector<std::uint64_t> all{
        s.spawned,         s.switches,        s.steals,          s.stolen,         s.handoffs_sysmon, s.handoffs_immediate,
        s.handoffs_unguarded, s.handoffs_computing, s.retakes_given_up, s.exits_own, s.exits_without,  s.exits_old_idle,
        s.exits_any_idle,  s.exits_queued,    s.ended_without,   s.started_without, s.regains,        s.threads_most,
        s.threads_created, s.threads_retired, s.thread_cap_hits, s.stacks_mapped,  s.stacks_without_guard, s.stack_failures};
    for (const auto* h : {&s.handoff_latency_sysmon, &s.handoff_latency_immediate, &s.handoff_latency_unguarded})
        all.insert(all.end(), h->buckets.begin(), h->buckets.end());
    return all;
}

class counts : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(procs, counts, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

// Calls that keep their processor, that lose it, and with a callback; polled by threads as fast as they can.
TEST_P(counts, never_go_back) {
    runtime rt({.procs = GetParam()});
    std::atomic<bool> over{false};
    std::vector<handoff::join_handle<void>> all;
    for (const auto policy : policies)
        for (int i = 0; i < 2; ++i)
            all.push_back(rt.go([&, policy, i] {
                while (!over) {
                    { const handoff::syscall_guard g(policy); }
                    if (i == 0) handoff::blocking_call([] { this_goroutine::yield(); });
                    handoff::go([] {}).join();
                }
            }));
    std::vector<std::thread> observers;
    for (int t = 0; t < 2; ++t)
        observers.emplace_back([&] {
            auto last = counters(rt.stats());
            for (const auto until = steady::now() + 300ms; steady::now() < until;) {
                const auto s = rt.stats();
                auto now = counters(s);
                for (std::size_t i = 0; i < now.size(); ++i) ASSERT_GE(now[i], last[i]) << "counter " << i;
                ASSERT_LE(s.goroutines, s.spawned);
                ASSERT_GE(s.goroutines, 1u);   // births are never behind ends
                last = std::move(now);
            }
        });
    for (auto& t : observers) t.join();
    over = true;
    for (auto& h : all) h.join();
}

// Also while a call that was not its own one's is half counted (count_call).
TEST(inspected_counts, do_not_go_back_in_the_middle_of_one) {
    runtime rt({.procs = 1});
    rt.run([&] {
        handoff::detail::M* m = handoff::detail::current_m();
        handoff::blocking_call([] {});
        const auto before = rt.stats().exits_own;
        m->calls_not_own.add();
        EXPECT_EQ(rt.stats().exits_own, before);
        handoff::detail::count_call(m);
        EXPECT_EQ(rt.stats().exits_own, before);
    });
}

// However often it was asked meanwhile: how calls have ended adds up.
TEST_P(counts, are_exact_once_all_is_quiet) {
    runtime rt({.procs = GetParam()});
    std::atomic<bool> over{false};
    std::thread observer([&] {
        while (!over) (void)rt.stats();
    });
    std::atomic<std::uint64_t> calls{0};
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 4; ++i)
        all.push_back(rt.go([&] {
            const std::uint64_t n = scaled(20'000);
            for (std::uint64_t k = 0; k < n; ++k) {
                const handoff::syscall_guard g(k % 16 == 0 ? handoff::handoff_policy::immediate : handoff::handoff_policy::sysmon);
            }
            calls += n;
        }));
    for (auto& h : all) h.join();
    over = true;
    observer.join();
    const auto s = rt.stats();
    EXPECT_EQ(s.exits_own + s.exits_without, calls);
}

// Switches are some ten million a second and processor.
static_assert(sizeof(std::declval<handoff::detail::P>().schedtick) == sizeof(handoff::stats::switches));

// A snapshot of many keeps nobody waiting: others come to the scheduler's lock all the while.
TEST(inspection_of_counts, snapshots_let_others_on) {
    runtime rt({.procs = 1});
    const std::size_t n = with_tsan ? 1'000 : scaled(50'000);   // TSan bears 8,128, and takes half a minute for them
    handoff::latch over(1);
    rt.run([&] {
        for (std::size_t i = 0; i < n; ++i) handoff::go(handoff::spawn_options{.name = i % 2 ? "" : "one of many"}, [&] { over.wait(); });
    });
    ASSERT_EVENTUALLY(idle_processors(rt) == 1);
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> spawned{0};
    std::thread spawner([&] {   // from outside: under the lock
        while (!done) {
            rt.go([] {}).join();
            ++spawned;
        }
    });
    // How many others come in that time if they are let on: as many as in the same time without a snapshot, but for what that takes
    // of the cores. Not each time: another process may have these meanwhile.
    int let_on = 0;
    for (int i = 0; i < 9; ++i) {
        const std::uint64_t before = spawned;
        const auto began = steady::now();
        const auto s = rt.snapshot();
        const auto took = steady::now() - began;
        const std::uint64_t beside = spawned - before;
        std::this_thread::sleep_for(took);
        const std::uint64_t alone = spawned - before - beside;
        let_on += beside > alone / 5;
        EXPECT_GE(s.goroutines.size(), n);
        EXPECT_LE(s.goroutines.size(), n + 1);
    }
    EXPECT_GE(let_on, 5);
    done = true;
    spawner.join();
    over.count_down();
}

// A name is never another goroutine's, however fast they follow each other in the same memory.
TEST(inspection_of_counts, snapshots_give_each_its_own_name) {
    runtime rt({.procs = 2});
    std::atomic<bool> over{false};
    const auto spawn_all = [&](int place) {
        while (!over) {
            std::vector<handoff::join_handle<void>> all;
            for (int i = 0; i < 50; ++i) {
                // At a place of its own for each name.
                if (place == 0) all.push_back(rt.go(handoff::spawn_options{.name = "first", .site = {"first.cpp", 1}}, [] { this_goroutine::yield(); }));
                else all.push_back(rt.go(handoff::spawn_options{.name = "other", .site = {"other.cpp", 2}}, [] { this_goroutine::yield(); }));
            }
            for (auto& h : all) h.join();
        }
    };
    std::thread a([&] { spawn_all(0); }), b([&] { spawn_all(1); });
    for (const auto until = steady::now() + 300ms; steady::now() < until;)
        for (const auto& g : rt.snapshot().goroutines) {
            if (g.who.name.empty()) continue;
            EXPECT_EQ(g.who.created, g.who.name == "first" ? "first.cpp:1" : "other.cpp:2");
        }
    over = true;
    a.join();
    b.join();
}

// ---- Text of enumerators and histograms ----------------------------------------------------------------------------

TEST(histogram, quantiles_are_upper_bounds) {
    handoff::histogram h;
    EXPECT_EQ(h.count(), 0u);
    EXPECT_EQ(h.quantile(0.5), 0ns);
    for (int i = 0; i < 90; ++i) ++h.buckets[handoff::histogram::bucket_of(100)];
    for (int i = 0; i < 10; ++i) ++h.buckets[handoff::histogram::bucket_of(5'000'000)];
    EXPECT_EQ(h.count(), 100u);
    EXPECT_EQ(h.quantile(0.5), 128ns);
    EXPECT_EQ(h.quantile(0.9), 128ns);
    EXPECT_GE(h.quantile(0.91), 5ms);
    EXPECT_LE(h.quantile(1), 10ms);
    EXPECT_EQ(handoff::histogram::bucket_of(0), 0u);
    EXPECT_EQ(handoff::histogram::bucket_of(1), 1u);
    EXPECT_EQ(handoff::histogram::bucket_of(UINT64_MAX), 47u);
}

// ---- HANDOFF_DEBUG, in a process of its own ------------------------------------------------------------------------

[[noreturn]] void work_with_debug(const char* debug) {
    ::setenv("HANDOFF_DEBUG", debug, 1);
    {
        runtime rt({.procs = 1});
        pipe_pair pipe;
        auto h = rt.go(handoff::spawn_options{.name = "reader"}, [&] { pipe.read(); });
        block_until([&] { return rt.stats().handoffs_unguarded == 1; });
        rt.run([] { this_goroutine::sleep_for(60ms); });
        pipe.write();
        h.join();
    }
    std::_Exit(0);
}

TEST(debug_output, schedtrace_prints_a_line_now_and_then) {
    EXPECT_EXIT(work_with_debug("schedtrace=10"), testing::ExitedWithCode(0),
                "handoff: [0-9]+ ms: procs=1 idle=[01] threads=[0-9]+ idle_threads=[0-9]+ spinning=[0-9]+ "
                "goroutines=[12] queued=[0-9]+ handoffs=0/0/1/0 switches=[0-9]+ \\[[0-9]+\\]\n(.|\n)*"
                "handoff: [0-9]+ ms: procs=1");
}

TEST(debug_output, scheddetail_adds_all_goroutines) {
    EXPECT_EXIT(work_with_debug("schedtrace=10,scheddetail=1"), testing::ExitedWithCode(0),
                "handoff: [0-9]+ ms: procs=1.*\n"
                "  P0: (.|\n)*"
                "  M[0-9]+: (.|\n)*"
                "  goroutine [0-9]+ \"reader\" \\(inspection_test.cpp:[0-9]+\\): running thread=[0-9]+\n");
}

[[noreturn]] void end_many_unguarded_calls() {
    ::setenv("HANDOFF_DEBUG", "unguarded=1", 1);
    {
        runtime rt({.procs = 1});
        rt.run([] {
            handoff::detail::M* m = handoff::detail::current_m();
            handoff::detail::G* g = m->curg.load(std::memory_order_relaxed);
            for (int i = 0; i < 123; ++i) {
                handoff::detail::unguarded_call_ended(*m->s, g, 0, 1'000'000, SYS_read);
                if (i % 50 == 0) handoff::detail::unguarded_call_ended(*m->s, g, 0, 2'000'000, SYS_write);
            }
        });
    }
    std::_Exit(0);
}

TEST(debug_output, unguarded_calls_of_a_place_are_told_ever_more_rarely) {
    EXPECT_EXIT(end_many_unguarded_calls(), testing::ExitedWithCode(0),
                "^handoff: goroutine [^\n]* blocked 1.0 ms in unguarded read\n"
                "handoff: goroutine [^\n]* blocked 2.0 ms in unguarded write\n"
                "handoff: goroutine [^\n]* blocked 1.0 ms in unguarded read \\(10 times so far\\)\n"
                "handoff: goroutine [^\n]* blocked 1.0 ms in unguarded read \\(100 times so far\\)\n$");
}

TEST(debug_output, unguarded_prints_a_line_for_a_call) {
    EXPECT_EXIT(work_with_debug("unguarded=1"), testing::ExitedWithCode(0),
                "handoff: goroutine [0-9]+ \"reader\" \\(inspection_test.cpp:[0-9]+\\) blocked [0-9.]+ ms in "
                "unguarded read\n");
}

TEST(debug_output, nothing_is_said_without_it) {
    EXPECT_EXIT(work_with_debug(""), testing::ExitedWithCode(0), "^$");
}

}  // namespace
