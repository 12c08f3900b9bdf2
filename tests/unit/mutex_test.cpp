// mutex: the standard's requirements, mutual exclusion, hand-over, and what it does when it is used wrongly.
#include "locks.hpp"

#include <utility>

using handoff::mutex;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(mutex) == 4);
static_assert(!std::is_copy_constructible_v<mutex> && !std::is_copy_assignable_v<mutex>);
static_assert(!std::is_move_constructible_v<mutex> && !std::is_move_assignable_v<mutex>);
static_assert(std::is_nothrow_default_constructible_v<mutex> && std::is_trivially_destructible_v<mutex>);
static_assert(noexcept(std::declval<mutex&>().try_lock()) && noexcept(std::declval<mutex&>().unlock()));

constinit mutex global;   // ready before any constructor runs

class mutexes : public with_procs {};
INSTANTIATE_WITH_PROCS(mutexes);

TEST_P(mutexes, work_with_the_standards_locks) {
    on_both(rt_, [] {
        mutex a, b, c;
        { const std::lock_guard hold(global); EXPECT_FALSE(global.try_lock()); }
        {
            const std::scoped_lock hold(a, b, c);
            EXPECT_FALSE(a.try_lock() || b.try_lock() || c.try_lock());
        }
        {
            std::unique_lock<mutex> one(a), two(b, std::defer_lock), three(c, std::try_to_lock);
            EXPECT_TRUE(one.owns_lock() && !two.owns_lock() && three.owns_lock());
            EXPECT_EQ(std::try_lock(b, a), 1);   // the second of them; the first is free again
            EXPECT_TRUE(two.try_lock());
            one.unlock();
            two.unlock();
            std::lock(one, two);
            EXPECT_TRUE(one.owns_lock() && two.owns_lock());
            const std::unique_lock<mutex> late(c, 1ms), later(c, steady::now() + 1ms);
            EXPECT_FALSE(late.owns_lock() || later.owns_lock());
            three.unlock();
            EXPECT_TRUE(three.try_lock_for(1ms));
            three.unlock();
            EXPECT_TRUE(three.try_lock_until(std::chrono::system_clock::now() + 1ms));
        }
        EXPECT_TRUE(a.try_lock() && b.try_lock() && c.try_lock());
        const std::lock_guard x(a, std::adopt_lock), y(b, std::adopt_lock), z(c, std::adopt_lock);
    });
}

TEST_P(mutexes, are_tried_without_waiting) {
    mutex m;
    on_both(rt_, [&] {
        EXPECT_TRUE(m.try_lock());
        EXPECT_FALSE(m.try_lock());
        EXPECT_FALSE(rt_.run([&] { return m.try_lock(); }));
        bool on_thread = true;
        std::thread([&] { on_thread = m.try_lock(); }).join();
        EXPECT_FALSE(on_thread);
        m.unlock();
        EXPECT_TRUE(rt_.run([&] { return m.try_lock(); }));
        m.unlock();
    });
}

// ---- Exclusion -----------------------------------------------------------------------------------------------------

// `rounds` of each of several goroutines of each runtime and several threads.
void expect_exclusion(std::initializer_list<runtime*> runtimes, unsigned threads, std::size_t rounds) {
    mutex m;
    critical section;
    crowd all;
    const auto body = [&m, &section, rounds](std::size_t who) {
        return [&m, &section, rounds, who] {
            for (std::size_t i = 0; i < rounds; ++i) {
                const std::lock_guard hold(m);
                section.enter();
                busy(who * 31 + i * 7);
                section.leave();
            }
        };
    };
    std::size_t n = 0;
    for (runtime* rt : runtimes)
        for (int i = 0; i < 8; ++i) all.go(*rt, body(n++));
    for (unsigned i = 0; i < threads; ++i) all.thread(body(n++));
    all.join();
    EXPECT_EQ(section.entries(), n * rounds);
    EXPECT_EQ(section.collisions(), 0);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
}

