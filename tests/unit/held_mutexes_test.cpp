// Goroutines that park, or go on on another thread, while they hold a mutex of the thread's are told of: in debug builds, and
// where libhandoff_mutex_check.so is preloaded. Each site is told of once in a process, so each test locks in places of its
// own.
#include "mutex_check/table.hpp"
#include "testing.hpp"

#include <handoff/handoff.hpp>

#include <cerrno>
#include <ctime>
#include <dlfcn.h>
#include <mutex>
#include <pthread.h>
#include <shared_mutex>
#include <thread>

using namespace handoff_test;
using namespace std::chrono_literals;

namespace {

bool checked() {
#if HANDOFF_CHECK_HELD_MUTEXES
    return true;
#else
    return ::dlsym(RTLD_DEFAULT, handoff::mutex_check::table_name) != nullptr;
#endif
}
#define SKIP_UNCHECKED() \
    if (!checked()) GTEST_SKIP() << "not in this build"

const std::string parks = "parks for", moved = "has moved from thread";

std::size_t count(const std::string& said, const std::string& what) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = said.find(what, at)) != said.npos; at += what.size()) ++n;
    return n;
}

// What a goroutine of a runtime on one processor prints to stderr.
template <class F>
std::string said_by(F f) {
    testing::internal::CaptureStderr();
    {
        handoff::runtime rt({.procs = 1});
        rt.go(handoff::spawn_options{.name = "holder"}, f).join();
    }
    return testing::internal::GetCapturedStderr();
}

// The thread that the calling goroutine, on a runtime's only processor, is on belongs to another one from now on, and ends
// with it. Only a switch away comes between: no wait.
void lose_this_thread() {
    handoff::go([] { handoff::lock_os_thread(); }).detach();
    handoff::this_goroutine::yield();
}

TEST(held_mutexes, are_reported_when_a_goroutine_parks) {
    SKIP_UNCHECKED();
    std::mutex m;
    const std::string said = said_by([&] {
        std::lock_guard hold(m);
        handoff::this_goroutine::sleep_for(1ms);
    });
    EXPECT_NE(said.find("\"holder\""), std::string::npos) << said;
    EXPECT_NE(said.find("parks for sleep while it holds the pthread mutex"), std::string::npos) << said;
    EXPECT_NE(said.find("held_mutexes_test.cpp"), std::string::npos) << said;
}

TEST(held_mutexes, are_told_from_released_ones) {
    std::mutex m, other;
    EXPECT_EQ(said_by([&] {
                  { std::scoped_lock hold(m, other); }
                  other.lock();
                  other.unlock();
                  handoff::this_goroutine::sleep_for(1ms);
              }),
              "");
}

// A goroutine takes with it what it holds.
TEST(held_mutexes, are_the_goroutines_own) {
    SKIP_UNCHECKED();
    std::mutex m;
    const std::string said = said_by([&] {
        m.lock();
        auto other = handoff::go([] { handoff::this_goroutine::sleep_for(1ms); });
        handoff::this_goroutine::yield();   // no wait
        m.unlock();
        other.join();
    });
    EXPECT_EQ(said, "");
}

// However they were locked.
TEST(held_mutexes, may_be_locked_with_a_time_limit) {
    SKIP_UNCHECKED();
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    const timespec long_ago{};
    const auto each_way = [&](int (*lock)(pthread_mutex_t*, const timespec*)) {
        const auto hold_across = [&](bool wait) {
            ASSERT_EQ(lock(&m, &long_ago), 0);                   // it is free
            EXPECT_EQ(lock(&m, &long_ago), ETIMEDOUT);           // and then not; that one does not count
            if (wait) handoff::this_goroutine::sleep_for(1ms);
            ::pthread_mutex_unlock(&m);
            handoff::this_goroutine::sleep_for(1ms);             // nothing is held any more
        };
        EXPECT_EQ(said_by([&] { hold_across(false); }), "");
        const std::string said = said_by([&] { hold_across(true); });
        EXPECT_EQ(count(said, "while it holds the pthread mutex"), 1U) << said;
    };
    each_way([](pthread_mutex_t* l, const timespec* t) { return ::pthread_mutex_timedlock(l, t); });
    each_way([](pthread_mutex_t* l, const timespec* t) { return ::pthread_mutex_clocklock(l, CLOCK_MONOTONIC, t); });
    each_way([](pthread_mutex_t* l, const timespec*) { return ::pthread_mutex_trylock(l) == 0 ? 0 : ETIMEDOUT; });
}

