// Failed simulations: what goes wrong is found, named and replayed, and the goroutines are unwound.
#include "testing.hpp"

#include <memory>
#include <mutex>
#include <stdexcept>

using namespace handoff;
using namespace handoff_test;

namespace {

template <class E, class F>
std::string text_thrown_by(F f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
}

std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += what.size()) ++n;
    return n;
}

// Two locks in opposite order.
void opposite_locks() {
    mutex a, b;
    const auto take = [](mutex& first, mutex& second) {
        const std::lock_guard one(first);
        const std::lock_guard two(second);
    };
    auto x = go([&] { take(a, b); });
    auto y = go([&] { take(b, a); });
    x.join(), y.join();
}

TEST(failed_simulation, finds_a_deadlock_and_replays_it) {
    std::optional<simulation_failed> found;
    try {
        simulation::explore(opposite_locks);
    } catch (const simulation_failed& e) {
        found.emplace(e);
    }
    ASSERT_TRUE(found);
    EXPECT_THROW(found->rethrow_nested(), deadlock);
    const std::string text = found->what(), seed = std::to_string(found->seed());
    EXPECT_EQ(count_of(text, "HANDOFF_SIM_SEED=" + seed), 1u) << text;
    EXPECT_EQ(count_of(text, "(seed " + seed + ")"), 1u) << text;
    EXPECT_EQ(count_of(text, "waiting for mutex 0x"), 2u) << text;
    EXPECT_EQ(count_of(text, "waiting for join"), 1u) << text;
    EXPECT_EQ(count_of(text, "(simulation_failure_test.cpp:"), 2u) << text;

    for (int i = 0; i < 3; ++i) {
        simulation again(found->seed());
        // As explore() has run it: its goroutine calls a function.
        EXPECT_THROW(again.run(opposite_locks), deadlock);
        EXPECT_EQ(again.trace_hash(), found->trace_hash());
        EXPECT_EQ(again.steps(), found->steps());
    }
    const environment_variable only("HANDOFF_SIM_SEED", seed.c_str());
    try {
        simulation::explore(exploration{.first_seed = found->seed() + 100}, opposite_locks);
        ADD_FAILURE() << "the seed was not taken from the environment";
    } catch (const simulation_failed& e) {
        EXPECT_EQ(e.seed(), found->seed());
        EXPECT_EQ(e.trace_hash(), found->trace_hash());
    }
}

TEST(failed_simulation, explore_reports_whatever_is_thrown) {
    const auto text = text_thrown_by<handoff::simulation_failed>([] { simulation::explore([] { throw 1; }); });
    EXPECT_EQ(count_of(text, "HANDOFF_SIM_SEED"), 1u) << text;
    EXPECT_EQ(count_of(text, "no std::exception"), 1u) << text;
}

TEST(failed_simulation, explore_counts_and_keeps_to_its_budget) {
    std::vector<std::uint64_t> seeds;
    EXPECT_EQ(simulation::explore(exploration{.first_seed = 7, .count = 3}, [&](std::uint64_t s) { seeds.push_back(s); }), 3u);
    EXPECT_EQ(seeds, (std::vector<std::uint64_t>{7, 8, 9}));
    EXPECT_LT(simulation::explore(exploration{.count = UINT64_MAX, .time_budget = 20ms}, [] {}), UINT64_MAX);
    EXPECT_EQ(simulation::explore(exploration{.count = 10, .time_budget = 1ns}, [] {}), 1u) << "one at least";
}

TEST(failed_simulation, refuses_bad_options_and_variables) {
    EXPECT_THROW(simulation(1, {.max_steps = 0}), std::invalid_argument);
    EXPECT_THROW(simulation(1, {.time_per_step = -1ns}), std::invalid_argument);
    EXPECT_THROW(simulation(1, {.stack_size = 1}).run([] {}), std::invalid_argument);
    {
        const environment_variable bad("HANDOFF_SIM_SEED", "7x");
        EXPECT_THROW(simulation::explore([] {}), std::invalid_argument);
    }
    const environment_variable bad("HANDOFF_SIM_TRACE", "yes");
    EXPECT_THROW(simulation(1), std::invalid_argument);
}

