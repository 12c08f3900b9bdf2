// event and auto_reset_event: who is let through, and when; timed waits, stop tokens, cancellation, and their end.
#include "locks.hpp"

#include <stop_token>

using handoff::auto_reset_event;
using handoff::cancelled;
using handoff::event;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(event) == 4 && sizeof(auto_reset_event) == 4);
static_assert(!std::is_copy_constructible_v<event> && !std::is_copy_assignable_v<auto_reset_event>);
static_assert(std::is_nothrow_default_constructible_v<event> && !std::is_convertible_v<bool, event>);
static_assert(noexcept(std::declval<event&>().set()) && noexcept(std::declval<auto_reset_event&>().reset()));

constexpr auto reason = "event";

constinit event global;
constinit auto_reset_event global_automatic(true);

class events : public with_procs {};
INSTANTIATE_WITH_PROCS(events);

TEST_P(events, let_all_through_until_they_are_reset) {
    on_both(rt_, [] {
        EXPECT_FALSE(global.try_wait());
        global.set();
        global.set();
        for (int i = 0; i < 2; ++i) {
            EXPECT_TRUE(global.try_wait());
            global.wait();
            EXPECT_TRUE(global.wait_for(-1s));
            EXPECT_TRUE(global.wait_until(steady::time_point::min()));
        }
        global.reset();
        global.reset();
        EXPECT_FALSE(global.try_wait());
        event set_at_first(true);
        set_at_first.wait();
    });
}

TEST_P(events, let_one_through_for_each_time_they_are_set) {
    on_both(rt_, [] {
        EXPECT_TRUE(global_automatic.try_wait());
        EXPECT_FALSE(global_automatic.try_wait());
        global_automatic.set();
        global_automatic.set();   // counts once
        global_automatic.wait();
        EXPECT_FALSE(global_automatic.try_wait());
        global_automatic.set();
        EXPECT_TRUE(global_automatic.wait_for(-1s));
        global_automatic.set();
        global_automatic.reset();
        EXPECT_FALSE(global_automatic.wait_until(steady::now()));
        global_automatic.set();   // as it was
    });
}

