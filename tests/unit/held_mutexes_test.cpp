// Debug builds tell of goroutines that park while they hold a mutex of the thread's.
#include "testing.hpp"

#include <handoff/handoff.hpp>

#include <cerrno>
#include <ctime>
#include <mutex>
#include <pthread.h>

using namespace handoff_test;
using namespace std::chrono_literals;

namespace {

#if HANDOFF_CHECK_HELD_MUTEXES
constexpr bool checked = true;
#else
constexpr bool checked = false;
#endif

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

TEST(held_mutexes, are_reported_when_a_goroutine_parks) {
    if (!checked) GTEST_SKIP() << "not in this build";
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
    if (!checked) GTEST_SKIP() << "not in this build";
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
    if (!checked) GTEST_SKIP() << "not in this build";
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    const timespec long_ago{};
    const auto each_way = [&](int (*lock)(pthread_mutex_t*, const timespec*)) {
        const std::string said = said_by([&] {
            ASSERT_EQ(lock(&m, &long_ago), 0);                   // it is free
            EXPECT_EQ(lock(&m, &long_ago), ETIMEDOUT);           // and then not; that one does not count
            handoff::this_goroutine::sleep_for(1ms);
            ::pthread_mutex_unlock(&m);
            handoff::this_goroutine::sleep_for(1ms);             // nothing is held any more
        });
        const std::string warning = "while it holds the pthread mutex";
        const std::size_t first = said.find(warning);
        EXPECT_NE(first, said.npos) << said;
        EXPECT_EQ(said.find(warning, first + 1), said.npos) << said;
    };
    each_way([](pthread_mutex_t* l, const timespec* t) { return ::pthread_mutex_timedlock(l, t); });
    each_way([](pthread_mutex_t* l, const timespec* t) { return ::pthread_mutex_clocklock(l, CLOCK_MONOTONIC, t); });
    each_way([](pthread_mutex_t* l, const timespec*) { return ::pthread_mutex_trylock(l) == 0 ? 0 : ETIMEDOUT; });
}

// There is room to note some of them; the others are let pass.
TEST(held_mutexes, may_be_more_than_are_noted) {
    if (!checked) GTEST_SKIP() << "not in this build";
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

}  // namespace