TEST(failed_simulation, trace_is_printed) {
    const environment_variable on("HANDOFF_SIM_TRACE", "1");
    testing::internal::CaptureStderr();
    simulation(8).run([] { go(spawn_options{.name = "other"}, [] { this_goroutine::sleep_for(1s); }); });
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_GE(count_of(text, "handoff: simulation (seed 8): step "), 3u) << text;
    EXPECT_GE(count_of(text, "1.000000 s: goroutine 2 \"other\""), 1u) << text;
}

// Each kind of wait that may hang, by its name in the report. The waiting goroutine is unwound.
struct hang {
    const char* name;
    void (*wait)();
};

class hangs : public testing::TestWithParam<hang> {};

TEST_P(hangs, are_found_and_unwound) {
    int unwound = 0;
    struct guard {
        int& n;
        ~guard() { ++n; }
    };
    simulation sim(2);
    const std::string text = text_thrown_by<deadlock>([&] {
        sim.run([&] {
            const guard here{unwound};
            auto other = go([&] {
                const guard inside{unwound};
                GetParam().wait();
            });
            other.join();
        });
    });
    EXPECT_GE(count_of(text, std::string("waiting for ") + GetParam().name + " "), 1u) << text;
    EXPECT_EQ(unwound, 2);
    EXPECT_EQ(sim.run([] { return 5; }), 5) << "it can be used again";
}

INSTANTIATE_TEST_SUITE_P(
    failed_simulation, hangs,
    testing::Values(hang{"send", [] { channel<int>(0).send(1); }}, hang{"receive", [] { (void)channel<int>(0).recv(); }},
                    hang{"a channel that is never ready", [] { (void)channel<int>::nil().recv(); }},
                    hang{"select", [] { select(on_recv(channel<int>(0)), on_send(channel<int>(0), 1)); }},
                    hang{"mutex", [] {
                             mutex m;
                             m.lock();
                             m.lock();
                         }},
                    hang{"shared_mutex", [] {
                             shared_mutex m;
                             m.lock();
                             m.lock_shared();
                         }},
                    hang{"condition_variable", [] {
                             mutex m;
                             std::unique_lock lock(m);
                             condition_variable().wait(lock);
                         }},
                    hang{"semaphore", [] { counting_semaphore<>(0).acquire(); }},
                    hang{"wait_group", [] {
                             wait_group w;
                             w.add();
                             w.wait();
                         }},
                    hang{"latch", [] { latch(1).wait(); }}, hang{"barrier", [] { barrier<>(2).arrive_and_wait(); }},
                    hang{"call_once", [] {
                             once_flag once;
                             call_once(once, [&] { call_once(once, [] {}); });
                         }},
                    hang{"join", [] {
                             channel<int> c(0);
                             go([c] { (void)c.recv(); }).join();
                         }}),
    [](const auto& of) {
        std::string name = of.param.name;
        for (char& c : name)
            if (c == ' ') c = '_';
        return name;
    });

TEST(failed_simulation, unwinds_the_youngest_first) {
    // Each goroutine's child refers to what is on its stack.
    std::vector<int> order;
    const auto nest = [&](auto& self, int depth) -> void {
        struct guard {
            std::vector<int>& order;
            int depth;
            ~guard() { order.push_back(depth); }
        } here{order, depth};
        channel<int> c(0);
        wait_group w;
        w.add();
        if (depth < 5) {
            go([&] {
                self(self, depth + 1);
                w.done();
            });
        }
        if (depth % 2 != 0) w.wait();
        else (void)c.recv();
    };
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        order.clear();
        EXPECT_THROW(simulation(seed).run([&] { nest(nest, 0); }), deadlock);
        EXPECT_EQ(order, (std::vector<int>{5, 4, 3, 2, 1, 0}));
    }
}

// Whoever joins the younger first hears of its end before the older have ended, which refer to what is on his stack.
struct home {
    const std::shared_ptr<bool> lives = std::make_shared<bool>(true);
    home() = default;
    home(const home&) = delete;
    ~home() { *lives = false; }
};

struct at_home {
    const std::shared_ptr<bool> lives;
    explicit at_home(const home& h) : lives(h.lives) {}
    at_home(const at_home&) = delete;
    ~at_home() { EXPECT_TRUE(*lives); }
};

