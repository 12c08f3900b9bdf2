// Simulations: the same seed gives the same run, other seeds give others, time is virtual, failures are found and come
// back, and a failed run unwinds its goroutines.
#include "testing.hpp"

#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <thread>

using namespace handoff;
using namespace handoff_test;

namespace {

// The sum over all seeds shows whether anything has changed.
struct trace {
    std::uint64_t hash, steps;
    std::string events;
    bool operator==(const trace&) const = default;
};

// Something of everything: channels, select, locks, timers, groups, and what they did, in order.
std::string mixture() {
    std::string log;
    channel<int> values(2), none = channel<int>::nil();
    mutex m;
    shared_mutex sm;
    condition_variable cv;
    counting_semaphore<> permits(2);
    int turn = 0;
    task_group g;
    for (int id = 0; id < 4; ++id) {
        g.go([&, id] {
            permits.acquire();
            for (int i = 0; i < 3; ++i) {
                values.send(10 * id + i);
                this_goroutine::sleep_for(std::chrono::milliseconds(1 + (id + i) % 3));
            }
            permits.release();
            {
                std::unique_lock lock(m);
                log += "t" + std::to_string(id);
                ++turn;
                cv.notify_all();
                cv.wait(lock, [&] { return turn == 4; });
            }
            const std::shared_lock lock(sm);
            log += "s" + std::to_string(id);
        });
    }
    g.go([&] {
        ticker tick(2ms);
        auto late = after(5ms);
        for (int received = 0; received < 12;) {
            select(on_recv(values, [&](std::optional<int> v) { log += "v" + std::to_string(*v), ++received; }),
                   on_recv(tick.chan(), [&](auto) { log += "."; }), on_recv(late, [&](auto) { log += "!"; }),
                   on_recv(none, [](auto) {}), on_timeout(1ms, [&] { log += "-"; }));
        }
        const std::unique_lock lock(sm);
        log += "w";
    });
    g.wait();
    return log;
}

trace run_mixture(std::uint64_t seed, const simulation_options& o = {}) {
    simulation sim(seed, o);
    std::string log = sim.run(mixture);
    return {sim.trace_hash(), sim.steps(), std::move(log)};
}

TEST(simulation, returns_results_and_rethrows) {
    simulation sim(1);
    EXPECT_EQ(sim.run([](int a, int b) { return a + b; }, 3, 4), 7);
    EXPECT_EQ(*sim.run([] { return std::make_unique<int>(5); }), 5);
    int x = 0;
    int& r = sim.run([&]() -> int& { return x; });
    EXPECT_EQ(&r, &x);
    sim.run([&] { x = 9; });
    EXPECT_EQ(x, 9);
    EXPECT_THROW(sim.run([] { throw std::out_of_range("mine"); }), std::out_of_range);
    EXPECT_THROW(sim.run([] { throw 7; }), int);
    EXPECT_EQ(sim.run([] { return 1; }), 1) << "and goes on after that";
}

TEST(simulation, runs_on_the_calling_thread_and_waits_for_all) {
    const pid_t here = this_tid();
    int done = 0;
    simulation sim(5);
    sim.run([&] {
        for (int i = 0; i < 50; ++i) {
            go([&] {
                this_goroutine::sleep_for(1s);
                EXPECT_EQ(this_tid(), here);
                ++done;
            });
        }
    });
    EXPECT_EQ(done, 50);
    EXPECT_EQ(this_goroutine::id(), 0u);
}

TEST(simulation, same_seed_same_run) {
    auto random = seeded_random("same_seed_same_run");
    std::set<std::string> different;
    for (int i = 0; i < 20; ++i) {
        const std::uint64_t seed = random();
        const trace first = run_mixture(seed);
        const std::vector<char> other_addresses(static_cast<std::size_t>(random() % 10'000));
        EXPECT_EQ(run_mixture(seed), first) << "seed " << seed;
        different.insert(first.events);
    }
    EXPECT_GT(different.size(), 15u);
}

// What a process of its own prints has to be what this one finds.
TEST(simulation, same_seed_same_run_in_another_process) {
    const trace here = run_mixture(4711);
    std::ostringstream expected;
    expected << here.hash << " " << here.steps << "\n";
    EXPECT_IN_CHILD(([] {
        const trace there = run_mixture(4711);
        std::fprintf(stderr, "%llu %llu\n", static_cast<unsigned long long>(there.hash),
                     static_cast<unsigned long long>(there.steps));
        return true;
    }()), expected.str());
}

class every_policy : public testing::TestWithParam<simulation_policy> {};

TEST_P(every_policy, all_orders_appear) {
    std::map<std::string, int> orders;
    simulation::explore(exploration{.count = 600, .each = {.policy = GetParam()}}, [&] {
        std::string order;
        task_group g;
        for (const char c : {'a', 'b', 'c'}) g.go([&order, c] { order += c; });
        g.wait();
        ++orders[order];
    });
    EXPECT_EQ(orders.size(), 6u);
    for (const auto& [order, n] : orders) EXPECT_GE(n, 10) << order << ": a sixth of 600 are 100; priorities prefer some";
}

TEST_P(every_policy, all_interleavings_of_two_appear) {
    // Two goroutines of two steps each, with a place to switch between these: 6 ways.
    std::set<std::string> ways;
    simulation::explore(exploration{.count = 600, .each = {.policy = GetParam()}}, [&] {
        std::string way;
        const auto steps = [&way](char c) {
            way += c;
            this_goroutine::interleave();
            way += c;
        };
        auto a = go(steps, 'a'), b = go(steps, 'b');
        a.join(), b.join();
        ways.insert(way);
    });
    EXPECT_EQ(ways, (std::set<std::string>{"aabb", "abab", "abba", "baab", "baba", "bbaa"}));
}

TEST_P(every_policy, nobody_starves) {
    // One that yields all the time gives the others their turn.
    simulation::explore(exploration{.count = 50, .each = {.max_steps = 100'000, .policy = GetParam()}}, [] {
        bool stop = false;
        int turns = 0;
        auto a = go([&] {
            while (!stop) this_goroutine::yield();
        });
        auto b = go([&] {
            for (; turns < 20; ++turns) this_goroutine::yield();
            stop = true;
        });
        a.join(), b.join();
    });
}

INSTANTIATE_TEST_SUITE_P(simulation, every_policy,
                         testing::Values(simulation_policy::mixed, simulation_policy::random, simulation_policy::priorities),
                         [](const auto& of) {
                             return of.param == simulation_policy::mixed    ? "mixed"
                                    : of.param == simulation_policy::random ? "random"
                                                                            : "priorities";
                         });

// Each call is a place where others may come in between: between the read and the write there is nothing but that call.
template <class Call>
bool finds_lost_update_across(Call call) {
    try {
        simulation::explore(exploration{.count = 400}, [&] {
            int shared = 0;
            const auto increment = [&] {
                const int seen = shared;
                call();
                shared = seen + 1;
            };
            auto a = go(increment), b = go(increment);
            a.join(), b.join();
            if (shared != 2) throw std::runtime_error("lost");
        });
    } catch (const simulation_failed&) {
        return true;
    }
    return false;
}

TEST(simulation, every_call_is_a_place_to_switch) {
    EXPECT_FALSE(finds_lost_update_across([] {})) << "and nothing else is";
    EXPECT_TRUE(finds_lost_update_across([] { this_goroutine::interleave(); }));
    EXPECT_TRUE(finds_lost_update_across([] { this_goroutine::yield(); }));
    EXPECT_TRUE(finds_lost_update_across([] { mutex().lock(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)mutex().try_lock(); }));
    EXPECT_TRUE(finds_lost_update_across([] { shared_mutex().lock(); }));
    EXPECT_TRUE(finds_lost_update_across([] { shared_mutex().lock_shared(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)shared_mutex().try_lock(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)shared_mutex().try_lock_shared(); }));
    EXPECT_TRUE(finds_lost_update_across([] { channel<int>(1).send(1); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)channel<int>(1).try_send(1); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)channel<int>(1).try_recv(); }));
    EXPECT_TRUE(finds_lost_update_across([] { channel<int>(1).close(); }));
    EXPECT_TRUE(finds_lost_update_across([] { select(on_recv(channel<int>(1)), otherwise()); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)channel<int>::nil().try_send(1); })) << "the one that is never ready";
    EXPECT_TRUE(finds_lost_update_across([] { (void)channel<int>::nil().try_recv(); }));
    EXPECT_TRUE(finds_lost_update_across([] { select(on_recv(channel<int>::nil()), otherwise()); }));
    EXPECT_TRUE(finds_lost_update_across([] { counting_semaphore<>(1).acquire(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)counting_semaphore<>(1).try_acquire(); }));
    EXPECT_TRUE(finds_lost_update_across([] { counting_semaphore<>(1).release(); }));
    EXPECT_TRUE(finds_lost_update_across([] { counting_semaphore<>(2).acquire(2); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)counting_semaphore<>(2).try_acquire(2); }));
    EXPECT_TRUE(finds_lost_update_across([] { recursive_mutex().lock(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)recursive_mutex().try_lock(); }));
    EXPECT_TRUE(finds_lost_update_across([] { event().set(); }));
    EXPECT_TRUE(finds_lost_update_across([] { event().reset(); }));
    EXPECT_TRUE(finds_lost_update_across([] { event(true).wait(); }));
    EXPECT_TRUE(finds_lost_update_across([] { auto_reset_event(true).wait(); }));
    EXPECT_TRUE(finds_lost_update_across([] { wait_group().add(); }));
    EXPECT_TRUE(finds_lost_update_across([] { latch(1).count_down(); }));
    EXPECT_TRUE(finds_lost_update_across([] { barrier<>(2).arrive_and_drop(); }));
    EXPECT_TRUE(finds_lost_update_across([] { condition_variable().notify_one(); }));
    EXPECT_TRUE(finds_lost_update_across([] {
        once_flag once;
        call_once(once, [] {});
    }));
    EXPECT_TRUE(finds_lost_update_across([] { task_group().cancel(); }));
    EXPECT_TRUE(finds_lost_update_across([] { go([] {}); }));
    // What one asks in a loop, until others have changed it.
    EXPECT_TRUE(finds_lost_update_across([] { (void)latch(1).try_wait(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)wait_group().try_wait(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)event().try_wait(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)auto_reset_event().try_wait(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)join_handle<void>().done(); }));
    EXPECT_TRUE(finds_lost_update_across([] { (void)this_goroutine::cancelled(); }));
    EXPECT_TRUE(finds_lost_update_across([] { this_goroutine::check_cancelled(); }));
    EXPECT_TRUE(finds_lost_update_across([] { const syscall_guard guard; }));
    EXPECT_TRUE(finds_lost_update_across([] { const syscall_guard guard(handoff_policy::immediate); }));
}

