// runtime::shutdown: what it refuses, for what it waits and for how long, and what it says is left.
#include "locks.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>

using handoff::goroutine_info;
using handoff::goroutine_state;
using handoff::runtime;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

constexpr auto refused = "handoff: go() from outside of a runtime that is shutting down";

const goroutine_info* named(const std::vector<goroutine_info>& all, std::string_view name) {
    const auto it = std::find_if(all.begin(), all.end(), [&](const auto& g) { return g.who.name == name; });
    return it == all.end() ? nullptr : &*it;
}

class shutdowns : public with_procs {};
INSTANTIATE_WITH_PROCS(shutdowns);

TEST_P(shutdowns, say_who_is_left_and_where) {
    pipe_pair pipe;
    handoff::channel<int> ch(0);
    std::atomic<bool> computes{false}, enough{false};
    const unsigned line = __LINE__ + 1;
    rt_.go(handoff::spawn_options{.name = "reads"}, [&] { EXPECT_EQ(handoff::blocking_call([&] { return pipe.read(); }), 1); });
    rt_.go(handoff::spawn_options{.name = "waits"}, [&] { EXPECT_EQ(ch.recv(), 7); });
    ASSERT_EVENTUALLY(waiting(rt_, "receive") == 1);
    ASSERT_EVENTUALLY([&] {
        const auto now = rt_.snapshot().goroutines;
        const goroutine_info* reads = named(now, "reads");
        return reads && reads->state == goroutine_state::syscall;
    }());
    rt_.go(handoff::spawn_options{.name = "computes"}, [&] {
        computes = true;
        EXPECT_TRUE(compute_until([&] { return enough.load(); }));
    });
    ASSERT_TRUE(block_until([&] { return computes.load(); }));

    const auto left = never_earlier_than(20ms, [&] { return rt_.shutdown(20ms); });
    EXPECT_EQ(left.size(), 3u);
    const auto *reads = named(left, "reads"), *waits = named(left, "waits"), *hog = named(left, "computes");
    ASSERT_TRUE(reads && waits && hog);
    EXPECT_EQ(reads->state, goroutine_state::syscall);
    EXPECT_EQ(waits->state, goroutine_state::waiting);
    EXPECT_STREQ(waits->waits_for, "receive");
    EXPECT_TRUE(hog->state == goroutine_state::running || hog->state == goroutine_state::without_processor) << to_string(hog->state);
    EXPECT_EQ(reads->who.created, "shutdown_test.cpp:" + std::to_string(line));
    EXPECT_EQ(waits->who.created, "shutdown_test.cpp:" + std::to_string(line + 1));

    enough = true;
    pipe.write();
    ch.send(7);
    EXPECT_TRUE(rt_.shutdown(patience).empty());
    EXPECT_TRUE(rt_.shutdown(0s).empty());
    EXPECT_EQ(rt_.stats().goroutines, 0u);
}

TEST_P(shutdowns, of_nothing_are_over_at_once) {
    EXPECT_TRUE(rt_.shutdown(patience).empty());
    EXPECT_TRUE(rt_.shutdown(-1s).empty());
    EXPECT_TRUE(rt_.shutdown_until(steady::time_point::min()).empty());
    EXPECT_TRUE(rt_.shutdown_until(std::chrono::system_clock::now() - 1h).empty());
}

TEST_P(shutdowns, refuse_goroutines_from_outside) {
    handoff::channel<int> done(0);
    rt_.run([&] { handoff::go([&] { done.recv(); }); });
    std::optional<handoff::task_group> group(std::in_place, rt_);
    EXPECT_EQ(rt_.shutdown(0s).size(), 1u);
    bool ran = false;
    const auto run = [&] { ran = true; };
    const auto all = [&] {
        EXPECT_EQ(thrown_by<usage_error>([&] { rt_.go(run); }), refused);
        EXPECT_EQ(thrown_by<usage_error>([&] { rt_.run(run); }), refused);
        EXPECT_EQ(thrown_by<usage_error>([&] { group->go(run); }), refused);
    };
    all();
    other_.run(all);
    group->wait();   // it has none
    group.reset();
    EXPECT_FALSE(ran);
    EXPECT_EQ(other_.run([] { return 1; }), 1);
    EXPECT_EQ(rt_.shutdown(0s).size(), 1u);
    done.send(1);
    EXPECT_TRUE(rt_.shutdown(patience).empty());
}

TEST_P(shutdowns, let_goroutines_start_others_and_timers_fire) {
    handoff::channel<int> start(0);
    std::atomic<int> ran{0};
    rt_.go([&] {
        const handoff::timer later(1h, [&] { ++ran; });
        start.recv();
        handoff::timer soon(1ms, [&] { ++ran; });
        handoff::task_group group;
        group.go([&] { ++ran; });
        handoff::go([&] { ++ran; }).join();
        rt_.run([&] { ++ran; });
        handoff::after(1ms).recv();
        handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(100); });
        handoff::go([&] { ++ran; });   // without a processor, maybe
        group.wait();
        EXPECT_EVENTUALLY(ran == 5);
    });
    EXPECT_EQ(rt_.shutdown(1ms).size(), 1u);
    start.send(1);
    EXPECT_TRUE(rt_.shutdown(patience).empty());
    EXPECT_EQ(ran, 5);
}

TEST(shutdown, lets_goroutines_without_a_processor_start_others) {
    runtime rt(no_retakes(1));
    std::atomic<bool> closed{false}, ran{false};
    rt.go([&] {
        EXPECT_TRUE(block_until([&] { return closed.load(); }));
        occupant other(rt);
        handoff::blocking_call(handoff::handoff_policy::immediate, [&] { EXPECT_TRUE(block_until([&] { return other.runs(); })); });
        auto h = handoff::go([&] { ran = true; });   // the only processor is the other's
        other.release();
        h.join();
    });
    EXPECT_EQ(rt.shutdown(0s).size(), 1u);
    closed = true;
    EXPECT_TRUE(rt.shutdown(patience).empty());
    EXPECT_TRUE(ran);
}