TEST_P(mutexes, exclude_goroutines) { expect_exclusion({&rt_}, 0, scaled(20'000)); }
TEST_P(mutexes, exclude_threads) { expect_exclusion({}, 4, scaled(20'000)); }
TEST_P(mutexes, exclude_goroutines_and_threads) { expect_exclusion({&rt_}, 4, scaled(10'000)); }
TEST_P(mutexes, exclude_goroutines_of_two_runtimes) { expect_exclusion({&rt_, &other_}, 0, scaled(10'000)); }
TEST_P(mutexes, exclude_everybody) { expect_exclusion({&rt_, &other_}, 3, scaled(10'000)); }

// Its owner parks, sleeps, blocks the thread, or loses its processor, and comes back on another thread.
TEST_P(mutexes, are_held_across_every_wait) {
    mutex m;
    critical section;
    crowd all;
    const std::size_t rounds = scaled(100, 20);
    const auto wait_somehow = [](std::size_t kind) {
        switch (kind % 5) {
            case 0: this_goroutine::yield(); break;
            case 1: this_goroutine::sleep_for(50us); break;
            case 2: handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(50); }); break;
            case 3: ::usleep(50); break;
            default: handoff::go([] {}).join(); break;
        }
    };
    for (std::size_t who = 0; who < 5; ++who)
        all.start(rt_, who == 4, [&, who] {
            for (std::size_t i = 0; i < rounds; ++i) {
                const std::lock_guard hold(m);
                section.enter();
                wait_somehow(who == 4 ? i % 4 : who + i);
                section.leave();
            }
        });
    all.join();
    EXPECT_EQ(section.entries(), 5 * rounds);
    EXPECT_EQ(section.collisions(), 0);
}

TEST(mutex, is_unlocked_on_another_thread_than_it_was_locked) {
    runtime rt(no_retakes(1));
    mutex m;
    int plain = 0;
    rt.run([&] {
        bool moved = false;
        for (int i = 0; i < 20 && !moved; ++i) {
            m.lock();
            ++plain;
            moved = migrate(rt);
            m.unlock();
        }
        EXPECT_TRUE(moved);
    });
    m.lock();
    EXPECT_GT(plain, 0);
    m.unlock();
}

TEST_P(mutexes, are_unlocked_by_others) {
    mutex m;
    int plain = 0;   // goes from hand to hand
    rt_.run([&] { m.lock(); plain = 1; });
    rt_.run([&] { EXPECT_EQ(plain, 1); m.unlock(); });
    m.lock();
    plain = 2;
    auto waiter = rt_.go([&] { m.lock(); EXPECT_EQ(plain, 3); });
    EXPECT_EVENTUALLY(waiting(rt_, "mutex") == 1);
    other_.run([&] { plain = 3; m.unlock(); });
    waiter.join();
    std::thread([&] { m.unlock(); }).join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
}

// ---- Waiting -------------------------------------------------------------------------------------------------------

TEST_P(mutexes, show_who_waits) {
    mutex m;
    m.lock();
    crowd all;
    for (int i = 0; i < 3; ++i) all.go(rt_, [&] { const std::lock_guard hold(m); });
    all.go(rt_, [&] {
        EXPECT_TRUE(m.try_lock_for(1h));
        m.unlock();
    });
    all.go(other_, [&] { const std::lock_guard hold(m); });
    EXPECT_EVENTUALLY(waiting(rt_, "mutex") == 4 && waiting(other_, "mutex") == 1);
    m.unlock();
    all.join();
    EXPECT_EQ(waiting(rt_, "mutex"), 0u);
}

// Those that wait take no processor.
TEST_P(mutexes, waiters_sleep) {
    mutex m;
    m.lock();
    crowd all;
    for (int i = 0; i < 8; ++i) all.go(rt_, [&] { const std::lock_guard hold(m); });
    for (int i = 0; i < 2; ++i) all.thread([&] { const std::lock_guard hold(m); });
    EXPECT_EVENTUALLY(waiting(rt_, "mutex") == 8 && all.threads_sleep());
    EXPECT_EQ(rt_.run([] { return 1; }), 1);
    m.unlock();
    all.join();
}

TEST_P(mutexes, timed_waits_are_never_early) {
    mutex m;
    auto random = seeded_random("mutexes.timed_waits_are_never_early");
    m.lock();
    crowd all;
    for (int who = 0; who < 6; ++who)
        all.start(rt_, who >= 4, [&m, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < scaled(50, 10); ++i) {
                const std::chrono::nanoseconds d(r() % 3'000'000);
                EXPECT_FALSE(never_earlier_than(d, [&] { return m.try_lock_for(d); }));
                const auto until = steady::now() + d;
                EXPECT_FALSE(m.try_lock_until(until));
                EXPECT_GE(steady::now(), until);
            }
            const auto until = std::chrono::system_clock::now() + 2ms;
            EXPECT_FALSE(m.try_lock_until(until));
            EXPECT_GE(std::chrono::system_clock::now(), until - 1ms);   // that clock may be set meanwhile
        });
    all.join();
    m.unlock();
    EXPECT_TRUE(m.try_lock());
}

TEST_P(mutexes, take_any_duration) {
    mutex m;
    on_both(rt_, [&] {
        m.lock();
        EXPECT_FALSE(m.try_lock_for(0s));
        EXPECT_FALSE(m.try_lock_for(-1s));
        EXPECT_FALSE(m.try_lock_for(std::chrono::hours::min()));
        EXPECT_FALSE(m.try_lock_for(std::chrono::duration<double, std::micro>(0.5)));
        EXPECT_FALSE(m.try_lock_until(steady::time_point::min()));
        EXPECT_FALSE(m.try_lock_until(steady::now() - 1s));
        EXPECT_FALSE(m.try_lock_until(std::chrono::system_clock::now() - 1s));
        m.unlock();
        // Free: no time is needed.
        EXPECT_TRUE(m.try_lock_for(-1s));
        m.unlock();
        EXPECT_TRUE(m.try_lock_until(steady::time_point::min()));
        m.unlock();
    });
    // Centuries: long enough to be woken.
    m.lock();
    crowd all;
    for (const bool on_thread : {false, true}) {
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(m.try_lock_for(std::chrono::hours::max())); m.unlock(); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(m.try_lock_for(std::chrono::nanoseconds::max())); m.unlock(); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(m.try_lock_for(std::chrono::duration<double>(1e300))); m.unlock(); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(m.try_lock_until(steady::time_point::max())); m.unlock(); });
    }
    EXPECT_EVENTUALLY(waiting(rt_, "mutex") == 4 && all.threads_sleep());
    m.unlock();
    all.join();
}

// Those that give up stand among those that don't; each of the latter gets in.
TEST_P(mutexes, survive_waiters_that_give_up) {
    auto random = seeded_random("mutexes.survive_waiters_that_give_up");
    for (std::size_t round = 0; round < scaled(20, 4); ++round) {
        mutex m;
        critical section;
        std::atomic<unsigned> gave_up{0};
        constexpr unsigned timed = 16, patient = 16;
        m.lock();
        crowd all;
        for (unsigned i = 0; i < timed + patient; ++i)
            all.start(rt_, i % 8 >= 6, [&, i, d = std::chrono::microseconds(random() % 2000)] {
                if (i % 2 == 0) {
                    if (!m.try_lock_for(d)) return void(++gave_up);
                } else {
                    m.lock();
                }
                section.enter();
                section.leave();
                m.unlock();
            });
        EXPECT_EVENTUALLY(gave_up == timed);
        EXPECT_EQ(section.entries(), 0u);
        m.unlock();
        all.join();
        EXPECT_EQ(section.entries(), patient);
        EXPECT_EQ(section.collisions(), 0);
        EXPECT_TRUE(m.try_lock());
    }
}

// They give up at about the time at which the lock becomes theirs.
TEST_P(mutexes, time_out_while_they_are_handed_over) {
    auto random = seeded_random("mutexes.time_out_while_they_are_handed_over");
    mutex m;
    critical section;
    std::atomic<std::size_t> got{0}, late{0};
    crowd all;
    const std::size_t rounds = scaled(300, 30);
    for (int who = 0; who < 10; ++who)
        all.start(rt_, who >= 8, [&, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < rounds; ++i) {
                if (r() % 4 == 0) m.lock();
                else if (!m.try_lock_for(std::chrono::microseconds(r() % 300))) {
                    ++late;
                    continue;
                }
                ++got;
                section.enter();
                if (r() % 4 == 0) this_goroutine::sleep_for(std::chrono::microseconds(r() % 100));
                section.leave();
                m.unlock();
            }
        });
    all.join();
    EXPECT_EQ(got + late, 10 * rounds);
    EXPECT_EQ(section.entries(), got);
    EXPECT_EQ(section.collisions(), 0);
    EXPECT_GT(late, 0u);
    EXPECT_TRUE(m.try_lock());
}

// Two mutexes that share a bucket of the parking lot, as any two may: who waits for one is not woken for the other.
TEST_P(mutexes, keep_their_waiters_apart) {
    std::vector<mutex> many(2'000);   // of 1,024 buckets
    crowd all;
    std::vector<std::atomic<bool>> in(many.size());
    for (auto& m : many) m.lock();
    const std::size_t n = scaled(many.size(), 1'200);
    for (std::size_t i = 0; i < n; ++i)
        all.go(rt_, [&, i] {
            if (i % 2 == 0) many[i].lock();
            else EXPECT_TRUE(many[i].try_lock_for(1h));
            in[i] = true;
        });
    EXPECT_EVENTUALLY(waiting(rt_, "mutex") == n);
    for (std::size_t k = 0; k < n; ++k) {
        const std::size_t i = k * 7'919 % n;
        if (in[i]) continue;   // 7,919 is a prime, and divides no n here
        many[i].unlock();
        EXPECT_EVENTUALLY(in[i].load());
        ASSERT_EQ(static_cast<std::size_t>(std::count(in.begin(), in.end(), true)), k + 1);
    }
    all.join();
}

// ---- Fairness ------------------------------------------------------------------------------------------------------

// Someone locks and unlocks as fast as he can. Returns how long another had to wait for it, the median of several.
std::chrono::nanoseconds wait_beside_a_hog(runtime& rt, bool hog_on_thread, bool waiter_on_thread) {
    mutex m;
    std::atomic<bool> stop{false}, hog_runs{false};
    crowd all;
    all.start(rt, hog_on_thread, [&] {
        while (!stop.load(std::memory_order_relaxed)) {
            m.lock();
            hog_runs.store(true, std::memory_order_relaxed);
            busy(255);
            m.unlock();
        }
    });
    std::vector<std::chrono::nanoseconds> waits;
    all.start(rt, waiter_on_thread, [&] {
        EXPECT_EVENTUALLY(hog_runs.load());
        for (int i = 0; i < 9; ++i) {
            const auto before = steady::now();
            m.lock();
            waits.push_back(steady::now() - before);
            m.unlock();
        }
        stop = true;
    });
    all.join();
    std::sort(waits.begin(), waits.end());
    return waits[waits.size() / 2];
}

TEST_P(mutexes, let_in_who_waits_beside_a_hog) {
    const auto most = with_sanitizer ? 2s : 100ms;
    for (const bool hog_on_thread : {false, true})
        for (const bool waiter_on_thread : {false, true})
            EXPECT_LT(wait_beside_a_hog(rt_, hog_on_thread, waiter_on_thread), most)
                << "hog on a thread: " << hog_on_thread << ", waiter on a thread: " << waiter_on_thread;
}

// Go's TestMutexFairness: the owner lets go of it for an instant only.
TEST_P(mutexes, let_in_who_waits_beside_a_sleepy_owner) {
    for (const bool owner_on_thread : {false, true}) {
        mutex m;
        std::atomic<bool> stop{false};
        crowd all;
        all.start(rt_, owner_on_thread, [&] {
            while (!stop) {
                const std::lock_guard hold(m);
                this_goroutine::sleep_for(100us);
            }
        });
        const auto before = steady::now();
        rt_.run([&] {
            for (int i = 0; i < 10; ++i) {
                this_goroutine::sleep_for(100us);
                const std::lock_guard hold(m);
            }
        });
        EXPECT_LT(steady::now() - before, 10s);
        stop = true;
    }
}

// Who has waited for more than a millisecond is served in the order of coming.
TEST_P(mutexes, are_handed_over_in_order_to_those_that_starve) {
    for (int round = 0; round < 5; ++round) {
        mutex m;
        std::vector<int> order;
        m.lock();
        crowd all;
        constexpr int n = 10;
        for (int i = 0; i < n; ++i) {
            all.go(rt_, [&, i] {
                m.lock();
                order.push_back(i);
                // All that wait still do so for more than a millisecond when it is unlocked.
                m.unlock();
            });
            EXPECT_EVENTUALLY(waiting(rt_, "mutex") == static_cast<std::size_t>(i) + 1);
        }
        const auto starving = steady::now() + 2ms;
        EXPECT_EVENTUALLY(steady::now() > starving);
        m.unlock();
        all.join();
        ASSERT_EQ(order.size(), static_cast<std::size_t>(n));
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    }
}

// Go's HammerMutex.
TEST_P(mutexes, are_hammered) {
    mutex m;
    critical section;
    crowd all;
    std::atomic<std::size_t> entered{0};
    for (int i = 0; i < 10; ++i)
        all.start(i % 2 == 0 ? rt_ : other_, i >= 8, [&] {
            for (std::size_t k = 0; k < scaled(10'000); ++k) {
                if (k % 3 == 0) {
                    if (!m.try_lock()) continue;
                } else {
                    m.lock();
                }
                ++entered;
                section.enter();
                section.leave();
                m.unlock();
            }
        });
    all.join();
    EXPECT_EQ(section.entries(), entered);
    EXPECT_EQ(section.collisions(), 0);
}

// ---- Its end -------------------------------------------------------------------------------------------------------

// The last owner destroys it, while the others' unlock() may not have returned.
TEST_P(mutexes, are_destroyed_by_their_last_owner) {
    struct object {
        mutex m;
        int references = 0;
    };
    std::atomic<std::size_t> destroyed{0};
    const std::size_t rounds = scaled(20'000, 500);
    constexpr int owners = 4;
    std::vector<std::atomic<object*>> objects(rounds);
    for (auto& o : objects) {
        o = new object;
        o.load()->references = owners;
    }
    crowd all;
    for (int who = 0; who < owners; ++who)
        all.start(who == 0 ? other_ : rt_, who == 3, [&, who] {
            for (auto& slot : objects) {
                object* o = slot;
                if (who == 1) EXPECT_TRUE(o->m.try_lock_for(1h));
                else o->m.lock();
                if (reinterpret_cast<std::uintptr_t>(o) % 7 == 0) this_goroutine::yield();
                const bool last = --o->references == 0;
                o->m.unlock();
                if (!last) continue;
                delete o;
                ++destroyed;
            }
        });
    all.join();
    EXPECT_EQ(destroyed, rounds);
}

// ---- Plain unlocks (src/sync/mutex.cpp) ----------------------------------------------------------------------------

// The first waiter of each comes just as its owner goes. What the owner's store wipes out, its look at the watchers has to
// make good.
TEST_P(mutexes, are_let_go_beside_their_first_waiter) {
    auto random = seeded_random("mutexes.are_let_go_beside_their_first_waiter");
    struct object {
        mutex m;
        std::atomic<int> here{0};
    };
    std::vector<object> objects(scaled(10'000, 500));
    std::atomic<std::size_t> entered{0};
    crowd all;
    for (int who = 0; who < 3; ++who)
        all.start(who == 0 ? other_ : rt_, who == 2, [&, who, seed = random()] {
            std::mt19937_64 r(seed);
            for (object& o : objects) {
                ++o.here;
                for (int i = 0; i < 200 && o.here < 2; ++i) std::this_thread::yield();   // together, if that can be had
                if (who == 0) EXPECT_TRUE(o.m.try_lock_for(1h));
                else o.m.lock();
                ++entered;
                for (auto n = r() % 300; n > 0; --n) handoff::base::cpu_relax();
                o.m.unlock();
            }
        });
    all.join();
    EXPECT_EQ(entered, 3 * objects.size());
}

// When an owner looks, its mutex may be gone and something else be at its address.
TEST_P(mutexes, that_are_gone_wake_nobody_else) {
    handoff::counting_semaphore<> semaphore(0);
    auto waiter = rt_.go([&] { semaphore.acquire(); });
    EXPECT_EVENTUALLY(waiting(rt_, "semaphore") == 1);
    handoff::detail::wake_watchers(&semaphore);
    EXPECT_EQ(waiting(rt_, "semaphore"), 1u);
    semaphore.release();
    waiter.join();
}

// ---- Misuse --------------------------------------------------------------------------------------------------------

TEST(mutex_death, unlock_of_one_that_is_not_locked) {
    const auto on_thread = [] {
        mutex m;
        m.unlock();
    };
    const auto on_goroutine = [] {
        runtime rt({.procs = 1});
        rt.run([] {
            mutex m;
            m.lock();
            m.unlock();
            m.unlock();
        });
    };
    const auto after_waiters = [] {
        runtime rt({.procs = 2});
        mutex m;
        m.lock();
        auto waiter = rt.go([&] { const std::lock_guard hold(m); });
        eventually([&] { return waiting(rt, "mutex") == 1; });
        m.unlock();
        waiter.join();
        m.unlock();
    };
    const char* message = "handoff: mutex 0x[0-9a-f]+ is unlocked, and was not locked";
    EXPECT_EXIT(on_thread(), testing::KilledBySignal(SIGABRT), message);
    EXPECT_EXIT(on_goroutine(), testing::KilledBySignal(SIGABRT), message);
    EXPECT_EXIT(after_waiters(), testing::KilledBySignal(SIGABRT), message);
}

// ---- errno ---------------------------------------------------------------------------------------------------------

TEST(mutex, leaves_errno_alone_on_threads) {
    mutex m;
    m.lock();
    errno = EDOM;
    EXPECT_FALSE(m.try_lock());
    EXPECT_FALSE(m.try_lock_for(2ms));
    EXPECT_EQ(errno, EDOM) << "a wait that timed out";
    std::atomic<bool> done{false};
    std::thread waiter([&] {
        errno = EDOM;
        m.lock();
        EXPECT_EQ(errno, EDOM) << "a wait that was woken";
        m.unlock();
        EXPECT_EQ(errno, EDOM) << "unlock";
        done = true;
    });
    m.unlock();
    waiter.join();
}

}  // namespace