// There is room to note some of them; the others are let pass.
TEST(held_mutexes, may_be_more_than_are_noted) {
    SKIP_UNCHECKED();
    std::mutex all[20];
    const std::string said = said_by([&] {
        for (std::mutex& m : all) m.lock();
        handoff::this_goroutine::sleep_for(1ms);
        for (std::mutex& m : all) m.unlock();
        handoff::this_goroutine::yield();
    });
    EXPECT_NE(said.find("while it holds the pthread mutex"), said.npos) << said;
}

TEST(held_mutexes, of_a_goroutine_tied_to_its_thread_are_its_own_affair) {
    std::mutex m;
    EXPECT_EQ(said_by([&] {
                  handoff::lock_os_thread();
                  std::lock_guard hold(m);
                  handoff::this_goroutine::sleep_for(1ms);
              }),
              "");
}

TEST(held_mutexes, are_reported_when_their_goroutine_moves) {
    SKIP_UNCHECKED();
    std::mutex m;
    const std::string said = said_by([&] {
        m.lock();
        lose_this_thread();
        m.unlock();
    });
    EXPECT_EQ(count(said, moved), 1U) << said;
    EXPECT_EQ(count(said, parks), 0U) << said;
    EXPECT_NE(said.find("\"holder\""), said.npos) << said;
    EXPECT_NE(said.find("while it holds the pthread mutex"), said.npos) << said;
    EXPECT_NE(said.find("held_mutexes_test.cpp"), said.npos) << said;
}

// What a library does that holds a lock of its own while it calls back, and the callback waits.
TEST(held_mutexes, are_reported_for_waits_and_moves_by_themselves) {
    SKIP_UNCHECKED();
    std::mutex m;
    const std::string said = said_by([&] {
        handoff::channel<int> c(0);
        std::lock_guard hold(m);
        handoff::go([=]() mutable {
            handoff::lock_os_thread();
            c.send(1);
        }).detach();
        c.recv();
    });
    EXPECT_EQ(count(said, "parks for receive"), 1U) << said;
    EXPECT_EQ(count(said, moved), 1U) << said;
}

TEST(held_mutexes, may_be_released_before_a_move) {
    EXPECT_EQ(said_by([&] {
                  std::mutex m;
                  m.lock();
                  m.unlock();
                  lose_this_thread();
                  std::lock_guard hold(m);   // on the other thread, and not across anything
              }),
              "");
}

TEST(held_mutexes, of_a_tied_goroutine_that_yields_do_not_move) {
    EXPECT_EQ(said_by([&] {
                  std::mutex m;
                  handoff::lock_os_thread();
                  std::lock_guard hold(m);
                  bool ran = false;
                  auto other = handoff::go([&] { ran = true; });
                  while (!ran) handoff::this_goroutine::yield();
                  other.join();
              }),
              "");
}

// However often and by how many goroutines.
TEST(held_mutexes, of_one_site_are_reported_once) {
    SKIP_UNCHECKED();
    const std::string said = said_by([&] {
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 10; ++i)
            all.push_back(handoff::go([] {
                std::mutex m;
                for (int j = 0; j < 10; ++j) {
                    m.lock();
                    lose_this_thread();
                    handoff::this_goroutine::sleep_for(1us);
                    m.unlock();
                }
            }));
        for (auto& h : all) h.join();
    });
    EXPECT_EQ(count(said, parks), 1U) << said;
    EXPECT_EQ(count(said, moved), 1U) << said;
}

