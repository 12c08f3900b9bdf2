// Simulations: what happens at one instant has no order of its own, only the seed's; settle(); the end of virtual time.
#include "testing.hpp"

#include <mutex>
#include <set>

using namespace handoff;
using namespace handoff_test;

namespace {

// How often each of the ways came up of which a scenario takes one, by the seeds of one policy.
class same_instant : public testing::TestWithParam<simulation_policy> {
protected:
    template <class F>
    void expect_both(F scenario) {
        constexpr std::uint64_t seeds = 300;
        int first = 0;
        for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
            simulation sim(seed, {.policy = GetParam()});
            const bool way = sim.run(scenario);
            if (way) ++first;
            EXPECT_EQ(sim.elapsed(), 1s) << "nobody was late, seed " << seed;
            simulation again(seed, {.policy = GetParam()});
            EXPECT_EQ(again.run(scenario), way) << "seed " << seed;
            EXPECT_EQ(again.trace_hash(), sim.trace_hash()) << "seed " << seed;
        }
        EXPECT_GE(first, 20) << "of " << seeds;
        EXPECT_LE(first, seeds - 20) << "of " << seeds;
    }
};

TEST_P(same_instant, two_timers) {
    expect_both([] {
        bool first = false;
        const timer a(1s), b(1s);
        select(on_recv(a.chan(), [&](auto) { first = true; }), on_recv(b.chan(), [](auto) {}));
        return first;
    });
}

TEST_P(same_instant, all_orders_of_three_timers_and_a_goroutine) {
    std::set<std::string> orders;
    for (std::uint64_t seed = 1; seed <= 600; ++seed) {
        std::string order;
        simulation sim(seed, {.policy = GetParam()});
        sim.run([&] {
            const timer a(1s, [&] { order += 'a'; }), b(1s, [&] { order += 'b'; }), c(1s, [&] { order += 'c'; });
            this_goroutine::sleep_for(1s);
            order += 's';
            this_goroutine::sleep_for(1ns);
        });
        EXPECT_EQ(order.size(), 4u) << "seed " << seed;
        orders.insert(order);
    }
    EXPECT_EQ(orders.size(), 24u);
}

TEST_P(same_instant, a_send_and_a_timeout) {
    expect_both([] {
        channel<int> c(0);
        bool received = false;
        auto sender = go([c]() mutable {
            this_goroutine::sleep_for(1s);
            (void)c.try_send(1);
        });
        select(on_recv(c, [&](auto) { received = true; }), on_timeout(1s, [] {}));
        sender.join();
        return received;
    });
}

TEST_P(same_instant, a_notification_and_a_timeout) {
    expect_both([] {
        mutex m;
        condition_variable cv;
        auto notifier = go([&] {
            this_goroutine::sleep_for(1s);
            cv.notify_one();
        });
        std::unique_lock lock(m);
        const bool notified = cv.wait_for(lock, 1s) == std::cv_status::no_timeout;
        lock.unlock();
        notifier.join();
        return notified;
    });
}

TEST_P(same_instant, a_release_and_a_timeout) {
    expect_both([] {
        counting_semaphore<> s(0);
        auto releaser = go([&] {
            this_goroutine::sleep_for(1s);
            s.release();
        });
        const bool acquired = s.try_acquire_for(1s);
        releaser.join();
        return acquired;
    });
}

TEST_P(same_instant, an_unlock_and_a_timeout) {
    expect_both([] {
        mutex m;
        m.lock();
        auto locker = go([&] {
            if (!m.try_lock_for(1s)) return false;
            m.unlock();
            return true;
        });
        this_goroutine::sleep_for(1s);
        m.unlock();
        return locker.join();
    });
}

TEST_P(same_instant, a_timer_and_its_stop) {
    expect_both([] {
        timer t(1s);
        this_goroutine::sleep_for(1s);
        const bool fired = t.chan().try_recv().has_value();
        t.stop();
        return fired;
    });
}

TEST_P(same_instant, the_end_of_a_goroutine_and_of_the_wait_for_it) {
    expect_both([] {
        auto sleeper = go([] { this_goroutine::sleep_for(1s); });
        const bool ended = sleeper.wait_for(1s);
        sleeper.join();
        return ended;
    });
}

TEST_P(same_instant, work_and_the_deadline_of_its_group) {
    expect_both([] {
        bool done = false;
        task_group g(1s);
        g.go([&] {
            this_goroutine::sleep_for(1s);
            done = true;
        });
        try {
            g.wait();
        } catch (const deadline_exceeded&) {
        }
        return done;
    });
}

INSTANTIATE_TEST_SUITE_P(simulation, same_instant,
                         testing::Values(simulation_policy::random, simulation_policy::priorities),
                         [](const auto& of) { return of.param == simulation_policy::random ? "random" : "priorities"; });

TEST(simulation, different_instants_keep_their_order) {
    simulation::explore(exploration{.count = 200}, [] {
        std::string order;
        channel<int> c(0);
        const timer b(1s + 1ns, [&] { order += 'b'; }), a(1s, [&] { order += 'a'; });
        auto sender = go([c]() mutable {
            this_goroutine::sleep_for(2s);
            (void)c.try_send(1);
        });
        EXPECT_EQ(select(on_recv(c), on_timeout(2s + 1ns, [] {})), 0u);
        EXPECT_EQ(order, "ab");
        sender.join();
    });
}