// The second call of each pair finds what the first has left: also the fast paths of words that are in use.
TEST(simulation, unlocking_is_a_place_to_switch) {
    mutex m;
    EXPECT_TRUE(finds_lost_update_across([&] {
        if (m.try_lock()) m.unlock();
    }));
    const auto refused_while_held = [](auto hold, auto try_it) {
        bool refused = false;
        simulation::explore(exploration{.count = 200}, [&] {
            mutex own;
            shared_mutex shared_own;
            auto a = go([&] { hold(own, shared_own); });
            auto b = go([&] { refused |= !try_it(own, shared_own); });
            a.join(), b.join();
        });
        return refused;
    };
    EXPECT_TRUE(refused_while_held([](mutex& l, shared_mutex&) { const std::lock_guard hold(l); },
                                   [](mutex& l, shared_mutex&) { return std::unique_lock(l, std::try_to_lock).owns_lock(); }));
    EXPECT_TRUE(refused_while_held([](mutex&, shared_mutex& l) { const std::lock_guard hold(l); },
                                   [](mutex&, shared_mutex& l) { return std::shared_lock(l, std::try_to_lock).owns_lock(); }));
    EXPECT_TRUE(refused_while_held([](mutex&, shared_mutex& l) { const std::shared_lock hold(l); },
                                   [](mutex&, shared_mutex& l) { return std::unique_lock(l, std::try_to_lock).owns_lock(); }));
}

