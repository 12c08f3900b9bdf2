// counting_semaphore: acquiring several permits at once. Their order, what is collected and given back, and the maximum meanwhile.
#include "locks.hpp"

#include <stop_token>

using handoff::binary_semaphore;
using handoff::cancelled;
using handoff::counting_semaphore;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

constexpr auto reason = "semaphore";
constexpr auto beyond = "handoff: a semaphore is released beyond its maximum";

class several_permits : public with_procs {};
INSTANTIATE_WITH_PROCS(several_permits);

template <class S>
std::ptrdiff_t drain(S& s) {
    std::ptrdiff_t n = 0;
    while (s.try_acquire()) ++n;
    return n;
}

TEST_P(several_permits, are_acquired_together_or_not_at_all) {
    on_both(rt_, [] {
        counting_semaphore<10> s(7);
        s.acquire(2);
        EXPECT_FALSE(s.try_acquire(6));
        EXPECT_TRUE(s.try_acquire(1));
        EXPECT_TRUE(s.try_acquire_for(2, -1s));
        EXPECT_FALSE(s.try_acquire_for(3, 1ms));
        EXPECT_FALSE(s.try_acquire_until(10, steady::now() + 1ms));
        EXPECT_FALSE(s.try_acquire_until(3, std::chrono::system_clock::now() + 1ms));
        EXPECT_TRUE(s.try_acquire_until(1, steady::time_point::min()));
        EXPECT_EQ(drain(s), 1) << "who gave up has given back what it had collected";
        s.release(10);
        s.acquire(10, std::stop_token());
        EXPECT_EQ(drain(s), 0);
    });
}

TEST_P(several_permits, have_to_be_one_at_least_and_no_more_than_there_may_be) {
    on_both(rt_, [] {
        const auto text = [](const char* n, const char* most) {
            return std::string("handoff: ") + n + " permits of a semaphore are acquired, not between 1 and " + most;
        };
        counting_semaphore<5> s(5);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.acquire(0); }), text("0", "5"));
        EXPECT_EQ(thrown_by<usage_error>([&] { s.acquire(6, std::stop_token()); }), text("6", "5"));
        EXPECT_EQ(thrown_by<usage_error>([&] { (void)s.try_acquire(-1); }), text("-1", "5"));
        EXPECT_EQ(thrown_by<usage_error>([&] { s.try_acquire_for(6, 1h); }), text("6", "5"));
        EXPECT_EQ(thrown_by<usage_error>([&] { s.try_acquire_for(0, 1h, std::stop_token()); }), text("0", "5"));
        EXPECT_EQ(thrown_by<usage_error>([&] { s.try_acquire_until(6, steady::now()); }), text("6", "5"));
        EXPECT_EQ(thrown_by<usage_error>([&] { s.try_acquire_until(PTRDIFF_MIN, steady::now(), std::stop_token()); }),
                  text("-9223372036854775808", "5"));
        EXPECT_EQ(drain(s), 5);
        binary_semaphore b(1);
        EXPECT_EQ(thrown_by<usage_error>([&] { b.acquire(2); }), text("2", "1"));
        b.acquire(1);
        counting_semaphore<> large(PTRDIFF_MAX);
        large.acquire(PTRDIFF_MAX);
        EXPECT_FALSE(large.try_acquire(PTRDIFF_MAX));
        EXPECT_FALSE(large.try_acquire());
    });
}

// It takes what is there when it comes, and what is released, and nobody passes it by.
TEST_P(several_permits, are_collected_by_the_first_that_waits) {
    for (const bool on_thread : {false, true}) {
        counting_semaphore<> s(2);
        std::atomic<bool> got_all{false}, got_one{false};
        crowd first, second;
        first.start(rt_, on_thread, [&] {
            s.acquire(5);
            got_all = true;
        });
        EXPECT_EVENTUALLY(on_thread ? first.threads_sleep() : waiting(rt_, reason) == 1);
        EXPECT_FALSE(s.try_acquire()) << "what was there when it came";
        second.go(other_, [&] {
            s.acquire();
            got_one = true;
        });
        EXPECT_EVENTUALLY(waiting(other_, reason) == 1);
        for (int i = 0; i < 2; ++i) {
            s.release();
            EXPECT_FALSE(s.try_acquire());
            EXPECT_EQ(waiting(other_, reason), 1u);
        }
        EXPECT_FALSE(got_all || got_one);
        s.release();
        first.join();
        EXPECT_TRUE(got_all);
        EXPECT_EQ(waiting(other_, reason), 1u);
        s.release(3);
        second.join();
        EXPECT_EQ(drain(s), 2);
    }
}

