// recursive_mutex: its owner may lock it again, on whatever thread; nobody else.
#include "locks.hpp"

using handoff::condition_variable;
using handoff::recursive_mutex;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(recursive_mutex) == 16);
static_assert(std::is_same_v<recursive_mutex, handoff::recursive_timed_mutex>);
static_assert(!std::is_copy_constructible_v<recursive_mutex> && !std::is_copy_assignable_v<recursive_mutex>);
static_assert(std::is_nothrow_default_constructible_v<recursive_mutex>);
static_assert(noexcept(std::declval<recursive_mutex&>().try_lock()));

constinit recursive_mutex global;

class recursive_mutexes : public with_procs {};
INSTANTIATE_WITH_PROCS(recursive_mutexes);

// Whether another goroutine, and a thread, could have it now.
bool free_for_others(runtime& rt, recursive_mutex& m) {
    const auto try_it = [&m] { return m.try_lock() && (m.unlock(), true); };
    bool thread_could = false;
    std::thread([&] { thread_could = try_it(); }).join();
    const bool goroutine_could = rt.run(try_it);
    EXPECT_EQ(goroutine_could, thread_could);
    return goroutine_could;
}

TEST_P(recursive_mutexes, are_locked_again_by_their_owner) {
    on_both(rt_, [&] {
        recursive_mutex m;
        for (recursive_mutex* each : {&m, &global}) {
            const std::lock_guard one(*each);
            {
                const std::scoped_lock two(*each);
                EXPECT_TRUE(each->try_lock());
                EXPECT_TRUE(each->try_lock_for(-1s));
                EXPECT_TRUE(each->try_lock_until(steady::time_point::min()));
                EXPECT_FALSE(free_for_others(other_, *each));
                for (int i = 0; i < 3; ++i) each->unlock();
                EXPECT_FALSE(free_for_others(other_, *each));
            }
            EXPECT_FALSE(free_for_others(other_, *each));
        }
        EXPECT_TRUE(free_for_others(other_, m));
    });
}

// Its owner is on another thread then; and the thread that it was on runs others, which are not.
TEST(recursive_mutex, belongs_to_the_goroutine_wherever_it_runs) {
    runtime rt(no_retakes(1));
    recursive_mutex m;
    rt.run([&] {
        m.lock();
        const pid_t before = this_tid();
        EXPECT_TRUE(migrate(rt));
        EXPECT_NE(this_tid(), before);
        m.lock();
        EXPECT_TRUE(m.try_lock());
        m.unlock();
        m.unlock();
        EXPECT_FALSE(handoff::go([&] { return m.try_lock(); }).join()) << "another, on the same processor";
        EXPECT_FALSE(handoff::go([&] { return m.try_lock_for(1ms); }).join());
        m.unlock();
        EXPECT_TRUE(handoff::go([&] { return m.try_lock() && (m.unlock(), true); }).join());
    });
}