// Clean-up that takes time, and the lock of somebody else's frame.
struct slow_cleaner {
    at_home here;
    mutex& m;
    slow_cleaner(const home& h, mutex& of) : here(h), m(of) {}
    slow_cleaner(const slow_cleaner&) = delete;
    ~slow_cleaner() {
        this_goroutine::sleep_for(1s);
        EXPECT_TRUE(*here.lives);
        const std::lock_guard hold(m);
    }
};

TEST(failed_simulation, joins_out_of_order_keep_what_the_older_refer_to) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        int unwound = 0;
        EXPECT_THROW(simulation(seed).run([&] {
            home h;
            mutex a, b;
            const auto take = [&](mutex& first, mutex& second) {
                const at_home here(h);
                const std::lock_guard one(first);
                this_goroutine::sleep_for(1s);
                const std::lock_guard two(second);
            };
            struct count {
                int& n;
                ~count() { ++n; }
            } const at_end{unwound};
            auto x = go([&] { take(a, b); }), y = go([&] { take(b, a); });
            y.join(), x.join();
        }), deadlock) << "seed " << seed;
        EXPECT_EQ(unwound, 1);
    }
}

TEST(failed_simulation, clean_up_that_takes_time_finds_what_it_refers_to) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        EXPECT_THROW(simulation(seed).run([&] {
            home h;
            mutex m;
            condition_variable cv;
            const auto wait = [&] {
                const slow_cleaner at_end(h, m);
                std::unique_lock lock(m);
                cv.wait(lock);
            };
            auto x = go(wait), y = go(wait), z = go(wait);
            z.join(), x.join(), y.join();
        }), deadlock) << "seed " << seed;
    }
}

// The end of the group's younger member cancels the older one, whose own child is older than that.
template <class Wait>
void expect_child_at_home(Wait wait_for_nothing) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        EXPECT_THROW(simulation(seed).run([&] {
            task_group g;
            channel<int> never(0);
            channel<bool> started(0);
            g.go([=]() mutable {
                home h;
                mutex m;
                auto child = go([&] {
                    const slow_cleaner at_end(h, m);
                    started.send(true);
                    (void)never.recv();
                });
                wait_for_nothing(m);
                child.join();
            });
            (void)started.recv();
            g.go([never]() mutable { (void)never.recv(); });
            g.wait();
        }), deadlock) << "seed " << seed;
    }
}

TEST(failed_simulation, groups_keep_what_the_children_of_their_members_refer_to) {
    expect_child_at_home([](mutex&) { (void)channel<int>(0).recv(); });
}

TEST(failed_simulation, members_await_their_turn_without_the_lock) {
    expect_child_at_home([](mutex& m) {
        std::unique_lock lock(m);
        condition_variable().wait(lock);
    });
}

// The younger's clean-up lets its elder go on, who is not ended by that; the frame that both refer to is the eldest's, and he
// leaves it without any exception.
TEST(failed_simulation, who_goes_on_normally_does_so_after_the_younger) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        EXPECT_THROW(simulation(seed).run([&] {
            channel<bool> done(10), never(0);
            auto eldest = go([=]() mutable {
                home h;
                auto middle = go([=, &h]() mutable {
                    const at_home here(h);
                    for (int i = 0; i < 3; ++i) this_goroutine::interleave();
                    try {
                        (void)never.recv();
                    } catch (const cancelled&) {
                        for (int i = 0; i < 5; ++i) channel<int>(1).send(i);
                    }
                });
                auto youngest = go([=]() mutable {
                    struct tell {
                        channel<bool>& c;
                        ~tell() { c.send(true); }
                    } const at_end{done};
                    (void)never.recv();
                });
                (void)done.recv();
            });
            eldest.join();
            (void)never.recv();
        }), deadlock) << "seed " << seed;
    }
}

TEST(failed_simulation, ends_where_clean_up_waits_for_who_awaits_its_turn) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        bool cleaned = false;
        EXPECT_THROW(simulation(seed).run([&] {
            channel<bool> away(1);
            struct at_exit {
                channel<bool>& c;
                ~at_exit() { c.send(true); }
            };
            auto older = go([&, away]() mutable {
                struct cleaner {
                    channel<bool>& c;
                    bool& cleaned;
                    ~cleaner() { cleaned = *c.recv(); }
                } const at_end{away, cleaned};
                (void)channel<int>::nil().recv();
            });
            auto younger = go([] { (void)channel<int>::nil().recv(); });
            const at_exit here{away};
            younger.join(), older.join();
        }), deadlock) << "seed " << seed;
        EXPECT_TRUE(cleaned);
    }
}

