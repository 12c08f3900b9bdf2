// Debug builds tell of goroutines that park while they hold a mutex of the thread's.
#include "testing.hpp"

#include <handoff/handoff.hpp>

#include <mutex>

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
