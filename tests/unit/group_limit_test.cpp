// Task groups: limits, results, arguments, timed waits, deadlines with stop tokens. And wait_group::go.
#include "testing.hpp"

#include <handoff/channel.hpp>
#include <handoff/runtime.hpp>
#include <handoff/simulation.hpp>
#include <handoff/task_group.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>

using handoff::cancelled;
using handoff::channel;
using handoff::deadline_exceeded;
using handoff::join_handle;
using handoff::runtime;
using handoff::simulation;
using handoff::spawn_options;
using handoff::task_group;
using handoff::usage_error;
using handoff::wait_group;
using namespace std::chrono_literals;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class group_limits : public testing::TestWithParam<unsigned> {
protected:
    template <class F>
    void everywhere(F f) {
        f();
        rt_.run(f);
    }
    int unhandled() const { return unhandled_; }

    std::atomic<int> unhandled_{0};
    runtime rt_{{.procs = GetParam(), .on_unhandled_exception = [this](const auto&, auto) { ++unhandled_; }}};
};
INSTANTIATE_TEST_SUITE_P(procs, group_limits, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

TEST_P(group_limits, bound_what_runs_at_once) {
    everywhere([&] {
        for (const std::size_t limit : {1u, 3u}) {
            std::atomic<std::size_t> running{0}, most{0}, done{0};
            task_group g(rt_);
            g.limit(limit);
            for (int i = 0; i < 50; ++i)
                g.go([&] {
                    const std::size_t now = ++running;
                    for (std::size_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
                    }
                    this_goroutine::yield();
                    --running;
                    ++done;
                });
            g.wait();
            EXPECT_LE(most, limit);
            EXPECT_EQ(done, 50u);
        }
    });
}

TEST_P(group_limits, are_seen_by_try_go) {
    everywhere([&] {
        task_group g(rt_);
        EXPECT_TRUE(g.try_go([] {})) << "no limit";
        g.wait();
        g.limit(2);
        const channel<int> go_on(0);
        auto first = g.try_go([go_on] { return *go_on.recv(); });
        ASSERT_TRUE(first);
        EXPECT_TRUE(g.try_go([go_on] { go_on.recv(); }));
        bool called = false;
        EXPECT_FALSE(g.try_go([&] { called = true; }));
        EXPECT_THROW(g.limit(3), usage_error) << "while they run";
        EXPECT_FALSE(g.try_go([](int) {}, 1));
        EXPECT_FALSE(g.try_go(spawn_options{.name = "x"}, [](int) {}, 1));
        go_on.send(5);
        go_on.send(5);
        EXPECT_EQ(first->join(), 5);
        g.wait();
        EXPECT_EQ(g.try_go([](int n) { return n; }, 1)->join(), 1);
        EXPECT_EQ(g.try_go(spawn_options{.name = "x"}, [](int n) { return n; }, 2)->join(), 2);
        g.wait();
        EXPECT_TRUE(g.try_go([] {}));
        g.wait();
        EXPECT_FALSE(called);
        EXPECT_THROW(g.limit(0), usage_error);
        g.limit(1);
    });
}

// go() waits for a place. The end of its group, or of the caller's group, ends that wait.
TEST_P(group_limits, waits_for_a_place_end_with_the_group) {
    rt_.run([&] {
        const channel<int> never(0);
        {
            task_group g;
            g.limit(1);
            g.go([never] { never.recv(); });
            auto canceller = handoff::go([&] { g.cancel(); });
            bool called = false;
            auto late = g.go([&] { called = true; });
            EXPECT_THROW(late.join(), cancelled);
            EXPECT_FALSE(called);
            canceller.join();
            g.wait();
        }
        {
            task_group outer;
            std::atomic<bool> thrown{false};
            const channel<int> started(0);
            outer.go([&] {
                task_group g;
                g.limit(1);
                g.go([never] { never.recv(); });
                started.send(1);
                try {
                    for (;;) g.go([never] { never.recv(); });
                } catch (const handoff::error&) {   // cancelled, or go() of a group that was cancelled
                    thrown = true;
                    throw;
                }
            });
            started.recv();
            outer.cancel();
            outer.wait();
            EXPECT_TRUE(thrown);
        }
    });
}

TEST_P(group_limits, are_given_back_by_those_who_fail) {
    everywhere([&] {
        for (int round = 0; round < 3; ++round) {
            task_group g(rt_);
            g.limit(1);
            g.go([] { throw std::runtime_error("one"); });
            g.go([] {});
            EXPECT_THROW(g.wait(), std::runtime_error);
        }
    });
    EXPECT_EQ(unhandled(), 0) << "their group tells of them";
}

// ---- Results and arguments ------------------------------------------------------------------------------------------------

TEST_P(group_limits, children_return_results) {
    everywhere([&] {
        task_group g(rt_);
        join_handle<int> number = g.go([] { return 7; });
        join_handle<std::string> text = g.go([](std::string s, int n) { return s + std::to_string(n); }, "a", 5);
        join_handle<std::unique_ptr<int>> moved =
            g.go(spawn_options{.name = "maker"}, [](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3));
        int object = 0;
        join_handle<int&> reference = g.go([&]() -> int& { return object; });
        join_handle<std::atomic<int>> pinned = g.go([] { return std::atomic<int>(1); });
        EXPECT_EQ(number.join(), 7);
        EXPECT_EQ(text.join(), "a5");
        EXPECT_EQ(*moved.join(), 3);
        EXPECT_EQ(&reference.join(), &object);
        g.wait();
    });
}

TEST_P(group_limits, failures_reach_handle_and_group) {
    everywhere([&] {
        task_group g(rt_);
        auto bad = g.go([]() -> int { throw std::logic_error("bad"); });
        EXPECT_THROW(bad.join(), std::logic_error);
        EXPECT_THROW(g.wait(), std::logic_error);
    });
    EXPECT_EQ(unhandled(), 0) << "nobody else is told";
}

TEST_P(group_limits, those_not_run_say_that_they_were_cancelled) {
    everywhere([&] {
        task_group g(rt_);
        g.cancel();
        bool called = false;
        auto late = g.go([&] { return called = true; });
        EXPECT_THROW(late.join(), cancelled);
        EXPECT_FALSE(called);
        g.wait();
    });
    EXPECT_EQ(unhandled(), 0);
}

TEST_P(group_limits, handles_outlive_their_group) {
    everywhere([&] {
        join_handle<int> kept;
        {
            task_group g(rt_);
            kept = g.go([] { return 4; });
            g.wait();
        }
        EXPECT_EQ(kept.join(), 4);
    });
}

// ---- Timed waits, deadline and token ----------------------------------------------------------------------------------------

TEST_P(group_limits, waits_have_time_limits) {
    everywhere([&] {
        task_group g(rt_);
        const channel<int> go_on(0);
        g.go([go_on] { go_on.recv(); });
        EXPECT_FALSE(g.wait_for(1ms));
        EXPECT_FALSE(g.wait_until(std::chrono::system_clock::now() + 1ms));
        EXPECT_FALSE(g.cancelled());
        go_on.send(1);
        EXPECT_TRUE(g.wait_for(1h));
        EXPECT_TRUE(g.wait_until(std::chrono::steady_clock::now()));
        g.go([] { throw std::runtime_error("x"); });
        EXPECT_THROW(g.wait_for(1h), std::runtime_error);
    });
}

// As wait(): who is cancelled waits until the group, which is cancelled with it, has ended.
TEST_P(group_limits, timed_waits_are_not_cancelled) {
    rt_.run([&] {
        task_group outer;
        const channel<int> started(0);
        std::atomic<bool> ended{false}, waited{false};
        outer.go([&] {
            task_group g;
            g.go([&] {
                const handoff::cancellation_blocker not_now;
                started.send(1);
                started.recv();
                this_goroutine::sleep_for(1ms);
                ended = true;
            });
            try {
                (void)g.wait_for(1h);
            } catch (const cancelled&) {
                waited = ended.load();
            }
        });
        started.recv();
        outer.cancel();
        started.send(1);
        outer.wait();
        EXPECT_TRUE(waited);
    });
}

TEST_P(group_limits, have_a_deadline_and_a_token) {
    everywhere([&] {
        const channel<int> never(0);
        std::stop_source stop;
        {
            task_group g(rt_, 1ms, stop.get_token());
            g.go([never] { never.recv(); });
            EXPECT_THROW(g.wait(), deadline_exceeded);
        }
        {
            task_group g(rt_, std::chrono::steady_clock::now() + 1h, stop.get_token());
            g.go([never] { never.recv(); });
            handoff::request_stop(stop);
            try {
                g.wait();
                ADD_FAILURE();
            } catch (const deadline_exceeded&) {
                ADD_FAILURE();
            } catch (const cancelled&) {
            }
        }
    });
    rt_.run([] {
        std::stop_source stop;
        stop.request_stop();
        task_group a(1h, stop.get_token()), b(std::chrono::system_clock::now() + 1h, stop.get_token());
        EXPECT_TRUE(a.cancelled());
        EXPECT_TRUE(b.cancelled());
    });
}

TEST(group_limits_in_simulations, hold) {
    for (std::uint64_t seed = 0; seed < 200; ++seed)
        simulation(seed).run([] {
            int running = 0, done = 0;
            task_group g(1h);
            g.limit(2);
            for (int i = 0; i < 6; ++i)
                g.go([&] {
                    EXPECT_LE(++running, 2);
                    this_goroutine::sleep_for(1s);
                    --running;
                    ++done;
                });
            g.wait();
            EXPECT_EQ(done, 6);
        });
}

// ---- wait_group::go -----------------------------------------------------------------------------------------------------------

TEST_P(group_limits, wait_groups_start_goroutines) {
    rt_.run([&] {
        wait_group w;
        std::atomic<int> sum{0};
        w.go([&] { ++sum; });
        w.go([&](int n, const std::unique_ptr<int>& p) { sum += n + *p; }, 10, std::make_unique<int>(100));
        w.go(spawn_options{.name = "x"}, [&] { sum += 1000; });
        w.wait();
        EXPECT_EQ(sum, 1111);
        // The count goes down also where the function fails.
        w.go([] { throw std::runtime_error("x"); });
        w.wait();
        EXPECT_EVENTUALLY(unhandled() == 1);
    });
}

}  // namespace
