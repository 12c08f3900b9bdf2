// counting_semaphore: permits, their order, misuse, timed waits, stop tokens, and its end.
#include "locks.hpp"

#include <stop_token>

using handoff::binary_semaphore;
using handoff::counting_semaphore;
using handoff::runtime;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(counting_semaphore<>) == 8);
static_assert(counting_semaphore<5>::max() == 5 && binary_semaphore::max() == 1);
static_assert(counting_semaphore<>::max() == std::numeric_limits<std::ptrdiff_t>::max());
static_assert(!std::is_copy_constructible_v<counting_semaphore<>> && !std::is_copy_assignable_v<counting_semaphore<>>);
static_assert(!std::is_convertible_v<std::ptrdiff_t, counting_semaphore<>>);
static_assert(noexcept(std::declval<counting_semaphore<>&>().try_acquire()));

constexpr auto reason = "semaphore";
constexpr auto beyond = "handoff: a semaphore is released beyond its maximum";

constinit counting_semaphore<> global(3);

class semaphores : public with_procs {};
INSTANTIATE_WITH_PROCS(semaphores);

// How many permits there are; it takes them all.
template <class S>
std::size_t drain(S& s) {
    std::size_t n = 0;
    while (s.try_acquire()) ++n;
    return n;
}

TEST_P(semaphores, count_permits) {
    on_both(rt_, [] {
        EXPECT_EQ(drain(global), 3u);
        global.release(3);
        counting_semaphore<10> s(2);
        s.acquire();
        EXPECT_TRUE(s.try_acquire());
        EXPECT_FALSE(s.try_acquire());
        s.release();
        s.release(4);
        s.release(0);
        EXPECT_TRUE(s.try_acquire_for(-1s));
        EXPECT_TRUE(s.try_acquire_until(steady::time_point::min()));
        EXPECT_EQ(drain(s), 3u);
    });
}

TEST_P(semaphores, refuse_what_goes_beyond_their_maximum) {
    on_both(rt_, [] {
        counting_semaphore<5> s(3);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(3); }), beyond);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(6); }), beyond);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(-1); }), beyond);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(PTRDIFF_MIN); }), beyond);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(PTRDIFF_MAX); }), beyond);
        EXPECT_EQ(drain(s), 3u);
        s.release(5);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(); }), beyond);
        EXPECT_EQ(drain(s), 5u);
        counting_semaphore<> large(PTRDIFF_MAX - 1);
        large.release();
        EXPECT_EQ(thrown_by<usage_error>([&] { large.release(); }), beyond);
        EXPECT_TRUE(large.try_acquire());
        binary_semaphore b(1);
        EXPECT_EQ(thrown_by<usage_error>([&] { b.release(); }), beyond);
        EXPECT_EQ(drain(b), 1u);
        counting_semaphore<0> none(0);
        EXPECT_EQ(thrown_by<usage_error>([&] { none.release(); }), beyond);
        EXPECT_FALSE(none.try_acquire());
    });
}

TEST(semaphore, has_no_more_permits_at_first_than_it_may) {
    EXPECT_EQ(thrown_by<usage_error>([] { counting_semaphore<> s(-1); }),
              "handoff: the count of a semaphore is -1, not between 0 and 9223372036854775807");
    EXPECT_EQ(thrown_by<usage_error>([] { binary_semaphore s(2); }), "handoff: the count of a semaphore is 2, not between 0 and 1");
    EXPECT_THROW(counting_semaphore<5>(6), usage_error);
    EXPECT_THROW(counting_semaphore<5>(PTRDIFF_MIN), usage_error);
    EXPECT_THROW(counting_semaphore<0>(1), usage_error);
    counting_semaphore<5> all(5);
    EXPECT_EQ(drain(all), 5u);
    static constinit counting_semaphore<5> at_compile_time(5);
    EXPECT_EQ(drain(at_compile_time), 5u);
}