TEST_P(shutdowns, end_in_time_while_goroutines_start_others) {
    std::atomic<bool> enough{false};
    const std::function<void()> again = [&] {
        if (!enough) handoff::go(again);
    };
    rt_.go(again);
    for (int i = 0; i < 20; ++i) {
        const auto left = rt_.shutdown(1ms);
        ASSERT_FALSE(left.empty());
        EXPECT_EQ(left.front().who.created.rfind("shutdown_test.cpp:", 0), 0u) << left.front().who.describe();
    }
    enough = true;
    EXPECT_TRUE(rt_.shutdown(patience).empty());
}

// All that wait are woken, also where some of them gave up in between.
TEST_P(shutdowns, may_be_called_by_several_at_once) {
    for (std::size_t round = 0; round < scaled(30, 5); ++round) {
        runtime rt({.procs = GetParam()});
        handoff::channel<int> ch(0);
        rt.go([&] { ch.recv(); });
        std::atomic<int> ended{0}, gave_up{0};
        crowd all;
        const auto waits = [&] {
            EXPECT_TRUE(rt.shutdown(patience).empty());
            ++ended;
        };
        const auto gives_up = [&] { gave_up += !rt.shutdown(1ms).empty(); };
        for (int i = 0; i < 4; ++i) {
            all.thread(waits);
            all.thread(gives_up);
            all.go(other_, waits);
            all.go(other_, gives_up);
        }
        ASSERT_EVENTUALLY(gave_up == 8);
        EXPECT_EQ(ended, 0);
        ch.send(1);
        all.join();
        EXPECT_EQ(ended, 8);
    }
}

// Those whose time is over at the moment of the end.
TEST_P(shutdowns, race_with_the_end) {
    auto random = seeded_random("shutdowns.race_with_the_end");
    for (std::size_t round = 0; round < scaled(300, 30); ++round) {
        runtime rt({.procs = GetParam()});
        const std::chrono::microseconds until_end(random() % 400);
        rt.go([=] { this_goroutine::sleep_for(until_end); });
        crowd all;
        for (int i = 0; i < 3; ++i) {
            const std::chrono::microseconds limit(random() % 400);
            all.thread([&rt, limit] {
                for (const auto& g : rt.shutdown(limit)) EXPECT_NE(g.who.id, 0u);
                EXPECT_TRUE(rt.shutdown(patience).empty());
            });
        }
        all.join();
    }
}

TEST_P(shutdowns, by_a_goroutine_of_another_leave_it_its_processor) {
    handoff::channel<int> ch(0);
    rt_.go([&] { ch.recv(); });
    runtime one(no_retakes(1));
    one.run([&] {
        auto helper = handoff::go([&] { ch.send(1); });
        EXPECT_TRUE(rt_.shutdown(patience).empty());
        helper.join();
    });
}

TEST_P(shutdowns, are_refused_to_goroutines_of_the_runtime) {
    rt_.run([&] {
        EXPECT_EQ(thrown_by<usage_error>([&] { rt_.shutdown(1s); }),
                  "handoff: shutdown() on a goroutine of the runtime, for which it would wait");
    });
    EXPECT_EQ(rt_.run([] { return 1; }), 1);   // it has closed nothing
}

// A closure whose second move lasts, the one that go() makes into the goroutine.
struct slow_move {
    std::atomic<bool>*moving, *may_go;
    int *moves, *ran;
    slow_move(std::atomic<bool>* m, std::atomic<bool>* g, int* n, int* r) : moving(m), may_go(g), moves(n), ran(r) {}
    slow_move(slow_move&& from) noexcept : moving(from.moving), may_go(from.may_go), moves(from.moves), ran(from.ran) {
        if (++*moves != 2) return;
        *moving = true;
        EXPECT_TRUE(block_until([&] { return may_go->load(); }));
    }
    void operator()() const { ++*ran; }
};

TEST_P(shutdowns, wait_for_what_is_being_started) {
    std::atomic<bool> moving{false}, may_go{false};
    int moves = 0, ran = 0;
    std::atomic<bool> ended{false};
    crowd all;
    all.thread([&] { rt_.go(slow_move(&moving, &may_go, &moves, &ran)); });
    ASSERT_TRUE(block_until([&] { return moving.load(); }));
    const auto& tid = all.thread([&] {
        EXPECT_TRUE(rt_.shutdown(patience).empty());
        ended = true;
    });
    EXPECT_EVENTUALLY(ended || (tid != 0 && asleep(tid)));
    EXPECT_EQ(rt_.shutdown(1ms).size(), 1u);
    EXPECT_FALSE(ended);
    may_go = true;
    all.join();
    EXPECT_EQ(ran, 1);
}

TEST(shutdown, of_the_default_runtime) {
    const auto all = [] {
        pipe_pair pipe;
        handoff::go([&] { handoff::blocking_call([&] { return pipe.read(); }); });
        if (handoff::default_runtime().shutdown(1ms).size() != 1) return false;
        pipe.write();
        return handoff::default_runtime().shutdown(patience).empty() &&
               thrown_by<usage_error>([] { handoff::go([] {}); }) == refused;
    };
    EXPECT_IN_CHILD(all(), "");
}

TEST(shutdown, is_refused_in_a_simulation) {
    runtime rt({.procs = 1});
    handoff::simulation sim(1);
    sim.run([&] { EXPECT_THROW(rt.shutdown(1s), usage_error); });
    EXPECT_EQ(rt.run([] { return 1; }), 1);
}

}  // namespace