// A timer that is due is taken out, or its object goes, while it waits for its turn.
TEST(simulation, timers_that_are_due_can_be_stopped) {
    simulation::explore(exploration{.count = 200}, [] {
        std::vector<timer> timers;
        int fired = 0, stopped = 0;
        for (int i = 0; i < 8; ++i) timers.emplace_back(1s, [&fired] { ++fired; });
        this_goroutine::sleep_for(1s);
        for (int i = 0; i < 4; ++i) stopped += timers[static_cast<std::size_t>(i)].stop();
        timers[4].reset(1s);
        timers.pop_back();
        this_goroutine::sleep_for(1ns);
        EXPECT_GE(fired, 2);
        const int so_far = fired;
        this_goroutine::sleep_for(2s);
        EXPECT_EQ(fired, so_far + 1) << "the one that was started again";
        EXPECT_LE(fired - 1 + stopped, 8);
    });
}

// At the end of the run some are due; they go on in no other.
TEST(simulation, timers_that_are_due_may_outlive_the_run) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        std::vector<timer> kept;
        simulation sim(seed);
        EXPECT_THROW(sim.run([&] {
            for (int i = 0; i < 8; ++i) kept.emplace_back(1s);
            this_goroutine::sleep_for(1s);
            throw std::runtime_error("out");
        }), std::runtime_error);
        kept.clear();
    }
}

// --- settle ---

TEST(simulation, settle_waits_until_all_others_wait) {
    simulation::explore(exploration{.count = 200}, [] {
        channel<int> in(0), out(100);
        int turns = 0;
        for (int i = 0; i < 3; ++i) {
            go([=]() mutable {
                while (auto v = in.recv()) {
                    for (int k = 0; k < 5; ++k) this_goroutine::yield();
                    out.send(*v);
                }
            }).detach();
        }
        auto turning = go([&] {
            for (; turns < 10; ++turns) this_goroutine::yield();
            this_goroutine::sleep_for(1h);
            turns = 100;
        });
        for (int i = 0; i < 3; ++i) in.send(i);
        simulation::settle();
        EXPECT_EQ(out.len(), 3u);
        EXPECT_EQ(turns, 10) << "and no time passes";
        simulation::settle();
        EXPECT_EQ(turns, 10);
        in.close();
        turning.join();
    });
}

TEST(simulation, settle_lets_happen_what_is_due) {
    simulation::explore(exploration{.count = 200}, [] {
        int fired = 0;
        const timer a(1s, [&] { ++fired; }), b(1s, [&] { ++fired; });
        const timer later(1s + 1ns, [&] { ++fired; });
        const auto began = handoff::clock::now();
        this_goroutine::sleep_for(1s);
        simulation::settle();
        EXPECT_EQ(fired, 2);
        EXPECT_EQ(handoff::clock::now() - began, 1s);
    });
}

TEST(simulation, several_can_settle) {
    std::set<std::string> orders;
    simulation::explore(exploration{.count = 200}, [&] {
        std::string order;
        task_group g;
        for (const char c : {'a', 'b', 'c'}) {
            g.go([&order, c] {
                simulation::settle();
                order += c;
                this_goroutine::yield();
                order += c;   // the others still do
            });
        }
        g.wait();
        EXPECT_EQ(order.size(), 6u);
        for (std::size_t i = 0; i < 6; i += 2) EXPECT_EQ(order[i], order[i + 1]) << order;
        orders.insert(order);
    });
    EXPECT_EQ(orders.size(), 6u);
}

TEST(simulation, settle_alone_returns_and_elsewhere_is_refused) {
    simulation(1).run([] { simulation::settle(); });
    EXPECT_THROW(simulation::settle(), usage_error);
    runtime rt(no_retakes(1));
    EXPECT_THROW(rt.go([] { simulation::settle(); }).join(), usage_error);
}

TEST(simulation, settle_does_not_hide_a_deadlock_and_ends_with_it) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        bool settled = false;
        EXPECT_THROW(simulation(seed).run([&] {
            auto other = go([] { channel<int>(0).send(1); });
            simulation::settle();
            settled = true;
            other.join();
        }), deadlock);
        EXPECT_TRUE(settled);
        EXPECT_THROW(simulation(seed, {.max_steps = 1000}).run([] {
            auto settles = go([] { simulation::settle(); });
            for (;;) this_goroutine::yield();
        }), step_limit_exceeded);
    }
}

// --- The end of virtual time ---

TEST(simulation, centuries_pass) {
    constexpr auto year = 365 * 24h;
    simulation sim(1);
    sim.run([&] {
        for (int i = 0; i < 5; ++i) this_goroutine::sleep_for(50 * year);
        const timer last(40 * year);
        (void)last.chan().recv();
    });
    EXPECT_EQ(sim.elapsed(), 290 * year);
}

TEST(simulation, time_that_steps_take_ends_with_time) {
    simulation sim(1, {.max_steps = 200'000, .time_per_step = 24h});
    EXPECT_THROW(sim.run([] {
        auto last = handoff::clock::now();
        for (;;) {
            this_goroutine::yield();
            const auto now = handoff::clock::now();
            EXPECT_GE(now, last);
            last = now;
        }
    }), step_limit_exceeded);
    EXPECT_GT(sim.elapsed(), 291 * 365 * 24h);
}

}  // namespace