TEST_P(several_permits, serve_in_order_of_coming) {
    counting_semaphore<> s(0);
    std::mutex lock;
    std::vector<std::size_t> order;
    crowd all;
    constexpr std::ptrdiff_t wanted[] = {1, 3, 1, 1, 2, 4, 1};
    for (std::size_t i = 0; i < std::size(wanted); ++i) {
        all.go(rt_, [&, i] {
            s.acquire(wanted[i]);
            const std::lock_guard hold(lock);
            order.push_back(i);
        });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == i + 1);
    }
    for (std::size_t i = 0; i < std::size(wanted); ++i) {
        s.release(wanted[i]);
        EXPECT_EVENTUALLY([&] {
            const std::lock_guard hold(lock);
            return order.size() == i + 1;
        }());
        EXPECT_FALSE(s.try_acquire());
    }
    all.join();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

// Who gives up: a stop, a cancellation, the time.
TEST_P(several_permits, go_to_the_next_if_who_collects_them_gives_up) {
    for (const bool on_thread : {false, true}) {
        counting_semaphore<> s(0);
        std::stop_source source;
        crowd first, others;
        first.start(rt_, on_thread, [&] { EXPECT_THROW(s.acquire(10, source.get_token()), cancelled); });
        EXPECT_EVENTUALLY(on_thread ? first.threads_sleep() : waiting(rt_, reason) == 1);
        s.release(9);
        for (const int n : {1, 2, 1}) {
            const std::size_t before = waiting(other_, reason);
            others.go(other_, [&, n] { s.acquire(n); });
            EXPECT_EVENTUALLY(waiting(other_, reason) == before + 1);
        }
        EXPECT_FALSE(s.try_acquire());
        source.request_stop();
        first.join();
        others.join();
        EXPECT_EQ(drain(s), 5);
    }
}

// The next one collects in its turn what the first gives back.
TEST_P(several_permits, are_collected_on_by_the_next) {
    counting_semaphore<> s(0);
    rt_.run([&] {
        task_group impatient, patient;
        impatient.go([&] { EXPECT_THROW(s.acquire(4), cancelled); });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
        patient.go([&] { s.acquire(5); });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 2);
        s.release(3);
        impatient.cancel();
        impatient.wait();
        EXPECT_FALSE(s.try_acquire());
        s.release(2);
        patient.wait();
    });
    EXPECT_EQ(drain(s), 0);
}

