// condition_variable: whom a notification wakes, in which order, timed waits, stop tokens, and its end.
#include "locks.hpp"

#include <condition_variable>
#include <deque>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>

using handoff::condition_variable;
using handoff::mutex;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(condition_variable) == 4);
static_assert(!std::is_copy_constructible_v<condition_variable> && !std::is_copy_assignable_v<condition_variable>);
static_assert(std::is_nothrow_default_constructible_v<condition_variable>);
static_assert(noexcept(std::declval<condition_variable&>().notify_one()));
static_assert(noexcept(std::declval<condition_variable&>().notify_all()));

constexpr auto reason = "condition_variable";

class condition_variables : public with_procs {
protected:
    mutex m_;
    condition_variable cv_;
};
INSTANTIATE_WITH_PROCS(condition_variables);

// The lock may be of any kind, a mutex itself included.
template <class Mutex, class Lock>
void expect_works_with(runtime& rt) {
    for (const bool on_thread : {false, true}) {
        Mutex m;
        condition_variable cv;
        bool asked = false, answered = false;
        crowd all;
        all.start(rt, on_thread, [&] {
            Lock lock(m);
            cv.wait(lock, [&] { return asked; });
            answered = true;
            cv.notify_all();
        });
        Lock lock(m);
        asked = true;
        cv.notify_all();
        EXPECT_TRUE(cv.wait_for(lock, patience, [&] { return answered; }));
        lock.unlock();
        all.join();
    }
}

// No more than lock() and unlock().
class plain_lock {
public:
    explicit plain_lock(mutex& m) : m_(m) { lock(); }
    ~plain_lock() {
        if (mine_) unlock();
    }
    void lock() {
        m_.lock();
        mine_ = true;
    }
    void unlock() {
        mine_ = false;
        m_.unlock();
    }

private:
    mutex& m_;
    bool mine_ = false;
};

TEST_P(condition_variables, work_with_any_lock) {
    expect_works_with<mutex, std::unique_lock<mutex>>(rt_);
    expect_works_with<mutex, plain_lock>(rt_);
    expect_works_with<std::mutex, std::unique_lock<std::mutex>>(rt_);
    expect_works_with<handoff::shared_mutex, std::unique_lock<handoff::shared_mutex>>(rt_);
    m_.lock();
    EXPECT_EQ(cv_.wait_for(m_, 1ms), std::cv_status::timeout);
    EXPECT_FALSE(m_.try_lock());
    m_.unlock();
    handoff::shared_mutex shared;
    std::shared_lock lock(shared);
    EXPECT_EQ(cv_.wait_for(lock, 1ms), std::cv_status::timeout);
    EXPECT_TRUE(lock.owns_lock());
}

// ---- Who is woken --------------------------------------------------------------------------------------------------

TEST_P(condition_variables, notify_nobody_if_nobody_waits) {
    cv_.notify_one();
    cv_.notify_all();
    on_both(rt_, [&] {
        std::unique_lock lock(m_);
        EXPECT_EQ(cv_.wait_for(lock, 1ms), std::cv_status::timeout);   // it did not wait for this
    });
}

// One at a time, in the order of coming.
TEST_P(condition_variables, notify_in_order_of_coming) {
    std::vector<int> order;
    crowd all;
    constexpr int n = 20;
    for (int i = 0; i < n; ++i) {
        all.go(rt_, [&, i] {
            std::unique_lock lock(m_);
            if (i % 3 == 0) EXPECT_EQ(cv_.wait_for(lock, 1h), std::cv_status::no_timeout);
            else cv_.wait(lock);
            order.push_back(i);
        });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == static_cast<std::size_t>(i) + 1);
    }
    for (int i = 0; i < n; ++i) {
        EXPECT_EQ(waiting(rt_, reason), static_cast<std::size_t>(n - i));
        cv_.notify_one();
        EXPECT_EVENTUALLY([&] {
            const std::lock_guard hold(m_);
            return order.size() == static_cast<std::size_t>(i) + 1;
        }());
    }
    all.join();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