// All who wait, though the event is reset at once.
TEST_P(events, wake_a_crowd) {
    event e;
    crowd all;
    constexpr std::size_t n = 300;
    for (std::size_t i = 0; i < n; ++i)
        all.start(rt_, i % 100 == 99, [&, i] {
            if (i % 2 == 0) e.wait();
            else EXPECT_TRUE(e.wait_for(1h));
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == n - n / 100 && all.threads_sleep());
    e.set();
    e.reset();
    all.join();
    EXPECT_FALSE(e.try_wait());
}

// Who comes after a reset waits for the next time.
TEST_P(events, keep_out_who_comes_after_a_reset) {
    event e;
    crowd first, second;
    first.go(rt_, [&] { e.wait(); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    e.set();
    e.reset();
    first.join();
    second.go(rt_, [&] { e.wait(); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    e.reset();
    EXPECT_EQ(waiting(rt_, reason), 1u);
    e.set();
    second.join();
    EXPECT_TRUE(e.try_wait());
}

TEST_P(events, let_one_after_the_other_through_in_order_of_coming) {
    auto_reset_event e;
    std::mutex lock;
    std::vector<int> order;
    crowd all;
    constexpr int n = 8;
    for (int i = 0; i < n; ++i) {
        const auto body = [&, i] {
            if (i % 2 == 0) e.wait();
            else EXPECT_TRUE(e.wait_for(1h));
            const std::lock_guard hold(lock);
            order.push_back(i);
        };
        if (i % 4 == 3) {
            const auto& tid = all.thread(body);
            EXPECT_EVENTUALLY(tid != 0 && asleep(tid));
        } else {
            const std::size_t before = waiting(rt_, reason);
            all.go(rt_, body);
            EXPECT_EVENTUALLY(waiting(rt_, reason) == before + 1);
        }
    }
    for (std::size_t i = 1; i <= n; ++i) {
        e.set();
        EXPECT_FALSE(e.try_wait()) << "it was given to who waits";
        e.reset();   // and is not taken back
        EXPECT_EVENTUALLY([&] {
            const std::lock_guard hold(lock);
            return order.size() == i;
        }());
    }
    all.join();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_FALSE(e.try_wait());
    e.set();
    EXPECT_TRUE(e.try_wait());
}

// What was done before a set is seen by who it lets through: nothing else orders the accesses to `ball`.
TEST_P(events, order_what_is_done) {
    for (const bool on_thread : {false, true}) {
        auto_reset_event there, back;
        event over;
        std::size_t ball = 0;
        const std::size_t rounds = scaled(5'000, 500);
        crowd all;
        all.go(rt_, [&] {
            for (std::size_t i = 1; i <= rounds; ++i) {
                ball = i;
                there.set();
                back.wait();
                EXPECT_EQ(ball, 0u);
            }
            ball = 7;
            over.set();
        });
        all.start(other_, on_thread, [&] {
            for (std::size_t i = 1; i <= rounds; ++i) {
                there.wait();
                EXPECT_EQ(ball, i);
                ball = 0;
                back.set();
            }
            over.wait();
            EXPECT_EQ(ball, 7u);
        });
        all.join();
    }
}

// ---- Time, stops, cancellation -------------------------------------------------------------------------------------

template <class Event>
void expect_never_early(runtime& rt) {
    Event e;
    auto random = seeded_random("events.timed_waits_are_never_early");
    crowd all;
    for (int who = 0; who < 4; ++who)
        all.start(rt, who == 3, [&e, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < scaled(30, 10); ++i) {
                const std::chrono::nanoseconds d(r() % 1'000'000);
                EXPECT_FALSE(never_earlier_than(d, [&] { return e.wait_for(d); }));
                const auto until = std::chrono::system_clock::now() + d;
                EXPECT_FALSE(e.wait_until(until));
                EXPECT_GE(std::chrono::system_clock::now(), until);
            }
        });
    all.join();
    e.set();   // what they left behind hides nothing
    EXPECT_TRUE(e.try_wait());
}
TEST_P(events, timed_waits_are_never_early) {
    expect_never_early<event>(rt_);
    expect_never_early<auto_reset_event>(rt_);
}

template <class Event>
void expect_end_by_stop(runtime& rt) {
    for (const bool on_thread : {false, true}) {
        Event e;
        std::stop_source source;
        crowd all;
        all.start(rt, on_thread, [&, token = source.get_token()] {
            EXPECT_THROW(e.wait(token), cancelled);
            EXPECT_THROW(e.wait(token), cancelled);   // and does not begin another
        });
        EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt, reason) == 1);
        source.request_stop();
        all.join();
        e.set();
        e.wait(source.get_token());   // there is nothing to wait for
    }
}
TEST_P(events, a_stop_ends_the_wait) {
    expect_end_by_stop<event>(rt_);
    expect_end_by_stop<auto_reset_event>(rt_);
}

// Some give up at random, also as it is set: each set lets one through, or leaves the event set.
TEST_P(events, survive_waiters_that_give_up) {
    auto random = seeded_random("events.survive_waiters_that_give_up");
    auto_reset_event e, taken;
    const std::size_t rounds = scaled(2'000, 200);
    std::atomic<std::size_t> through{0};
    std::atomic<bool> over{false};
    crowd all;
    for (int who = 0; who < 6; ++who)
        all.start(rt_, who == 5, [&, who, seed = random()] {
            std::mt19937_64 r(seed);
            while (!over) {
                if (who % 2 == 0) e.wait();
                else if (!e.wait_for(std::chrono::microseconds(r() % 100))) continue;
                if (over) break;
                ++through;
                taken.set();
            }
        });
    for (std::size_t i = 1; i <= rounds; ++i) {
        e.set();
        if (!taken.wait_for(patience)) {
            ADD_FAILURE() << "nobody was let through, in round " << i;
            break;
        }
        EXPECT_EQ(through, i);
    }
    over = true;
    rt_.run([&] {
        std::atomic<bool> joined{false};
        auto opener = handoff::go([&] {
            while (!joined) {
                e.set();
                this_goroutine::sleep_for(100us);
            }
        });
        all.join();
        joined = true;
        opener.join();
    });
}

// ---- Their end -----------------------------------------------------------------------------------------------------

template <class Event>
void expect_destroyed_by_who_waits(runtime& rt, runtime& other) {
    for (std::size_t round = 0; round < scaled(2'000, 200); ++round) {
        auto* e = new Event;
        crowd all;
        all.start(rt, round % 3 == 0, [e, round] {
            if (round % 2 == 0) e->wait();
            else EXPECT_TRUE(e->wait_for(1h));
            delete e;
        });
        all.start(other, round % 3 == 1, [e] { e->set(); });
        all.join();
    }
}
TEST_P(events, are_destroyed_by_who_was_let_through) {
    expect_destroyed_by_who_waits<event>(rt_, other_);
    expect_destroyed_by_who_waits<auto_reset_event>(rt_, other_);
}

// ---- Simulations ---------------------------------------------------------------------------------------------------

TEST(events_simulated, let_through_in_each_order) {
    bool waited = false, passed = false;
    simulation::explore(handoff::exploration{.count = 300}, [&] {
        event start;
        auto_reset_event turn;
        int through = 0, inside = 0;
        task_group g;
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                (start.try_wait() ? passed : waited) = true;
                start.wait();
                turn.wait();
                if (++inside != 1) throw std::logic_error("two at once");
                this_goroutine::interleave();
                --inside;
                ++through;
                turn.set();
            });
        g.go([&] {
            start.set();
            turn.set();
        });
        g.wait();
        if (through != 3 || !turn.try_wait() || turn.try_wait()) throw std::logic_error("a set was lost, or counted twice");
    });
    EXPECT_TRUE(waited && passed);
}

TEST(events_simulated, wait_in_virtual_time) {
    simulation sim(1);
    sim.run([] {
        event e;
        auto_reset_event a;
        EXPECT_FALSE(e.wait_for(1h));
        EXPECT_FALSE(a.wait_for(1h));
        handoff::go([&] {
            this_goroutine::sleep_for(1h);
            a.set();
            e.set();
        });
        EXPECT_TRUE(a.wait_for(2h));
        e.wait();
    });
    EXPECT_EQ(sim.elapsed(), 3h);
}

}  // namespace
