// Task groups inside of each other, and what wait() and go() say of one that was cancelled when all had ended.
#include "locks.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>

using handoff::cancelled;
using handoff::channel;
using handoff::deadline_exceeded;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class nested_groups : public with_procs {};
INSTANTIATE_WITH_PROCS(nested_groups);

void stay() { this_goroutine::sleep_for(1h); }

constexpr int deep = static_cast<int>(scaled(5'000));   // a frame of the stack for each would not fit

// How each level makes the group of the next one.
enum class tie { enclosing, token_as_well, deadline_as_well };

void level(int left, tie how, const channel<int>& deepest, std::atomic<int>& ended) {
    struct counter {
        std::atomic<int>& n;
        ~counter() { ++n; }
    } counts{ended};
    if (left == 0) {
        deepest.send(1);
        stay();
    }
    std::optional<task_group> g;
    if (how == tie::enclosing) g.emplace();
    else if (how == tie::token_as_well) g.emplace(this_goroutine::stop_token());
    else g.emplace(1h);
    g->go([left, how, &deepest, &ended] { level(left - 1, how, deepest, ended); });
    g->wait();
}

TEST_P(nested_groups, are_cancelled_however_deep) {
    for (const tie how : {tie::enclosing, tie::token_as_well, tie::deadline_as_well})
        rt_.run([&] {
            const channel<int> deepest(1);
            std::atomic<int> ended{0};
            task_group g;
            g.go([&] { level(deep, how, deepest, ended); });
            EXPECT_TRUE(deepest.recv());
            g.cancel();
            g.wait();
            EXPECT_EQ(ended, deep + 1);
        });
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

TEST_P(nested_groups, fail_however_deep) {
    rt_.run([&] {
        const std::function<void(int)> fall = [&](int left) {
            task_group g;
            if (left == 0) g.go([] { throw std::logic_error("from the bottom"); });
            else g.go([&fall, left] { fall(left - 1); });
            g.wait();
        };
        task_group g;
        g.go([&] { fall(deep); });
        EXPECT_EQ(thrown_by<std::logic_error>([&] { g.wait(); }), "from the bottom");
    });
}

// Each hears of the one before by its token alone, all on the stack of one goroutine, or thread.
TEST_P(nested_groups, that_are_chained_by_tokens_are_cancelled_however_many) {
    on_both(rt_, [] {
        for (const bool by_source : {false, true}) {
            std::stop_source source;
            std::vector<std::unique_ptr<task_group>> all;
            all.push_back(std::make_unique<task_group>(source.get_token()));
            for (int i = 1; i < deep; ++i) all.push_back(std::make_unique<task_group>(all.back()->stop_token()));
            std::atomic<int> ended{0};
            for (int i = 0; i < deep; i += 100)
                all[static_cast<std::size_t>(i)]->go([&] {
                    EXPECT_THROW(stay(), cancelled);
                    ++ended;
                });
            int called = 0;
            const std::stop_callback last(all.back()->stop_token(), [&] { ++called; });
            if (by_source) source.request_stop();
            else all.front()->cancel();
            EXPECT_EQ(called, 1);
            for (auto& g : all) {
                EXPECT_TRUE(g->cancelled());
                EXPECT_TRUE(g->stop_token().stop_requested());
            }
            all.clear();
        }
    });
}

// Groups come and go while the one around them, or one of themselves, is cancelled.
TEST_P(nested_groups, meet_the_cancellation_of_their_outer_one) {
    for (std::size_t round = 0; round < scaled(300, 60); ++round)
        rt_.run([&] {
            task_group outer;
            std::atomic<bool> begun{false};
            for (int k = 0; k < 4; ++k)
                outer.go([&, k] {
                    for (int i = 0;; ++i) {
                        begun = true;
                        task_group inner;
                        inner.go([&] {
                            task_group innermost;
                            innermost.go([] { this_goroutine::yield(); });
                            if (i % 3 == k % 3) innermost.cancel();
                            innermost.wait();
                        });
                        if (i % 5 == k) inner.cancel();
                        inner.wait();
                        this_goroutine::check_cancelled();
                    }
                });
            ASSERT_EVENTUALLY(begun.load());
            if (round % 2 == 0) {
                outer.cancel();
            } else {
                std::thread([&] { outer.cancel(); }).join();
            }
            outer.wait();
        });
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

// The program's own callbacks may cancel others, whose callbacks are called before that returns.
TEST_P(nested_groups, may_be_cancelled_in_callbacks) {
    on_both(rt_, [] {
        task_group first, second, third(second.stop_token());
        std::vector<int> order;
        const std::stop_callback of_third(third.stop_token(), [&] { order.push_back(3); });
        const std::stop_callback of_second(second.stop_token(), [&] { order.push_back(2); });
        const std::stop_callback of_first(first.stop_token(), [&] {
            second.cancel();
            order.push_back(1);
        });
        first.cancel();
        ASSERT_EQ(order.size(), 3u);
        EXPECT_EQ(order.back(), 1);
    });
}

// ---- All had ended -------------------------------------------------------------------------------------------------

TEST_P(nested_groups, that_ended_in_time_say_nothing_of_what_came_later) {
    on_both(rt_, [] {
        // A deadline; if they did not end in time, by a slow machine, a later one.
        std::atomic<int> ran{0};
        const auto end_within = [&](std::chrono::milliseconds limit) {
            task_group in_time(limit);
            for (int i = 0; i < 3; ++i) in_time.go([&] { ++ran; });
            EXPECT_EVENTUALLY(in_time.cancelled());
            in_time.wait();
        };
        for (auto limit = 2ms;; limit *= 5) {
            try {
                end_within(limit);
                break;
            } catch (const handoff::deadline_exceeded&) {
                if (limit > 1s) throw;
            }
        }
        // A request to stop.
        std::stop_source source;
        task_group by_token(source.get_token());
        by_token.go([&] { ++ran; });
        by_token.wait();
        source.request_stop();
        EXPECT_TRUE(by_token.cancelled());
        by_token.wait();
        // Nobody was there at all.
        task_group empty(source.get_token());
        EXPECT_TRUE(empty.cancelled());
        empty.wait();
        // But one that comes after it is not run, and told of.
        by_token.go([] { ADD_FAILURE(); });
        EXPECT_THROW(by_token.wait(), cancelled);
        EXPECT_THROW(by_token.wait(), cancelled);
        empty.go([] { ADD_FAILURE(); });
        EXPECT_THROW(empty.wait(), cancelled);
    });
    // The enclosing group.
    rt_.run([] {
        task_group outer;
        handoff::latch ended(1);
        outer.go([&] {
            task_group inner;
            inner.go([] {});
            inner.wait();
            ended.count_down();
            while (!inner.cancelled()) this_goroutine::yield();
            EXPECT_NO_THROW(inner.wait());
        });
        ended.wait();
        outer.cancel();
        outer.wait();
    });
}

TEST_P(nested_groups, that_were_cut_short_say_so) {
    on_both(rt_, [] {
        task_group late(5ms);
        late.go([] {});
        late.go(stay);
        EXPECT_THROW(late.wait(), deadline_exceeded);
        // It goes on though it is cancelled, and ends well: the group was not in time all the same.
        task_group slow(5ms);
        slow.go([&] {
            const handoff::cancellation_blocker b;
            EXPECT_EVENTUALLY(slow.cancelled());
        });
        EXPECT_THROW(slow.wait(), deadline_exceeded);
    });
}

TEST_P(nested_groups, that_failed_or_were_cancelled_say_so_when_used_again) {
    on_both(rt_, [] {
        task_group failed;
        failed.go([] { throw std::logic_error("once"); });
        EXPECT_EQ(thrown_by<std::logic_error>([&] { failed.wait(); }), "once");
        for (int i = 0; i < 2; ++i)
            EXPECT_NE(thrown_by<handoff::usage_error>([&] { failed.go([] { ADD_FAILURE(); }); }).find("has failed"), std::string::npos);
        failed.wait();   // nothing is left
        task_group stopped;
        stopped.go(stay);
        stopped.cancel();
        stopped.go([] { ADD_FAILURE(); });   // as a goroutine of the group might, which can't know
        stopped.wait();
        const auto token = std::make_shared<int>(0);
        EXPECT_NE(thrown_by<handoff::usage_error>([&] { stopped.go({}, [token] { ADD_FAILURE(); }); }).find("after cancel()"),
                  std::string::npos);
        EXPECT_EQ(token.use_count(), 1);
        stopped.wait();
        task_group fine;
        for (int i = 0; i < 3; ++i) {
            fine.go([] {});
            fine.wait();
        }
    });
}

}  // namespace