TEST(simulation, locks_exclude) {
    simulation::explore(exploration{.count = 200}, [] {
        mutex m;
        shared_mutex sm;
        int value = 0, readers = 0;
        bool writing = false;
        task_group g;
        for (int i = 0; i < 3; ++i) {
            g.go([&] {
                for (int k = 0; k < 3; ++k) {
                    const std::lock_guard hold(m);
                    const int seen = value;
                    this_goroutine::interleave();
                    value = seen + 1;
                }
            });
            g.go([&] {
                const std::shared_lock hold(sm);
                ++readers;
                this_goroutine::interleave();
                if (writing) throw std::logic_error("a reader beside a writer");
                --readers;
            });
        }
        g.go([&] {
            const std::unique_lock hold(sm);
            writing = true;
            this_goroutine::interleave();
            if (readers != 0) throw std::logic_error("a writer beside readers");
            writing = false;
        });
        g.wait();
        if (value != 9) throw std::logic_error("lost updates");
    });
}

TEST(simulation, time_is_virtual) {
    const auto began = steady::now();
    simulation sim(3);
    handoff::clock::time_point end;
    sim.run([&] {
        const auto start = handoff::clock::now();
        this_goroutine::sleep_for(1000h);
        EXPECT_EQ(handoff::clock::now() - start, 1000h);
        this_goroutine::sleep_until(start + 2000h);
        EXPECT_EQ(handoff::clock::now() - start, 2000h);

        const auto none = channel<int>::nil();
        EXPECT_FALSE(none.recv_for(1h));
        mutex m;
        m.lock();
        EXPECT_FALSE(m.try_lock_for(1h));
        counting_semaphore<> s(0);
        EXPECT_FALSE(s.try_acquire_for(1h));
        latch l(1);
        EXPECT_FALSE(l.wait_for(1h));
        std::unique_lock lock(m, std::adopt_lock);
        condition_variable cv;
        EXPECT_EQ(cv.wait_for(lock, 1h), std::cv_status::timeout);
        auto sleeper = go([] { this_goroutine::sleep_for(2h); });
        EXPECT_FALSE(sleeper.wait_for(1h));
        sleeper.join();
        EXPECT_EQ(select(on_recv(none), on_timeout(1h, [] {})), 1u);
        end = handoff::clock::now();
        EXPECT_EQ(end - start, 2008h);
    });
    EXPECT_EQ(sim.elapsed(), 2008h);
    EXPECT_EQ(sim.now(), end);
    EXPECT_LT(steady::now() - began, patience);
    EXPECT_LE(abs(handoff::clock::now() - steady::now()), patience) << "the thread has the real time again";
}