// Nor do those that wait notice.
TEST_P(semaphores, refuse_it_while_others_wait) {
    counting_semaphore<5> s(0);
    crowd all;
    all.go(rt_, [&] { s.acquire(); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    EXPECT_EQ(thrown_by<usage_error>([&] { s.release(6); }), beyond);
    EXPECT_EQ(thrown_by<usage_error>([&] { s.release(-1); }), beyond);
    s.release(0);
    EXPECT_EQ(waiting(rt_, reason), 1u);
    s.release(5);
    all.join();
    EXPECT_EQ(drain(s), 4u);
}

// One waits, several release: the first of these wakes it, the second leaves a permit, the others are refused.
TEST_P(semaphores, refuse_all_but_one_of_those_that_come_at_once) {
    for (std::size_t round = 0; round < scaled(500, 100); ++round) {
        binary_semaphore s(0);
        std::atomic<int> ready{0}, released{0}, refused{0};
        crowd all;
        all.go(rt_, [&] { s.acquire(); });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
        constexpr int releasers = 4;
        for (int i = 0; i < releasers; ++i)
            all.start(other_, i % 2 == 0, [&] {
                ++ready;
                compute_until([&] { return ready >= releasers / 2; });
                try {
                    s.release();
                    ++released;
                } catch (const usage_error&) {
                    ++refused;
                }
            });
        all.join();
        ASSERT_EQ(released, 2) << "in round " << round;
        ASSERT_EQ(refused, releasers - 2);
        ASSERT_EQ(drain(s), 1u);
    }
}

// ---- Limits --------------------------------------------------------------------------------------------------------

void expect_limit(std::initializer_list<runtime*> runtimes, unsigned threads, std::size_t rounds) {
    constexpr int limit = 3;
    counting_semaphore<limit> s(limit);
    std::atomic<int> inside{0}, most{0}, too_many{0};
    crowd all;
    const auto body = [&] {
        for (std::size_t i = 0; i < rounds; ++i) {
            if (i % 4 == 1) {
                if (!s.try_acquire_for(20us)) continue;
            } else if (i % 4 == 2) {
                if (!s.try_acquire()) continue;
            } else {
                s.acquire();
            }
            const int n = ++inside;
            if (n > limit) ++too_many;
            if (n > most) most = n;
            if (i % 16 == 0) this_goroutine::yield();
            --inside;
            s.release();
        }
    };
    for (runtime* rt : runtimes)
        for (int i = 0; i < 8; ++i) all.go(*rt, body);
    for (unsigned i = 0; i < threads; ++i) all.thread(body);
    all.join();
    EXPECT_EQ(too_many, 0);
    EXPECT_GT(most, 0);
    EXPECT_EQ(drain(s), static_cast<std::size_t>(limit));
}

TEST_P(semaphores, limit_goroutines) { expect_limit({&rt_}, 0, scaled(5'000)); }
TEST_P(semaphores, limit_threads) { expect_limit({}, 5, scaled(5'000)); }
TEST_P(semaphores, limit_everybody) { expect_limit({&rt_, &other_}, 3, scaled(2'000)); }

// As many as there are permits are inside at once.
TEST_P(semaphores, let_in_as_many_as_allowed) {
    constexpr int limit = 4;
    counting_semaphore<> s(limit);
    std::atomic<int> inside{0};
    crowd all;
    for (int i = 0; i < 3 * limit; ++i)
        all.start(rt_, i % 3 == 0, [&] {
            s.acquire();
            ++inside;
            EXPECT_EVENTUALLY(inside >= limit);
            s.release();
        });
    all.join();
}

// ---- Order ---------------------------------------------------------------------------------------------------------

TEST_P(semaphores, serve_in_order_of_coming) {
    for (const std::ptrdiff_t at_once : {1, 3}) {
        counting_semaphore<> s(0);
        std::mutex lock;
        std::vector<int> order;
        crowd all;
        constexpr int n = 12;
        for (int i = 0; i < n; ++i) {
            const auto body = [&, i] {
                if (i % 2 == 0) s.acquire();
                else EXPECT_TRUE(s.try_acquire_for(1h));
                const std::lock_guard hold(lock);
                order.push_back(i / static_cast<int>(at_once));   // those of one release come in any order
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
        for (std::ptrdiff_t i = at_once; i <= n; i += at_once) {
            EXPECT_FALSE(s.try_acquire());
            s.release(at_once);
            EXPECT_EVENTUALLY([&] {
                const std::lock_guard hold(lock);
                return order.size() == static_cast<std::size_t>(i);
            }());
            EXPECT_FALSE(s.try_acquire()) << "a permit that was given to who waits";
        }
        all.join();
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    }
}

TEST_P(semaphores, keep_what_nobody_waited_for) {
    counting_semaphore<> s(0);
    crowd all;
    for (int i = 0; i < 4; ++i) all.go(rt_, [&] { s.acquire(); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 4);
    s.release(7);
    all.join();
    EXPECT_EQ(drain(s), 3u);
}

// More than are woken at once.
TEST_P(semaphores, serve_a_crowd) {
    counting_semaphore<> s(0);
    crowd all;
    constexpr std::size_t n = 500;
    for (std::size_t i = 0; i < n; ++i) all.start(rt_, i % 100 == 99, [&] { s.acquire(); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == n - n / 100 && all.threads_sleep());
    s.release(n + 20);
    all.join();
    EXPECT_EQ(drain(s), 20u);
}

// Those that are woken come back for more, as long as there is more to be had.
TEST_P(semaphores, are_released_beside_a_hungry_crowd) {
    counting_semaphore<> s(0);
    std::atomic<bool> released{false}, stop{false};
    crowd hungry, all;
    constexpr std::size_t n = 300;
    for (std::size_t i = 0; i < n; ++i)
        hungry.go(rt_, [&] {
            do {
                s.acquire();
                this_goroutine::yield();
            } while (!released && !stop);
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == n);
    all.thread([&] {
        s.release(PTRDIFF_MAX / 2);
        released = true;
    });
    EXPECT_EVENTUALLY(released.load());
    stop = true;
    hungry.join();
}

// ---- Timed waits ---------------------------------------------------------------------------------------------------

TEST_P(semaphores, timed_waits_are_never_early) {
    counting_semaphore<> s(0);
    auto random = seeded_random("semaphores.timed_waits_are_never_early");
    crowd all;
    for (int who = 0; who < 6; ++who)
        all.start(rt_, who >= 4, [&s, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < scaled(40, 10); ++i) {
                const std::chrono::nanoseconds d(r() % 2'000'000);
                EXPECT_FALSE(never_earlier_than(d, [&] { return s.try_acquire_for(d); }));
                const auto until = steady::now() + d;
                EXPECT_FALSE(s.try_acquire_until(until));
                EXPECT_GE(steady::now(), until);
            }
            EXPECT_FALSE(s.try_acquire_for(-1h) || s.try_acquire_for(0s) || s.try_acquire_until(steady::time_point::min()));
            EXPECT_FALSE(s.try_acquire_until(std::chrono::system_clock::now() - 1h));
        });
    all.join();
    s.release();
    EXPECT_EQ(drain(s), 1u);
}

TEST_P(semaphores, take_any_duration) {
    counting_semaphore<> s(0);
    crowd all;
    for (const bool on_thread : {false, true}) {
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(s.try_acquire_for(std::chrono::hours::max())); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(s.try_acquire_for(std::chrono::duration<double>(1e300))); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(s.try_acquire_until(steady::time_point::max())); });
    }
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 3 && all.threads_sleep());
    s.release(6);
    all.join();
    EXPECT_EQ(drain(s), 0u);
}

// Some give up at random, also as a permit comes: no permit is lost, none is given twice.
TEST_P(semaphores, survive_waiters_that_give_up) {
    auto random = seeded_random("semaphores.survive_waiters_that_give_up");
    counting_semaphore<> s(0);
    constexpr std::size_t waiters = 12;
    const std::size_t rounds = scaled(200, 30);
    std::atomic<std::size_t> got{0}, wanted{waiters / 3 * rounds};
    crowd all;
    for (std::size_t who = 0; who < waiters; ++who)
        all.start(rt_, who % 6 == 5, [&, who, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < rounds; ++i) {
                if (who % 3 == 0) {
                    s.acquire();
                } else if (who % 3 == 1) {
                    if (!s.try_acquire_for(std::chrono::microseconds(r() % 200))) continue;
                } else {
                    std::stop_source source;
                    crowd stopper;
                    stopper.go(other_, [&source, n = r()] { busy(n), source.request_stop(); });
                    try {
                        s.acquire(source.get_token());
                    } catch (const handoff::cancelled&) {
                        continue;
                    }
                }
                ++got;
                if (who % 3 == 0) --wanted;
            }
        });
    std::size_t given = 0;
    while (wanted > 0) {
        const auto n = static_cast<std::ptrdiff_t>(random() % 3);
        s.release(n);
        given += static_cast<std::size_t>(n);
        this_goroutine::sleep_for(std::chrono::microseconds(random() % 20));
    }
    all.join();
    EXPECT_EQ(drain(s) + got, given);
}

// All have given up: what they left behind hides no permit.
TEST_P(semaphores, are_as_before_when_all_have_given_up) {
    on_both(rt_, [] {
        counting_semaphore<3> s(0);
        EXPECT_FALSE(s.try_acquire_for(1ms));
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(4); }), beyond);
        s.release(2);
        EXPECT_EQ(thrown_by<usage_error>([&] { s.release(2); }), beyond);
        EXPECT_EQ(drain(s), 2u);
    });
}

// ---- Stop tokens ---------------------------------------------------------------------------------------------------

TEST_P(semaphores, a_stop_ends_the_wait) {
    for (const bool on_thread : {false, true})
        for (const bool by_goroutine : {false, true}) {
            counting_semaphore<> s(0);
            std::stop_source source;
            crowd all;
            all.start(rt_, on_thread, [&, token = source.get_token()] {
                EXPECT_THROW(s.acquire(token), handoff::cancelled);
                EXPECT_THROW(s.acquire(token), handoff::cancelled);   // and does not begin another
            });
            EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt_, reason) == 1);
            if (by_goroutine) rt_.run([&] { source.request_stop(); });
            else source.request_stop();
            all.join();
            s.release();
            s.acquire(source.get_token());   // there is one: no wait to end
            EXPECT_EQ(drain(s), 0u);
        }
}

TEST_P(semaphores, are_acquired_with_a_token_that_nobody_stops) {
    for (const bool on_thread : {false, true}) {
        counting_semaphore<> s(0);
        std::stop_source source;
        crowd all;
        all.start(rt_, on_thread, [&, token = source.get_token()] {
            s.acquire(token);
            s.acquire(std::stop_token());
        });
        EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt_, reason) == 1);
        s.release(2);
        all.join();
        EXPECT_FALSE(source.stop_requested());
    }
}

// ---- The rest ------------------------------------------------------------------------------------------------------

TEST_P(semaphores, show_who_waits) {
    counting_semaphore<> s(0);
    crowd all;
    for (int i = 0; i < 4; ++i)
        all.go(rt_, [&, i] {
            if (i % 2 == 0) s.acquire();
            else EXPECT_TRUE(s.try_acquire_for(1h));
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 4);
    s.release(4);
    all.join();
}

// Whoever has acquired the last permit destroys it, while release() may not have returned.
TEST_P(semaphores, are_destroyed_by_who_acquires_the_last_permit) {
    for (std::size_t round = 0; round < scaled(2'000, 200); ++round) {
        auto* s = new counting_semaphore<>(0);
        crowd all;
        std::atomic<bool> destroyed{false};
        all.start(rt_, round % 3 == 0, [s, round, &destroyed] {
            for (int i = 0; i < 3; ++i) {
                if (round % 2 == 0) s->acquire();
                else EXPECT_TRUE(s->try_acquire_for(1h));
            }
            delete s;
            destroyed = true;
        });
        all.start(other_, round % 3 == 1, [s] { s->release(); });
        all.start(other_, round % 3 == 2, [s] { s->release(2); });
        all.join();
        EXPECT_TRUE(destroyed);
    }
}

// A binary semaphore as a lock that goes from thread to thread.
TEST_P(semaphores, exclude) {
    binary_semaphore s(1);
    critical section;
    crowd all;
    const std::size_t rounds = scaled(3'000);
    for (int who = 0; who < 10; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who >= 8, [&] {
            for (std::size_t i = 0; i < rounds; ++i) {
                s.acquire();
                section.enter();
                section.leave();
                s.release();
            }
        });
    all.join();
    EXPECT_EQ(section.entries(), 10 * rounds);
    EXPECT_EQ(section.collisions(), 0);
}

TEST(semaphore, leaves_errno_alone_on_threads) {
    counting_semaphore<> s(0);
    errno = EDOM;
    EXPECT_FALSE(s.try_acquire() || s.try_acquire_for(2ms));
    EXPECT_EQ(errno, EDOM);
}

}  // namespace
