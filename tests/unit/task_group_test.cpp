// task_group: goroutines that end together, and what becomes of their exceptions.
#include "locks.hpp"

#include <functional>
#include <optional>
#include <stdexcept>

using handoff::cancelled;
using handoff::channel;
using handoff::deadline_exceeded;
using handoff::runtime;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class task_groups : public with_procs {
protected:
    // A runtime that keeps what nobody else sees.
    handoff::options catching() {
        handoff::options o;
        o.procs = GetParam();
        o.on_unhandled_exception = [this](const handoff::goroutine_name& who, std::exception_ptr e) {
            try {
                std::rethrow_exception(e);
            } catch (const std::exception& x) {
                const std::lock_guard hold(lock_);
                unseen_.push_back(x.what());
                culprits_.push_back(who.id);
            }
        };
        return o;
    }
    std::vector<std::string> unseen() {
        const std::lock_guard hold(lock_);
        return unseen_;
    }

    std::mutex lock_;
    std::vector<std::string> unseen_;
    std::vector<handoff::goroutine_id> culprits_;
};
INSTANTIATE_WITH_PROCS(task_groups);

static_assert(!std::is_copy_constructible_v<task_group> && !std::is_move_constructible_v<task_group>);
static_assert(std::is_base_of_v<cancelled, deadline_exceeded>);

// Tests on threads leave a default runtime behind. Threads of it that have ended are joined in the monitor's next round,
// which comes when something runs; ThreadSanitizer would take them for leaks.
class last_round : public testing::Environment {
    void TearDown() override {
        if (with_tsan) handoff::go([] { this_goroutine::sleep_for(50ms); }).join();
    }
};
[[maybe_unused]] const auto* const at_the_end = testing::AddGlobalTestEnvironment(new last_round);

// Ends by cancellation alone.
void stay() { this_goroutine::sleep_for(1h); }

// What a wait that is cancelled from outside throws; not its derived class.
template <class F>
bool throws_just_cancelled(F f) {
    try {
        f();
    } catch (const deadline_exceeded&) {
        return false;
    } catch (const cancelled&) {
        return true;
    }
    return false;
}

TEST_P(task_groups, wait_for_all) {
    on_both(rt_, [] {
        std::vector<int> results(100);
        task_group g;
        for (std::size_t i = 0; i < results.size(); ++i)
            g.go([&results, i] {
                if (i % 3 == 0) this_goroutine::sleep_for(std::chrono::microseconds(i));
                results[i] = static_cast<int>(i) + 1;
            });
        g.wait();
        for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], static_cast<int>(i) + 1);
        EXPECT_FALSE(g.cancelled());
    });
}

// Each begins while the one before it is in a call, on another thread. ThreadSanitizer sees what they share.
TEST_P(task_groups, begin_while_others_are_in_calls) {
    on_both(rt_, [this] {
        std::atomic<int> inside{0};
        task_group g(rt_);
        for (int i = 0; i < 10; ++i)
            g.go([&] {
                const handoff::syscall_guard guard(handoff::handoff_policy::immediate);
                inside.fetch_add(1);
                while (inside.load() < 10) std::this_thread::yield();
            });
        g.wait();
        EXPECT_EQ(inside.load(), 10);
    });
}

TEST_P(task_groups, may_be_empty) {
    on_both(rt_, [] {
        { const task_group unused; }
        task_group g;
        g.wait();
        g.wait();
        EXPECT_FALSE(g.cancelled());
        EXPECT_TRUE(g.stop_token().stop_possible());
    });
}

TEST_P(task_groups, go_on_to_be_usable) {
    on_both(rt_, [] {
        task_group g;
        int sum = 0;
        for (int i = 1; i <= 20; ++i) {
            g.go([&] { sum += i; });
            g.wait();
        }
        EXPECT_EQ(sum, 210);
    });
}