TEST(failed_simulation, groups_unwind) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        bool told = false;
        EXPECT_THROW(simulation(seed).run([&] {
            task_group outer;
            outer.go([&] {
                task_group inner;
                for (int i = 0; i < 3; ++i) inner.go([] { (void)channel<int>::nil().recv(); });
                mutex m;
                m.lock();
                inner.go([&] { m.lock(); });
                inner.wait();
            });
            try {
                outer.wait();
            } catch (const cancelled&) {
                told = true;
                throw;
            }
        }), deadlock);
        EXPECT_TRUE(told) << "seed " << seed;
    }
}

TEST(failed_simulation, clean_up_code_may_lock_and_wait) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        int cleaned = 0;
        EXPECT_THROW(simulation(seed).run([&] {
            mutex m;
            channel<int> done(0);
            auto worker = go([&] {
                struct cleaner {
                    mutex& m;
                    int& n;
                    ~cleaner() {
                        const std::lock_guard hold(m);
                        this_goroutine::sleep_for(1s);
                        go([this] { ++n; }).join();
                    }
                } at_end{m, cleaned};
                (void)done.recv();
            });
            worker.join();
        }), deadlock);
        EXPECT_EQ(cleaned, 1);
    }
}

TEST(failed_simulation, tickers_do_not_hide_a_deadlock) {
    EXPECT_THROW(simulation(1).run([] {
        ticker t(1s);
        (void)channel<int>(0).recv();
    }), deadlock);
}

TEST(failed_simulation, step_limit) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        bool unwound = false;
        struct guard {
            bool& b;
            ~guard() { b = true; }
        };
        simulation sim(seed, {.max_steps = 5000});
        const std::string text = text_thrown_by<step_limit_exceeded>([&] {
            sim.run([&] {
                const guard here{unwound};
                auto spins = go([] {
                    for (;;) this_goroutine::yield();
                });
                auto interleaves = go([] {
                    for (;;) this_goroutine::interleave();
                });
                mutex m;
                m.lock();
                auto waits = go([&] { m.lock(); });
                waits.join();
            });
        });
        EXPECT_TRUE(unwound);
        EXPECT_EQ(count_of(text, "goroutine "), 4u) << text;
    }
}

TEST(failed_simulation, step_limit_holds_where_only_the_clock_moves) {
    simulation sim(1, {.max_steps = 1000});
    EXPECT_THROW(sim.run([] {
        const ticker tick(1ms);   // nobody receives
        const auto none = channel<int>::nil();
        none.recv();
    }), step_limit_exceeded);
}

TEST(failed_simulation, exceptions_that_nobody_sees_fail_the_run) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        const auto run = [&] {
            simulation(seed).run([] {
                go([] { throw std::runtime_error("unseen"); }).detach();
                this_goroutine::sleep_for(1s);
                throw std::logic_error("later");
            });
        };
        EXPECT_EQ(text_thrown_by<std::runtime_error>(run), "unseen");
    }
    simulation sim(1);
    EXPECT_NO_THROW(sim.run([] {
        auto h = go([] { throw std::runtime_error("seen"); });
        EXPECT_THROW(h.join(), std::runtime_error);
    }));
}

TEST(failed_simulation, what_comes_first_counts) {
    // The exception leaves others that hang.
    EXPECT_EQ(text_thrown_by<std::runtime_error>([] {
                  simulation(1).run([] {
                      go([] { (void)channel<int>::nil().recv(); }).detach();
                      throw std::runtime_error("first");
                  });
              }),
              "first");
}

TEST(failed_simulation, what_cannot_be_ended_ends_the_process) {
    EXPECT_EXIT(simulation(77).run([] {
        const cancellation_blocker not_now;
        (void)channel<int>::nil().recv();
    }), testing::KilledBySignal(SIGABRT), "simulation \\(seed 77\\): not all of its goroutines can be ended");
}

}  // namespace