TEST(simulation, timers_fire_in_order_and_on_time) {
    simulation::explore(exploration{.count = 30}, [] {
        const auto start = handoff::clock::now();
        std::vector<int> order;
        std::vector<timer> timers;
        for (const int h : {3, 1, 2}) {
            timers.emplace_back(std::chrono::hours(h), [&, h] {
                EXPECT_EQ(handoff::clock::now() - start, std::chrono::hours(h));
                order.push_back(h);
            });
        }
        ticker tick(30min);
        for (int i = 1; i <= 8; ++i) EXPECT_EQ(*tick.chan().recv() - start, i * 30min);
        EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
    });
}

TEST(simulation, deadline_of_a_group) {
    simulation::explore(exploration{.count = 30}, [] {
        const auto start = handoff::clock::now();
        task_group g(1h);
        bool cancelled_inside = false;
        g.go([&] {
            task_group inner;
            inner.go([] { this_goroutine::sleep_for(24h); });
            try {
                inner.wait();
            } catch (const cancelled&) {
                cancelled_inside = true;
                throw;
            }
        });
        EXPECT_THROW(g.wait(), deadline_exceeded);
        EXPECT_TRUE(cancelled_inside);
        EXPECT_EQ(handoff::clock::now() - start, 1h);
    });
}

TEST(simulation, steps_can_take_time) {
    simulation sim(1, {.time_per_step = 1ms});
    sim.run([] {
        const auto end = handoff::clock::now() + 1s;
        while (handoff::clock::now() < end) this_goroutine::yield();
    });
    EXPECT_GE(sim.elapsed(), 1s);
    EXPECT_LE(sim.elapsed(), 2s);
}

TEST(simulation, calls_under_a_guard_run) {
    const pipe_pair p;
    simulation sim(9);
    sim.run([&] {
        task_group g;
        for (int i = 0; i < 3; ++i) {
            g.go([&] {
                p.write();
                EXPECT_EQ(blocking_call([&] { return p.read(); }), 1);
                const syscall_guard outer(handoff_policy::immediate);
                const syscall_guard inner;
                this_goroutine::yield();
                channel<int>(1).send(1);
            });
        }
        g.wait();
    });
}