TEST_P(task_groups, take_any_callable) {
    struct only_moves {
        std::unique_ptr<int> p = std::make_unique<int>(5);
        int* to;
        void operator()() { *to = *p; }
    };
    on_both(rt_, [] {
        int result = 0, big_result = 0;
        task_group g;
        g.go(only_moves{.to = &result});
        std::array<int, 10'000> big{};
        big[9'999] = 6;
        g.go([big, &big_result] { big_result = big[9'999]; });
        static std::atomic<bool> called{false};
        called = false;
        g.go(+[] { called = true; });
        g.go([] { return std::string("dropped"); });
        g.wait();
        EXPECT_EQ(result, 5);
        EXPECT_EQ(big_result, 6);
        EXPECT_TRUE(called);
    });
}

TEST_P(task_groups, name_the_place_of_go) {
    rt_.run([&] {
        task_group g;
        g.go(stay);
        EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 1);
        bool found = false;
        for (const auto& i : rt_.snapshot().goroutines) found |= i.who.created.starts_with("task_group_test.cpp:");
        EXPECT_TRUE(found);
        g.cancel();
        g.wait();
    });
}

// ---- Exceptions --------------------------------------------------------------------------------------------------------

TEST_P(task_groups, cancel_the_others_when_one_throws) {
    on_both(rt_, [] {
        std::atomic<int> ended{0};
        task_group g;
        for (int i = 0; i < 10; ++i)
            g.go([&] {
                try {
                    stay();
                } catch (const cancelled&) {
                    ++ended;
                    throw;
                }
            });
        g.go([&] { throw std::out_of_range("far"); });
        EXPECT_EQ(thrown_by<std::out_of_range>([&] { g.wait(); }), "far");
        EXPECT_LE(ended, 10);
        EXPECT_TRUE(g.cancelled());
        EXPECT_TRUE(g.stop_token().stop_requested());
        g.wait();   // it has been seen
    });
}

TEST_P(task_groups, rethrow_the_first_exception_and_drop_the_others) {
    rt_.run([&] {
        task_group g;
        std::atomic<int> ready{0};
        std::atomic<bool> first{false};
        for (int i = 0; i < 5; ++i)
            g.go([&, i] {
                ++ready;
                const handoff::cancellation_blocker b;
                EXPECT_EVENTUALLY(first.load());
                EXPECT_EVENTUALLY(this_goroutine::cancelled());
                throw std::runtime_error("later " + std::to_string(i));
            });
        EXPECT_EVENTUALLY(ready == 5);
        g.go([&] {
            first = true;
            throw std::runtime_error("first");
        });
        EXPECT_EQ(thrown_by<std::runtime_error>([&] { g.wait(); }), "first");
        g.wait();
    });
}

TEST_P(task_groups, pass_on_what_is_no_std_exception) {
    rt_.run([] {
        task_group g;
        g.go([] { throw 42; });
        EXPECT_THROW(g.wait(), int);
    });
}

// An exception that comes after cancel() is seen all the same.
TEST_P(task_groups, rethrow_what_is_thrown_after_cancel) {
    rt_.run([&] {
        task_group g;
        g.go([] {
            try {
                stay();
            } catch (const cancelled&) {
                throw std::runtime_error("on the way out");
            }
        });
        EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 1);
        g.cancel();
        EXPECT_EQ(thrown_by<std::runtime_error>([&] { g.wait(); }), "on the way out");
    });
}

// `cancelled` for another reason than the group's is an exception like others.
TEST_P(task_groups, fail_by_cancelled_if_they_are_not) {
    rt_.run([&] {
        std::stop_source stop;
        task_group g;
        g.go([&] { this_goroutine::sleep_for(1h, stop.get_token()); });
        g.go(stay);
        EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 2);
        stop.request_stop();
        EXPECT_TRUE(throws_just_cancelled([&] { g.wait(); }));
        EXPECT_TRUE(g.cancelled());
    });
}

TEST_P(task_groups, show_unseen_exceptions_to_the_handler) {
    runtime rt(catching());
    rt.run([] {
        task_group g;
        g.go([] { throw std::runtime_error("unseen"); });
        EXPECT_EVENTUALLY(g.cancelled());
    });
    EXPECT_EQ(unseen(), std::vector<std::string>{"unseen"});
    EXPECT_NE(culprits_.at(0), 0u);
    rt.run([] {
        task_group g;
        g.go([] { throw std::runtime_error("seen"); });
        EXPECT_THROW(g.wait(), std::runtime_error);
    });
    rt.run([] {   // cancelled by the destructor: no exception
        task_group g;
        g.go(stay);
    });
    EXPECT_EQ(unseen().size(), 1u);
}

TEST_P(task_groups, name_who_threw_what_is_unseen) {
    runtime rt(catching());
    std::atomic<handoff::goroutine_id> id{0};
    rt.run([&] {
        task_group g;
        g.go([&] {
            id = this_goroutine::id();
            throw std::runtime_error("unseen");
        });
        EXPECT_EVENTUALLY(g.cancelled());
    });
    ASSERT_EQ(culprits_.size(), 1u);
    EXPECT_EQ(culprits_[0], id);
}

TEST_P(task_groups, drop_their_exception_if_another_unwinds) {
    runtime rt(catching());
    EXPECT_EQ(thrown_by<std::logic_error>([&] {
                  rt.run([] {
                      task_group g;
                      g.go([] { throw std::runtime_error("dropped"); });
                      g.go(stay);
                      EXPECT_EVENTUALLY(g.cancelled());
                      throw std::logic_error("outer");
                  });
              }),
              "outer");
    EXPECT_TRUE(unseen().empty());
}

TEST(task_group_death, an_unseen_exception_ends_the_process) {
    EXPECT_EXIT(
        {
            runtime rt({.procs = 2});
            rt.run([] {
                task_group g;
                g.go([] { throw std::runtime_error("nobody saw this"); });
                EXPECT_EVENTUALLY(g.cancelled());
            });
        },
        testing::KilledBySignal(SIGABRT), "task_group_test.cpp.*nobody saw this");
}

// ---- Cancelling --------------------------------------------------------------------------------------------------------

TEST_P(task_groups, are_cancelled_without_an_exception) {
    on_both(rt_, [] {
        std::atomic<int> ended{0};
        task_group g;
        for (int i = 0; i < 20; ++i)
            g.go([&] {
                struct counter {
                    std::atomic<int>& n;
                    ~counter() { ++n; }
                } counts{ended};
                stay();
                ADD_FAILURE();
            });
        EXPECT_FALSE(g.cancelled());
        g.cancel();
        EXPECT_TRUE(g.cancelled());
        EXPECT_TRUE(g.stop_token().stop_requested());
        g.wait();
        EXPECT_LE(ended, 20);
        g.cancel();
        g.wait();
    });
}

TEST_P(task_groups, do_not_call_anything_once_they_are_cancelled) {
    on_both(rt_, [] {
        auto token = std::make_shared<int>(0);
        task_group g;
        g.cancel();
        for (int i = 0; i < 20; ++i) g.go([token] { ADD_FAILURE(); });
        g.wait();
        EXPECT_EQ(token.use_count(), 1);   // the closures are gone
    });
}

TEST_P(task_groups, are_cancelled_by_their_destructor) {
    on_both(rt_, [] {
        std::atomic<int> begun{0}, ended{0};
        {
            task_group g;
            for (int i = 0; i < 10; ++i)
                g.go([&] {
                    ++begun;
                    try {
                        stay();
                    } catch (const cancelled&) {
                        this_goroutine::yield();
                        ++ended;
                    }
                });
            EXPECT_EVENTUALLY(begun == 10);
        }
        EXPECT_EQ(ended, 10);
    });
}

TEST_P(task_groups, are_cancelled_when_an_exception_passes) {
    on_both(rt_, [] {
        std::atomic<bool> begun{false}, ended{false};
        EXPECT_THROW(
            {
                task_group g;
                g.go([&] {
                    begun = true;
                    try {
                        stay();
                    } catch (const cancelled&) {
                        ended = true;
                    }
                });
                EXPECT_EVENTUALLY(begun.load());
                throw std::logic_error("on its way");
            },
            std::logic_error);
        EXPECT_TRUE(ended);
    });
}

TEST_P(task_groups, are_used_by_their_own_goroutines) {
    on_both(rt_, [] {
        std::atomic<int> n{0};
        task_group g;
        std::function<void(int)> grow = [&](int depth) {
            ++n;
            if (depth > 0)
                for (int i = 0; i < 2; ++i) g.go([&grow, depth] { grow(depth - 1); });
        };
        g.go([&] { grow(7); });
        g.wait();
        EXPECT_EQ(n, 255);

        std::atomic<int> ended{0};
        for (int i = 0; i < 5; ++i)
            g.go([&] {
                EXPECT_THROW(stay(), cancelled);
                ++ended;
            });
        g.go([&] {
            EXPECT_EVENTUALLY(!g.cancelled());
            g.cancel();
            EXPECT_THROW(this_goroutine::check_cancelled(), cancelled);
            g.go([] { ADD_FAILURE(); });
        });
        g.wait();
        EXPECT_LE(ended, 5);
    });
}

TEST_P(task_groups, of_inner_goroutines_are_cancelled_with_theirs) {
    constexpr int depth = 6;
    on_both(rt_, [] {
        std::atomic<int> ended{0}, begun{0};
        std::function<void(int)> nest = [&](int left) {
            task_group inner;
            if (left > 0) inner.go([&, left] { nest(left - 1); });
            inner.go([&] {
                ++begun;
                try {
                    stay();
                } catch (const cancelled&) {
                    ++ended;
                    throw;
                }
            });
            EXPECT_TRUE(throws_just_cancelled([&] { inner.wait(); }));
            EXPECT_TRUE(inner.cancelled());
            EXPECT_TRUE(this_goroutine::cancelled());
        };
        task_group outer;
        outer.go([&] { nest(depth); });
        EXPECT_EVENTUALLY(begun == depth + 1);
        outer.cancel();
        outer.wait();
        EXPECT_EQ(ended, depth + 1);
    });
}

TEST_P(task_groups, that_are_inside_do_not_cancel_the_outer_ones) {
    rt_.run([&] {
        task_group outer;
        outer.go([] {
            task_group inner;
            inner.go(stay);
            inner.cancel();
            inner.wait();
            EXPECT_FALSE(this_goroutine::cancelled());
            task_group failing;
            failing.go([] { throw std::logic_error("inner"); });
            EXPECT_THROW(failing.wait(), std::logic_error);
            EXPECT_FALSE(this_goroutine::cancelled());
        });
        outer.wait();
        EXPECT_FALSE(outer.cancelled());
        // But an exception that leaves the goroutine does.
        outer.go([] {
            task_group inner;
            inner.go([] { throw std::logic_error("through both"); });
            inner.wait();
        });
        outer.go(stay);
        EXPECT_EQ(thrown_by<std::logic_error>([&] { outer.wait(); }), "through both");
    });
}

TEST_P(task_groups, made_in_a_cancelled_one_are_cancelled) {
    rt_.run([&] {
        // Often: the goroutine may see the cancellation before the group's stop token does.
        for (int round = 0; round < 300; ++round) {
            task_group outer;
            std::atomic<bool> begun{false};
            int checked = 0;
            outer.go([&] {
                begun = true;
                while (!this_goroutine::cancelled()) this_goroutine::yield();
                task_group inner;
                EXPECT_TRUE(inner.cancelled());
                inner.go([] { ADD_FAILURE(); });
                EXPECT_TRUE(throws_just_cancelled([&] { inner.wait(); }));
                ++checked;
            });
            ASSERT_EVENTUALLY(begun.load());
            outer.cancel();
            outer.wait();
            ASSERT_EQ(checked, 1);
        }
    });
}

// Its owner is cancelled, and leaves without wait(): the destructor still waits, and throws nothing.
TEST_P(task_groups, wait_in_their_destructor_though_their_owner_is_cancelled) {
    rt_.run([&] {
        task_group outer;
        std::atomic<bool> begun{false}, go_on{false};
        std::atomic<int> ended{0};
        outer.go([&] {
            {
                task_group inner;
                inner.go([&] {
                    const handoff::cancellation_blocker b;
                    begun = true;
                    EXPECT_EVENTUALLY(go_on.load());
                    ++ended;
                });
                while (!this_goroutine::cancelled()) this_goroutine::yield();
            }
            EXPECT_EQ(ended, 1);
            ++ended;
        });
        EXPECT_EVENTUALLY(begun.load());
        outer.cancel();
        go_on = true;
        outer.wait();
        EXPECT_EQ(ended, 2);
    });
}

// wait() is no cancellation point: it waits for those that clean up.
TEST_P(task_groups, wait_for_all_though_their_owner_is_cancelled) {
    rt_.run([&] {
        task_group outer;
        channel<int> go_on(0);
        bool over = false, checked = false;
        outer.go([&] {
            task_group inner;
            inner.go([&] {
                const handoff::cancellation_blocker b;
                go_on.recv();
                over = true;
            });
            EXPECT_TRUE(throws_just_cancelled([&] { inner.wait(); }));
            EXPECT_TRUE(over);
            checked = true;
        });
        EXPECT_EVENTUALLY(waiting(rt_, "wait_group") == 1 && waiting(rt_, "receive") == 1);
        outer.cancel();
        EXPECT_EQ(waiting(rt_, "receive"), 1u);
        go_on.send(1);
        outer.wait();
        EXPECT_TRUE(checked);
    });
}

TEST_P(task_groups, tell_their_token) {
    on_both(rt_, [] {
        task_group g;
        int calls = 0;
        const std::stop_callback at_stop(g.stop_token(), [&] { ++calls; });
        EXPECT_FALSE(g.stop_token().stop_requested());
        g.cancel();
        g.cancel();
        EXPECT_EQ(calls, 1);
        std::stop_token outlives;
        {
            task_group other;
            outlives = other.stop_token();
        }
        EXPECT_FALSE(outlives.stop_requested());
    });
}

TEST_P(task_groups, are_cancelled_by_a_token) {
    on_both(rt_, [] {
        std::stop_source stop;
        {
            task_group g(stop.get_token());
            std::atomic<bool> begun{false}, thrown{false};
            g.go([&] {
                begun = true;
                EXPECT_THROW(stay(), cancelled);
                thrown = true;
            });
            EXPECT_EVENTUALLY(begun.load());
            EXPECT_FALSE(g.cancelled());
            std::thread([&] { stop.request_stop(); }).join();   // from a foreign thread
            EXPECT_TRUE(g.cancelled());
            EXPECT_TRUE(throws_just_cancelled([&] { g.wait(); }));
            EXPECT_TRUE(thrown);
        }
        task_group late(stop.get_token());   // requested before
        EXPECT_TRUE(late.cancelled());
        late.go([] { ADD_FAILURE(); });
        EXPECT_TRUE(throws_just_cancelled([&] { late.wait(); }));
        task_group never((std::stop_token()));   // that can't be
        never.go([] {});
        never.wait();
    });
}

// The request may be made by anybody, one of the group included, in turn with its end.
TEST_P(task_groups, meet_their_tokens_request_at_their_end) {
    for (std::size_t i = 0; i < scaled(300, 60); ++i) {
        std::stop_source stop;
        handoff::join_handle<bool> h;
        rt_.run([&] {
            task_group g(stop.get_token());
            g.go([] { this_goroutine::yield(); });
            if (i % 3 == 0) g.go([&] { stop.request_stop(); });
            else h = other_.go([&] { return stop.request_stop(); });
            try {
                g.wait();
            } catch (const cancelled&) {
                EXPECT_TRUE(g.cancelled());
            }
        });
        if (h.joinable()) {
            EXPECT_TRUE(h.join());
        }
    }
}

// ---- Deadlines ---------------------------------------------------------------------------------------------------------

TEST_P(task_groups, end_at_their_deadline_and_never_before) {
    on_both(rt_, [] {
        for (int how = 0; how < 3; ++how) {
            constexpr auto limit = 5ms;
            const auto before = steady::now();
            std::optional<task_group> g;
            if (how == 0) g.emplace(limit);
            else if (how == 1) g.emplace(before + limit);
            else g.emplace(std::chrono::duration<double, std::milli>(5));
            std::atomic<int> late{0};
            for (int i = 0; i < 5; ++i)
                g->go([&] {
                    try {
                        stay();
                    } catch (const cancelled&) {
                        if (steady::now() >= before + limit) ++late;
                        throw;
                    }
                });
            EXPECT_NE(thrown_by<deadline_exceeded>([&] { g->wait(); }).find("deadline"), std::string::npos);
            EXPECT_GE(steady::now(), before + limit);
            EXPECT_TRUE(g->cancelled());
            EXPECT_LE(late, 5);
            EXPECT_THROW(g->wait(), deadline_exceeded);   // still so
        }
        const auto before = std::chrono::system_clock::now();
        task_group by_another_clock(before + 5ms);
        by_another_clock.go(stay);
        EXPECT_THROW(by_another_clock.wait(), deadline_exceeded);
        EXPECT_GE(std::chrono::system_clock::now(), before + 4ms);   // that clock may be slewed
    });
}

TEST_P(task_groups, in_time_are_not_cancelled) {
    on_both(rt_, [] {
        auto token = std::make_shared<int>(0);
        {
            task_group g(1h);
            for (int i = 0; i < 10; ++i) g.go([token] { this_goroutine::sleep_for(1ms); });
            g.wait();
            EXPECT_FALSE(g.cancelled());
            g.go([token] {});
            g.wait();
        }
        EXPECT_EQ(token.use_count(), 1);
        task_group centuries(std::chrono::hours::max());
        centuries.go([] {});
        centuries.wait();
    });
    unsigned timers = 0;
    for (const auto& p : rt_.snapshot().processors) timers += p.timers;
    EXPECT_EQ(timers, 0u);
}

TEST_P(task_groups, whose_deadline_is_over_are_cancelled_soon) {
    on_both(rt_, [] {
        task_group g(steady::now() - 1s);
        EXPECT_EVENTUALLY(g.cancelled());
        g.go([] { ADD_FAILURE(); });
        EXPECT_THROW(g.wait(), deadline_exceeded);
        task_group h(-1h);
        EXPECT_EVENTUALLY(h.cancelled());
        task_group unused(1ms);   // its end comes first, or not
    });
}

// An exception is more than a deadline, an inner deadline is not an outer one.
TEST_P(task_groups, with_deadlines_nest) {
    rt_.run([&] {
        task_group outer(1h);
        outer.go([] {
            task_group inner(2ms);
            inner.go(stay);
            EXPECT_THROW(inner.wait(), deadline_exceeded);
            EXPECT_FALSE(this_goroutine::cancelled());
        });
        outer.wait();
        task_group short_one(5ms);
        bool just_cancelled = false;
        short_one.go([&] {
            task_group inner(1h);
            inner.go(stay);
            just_cancelled = throws_just_cancelled([&] { inner.wait(); });
        });
        EXPECT_EVENTUALLY(short_one.cancelled());
        EXPECT_THROW(short_one.wait(), deadline_exceeded);
        task_group failing(1h);
        failing.go([] { throw std::logic_error("sooner"); });
        EXPECT_EQ(thrown_by<std::logic_error>([&] { failing.wait(); }), "sooner");
        EXPECT_TRUE(just_cancelled || short_one.cancelled());
    });
    EXPECT_THROW(rt_.run([] {
        task_group outer;
        outer.go([] {
            task_group inner(1ms);
            inner.go(stay);
            inner.wait();
        });
        outer.wait();   // an exception like any other here
    }), deadline_exceeded);
}

TEST_P(task_groups, end_about_when_their_deadline_comes) {
    auto rng = seeded_random("task_groups.end_about_when_their_deadline_comes");
    int in_time = 0, late = 0;
    for (std::size_t i = 0; i < scaled(500, 100); ++i) {
        const std::chrono::nanoseconds limit(rng() % 200'000);
        const auto work = std::chrono::nanoseconds(rng() % 200'000);
        rt_.run([&] {
            const auto before = steady::now();
            task_group g(limit);
            g.go([&] { this_goroutine::sleep_for(work); });
            try {
                g.wait();
                ++in_time;
            } catch (const deadline_exceeded&) {
                EXPECT_GE(steady::now(), before + limit);
                EXPECT_TRUE(g.cancelled());
                ++late;
            }
        });
    }
    std::printf("%d in time, %d late\n", in_time, late);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

// ---- Who, and how many ---------------------------------------------------------------------------------------------------

TEST_P(task_groups, are_used_from_other_threads_and_runtimes) {
    rt_.run([&] {
        task_group g;
        std::atomic<int> n{0};
        g.go([&] { this_goroutine::sleep_for(1h); });   // keeps it waiting
        EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 1);
        other_.run([&] {
            for (int i = 0; i < 10; ++i) g.go([&] { ++n; });
        });
        std::thread([&] {
            for (int i = 0; i < 10; ++i) g.go([&] { ++n; });
        }).join();
        EXPECT_EVENTUALLY(n == 20);
        other_.run([&] { g.cancel(); });
        g.wait();
        EXPECT_TRUE(g.cancelled());
    });
    std::optional<task_group> g(std::in_place);
    std::atomic<bool> begun{false};
    rt_.run([&] {
        g->go([&] {
            begun = true;
            stay();
        });
    });
    EXPECT_EVENTUALLY(begun.load());
    std::thread([&] { g->cancel(); }).join();
    g->wait();
    g.reset();
}

TEST_P(task_groups, hold_many) {
    const std::size_t n = scaled(20'000);
    rt_.run([&] {
        std::atomic<std::size_t> ran{0}, ended{0}, begun{0};
        task_group g;
        for (std::size_t i = 0; i < n; ++i) g.go([&] { ++ran; });
        g.wait();
        EXPECT_EQ(ran, n);
        handoff::latch all(static_cast<std::ptrdiff_t>(n));
        for (std::size_t i = 0; i < n; ++i)
            g.go([&] {
                ++begun;
                all.count_down();
                try {
                    if (begun % 2 == 0) this_goroutine::sleep_for(1h);
                    else channel<int>::nil().recv();
                } catch (const cancelled&) {
                    ++ended;
                }
            });
        all.wait();
        g.cancel();
        g.wait();
        EXPECT_EQ(ended, n);
    });
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

// All that a goroutine had is gone when wait() returns: it lives no longer than the group.
TEST_P(task_groups, outlive_what_their_goroutines_captured) {
    on_both(rt_, [] {
        for (int i = 0; i < 100; ++i) {
            auto token = std::make_shared<int>(0);
            task_group g;
            for (int k = 0; k < 4; ++k) g.go([token] { this_goroutine::yield(); });
            g.wait();
            ASSERT_EQ(token.use_count(), 1);
        }
    });
}

// goroutine_local values as well.
TEST_P(task_groups, outlive_the_local_values_of_their_goroutines) {
    static std::atomic<int> alive{0};
    struct value {
        value() { ++alive; }
        value(value&&) noexcept { ++alive; }
        ~value() {
            this_goroutine::yield();
            --alive;
        }
    };
    handoff::goroutine_local<value> local;
    on_both(rt_, [&] {
        for (int i = 0; i < 100; ++i) {
            task_group g;
            for (int k = 0; k < 4; ++k) g.go([&] { local.get(); });
            g.wait();
            EXPECT_EQ(alive, 0);
            if (HasFailure()) break;
        }
        EXPECT_EVENTUALLY(alive == 0);
    });
}

}  // namespace