TEST_P(recursive_mutexes, exclude) {
    recursive_mutex m;
    critical section;
    crowd all;
    const std::size_t rounds = scaled(2'000);
    for (int who = 0; who < 10; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who >= 8, [&, who] {
            for (std::size_t i = 0; i < rounds; ++i) {
                if (who % 3 != 0 || !m.try_lock_for(50us)) m.lock();
                section.enter();
                const std::lock_guard again(m);
                if (i % 32 == 0) this_goroutine::yield();
                section.leave();
                m.unlock();
            }
        });
    all.join();
    EXPECT_EQ(section.entries(), 10 * rounds);
    EXPECT_EQ(section.collisions(), 0);
}

TEST_P(recursive_mutexes, timed_locks_are_never_early) {
    recursive_mutex m;
    m.lock();
    crowd all;
    for (const bool on_thread : {false, true})
        all.start(rt_, on_thread, [&] {
            EXPECT_FALSE(never_earlier_than(2ms, [&] { return m.try_lock_for(2ms); }));
            const auto until = std::chrono::system_clock::now() + 2ms;
            EXPECT_FALSE(m.try_lock_until(until));
            EXPECT_GE(std::chrono::system_clock::now(), until);
        });
    all.join();
    m.unlock();
    EXPECT_TRUE(free_for_others(rt_, m));
}

// The lock is as deep as before when the wait is over.
TEST_P(recursive_mutexes, work_with_conditions) {
    recursive_mutex m;
    condition_variable changed;
    bool ready = false;
    crowd all;
    all.go(rt_, [&] {
        std::unique_lock hold(m);
        changed.wait(hold, [&] { return ready; });
        EXPECT_FALSE(free_for_others(other_, m));
        m.lock();
        m.unlock();
    });
    EXPECT_EVENTUALLY(waiting(rt_, "condition_variable") == 1);
    {
        const std::lock_guard hold(m);
        ready = true;
    }
    changed.notify_one();
    all.join();
    EXPECT_TRUE(free_for_others(other_, m));
}

TEST_P(recursive_mutexes, are_destroyed_by_their_last_owner) {
    for (std::size_t round = 0; round < scaled(1'000, 100); ++round) {
        auto* m = new recursive_mutex;
        m->lock();
        m->lock();
        m->unlock();
        crowd all;
        all.start(rt_, round % 2 == 0, [m] {
            m->lock();
            m->lock();
            m->unlock();
            m->unlock();
            delete m;
        });
        m->unlock();
        all.join();
    }
}

TEST(recursive_mutex, is_locked_no_more_often_than_it_can_count) {
    recursive_mutex m;
    const std::string text =
        "handoff: a recursive_mutex is locked by its owner more than " + std::to_string(recursive_mutex::max_depth()) + " times";
    for (std::uint32_t i = 0; i < recursive_mutex::max_depth(); ++i) m.lock();
    EXPECT_EQ(thrown_by<usage_error>([&] { m.lock(); }), text);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)m.try_lock_for(1h); }), text);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)m.try_lock_until(steady::now()); }), text);
    EXPECT_FALSE(m.try_lock());
    for (std::uint32_t i = 0; i < recursive_mutex::max_depth(); ++i) m.unlock();
    runtime rt({.procs = 1});
    EXPECT_TRUE(free_for_others(rt, m));
}

TEST(recursive_mutex_death, unlock_by_another) {
    const char* message = "handoff: recursive_mutex 0x[0-9a-f]+ is unlocked by one that does not own it";
    const auto by_nobody = [] {
        recursive_mutex m;
        m.unlock();
    };
    const auto once_too_often = [] {
        runtime rt({.procs = 1});
        rt.run([] {
            recursive_mutex m;
            m.lock();
            m.lock();
            for (int i = 0; i < 3; ++i) m.unlock();
        });
    };
    const auto by_another = [] {   // on the same thread
        runtime rt({.procs = 1});
        rt.run([] {
            recursive_mutex m;
            m.lock();
            handoff::go([&] { m.unlock(); }).join();
        });
    };
    const auto by_a_thread = [] {
        recursive_mutex m;
        m.lock();
        std::thread([&] { m.unlock(); }).join();
    };
    EXPECT_EXIT(by_nobody(), testing::KilledBySignal(SIGABRT), message);
    EXPECT_EXIT(once_too_often(), testing::KilledBySignal(SIGABRT), message);
    EXPECT_EXIT(by_another(), testing::KilledBySignal(SIGABRT), message);
    EXPECT_EXIT(by_a_thread(), testing::KilledBySignal(SIGABRT), message);
}

TEST(recursive_mutex_simulated, excludes_in_each_order) {
    bool refused = false;
    simulation::explore(handoff::exploration{.count = 300}, [&] {
        recursive_mutex m;
        int value = 0;
        task_group g;
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                if (m.try_lock()) m.unlock();
                else refused = true;
                const std::lock_guard hold(m);
                const int seen = value;
                const std::lock_guard again(m);
                this_goroutine::interleave();
                value = seen + 1;
            });
        g.wait();
        if (value != 3) throw std::logic_error("lost updates");
    });
    EXPECT_TRUE(refused);
}

}  // namespace