// Also if what locks is the same function, as std::mutex::lock is where it is not inlined.
TEST(held_mutexes, of_two_sites_are_reported_twice) {
    SKIP_UNCHECKED();
    const std::string said = said_by([&] {
        std::mutex m;
        for (int i = 0; i < 3; ++i) {
            m.lock();
            handoff::this_goroutine::sleep_for(1us);
            m.unlock();
            m.lock();
            handoff::this_goroutine::sleep_for(1us);
            m.unlock();
        }
    });
    EXPECT_EQ(count(said, parks), 2U) << said;
}

TEST(held_mutexes, are_counted_until_the_end) {
    SKIP_UNCHECKED();
    EXPECT_EXIT(
        {
            handoff::runtime rt({.procs = 1});
            rt.run([] {
                std::mutex m, other;
                for (int i = 0; i < 25; ++i) {
                    std::lock_guard hold(m);
                    handoff::this_goroutine::sleep_for(1us);
                }
                std::lock_guard hold(other);
                handoff::this_goroutine::sleep_for(1us);   // once: that has been said
            });
            std::exit(0);
        },
        testing::ExitedWithCode(0), "parks for sleep(.|\n)*parks for sleep(.|\n)*handoff: 25 times a goroutine parked while it "
                                    "held the pthread mutex locked at [^\n]*\n$");
}

// A condition variable unlocks and locks it, and then it is held as before: once, and on the thread that waited.
TEST(held_mutexes, are_held_again_after_a_condition_variable) {
    SKIP_UNCHECKED();
    const auto each_way = [](auto wait) {
        pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
        pthread_cond_t c = PTHREAD_COND_INITIALIZER;
        const auto hold_across = [&](bool park) {
            ::pthread_mutex_lock(&m);
            EXPECT_EQ(wait(&c, &m), ETIMEDOUT);
            if (park) handoff::this_goroutine::sleep_for(1ms);
            ::pthread_mutex_unlock(&m);
            handoff::this_goroutine::sleep_for(1ms);
        };
        EXPECT_EQ(said_by([&] { hold_across(false); }), "");
        const std::string said = said_by([&] { hold_across(true); });
        EXPECT_EQ(count(said, parks), 1U) << said;
    };
    const timespec long_ago{};
    each_way([&](auto* c, auto* m) { return ::pthread_cond_timedwait(c, m, &long_ago); });
    each_way([&](auto* c, auto* m) { return ::pthread_cond_clockwait(c, m, CLOCK_MONOTONIC, &long_ago); });
    each_way([&](auto* c, auto* m) {
        std::thread wakes([=] {
            ::pthread_mutex_lock(m);
            ::pthread_cond_signal(c);
            ::pthread_mutex_unlock(m);
        });
        const int result = ::pthread_cond_wait(c, m);
        wakes.join();
        return result == 0 ? ETIMEDOUT : result;
    });
}

TEST(held_mutexes, belong_to_the_thread_of_the_last_wait) {
    SKIP_UNCHECKED();
    EXPECT_EXIT(
        {
            handoff::runtime rt({.procs = 1});
            rt.run([] {
                pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
                pthread_cond_t c = PTHREAD_COND_INITIALIZER;
                const timespec long_ago{};
                ::pthread_mutex_lock(&m);
                for (int i = 0; i < 3; ++i) {
                    lose_this_thread();
                    ::pthread_cond_timedwait(&c, &m, &long_ago);   // this thread's, after it
                }
                ::pthread_mutex_unlock(&m);
            });
            std::exit(0);
        },
        testing::ExitedWithCode(0), "handoff: 3 times a goroutine moved to another thread while it held the pthread mutex");
}

