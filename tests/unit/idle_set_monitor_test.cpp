// What wakes the monitor on account of who is idle: timers that nobody wakes for, and processors that no thread could be had for.
// That no wake-up is lost in between: explored schedules (wake.*, timer.*), tests/model/wakeup.pml, and the stress test of wake-ups.
#include "idle_sets.hpp"

#include "os/clock.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

using namespace handoff_test;
using handoff::base::lock_guard;
using handoff::detail::deferred_wake;
using handoff::detail::held_p;
using handoff::detail::idle_set;
using handoff::detail::P;
using handoff::detail::timer;

namespace {

// ---- Timers ----------------------------------------------------------------------------------------------------------

TEST_F(idle_set_, knows_the_first_timer_of_all_idle_processors) {
    set_timer(0, 700);
    set_timer(1, 300);
    timer* const soon = set_timer(1, 100);
    set_timer(2, 500);
    set_timer(3, 1);   // that one is not idle
    for (const unsigned i : {0u, 1u, 2u}) put_p(i);
    EXPECT_EQ(first_timer(), 100);
    ASSERT_TRUE(ps_[1].timers.remove(soon));
    EXPECT_EQ(first_timer(), 300);
    ASSERT_EQ(take_p(1), 1u);
    EXPECT_EQ(first_timer(), 500);
    ASSERT_EQ(take_p(2), 2u);
    EXPECT_EQ(first_timer(), 700);
    ASSERT_EQ(take_p(), 0u);
    EXPECT_EQ(first_timer(), never);
}

TEST_F(idle_set_, wakes_the_monitor_for_a_timer_if_it_would_wake_too_late) {
    monitor_sleeps(100);
    EXPECT_TRUE(cover(99));
    EXPECT_FALSE(cover(100));   // it wakes then
    EXPECT_FALSE(cover(101));
    EXPECT_FALSE(cover(never));
}

TEST_F(idle_set_, leaves_a_timer_to_the_timekeeper_if_that_wakes_in_time) {
    monitor_sleeps(1'000);
    keep_time(0, 50);
    EXPECT_TRUE(cover(49));
    EXPECT_FALSE(cover(50));
    EXPECT_FALSE(cover(51));
    monitor_sleeps(40);   // it is earlier than both
    EXPECT_FALSE(cover(49));
    EXPECT_TRUE(cover(39));
}

TEST_F(idle_set_, wakes_the_monitor_out_of_a_deep_sleep_for_a_timer) {
    monitor_sleeps(never);
    EXPECT_FALSE(cover(never));
    EXPECT_TRUE(cover(INT64_MAX - 1));
    lock_guard hold(idle_.lock);
    EXPECT_FALSE(idle_.monitor_deep);
}

TEST_F(idle_set_, wakes_a_deep_monitor_once) {
    const auto wake_it = [this] {
        deferred_wake wake;
        lock_guard hold(idle_.lock);
        return idle_.wake_deep_monitor(wake);
    };
    monitor_sleeps(1'000);
    EXPECT_FALSE(wake_it());   // it looks by itself
    EXPECT_FALSE(monitor_was_woken());
    monitor_sleeps(never);
    EXPECT_TRUE(wake_it());
    EXPECT_TRUE(monitor_was_woken());
    EXPECT_FALSE(wake_it());
    EXPECT_FALSE(monitor_was_woken());
}

// It sleeps until a time, and another does not: so it is called only where there is no other.
TEST_F(idle_set_, gives_the_timekeeper_last) {
    for (const unsigned timekeeper : {0u, 1u, 2u}) {
        for (const unsigned i : {0u, 1u, 2u}) put_m(i);
        keep_time(timekeeper, 50);
        std::vector<unsigned> others{2, 1, 0};
        others.erase(std::find(others.begin(), others.end(), timekeeper));
        EXPECT_EQ(take_m(), others[0]) << timekeeper;
        EXPECT_EQ(take_m(), others[1]) << timekeeper;
        EXPECT_TRUE(somebody_keeps_time());
        EXPECT_EQ(take_m(), timekeeper);
        EXPECT_FALSE(somebody_keeps_time());
    }
}

// Whoever calls it to work sees to it that somebody else wakes for the timers that it slept for.
TEST_F(idle_set_, covers_the_timers_of_a_timekeeper_that_it_gives) {
    set_timer(0, 300);
    put_p(0);
    for (const bool longest_idle : {false, true}) {
        const auto take = [&] { return longest_idle ? take_longest_idle_m() : take_m(); };
        put_m(0);
        keep_time(0, 300);
        monitor_sleeps(1'000);
        EXPECT_EQ(take(), 0u);
        EXPECT_TRUE(monitor_was_woken());
        put_m(0);
        keep_time(0, 300);
        monitor_sleeps(200);   // in time
        EXPECT_EQ(take(), 0u);
        EXPECT_FALSE(monitor_was_woken());
        put_m(0);
        put_m(1);
        keep_time(longest_idle ? 1 : 0, 300);
        monitor_sleeps(1'000);
        EXPECT_NE(take(), none);
        EXPECT_FALSE(monitor_was_woken());   // the timekeeper sleeps on
        EXPECT_TRUE(somebody_keeps_time());
        EXPECT_NE(take(), none);
        EXPECT_FALSE(somebody_keeps_time());
        EXPECT_TRUE(monitor_was_woken());
    }
    ASSERT_EQ(take_p(0), 0u);   // without a timer nobody has to wake
    put_m(0);
    keep_time(0, 300);
    EXPECT_EQ(take_m(), 0u);
    EXPECT_FALSE(monitor_was_woken());
}

// ---- What is left to the monitor -------------------------------------------------------------------------------------

struct left {
    unsigned id;
    bool spinning;
    bool operator==(const left&) const = default;
};

void leave(idle_set& idle, P& p, bool spinning) HANDOFF_EXCLUDES(idle.lock) {
    deferred_wake wake;
    lock_guard hold(idle.lock);
    idle.leave_to_monitor(held_p::out_of_list(p), spinning, wake);
}

left take_left(idle_set& idle) HANDOFF_EXCLUDES(idle.lock) {
    bool spinning = false;
    held_p p = idle.take_left(spinning);
    return p ? left{p.into_list().id, spinning} : left{none, false};
}

TEST_F(idle_set_, leaves_processors_without_a_thread_to_the_monitor) {
    EXPECT_EQ(take_left(idle_), (left{none, false}));
    monitor_sleeps(never);
    leave(idle_, ps_[2], true);
    EXPECT_TRUE(monitor_was_woken());
    {
        lock_guard hold(idle_.lock);
        EXPECT_FALSE(idle_.monitor_deep);
        EXPECT_EQ(idle_.ps(), 0u);   // nobody else is to take it
        EXPECT_FALSE(idle_.has(ps_[2]));
    }
    EXPECT_EQ(take_left(idle_), (left{2, true}));
    EXPECT_EQ(take_left(idle_), (left{none, false}));
    leave(idle_, ps_[2], false);
    EXPECT_TRUE(monitor_was_woken());
    EXPECT_EQ(take_left(idle_), (left{2, false}));
}

// The last comes first: all of them are started in one round.
TEST_F(idle_set_, each_that_is_left_keeps_whether_it_is_counted_as_spinning) {
    leave(idle_, ps_[0], true);
    leave(idle_, ps_[1], false);
    EXPECT_EQ(take_left(idle_), (left{1, false}));
    leave(idle_, ps_[2], true);
    leave(idle_, ps_[3], false);
    EXPECT_EQ(take_left(idle_), (left{3, false}));
    EXPECT_EQ(take_left(idle_), (left{2, true}));
    EXPECT_EQ(take_left(idle_), (left{0, true}));
    EXPECT_EQ(take_left(idle_), (left{none, false}));
}

// None is lost, and each wakes the monitor, which else would sleep for good.
TEST_F(idle_set_, monitor_gets_all_that_others_leave) {
    constexpr unsigned leavers = 3;
    const std::size_t rounds = scaled(1'000);
    std::atomic<bool> back[leavers]{};   // its processor was taken
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < leavers; ++t)
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < rounds; ++i) {
                leave(idle_, ps_[t], t % 2 == 0);
                while (!back[t].exchange(false) && !over) std::this_thread::yield();
            }
        });
    std::size_t taken = 0, wrong = 0;
    while (taken < leavers * rounds) {
        if (!idle_.monitor_note.wait_until(handoff::os::nanotime() + std::chrono::nanoseconds(patience).count())) break;
        for (left l = take_left(idle_); l.id != none; l = take_left(idle_)) {
            ++taken;
            wrong += l.spinning != (l.id % 2 == 0);
            back[l.id] = true;
        }
    }
    over = true;
    for (auto& t : threads) t.join();
    EXPECT_EQ(taken, leavers * rounds);
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(take_left(idle_), (left{none, false}));
}

}  // namespace
