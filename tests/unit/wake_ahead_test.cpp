#include "sched/wake_ahead.hpp"

#include "testing.hpp"

using handoff::detail::wake_ahead;
using namespace handoff_test;

namespace {

constexpr std::int64_t us = 1'000, ms = 1'000'000, now = 1'000 * ms;

wake_ahead after(std::int64_t late, int times) {
    wake_ahead a;
    for (int i = 0; i < times; ++i) a.learn(late);
    return a;
}

TEST(wake_ahead, knows_nothing_at_first) {
    const wake_ahead a;
    EXPECT_EQ(a.of(ms, now), 0);
    EXPECT_EQ(a.of(1, now), 0);
    EXPECT_EQ(a.of(0, now), 0);
    EXPECT_EQ(a.of(-ms, now), 0);
}

TEST(wake_ahead, follows_what_sleeps_are_late_by) {
    wake_ahead a = after(40 * us, 20);
    EXPECT_NEAR(static_cast<double>(a.of(ms, now)), 40e3, 1e3);
    a.learn(60 * us);   // upwards at once
    EXPECT_GE(a.of(ms, now), 49 * us);
    for (int i = 0; i < 10; ++i) a.learn(10 * us);   // downwards in time
    EXPECT_GT(a.of(ms, now), 20 * us);
    for (int i = 0; i < 100; ++i) a.learn(10 * us);
    EXPECT_LT(a.of(ms, now), 11 * us);
}

TEST(wake_ahead, learns_from_nothing_absurd) {
    EXPECT_LE(after(INT64_MAX, 100).of(INT64_MAX, now), wake_ahead::most_ns);
    EXPECT_EQ(after(-ms, 100).of(ms, now), 0);
    EXPECT_EQ(after(INT64_MIN, 100).of(ms, now), 0);
}

TEST(wake_ahead, does_not_sleep_for_what_is_nearer_than_that) {
    const wake_ahead a = after(40 * us, 20);
    EXPECT_EQ(a.of(30 * us, now), 30 * us);
    EXPECT_LT(a.of(50 * us, now), 50 * us);
    EXPECT_EQ(a.of(0, now), 0);
    EXPECT_EQ(a.of(-us, now), 0);
}

// Whatever the timers' distance, and however late the kernel: no more than the share of the time, but for the savings.
TEST(wake_ahead, spends_a_share_of_the_time_at_most) {
    auto rng = seeded_random("wake_ahead.spends_a_share_of_the_time_at_most");
    for (const std::int64_t distance : {us, 20 * us, 60 * us, 150 * us, ms, 20 * ms}) {
        wake_ahead a;
        std::int64_t t = now, spent = 0;
        for (int i = 0; i < 20'000; ++i) {
            const std::int64_t due = t + 1 + static_cast<std::int64_t>(rng() % static_cast<std::uint64_t>(2 * distance));
            while (t < due) {
                const std::int64_t length = due - t, early = a.of(length, t);
                if (early >= length) {
                    a.spend(length, t);
                    spent += length;
                    t = due;
                } else {
                    const auto late = 30 * us + static_cast<std::int64_t>(rng() % 40'000);
                    a.learn(late);
                    t = due - early + late;
                }
            }
            ASSERT_LE(spent, (t - now) / wake_ahead::one_part_in + wake_ahead::most_saved_ns + us);
        }
        if (distance < 20 * us) continue;
        EXPECT_GT(spent, (t - now) / 10'000) << distance;   // it does look at the clock
    }
}

}  // namespace