TEST(held_mutexes, may_be_for_readers_and_writers) {
    SKIP_UNCHECKED();
    const timespec long_ago{};
    const auto each_way = [&](auto lock) {
        pthread_rwlock_t l = PTHREAD_RWLOCK_INITIALIZER;   // who unlocks it on another thread has spoilt it
        const auto hold_across = [&](bool switches) {
            ASSERT_EQ(lock(&l), 0);
            if (switches) {
                lose_this_thread();
                handoff::this_goroutine::sleep_for(1us);
            }
            ::pthread_rwlock_unlock(&l);
            handoff::this_goroutine::sleep_for(1us);
            lose_this_thread();
        };
        EXPECT_EQ(said_by([&] { hold_across(false); }), "");
        const std::string said = said_by([&] { hold_across(true); });
        EXPECT_EQ(count(said, "while it holds the pthread rwlock"), 2U) << said;
        EXPECT_EQ(count(said, parks), 1U) << said;
        EXPECT_EQ(count(said, moved), 1U) << said;
    };
    each_way([&](auto* l) { return ::pthread_rwlock_rdlock(l); });
    each_way([&](auto* l) { return ::pthread_rwlock_wrlock(l); });
    each_way([&](auto* l) { return ::pthread_rwlock_tryrdlock(l); });
    each_way([&](auto* l) { return ::pthread_rwlock_trywrlock(l); });
    each_way([&](auto* l) { return ::pthread_rwlock_timedrdlock(l, &long_ago); });
    each_way([&](auto* l) { return ::pthread_rwlock_timedwrlock(l, &long_ago); });
    each_way([&](auto* l) { return ::pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, &long_ago); });
    each_way([&](auto* l) { return ::pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, &long_ago); });
}

// What one has left locked is not the next one's, which runs on its stack without a switch.
TEST(held_mutexes, of_a_goroutine_that_has_ended_are_nobodys) {
    SKIP_UNCHECKED();   // and a sanitizer would tell of the mutex that is unlocked elsewhere
    std::mutex m;
    EXPECT_EQ(said_by([&] {
                  auto first = handoff::go([&] { m.lock(); });
                  auto second = handoff::go([&] {
                      handoff::this_goroutine::sleep_for(1us);
                      lose_this_thread();
                  });
                  second.join();   // nobody waits for the first, so the second comes right after it
                  first.join();
              }),
              "");
    m.unlock();
}

TEST(held_mutexes, of_a_goroutine_that_began_without_a_switch_are_its_own) {
    SKIP_UNCHECKED();
    const std::string said = said_by([&] {
        auto first = handoff::go([] {});
        auto second = handoff::go([] {
            std::mutex m;
            std::lock_guard hold(m);
            handoff::this_goroutine::sleep_for(1us);
        });
        second.join();
        first.join();
    });
    EXPECT_EQ(count(said, parks), 1U) << said;
}

// Goroutines and threads that use them as they should, beside each other, and whatever the library locks itself.
TEST(held_mutexes, that_are_not_held_across_a_switch_are_nobodys_affair) {
    testing::internal::CaptureStderr();
    {
        handoff::runtime rt({.procs = 2});
        std::mutex m;
        std::shared_mutex s;
        int n = 0;
        const auto work = [&] {
            for (int i = 0; i < 200; ++i) {
                { std::scoped_lock hold(m, s); ++n; }
                if (i % 8 == 0) handoff::this_goroutine::sleep_for(1us);
                std::shared_lock read(s);
            }
        };
        std::thread plain([&] {
            std::lock_guard hold(m);
            rt.go([] { handoff::this_goroutine::yield(); }).join();   // a thread may wait with it
        });
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 20; ++i) all.push_back(rt.go(handoff::spawn_options{.name = "worker"}, work));
        for (auto& h : all) h.join();
        plain.join();
        EXPECT_EQ(n, 20 * 200);
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