TEST(simulation, names_goroutines_from_one) {
    for (int i = 0; i < 2; ++i) {
        simulation sim(1);
        sim.run([] {
            EXPECT_EQ(this_goroutine::id(), 1u);
            auto h = go([] { return this_goroutine::id(); });
            EXPECT_EQ(h.join(), 2u);
        });
    }
}

// --- Beside the rest of the process ---

TEST(simulation, refuses_what_it_cannot_simulate) {
    runtime rt(no_retakes(1));
    auto foreign = rt.go([] { return 1; });
    timer foreign_timer = rt.run([] { return timer(1h); });
    simulation sim(1);
    sim.run([&] {
        EXPECT_THROW(lock_os_thread(), usage_error);
        EXPECT_THROW((void)rt.go([] {}), usage_error);
        EXPECT_THROW(rt.run([] {}), usage_error);
        EXPECT_THROW(this_goroutine::sleep_until(std::chrono::system_clock::now() + 1s), usage_error);
        EXPECT_THROW((void)channel<int>::nil().recv_until(std::chrono::system_clock::now() + 1s), usage_error);
        EXPECT_THROW(foreign_timer.reset(1s), usage_error);
        EXPECT_THROW(sim.run([] {}), usage_error);
    });
    channel<int> hold(0);
    auto waits = rt.go([&] { (void)hold.recv(); });
    sim.run([&] { EXPECT_THROW(waits.join(), usage_error); });
    hold.close();
    waits.join();
    EXPECT_EQ(foreign.join(), 1);
}

TEST(simulation, runs_beside_a_runtime_and_on_its_goroutines) {
    const trace alone = run_mixture(99);
    runtime rt(options{.procs = 2});
    std::vector<join_handle<trace>> runs;
    for (int i = 0; i < 4; ++i) runs.push_back(rt.go([] { return run_mixture(99); }));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run_mixture(99), alone);
    for (auto& r : runs) EXPECT_EQ(r.join(), alone);
    EXPECT_EQ(rt.run([] { return simulation(1).run([] { return simulation(2).run([] { return 3; }); }); }), 3) << "nested";
}

TEST(simulation, handles_and_channels_outlive_it) {
    join_handle<int> h;
    channel<int> c(1);
    {
        simulation sim(1);
        sim.run([&] {
            h = go([] { return 6; });
            c.send(7);
        });
    }
    EXPECT_EQ(h.join(), 6);
    EXPECT_EQ(c.recv(), 7);
    c.send(8);
    EXPECT_EQ(c.try_recv(), 8);
}

TEST(simulation, leaves_nothing_behind) {
    run_mixture(1);
    const auto threads_before = threads().size();
    const auto mappings_before = mapping_count();
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        run_mixture(seed);
        EXPECT_THROW(simulation(seed).run([] { (void)channel<int>::nil().recv(); }), deadlock);
    }
    EXPECT_LE(threads().size(), threads_before);   // others' may have been on their way out
    if (!with_sanitizer) {
        EXPECT_LE(mapping_count(), mappings_before + 4);
    }
}

TEST(simulation, stack_can_overflow_with_a_report) {
    if (with_sanitizer) GTEST_SKIP() << "they report it themselves";
    EXPECT_EXIT(simulation(1).run([] {
        const auto recurse = [](auto& self, int n) -> int {
            volatile char space[1024];
            space[0] = static_cast<char>(n);
            return n < 0 ? 0 : self(self, n + 1) + space[0];
        };
        return recurse(recurse, 1);
    }), testing::KilledBySignal(SIGSEGV), "goroutine 1 .*has overflowed its stack");
}

TEST(simulation, many_goroutines) {
    const std::size_t n = scaled(20'000);
    simulation sim(1, {.max_steps = 10'000'000});
    std::size_t done = 0;
    sim.run([&] {
        wait_group all;
        all.add(static_cast<std::ptrdiff_t>(n));
        for (std::size_t i = 0; i < n; ++i) {
            go([&] {
                this_goroutine::sleep_for(1s);
                ++done;
                all.done();
            });
        }
        all.wait();
    });
    EXPECT_EQ(done, n);
}

}  // namespace