// Threads and goroutines of two runtimes stand in one line.
TEST_P(condition_variables, notify_goroutines_and_threads_in_one_order) {
    std::vector<int> order;
    crowd all;
    constexpr int n = 12;
    for (int i = 0; i < n; ++i) {
        const auto body = [&, i] {
            std::unique_lock lock(m_);
            cv_.wait(lock);
            order.push_back(i);
        };
        if (i % 3 == 0) {
            const auto& tid = all.thread(body);
            EXPECT_EVENTUALLY(tid != 0 && asleep(tid));
        } else {
            runtime& rt = i % 3 == 1 ? rt_ : other_;
            const std::size_t before = waiting(rt, reason);
            all.go(rt, body);
            EXPECT_EVENTUALLY(waiting(rt, reason) == before + 1);
        }
    }
    for (int i = 0; i < n; ++i) {
        cv_.notify_one();
        EXPECT_EVENTUALLY([&] {
            const std::lock_guard hold(m_);
            return order.size() == static_cast<std::size_t>(i) + 1;
        }());
    }
    all.join();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

// As many as there were notifications, no matter how fast they came.
TEST_P(condition_variables, notify_as_many_as_asked) {
    int woken = 0;
    crowd all;
    constexpr unsigned n = 20;
    for (unsigned i = 0; i < n; ++i)
        all.go(rt_, [&] {
            std::unique_lock lock(m_);
            cv_.wait(lock);
            ++woken;
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == n);
    for (int i = 0; i < 7; ++i) cv_.notify_one();
    EXPECT_EVENTUALLY(rt_.stats().goroutines == n - 7);
    EXPECT_EQ(waiting(rt_, reason), n - 7);
    {
        const std::lock_guard hold(m_);
        EXPECT_EQ(woken, 7);
    }
    cv_.notify_all();
    all.join();
    EXPECT_EQ(woken, static_cast<int>(n));
}

// Go's TestCondSignalGenerations: the one that waits is woken, not the one that has just been and waits again.
TEST_P(condition_variables, generations) {
    const std::size_t n = scaled(100, 20);
    std::vector<std::size_t> awake;
    crowd all;
    std::atomic<std::size_t> running{0};
    for (std::size_t i = 0; i < n; ++i) {
        all.go(rt_, [&, i] {
            std::unique_lock lock(m_);
            ++running;
            cv_.wait(lock);
            awake.push_back(i);
        });
        if (i > 0) {
            EXPECT_EVENTUALLY([&] {
                const std::lock_guard hold(m_);
                return awake.size() == i;
            }());
            const std::lock_guard hold(m_);
            EXPECT_EQ(awake.back(), i - 1);
        }
        EXPECT_EVENTUALLY(running == i + 1 && waiting(rt_, reason) == 1);
        cv_.notify_one();
    }
    all.join();
    EXPECT_EQ(awake.size(), n);
}

// Go's TestCondSignalStealing: a notification is not taken by one who comes after it.
TEST_P(condition_variables, notifications_are_not_stolen) {
    for (std::size_t round = 0; round < scaled(1'000, 100); ++round) {
        bool first_woken = false;
        std::atomic<bool> first_ready{false};
        crowd all;
        all.start(rt_, round % 4 == 3, [&] {
            std::unique_lock lock(m_);
            first_ready = true;
            cv_.wait(lock);
            first_woken = true;
        });
        EXPECT_EVENTUALLY(first_ready.load());
        { const std::lock_guard hold(m_); }   // it waits now
        std::atomic<bool> second_saw{false};
        all.start(rt_, round % 4 == 2, [&] {
            std::unique_lock lock(m_);
            while (!first_woken) {
                second_saw = true;
                if (cv_.wait_for(lock, patience) == std::cv_status::timeout) {
                    ADD_FAILURE() << "in round " << round;
                    return;
                }
            }
        });
        cv_.notify_one();
        EXPECT_EVENTUALLY([&] {
            const std::lock_guard hold(m_);
            return first_woken;
        }());
        cv_.notify_all();
        all.join();
    }
}

// Go's TestCondBroadcast.
TEST_P(condition_variables, broadcast) {
    constexpr int n = 50;
    std::atomic<int> running{0}, awake{0};
    bool exit = false;
    crowd all;
    for (int i = 0; i < n; ++i)
        all.start(i % 2 == 0 ? rt_ : other_, i % 10 == 9, [&] {
            std::unique_lock lock(m_);
            while (!exit) {
                ++running;
                cv_.wait(lock);
                ++awake;
            }
        });
    for (int round = 0; round < 10; ++round) {
        EXPECT_EVENTUALLY(running == n);
        std::unique_lock lock(m_);   // all wait now
        EXPECT_EQ(awake, 0);
        running = 0;
        if (round == 9) exit = true;
        cv_.notify_all();
        lock.unlock();
        EXPECT_EVENTUALLY(awake == n);
        const std::lock_guard hold(m_);
        awake = 0;
        // Those that were notified once do not come back a second time.
    }
    all.join();
}

TEST_P(condition_variables, show_who_waits) {
    crowd all;
    for (int i = 0; i < 4; ++i)
        all.go(rt_, [&, i] {
            std::unique_lock lock(m_);
            if (i % 2 == 0) cv_.wait(lock);
            else EXPECT_EQ(cv_.wait_for(lock, 1h), std::cv_status::no_timeout);
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 4);
    cv_.notify_all();
    all.join();
}

// A queue with two conditions, everybody on both sides.
TEST_P(condition_variables, pass_items_through_a_bounded_buffer) {
    condition_variable not_full, not_empty;
    std::deque<std::size_t> buffer;
    const std::size_t each = scaled(3'000);
    constexpr std::size_t makers = 6, takers = 5, room = 3;
    std::size_t taken = 0, sum = 0;
    crowd all;
    for (std::size_t who = 0; who < makers; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who == 5, [&, who] {
            for (std::size_t i = 0; i < each; ++i) {
                std::unique_lock lock(m_);
                not_full.wait(lock, [&] { return buffer.size() < room; });
                buffer.push_back(who * each + i);
                lock.unlock();
                not_empty.notify_one();
            }
        });
    for (std::size_t who = 0; who < takers; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who == 4, [&] {
            std::unique_lock lock(m_);
            for (;;) {
                not_empty.wait(lock, [&] { return !buffer.empty() || taken == makers * each; });
                if (buffer.empty()) return;
                sum += buffer.front();
                buffer.pop_front();
                if (++taken == makers * each) not_empty.notify_all();
                not_full.notify_one();
            }
        });
    all.join();
    const std::size_t n = makers * each;
    EXPECT_EQ(taken, n);
    EXPECT_EQ(sum, n * (n - 1) / 2);
}

// ---- Timed waits ---------------------------------------------------------------------------------------------------

TEST_P(condition_variables, timed_waits_are_never_early) {
    auto random = seeded_random("condition_variables.timed_waits_are_never_early");
    crowd all;
    for (int who = 0; who < 6; ++who)
        all.start(rt_, who >= 4, [&, seed = random()] {
            std::mt19937_64 r(seed);
            mutex m;
            std::unique_lock lock(m);
            const auto never = [] { return false; };
            for (std::size_t i = 0; i < scaled(20, 5); ++i) {
                const std::chrono::nanoseconds d(r() % 2'000'000);
                EXPECT_EQ(never_earlier_than(d, [&] { return cv_.wait_for(lock, d); }), std::cv_status::timeout);
                EXPECT_TRUE(lock.owns_lock() && !m.try_lock());
                EXPECT_FALSE(never_earlier_than(d, [&] { return cv_.wait_for(lock, d, never); }));
                EXPECT_FALSE(never_earlier_than(d, [&] { return cv_.wait_for(lock, std::stop_token(), d, never); }));
                auto until = steady::now() + d;
                EXPECT_EQ(cv_.wait_until(lock, until), std::cv_status::timeout);
                EXPECT_GE(steady::now(), until);
                until += d;
                EXPECT_FALSE(cv_.wait_until(lock, until, never));
                EXPECT_GE(steady::now(), until);
                until += d;
                EXPECT_FALSE(cv_.wait_until(lock, std::stop_token(), until, never));
                EXPECT_GE(steady::now(), until);
            }
        });
    all.join();
}

TEST_P(condition_variables, take_any_duration) {
    on_both(rt_, [&] {
        std::unique_lock lock(m_);
        EXPECT_EQ(cv_.wait_for(lock, 0s), std::cv_status::timeout);
        EXPECT_EQ(cv_.wait_for(lock, -1h), std::cv_status::timeout);
        EXPECT_EQ(cv_.wait_until(lock, steady::time_point::min()), std::cv_status::timeout);
        EXPECT_EQ(cv_.wait_until(lock, std::chrono::system_clock::now() - 1h), std::cv_status::timeout);
        const auto soon = std::chrono::system_clock::now() + 1ms;
        while (cv_.wait_until(lock, soon) != std::cv_status::timeout) EXPECT_LT(std::chrono::system_clock::now(), soon);
        EXPECT_TRUE(cv_.wait_for(lock, -1h, [] { return true; }));
        EXPECT_FALSE(cv_.wait_for(lock, -1h, [] { return false; }));
        int asked = 0;
        EXPECT_TRUE(cv_.wait_for(lock, 1ms, [&] { return ++asked == 2; }));   // what it says in the end
        EXPECT_TRUE(lock.owns_lock());
    });
    crowd all;
    for (const bool on_thread : {false, true}) {
        const auto wait = [&](auto how) {
            all.start(rt_, on_thread, [&, how] {
                std::unique_lock lock(m_);
                EXPECT_EQ(how(lock), std::cv_status::no_timeout);
            });
        };
        wait([&](auto& lock) { return cv_.wait_for(lock, std::chrono::hours::max()); });
        wait([&](auto& lock) { return cv_.wait_for(lock, std::chrono::duration<double>(1e300)); });
        wait([&](auto& lock) { return cv_.wait_until(lock, steady::time_point::max()); });
    }
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 3 && all.threads_sleep());
    cv_.notify_all();
    all.join();
}

// ---- Locks that throw ----------------------------------------------------------------------------------------------

// One that can be locked as often as it says.
class lock_that_tires {
public:
    explicit lock_that_tires(int times) : left_(times) { lock(); }
    void lock() {
        if (left_-- == 0) throw std::runtime_error("tired");
    }
    void unlock() {}

private:
    int left_;
};

// As std::condition_variable_any: nobody comes out of a wait without the lock.
TEST(condition_variable_death, a_wait_that_cannot_lock_again_ends_the_process) {
    const auto wait = [](auto how) {
        runtime rt({.procs = 1});
        rt.run([&] {
            lock_that_tires lock(1);
            condition_variable cv;
            try {
                how(cv, lock);
            } catch (...) {
                std::_Exit(0);
            }
        });
    };
    EXPECT_DEATH(wait([](auto& cv, auto& lock) { cv.wait_for(lock, 1ms); }), "tired");
    EXPECT_DEATH(wait([](auto& cv, auto& lock) { cv.wait_until(lock, steady::now()); }), "tired");
    EXPECT_DEATH(wait([](auto& cv, auto& lock) { cv.wait_for(lock, 1ms, [] { return false; }); }), "tired");
}

// A lock that is a cancellation point.
class cancellable_lock {
public:
    explicit cancellable_lock(handoff::binary_semaphore& s) : s_(s) { lock(); }
    ~cancellable_lock() {
        if (owns_) unlock();
    }
    void lock() {
        s_.acquire();
        owns_ = true;
    }
    void unlock() {
        owns_ = false;
        s_.release();
    }
    bool owns() const { return owns_; }

private:
    handoff::binary_semaphore& s_;
    bool owns_ = false;
};

TEST_P(condition_variables, that_are_cancelled_have_the_lock_though_that_can_be_cancelled_too) {
    handoff::binary_semaphore s(1);
    bool had_it = false;
    rt_.run([&] {
        handoff::task_group g;
        g.go([&] {
            cancellable_lock lock(s);
            try {
                cv_.wait(lock);
            } catch (const handoff::cancelled&) {
                had_it = lock.owns();
                throw;
            }
        });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
        s.acquire();
        g.cancel();
        EXPECT_EVENTUALLY(waiting(rt_, "semaphore") == 1);   // it locks, cancelled or not
        EXPECT_FALSE(had_it);
        s.release();
        g.wait();
    });
    EXPECT_TRUE(had_it);
    EXPECT_TRUE(s.try_acquire());
}

// A notification at about the time at which the first waiter gives up goes either to it or to the second, and a
// notification at about the time of a stop likewise.
void notify_while_the_first_gives_up(runtime& rt, std::size_t rounds, bool by_stop, std::mt19937_64& random) {
    std::size_t to_first = 0;
    for (std::size_t round = 0; round < rounds; ++round) {
        mutex m;
        condition_variable cv;
        std::stop_source source;
        const auto start = steady::now();
        const auto ends = start + std::chrono::microseconds(300 + random() % 300);
        std::atomic<bool> first_done{false}, second_woken{false};
        bool first_notified = false, said = false;
        crowd all;
        const bool first_on_thread = round % 3 == 0, second_on_thread = round % 3 == 1;
        all.start(rt, first_on_thread, [&, token = source.get_token()] {
            std::unique_lock lock(m);
            if (by_stop) first_notified = cv.wait(lock, token, [&] { return said; });
            else first_notified = cv.wait_until(lock, ends) == std::cv_status::no_timeout;
            first_done = true;
        });
        EXPECT_EVENTUALLY(first_done || (first_on_thread ? all.threads_sleep() : waiting(rt, reason) == 1));
        all.start(rt, second_on_thread, [&] {
            std::unique_lock lock(m);
            cv.wait(lock, [&] { return said; });
            second_woken = true;
        });
        EXPECT_EVENTUALLY(second_on_thread ? all.threads_sleep() : waiting(rt, reason) + first_on_thread + first_done >= 2);
        if (by_stop)
            all.thread([&] {
                compute_until([&] { return steady::now() >= ends; });
                source.request_stop();
            });
        const auto at = ends - std::chrono::microseconds(100) + std::chrono::microseconds(random() % 200);
        compute_until([&] { return steady::now() >= at; });
        {
            const std::lock_guard hold(m);
            said = true;
        }
        cv.notify_one();
        EXPECT_EVENTUALLY(first_done.load());
        EXPECT_EVENTUALLY(first_notified || second_woken);
        if (first_notified) ++to_first;
        // What the predicate says after a stop may be the truth without a notification: the second then has it.
        EXPECT_FALSE(first_notified && !by_stop && second_woken) << "one notification, two woken";
        if (first_notified) cv.notify_one();
        EXPECT_EVENTUALLY(second_woken.load());
        all.join();
    }
    std::printf("%zu of %zu notifications reached the one that was about to give up\n", to_first, rounds);
}

TEST_P(condition_variables, a_notification_is_not_lost_on_one_that_gives_up) {
    auto random = seeded_random("condition_variables.a_notification_is_not_lost_on_one_that_gives_up");
    notify_while_the_first_gives_up(rt_, scaled(400, 60), false, random);
}

TEST_P(condition_variables, a_notification_is_not_lost_on_one_that_is_stopped) {
    auto random = seeded_random("condition_variables.a_notification_is_not_lost_on_one_that_is_stopped");
    notify_while_the_first_gives_up(rt_, scaled(400, 60), true, random);
}

// Go's "signals do not restart a timeout".
TEST_P(condition_variables, notifications_do_not_restart_a_timeout) {
    for (const bool on_thread : {false, true}) {
        std::atomic<bool> done{false};
        crowd all;
        all.start(rt_, on_thread, [&] {
            std::unique_lock lock(m_);
            EXPECT_FALSE(never_earlier_than(20ms, [&] { return cv_.wait_for(lock, 20ms, [] { return false; }); }));
            done = true;
        });
        EXPECT_TRUE(eventually([&] {
            cv_.notify_all();
            return done.load();
        }));
    }
}

// ---- Stop tokens ---------------------------------------------------------------------------------------------------

TEST_P(condition_variables, a_stop_ends_the_wait) {
    for (const bool on_thread : {false, true})
        for (const bool timed : {false, true})
            for (const bool stopped_by_goroutine : {false, true}) {
                std::stop_source source;
                crowd all;
                all.start(rt_, on_thread, [&, token = source.get_token()] {
                    std::unique_lock lock(m_);
                    const auto never = [] { return false; };
                    if (timed) EXPECT_FALSE(cv_.wait_for(lock, token, 1h, never));
                    else EXPECT_FALSE(cv_.wait(lock, token, never));
                    EXPECT_TRUE(lock.owns_lock() && !m_.try_lock());
                    // And does not begin another.
                    EXPECT_FALSE(cv_.wait(lock, token, never));
                    EXPECT_FALSE(cv_.wait_for(lock, token, 1h, never));
                    EXPECT_TRUE(cv_.wait(lock, token, [] { return true; }));
                });
                EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt_, reason) == 1);
                if (stopped_by_goroutine) rt_.run([&] { source.request_stop(); });
                else source.request_stop();
                all.join();
            }
}

TEST_P(condition_variables, a_stop_does_not_hide_what_the_predicate_says) {
    std::stop_source source;
    crowd all;
    bool holds = false;
    all.go(rt_, [&, token = source.get_token()] {
        std::unique_lock lock(m_);
        EXPECT_TRUE(cv_.wait(lock, token, [&] { return holds; }));
    });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    {
        const std::lock_guard hold(m_);
        holds = true;
        source.request_stop();
    }
    all.join();
}

// ---- Exceptions, its end, errno ------------------------------------------------------------------------------------

TEST_P(condition_variables, an_exception_of_the_predicate_passes) {
    on_both(rt_, [&] {
        std::unique_lock lock(m_);
        int asked = 0;
        const auto fails = [&]() -> bool { return ++asked == 2 ? throw std::runtime_error("predicate") : false; };
        EXPECT_EQ(thrown_by<std::runtime_error>([&] { cv_.wait_for(lock, 1ms, fails); }), "predicate");
        EXPECT_TRUE(lock.owns_lock() && !m_.try_lock());
    });
}

// A lock whose unlock fails: the wait has not begun.
TEST_P(condition_variables, an_exception_of_the_lock_passes) {
    struct broken {
        void lock() {}
        void unlock() { throw std::runtime_error("unlock"); }
    };
    on_both(rt_, [&] {
        broken lock;
        EXPECT_EQ(thrown_by<std::runtime_error>([&] { cv_.wait(lock); }), "unlock");
        // Nobody is left in the queue: the next notification is for the next one.
    });
    crowd all;
    all.go(rt_, [&] {
        std::unique_lock lock(m_);
        cv_.wait(lock);
    });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    cv_.notify_one();
    all.join();
}

// All are notified, so it may go, though they have not returned yet.
TEST_P(condition_variables, are_destroyed_after_notify_all) {
    for (std::size_t round = 0; round < scaled(500, 60); ++round) {
        auto cv = std::make_unique<condition_variable>();
        mutex m;
        bool over = false;
        std::atomic<int> ready{0};
        crowd all;
        constexpr int n = 6;
        for (int i = 0; i < n; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i == 5, [&, i, p = cv.get()] {
                std::unique_lock lock(m);
                ++ready;
                if (i % 3 == 0) EXPECT_EQ(p->wait_for(lock, 1h), std::cv_status::no_timeout);
                else if (i % 3 == 1) p->wait(lock);
                else EXPECT_TRUE(p->wait(lock, std::stop_token(), [&] { return over; }));
            });
        EXPECT_EVENTUALLY(ready == n);
        {
            const std::lock_guard hold(m);
            over = true;
            cv->notify_all();
            cv.reset();   // they wait for the mutex
        }
        all.join();
    }
}

// The one that is woken destroys it, as soon as it can.
TEST_P(condition_variables, are_destroyed_by_who_was_notified) {
    struct object {
        mutex m;
        condition_variable cv;
        bool done = false;
    };
    for (std::size_t round = 0; round < scaled(2'000, 200); ++round) {
        auto* o = new object;
        crowd all;
        std::atomic<bool> destroyed{false};
        all.start(rt_, round % 3 == 0, [o, &destroyed] {
            {
                std::unique_lock lock(o->m);
                o->cv.wait(lock, [&] { return o->done; });
            }
            delete o;
            destroyed = true;
        });
        all.start(other_, round % 3 == 1, [o] {
            const std::lock_guard hold(o->m);
            o->done = true;
            o->cv.notify_all();
        });
        all.join();
        EXPECT_TRUE(destroyed);
    }
}

TEST(condition_variable, leaves_errno_alone_on_threads) {
    mutex m;
    condition_variable cv;
    std::unique_lock lock(m);
    errno = EDOM;
    EXPECT_EQ(cv.wait_for(lock, 2ms), std::cv_status::timeout);
    EXPECT_EQ(errno, EDOM);
}

}  // namespace