// More of them than are woken in one round, when it gives up.
TEST_P(several_permits, go_to_a_crowd_if_who_collects_them_gives_up) {
    counting_semaphore<500> s(0);
    std::stop_source source;
    crowd first, others;
    first.go(rt_, [&] { EXPECT_THROW(s.acquire(500, source.get_token()), cancelled); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    s.release(400);
    constexpr std::size_t n = 300;
    for (std::size_t i = 0; i < n; ++i) others.go(other_, [&] { s.acquire(); });
    EXPECT_EVENTUALLY(waiting(other_, reason) == n);
    source.request_stop();
    first.join();
    others.join();
    EXPECT_EQ(drain(s), 100);
}

// What one that waits has collected counts, to the last one.
TEST_P(several_permits, count_for_the_maximum_while_they_are_collected) {
    counting_semaphore<5> s(0);
    crowd all;
    all.go(rt_, [&] { s.acquire(4); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    s.release(3);
    EXPECT_EQ(thrown_by<usage_error>([&] { s.release(3); }), beyond);
    EXPECT_EQ(thrown_by<usage_error>([&] { s.release(6); }), beyond);
    EXPECT_EQ(thrown_by<usage_error>([&] { s.release(-1); }), beyond);
    EXPECT_EQ(waiting(rt_, reason), 1u);
    s.release(2);
    all.join();
    EXPECT_EQ(drain(s), 1);
    EXPECT_FALSE(s.try_acquire_for(2, 1ms));
    s.release(5);
    EXPECT_EQ(thrown_by<usage_error>([&] { s.release(); }), beyond) << "nor do those that have given up leave room";
    EXPECT_EQ(drain(s), 5);
}

// What each takes it releases again, in parts. Some give up at random. In the end all permits are there.
TEST_P(several_permits, are_all_there_in_the_end) {
    auto random = seeded_random("several_permits.are_all_there_in_the_end");
    constexpr std::ptrdiff_t most = 12;
    counting_semaphore<most> s(most);
    std::atomic<std::ptrdiff_t> out{0}, served{0};
    std::atomic<int> wrong{0};
    const std::size_t rounds = scaled(600, 60);
    crowd all;
    for (int who = 0; who < 12; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who % 6 == 5, [&, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < rounds; ++i) {
                const auto n = static_cast<std::ptrdiff_t>(1 + r() % most);
                const std::chrono::microseconds time(r() % 200);
                bool got = true;
                switch (r() % 5) {
                    case 0: s.acquire(n); break;
                    case 1: got = s.try_acquire(n); break;
                    case 2: got = s.try_acquire_for(n, time); break;
                    case 3: got = s.try_acquire_until(n, steady::now() + time); break;
                    default: {
                        std::stop_source source;
                        crowd stopper;
                        stopper.go(other_, [&source, busy_for = r()] { busy(busy_for), source.request_stop(); });
                        try {
                            if (r() % 2 == 0) got = s.try_acquire_for(n, time, source.get_token());
                            else s.acquire(n, source.get_token());
                        } catch (const cancelled&) {
                            got = false;
                        }
                    }
                }
                if (!got) continue;
                served += n;
                if ((out += n) > most) ++wrong;
                if (i % 8 == 0) this_goroutine::yield();
                const auto part = static_cast<std::ptrdiff_t>(r() % static_cast<std::uint64_t>(n));
                out -= n;
                s.release(part);
                s.release(n - part);
            }
        });
    all.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_GT(served, 0);
    EXPECT_EQ(drain(s), most);
}

// Whoever has acquired the last permits destroys it, while release() may not have returned.
TEST_P(several_permits, may_be_the_last_that_there_are) {
    for (std::size_t round = 0; round < scaled(1'000, 100); ++round) {
        auto* s = new counting_semaphore<>(0);
        crowd all;
        all.start(rt_, round % 3 == 0, [s, round] {
            if (round % 2 == 0) s->acquire(3);
            else EXPECT_TRUE(s->try_acquire_for(3, 1h));
            delete s;
        });
        all.start(other_, round % 3 == 1, [s] { s->release(); });
        all.start(other_, round % 3 == 2, [s] { s->release(2); });
        all.join();
    }
}

TEST_P(several_permits, show_who_waits_and_end_with_a_stop) {
    counting_semaphore<> s(1);
    std::stop_source source;
    crowd all;
    all.go(rt_, [&] {
        EXPECT_THROW(s.try_acquire_for(2, 1h, source.get_token()), cancelled);
        EXPECT_THROW(s.try_acquire_until(2, steady::now() + 1h, source.get_token()), cancelled);   // and does not begin another
        EXPECT_TRUE(s.try_acquire_for(1h, source.get_token())) << "there is one";
        EXPECT_THROW(s.try_acquire_until(steady::now() + 1h, source.get_token()), cancelled);
    });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    source.request_stop();
    all.join();
    EXPECT_EQ(drain(s), 0);
}

// One that waits for two gives up while permits come one by one: in each order of these each permit is somewhere.
TEST(several_permits_simulated, get_lost_in_no_order) {
    int gave_up = 0, got = 0;
    simulation::explore(handoff::exploration{.count = 500}, [&] {
        counting_semaphore<3> s(0);
        std::ptrdiff_t taken = 0;
        task_group g;
        g.go([&] {
            if (s.try_acquire_for(2, 2ms)) taken += 2, ++got;
            else ++gave_up;
        });
        g.go([&] {
            s.acquire();
            ++taken;
        });
        g.go([&] {
            for (int i = 0; i < 3; ++i) {
                this_goroutine::sleep_for(1ms);
                s.release();
            }
        });
        g.wait();
        if (taken + drain(s) != 3) throw std::logic_error("a permit is lost");
    });
    EXPECT_GT(gave_up, 0);
    EXPECT_GT(got, 0);
}

TEST(several_permits_simulated, that_are_free_are_taken_after_a_stop) {
    simulation(1).run([] {
        handoff::counting_semaphore<> s(3);
        std::stop_source stop;
        stop.request_stop();
        s.acquire(stop.get_token());
        s.acquire(2, stop.get_token());
        EXPECT_THROW(s.acquire(stop.get_token()), handoff::cancelled);
        EXPECT_THROW(s.acquire(2, stop.get_token()), handoff::cancelled);
    });
}

TEST(several_permits_simulated, wait_in_virtual_time) {
    simulation sim(1);
    sim.run([] {
        counting_semaphore<> s(1);
        EXPECT_FALSE(s.try_acquire_for(2, 1h));
        EXPECT_TRUE(s.try_acquire(1));
    });
    EXPECT_EQ(sim.elapsed(), 1h);
}

}  // namespace
