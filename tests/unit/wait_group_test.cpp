// wait_group and latch: counts, misuse, timed waits, stop tokens, and their end.
#include "locks.hpp"

#include <stop_token>

using handoff::latch;
using handoff::runtime;
using handoff::usage_error;
using handoff::wait_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(wait_group) == 8 && sizeof(latch) == 8);
static_assert(!std::is_copy_constructible_v<wait_group> && !std::is_copy_assignable_v<wait_group>);
static_assert(!std::is_copy_constructible_v<latch> && !std::is_copy_assignable_v<latch>);
static_assert(!std::is_convertible_v<std::ptrdiff_t, latch>);
static_assert(latch::max() >= std::ptrdiff_t{1} << 60);
static_assert(noexcept(std::declval<const latch&>().try_wait()));

constinit wait_group global_group;
constinit latch global_latch(1);

constexpr auto below = "handoff: a wait_group is counted below zero, or too far";
constexpr auto latch_below = "handoff: a latch is counted below zero";

class wait_groups : public with_procs {};
INSTANTIATE_WITH_PROCS(wait_groups);
class latches : public with_procs {};
INSTANTIATE_WITH_PROCS(latches);

// What is asked of both: one that is counted down by finish(), `n` times.
template <class C>
struct counted_thing;
template <>
struct counted_thing<wait_group> {
    static constexpr auto reason = "wait_group";
    explicit counted_thing(std::ptrdiff_t n) { c.add(n); }
    void finish() { c.done(); }
    wait_group c;
};
template <>
struct counted_thing<latch> {
    static constexpr auto reason = "latch";
    explicit counted_thing(std::ptrdiff_t n) : c(n) {}
    void finish() { c.count_down(); }
    latch c;
};

// ---- Counting ------------------------------------------------------------------------------------------------------

// Go's TestWaitGroup: two groups, one waits for the other; again and again.
TEST_P(wait_groups, wait_for_each_other) {
    wait_group one, two;
    for (int round = 0; round < 8; ++round) {
        constexpr int n = 16;
        one.add(n);
        two.add(n);
        std::atomic<int> exited{0};
        crowd all;
        for (int i = 0; i < n; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i % 5 == 4, [&] {
                one.done();
                two.wait();
                ++exited;
            });
        one.wait();
        for (int i = 0; i < n; ++i) {
            EXPECT_EQ(exited, 0);
            two.done();
        }
        all.join();
        EXPECT_EQ(exited, n);
    }
}

// Go's TestWaitGroupRace: wait() sees what was done before the last done().
TEST_P(wait_groups, order_what_was_done_before_done) {
    for (std::size_t i = 0; i < scaled(3'000); ++i) {
        wait_group group;
        std::atomic<int> n{0};
        int plain[2] = {0, 0};
        group.add();
        auto a = rt_.go([&] { ++n, plain[0] = 1, group.done(); });
        group.add();
        auto b = other_.go([&] { ++n, plain[1] = 1, group.done(); });
        if (i % 2 == 0) group.wait();
        else rt_.run([&] { group.wait(); });
        ASSERT_EQ(n, 2);
        ASSERT_EQ(plain[0] + plain[1], 2);
        a.join();
        b.join();
    }
}

TEST_P(wait_groups, do_not_wait_for_nothing) {
    on_both(rt_, [] {
        global_group.wait();
        wait_group g;
        g.wait();
        EXPECT_TRUE(g.wait_for(0s) && g.wait_for(-1h) && g.wait_until(steady::time_point::min()));
        g.add(5);
        g.add(-3);
        g.add(0);
        g.done();
        EXPECT_FALSE(g.wait_for(0s));
        g.done();
        g.wait();
        g.wait(std::stop_token());
    });
}

// Not even when somebody waits for something that is added meanwhile.
TEST_P(wait_groups, wait_for_what_is_added_while_they_wait) {
    wait_group g;
    g.add();
    crowd all;
    std::atomic<bool> woken{false};
    all.go(rt_, [&] {
        g.wait();
        woken = true;
    });
    EXPECT_EVENTUALLY(waiting(rt_, "wait_group") == 1);
    g.add(2);
    g.done();
    g.done();
    EXPECT_EQ(waiting(rt_, "wait_group"), 1u);
    EXPECT_FALSE(woken);
    g.done();
    all.join();
}

// Go's TestWaitGroupMisuse.
TEST_P(wait_groups, refuse_to_count_below_zero) {
    on_both(rt_, [] {
        wait_group g;
        EXPECT_EQ(thrown_by<usage_error>([&] { g.done(); }), below);
        g.wait();
        g.add(2);
        EXPECT_EQ(thrown_by<usage_error>([&] { g.add(-3); }), below);
        EXPECT_EQ(thrown_by<usage_error>([&] { g.add(PTRDIFF_MIN); }), below);
        EXPECT_EQ(thrown_by<usage_error>([&] { g.add(PTRDIFF_MAX); }), below);
        EXPECT_FALSE(g.wait_for(0s));
        g.done();
        EXPECT_FALSE(g.wait_for(0s));
        g.done();
        g.wait();
        EXPECT_EQ(thrown_by<usage_error>([&] { g.done(); }), below);
    });
}

TEST_P(wait_groups, refuse_it_while_others_wait) {
    wait_group g;
    g.add(2);
    crowd all;
    all.go(rt_, [&] { g.wait(); });
    EXPECT_EVENTUALLY(waiting(rt_, "wait_group") == 1);
    EXPECT_EQ(thrown_by<usage_error>([&] { g.add(-3); }), below);
    EXPECT_EQ(thrown_by<usage_error>([&] { g.add(PTRDIFF_MIN); }), below);
    EXPECT_EQ(thrown_by<usage_error>([&] { g.add(PTRDIFF_MAX); }), below);
    EXPECT_EQ(waiting(rt_, "wait_group"), 1u);
    g.add(-2);
    all.join();
    EXPECT_EQ(thrown_by<usage_error>([&] { g.done(); }), below);
}

// Many count down at once, one too many: exactly one is refused.
TEST_P(wait_groups, refuse_the_one_too_many) {
    for (std::size_t round = 0; round < scaled(300, 40); ++round) {
        wait_group g;
        constexpr int n = 8;
        g.add(n);
        std::atomic<int> refused{0};
        crowd all;
        all.start(rt_, round % 2 == 0, [&] { g.wait(); });
        for (int i = 0; i < n + 1; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i >= 7, [&] { refused += thrown_by<usage_error>([&] { g.done(); }) == below; });
        all.join();
        ASSERT_EQ(refused, 1);
        EXPECT_TRUE(g.wait_for(0s));
    }
}

// Go's reuse: the next generation starts while those of the last one return.
TEST_P(wait_groups, are_used_again) {
    wait_group work, returned;
    const std::size_t rounds = scaled(1'000, 100);
    constexpr int waiters = 4;
    std::atomic<std::size_t> generation{0}, wrong{0};
    work.add();
    crowd all;
    for (int i = 0; i < waiters; ++i)
        all.start(i % 2 == 0 ? rt_ : other_, i == 3, [&] {
            for (std::size_t r = 0; r < rounds; ++r) {
                EXPECT_EVENTUALLY(generation == r);
                work.wait();
                if (generation != r) ++wrong;
                returned.done();
            }
        });
    for (std::size_t r = 0; r < rounds; ++r) {
        returned.add(waiters);
        generation = r;
        work.done();
        returned.wait();
        work.add();
        generation = r + rounds;   // of nobody
    }
    all.join();
    EXPECT_EQ(wrong, 0u);
    work.done();
}

TEST_P(latches, count_down) {
    on_both(rt_, [] {
        latch none(0), l(4);
        EXPECT_TRUE(none.try_wait());
        none.wait();
        EXPECT_FALSE(l.try_wait() || l.wait_for(0s) || global_latch.try_wait());
        l.count_down();
        l.count_down(0);
        l.count_down(2);
        EXPECT_FALSE(l.try_wait());
        l.arrive_and_wait();
        EXPECT_TRUE(l.try_wait() && l.wait_for(-1h) && l.wait_until(steady::time_point::min()));
        l.wait();
        l.wait(std::stop_token());
    });
}

TEST_P(latches, refuse_to_count_below_zero) {
    on_both(rt_, [] {
        latch l(2);
        EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(3); }), latch_below);
        EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(-1); }), latch_below);
        EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(PTRDIFF_MIN); }), latch_below);
        EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(PTRDIFF_MAX); }), latch_below);
        EXPECT_EQ(thrown_by<usage_error>([&] { l.arrive_and_wait(3); }), latch_below);
        EXPECT_FALSE(l.try_wait());
        l.count_down(2);
        EXPECT_TRUE(l.try_wait());
        EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(); }), latch_below);
        EXPECT_TRUE(l.try_wait());
    });
}

TEST(latch, counts_no_less_than_nobody) {
    EXPECT_EQ(thrown_by<usage_error>([] { latch l(-1); }),
              "handoff: the count of a latch is -1, not between 0 and " + std::to_string(latch::max()));
    EXPECT_THROW(latch(PTRDIFF_MIN), usage_error);
    EXPECT_THROW(latch(latch::max() + 1), usage_error);
    latch l(latch::max());
    l.count_down(latch::max());
    EXPECT_TRUE(l.try_wait());
}

// Waiting changes nothing that others could see.
TEST_P(latches, are_waited_for_though_const) {
    latch l(1);
    const latch& seen = l;
    crowd all;
    all.go(rt_, [&] { seen.wait(); });
    all.thread([&] { seen.wait(std::stop_token()); });
    all.go(rt_, [&] { EXPECT_TRUE(seen.wait_for(patience) && seen.wait_until(steady::now() + patience)); });
    EXPECT_EVENTUALLY(waiting(rt_, "latch") == 2 && all.threads_sleep());
    l.count_down();
    all.join();
}

TEST_P(latches, refuse_it_while_others_wait) {
    latch l(2);
    crowd all;
    all.go(rt_, [&] { l.wait(); });
    EXPECT_EVENTUALLY(waiting(rt_, "latch") == 1);
    EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(3); }), latch_below);
    EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(-1); }), latch_below);
    EXPECT_EQ(thrown_by<usage_error>([&] { l.count_down(PTRDIFF_MAX); }), latch_below);
    EXPECT_EQ(waiting(rt_, "latch"), 1u);
    EXPECT_FALSE(l.try_wait());
    l.count_down(2);
    all.join();
}

// Everybody is there before anybody goes on, and sees what the others did.
TEST_P(latches, bring_all_together) {
    for (std::size_t round = 0; round < scaled(300, 40); ++round) {
        constexpr int n = 9;
        latch l(n);
        int plain[n] = {};
        std::atomic<int> wrong{0};
        crowd all;
        for (int i = 0; i < n; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i >= 7, [&, i] {
                plain[i] = 1;
                l.arrive_and_wait();
                if (std::count(plain, plain + n, 1) != n) ++wrong;
            });
        l.wait();
        EXPECT_EQ(std::count(plain, plain + n, 1), n);
        all.join();
        ASSERT_EQ(wrong, 0);
    }
}

// ---- Of both -------------------------------------------------------------------------------------------------------

template <class C>
void expect_timed_waits_never_early(runtime& rt) {
    auto random = seeded_random("expect_timed_waits_never_early");
    counted_thing<C> t(1);
    crowd all;
    for (int who = 0; who < 6; ++who)
        all.start(rt, who >= 4, [&t, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < scaled(40, 10); ++i) {
                const std::chrono::nanoseconds d(r() % 2'000'000);
                EXPECT_FALSE(never_earlier_than(d, [&] { return t.c.wait_for(d); }));
                const auto until = steady::now() + d;
                EXPECT_FALSE(t.c.wait_until(until));
                EXPECT_GE(steady::now(), until);
            }
            EXPECT_FALSE(t.c.wait_for(-1h) || t.c.wait_for(0s) || t.c.wait_until(steady::time_point::min()));
            EXPECT_FALSE(t.c.wait_until(std::chrono::system_clock::now() - 1h));
        });
    all.join();
    t.finish();
    EXPECT_TRUE(t.c.wait_for(0s));
}
TEST_P(wait_groups, timed_waits_are_never_early) { expect_timed_waits_never_early<wait_group>(rt_); }
TEST_P(latches, timed_waits_are_never_early) { expect_timed_waits_never_early<latch>(rt_); }

template <class C>
void expect_any_duration(runtime& rt) {
    counted_thing<C> t(1);
    crowd all;
    for (const bool on_thread : {false, true}) {
        all.start(rt, on_thread, [&] { EXPECT_TRUE(t.c.wait_for(std::chrono::hours::max())); });
        all.start(rt, on_thread, [&] { EXPECT_TRUE(t.c.wait_for(std::chrono::duration<double>(1e300))); });
        all.start(rt, on_thread, [&] { EXPECT_TRUE(t.c.wait_until(steady::time_point::max())); });
    }
    EXPECT_EVENTUALLY(waiting(rt, counted_thing<C>::reason) == 3 && all.threads_sleep());
    t.finish();
    all.join();
}
TEST_P(wait_groups, take_any_duration) { expect_any_duration<wait_group>(rt_); }
TEST_P(latches, take_any_duration) { expect_any_duration<latch>(rt_); }

// Those that give up, by time or stop, leave the others waiting, and all of these are woken.
template <class C>
void expect_survives_those_that_give_up(runtime& rt) {
    auto random = seeded_random("expect_survives_those_that_give_up");
    for (std::size_t round = 0; round < scaled(30, 6); ++round) {
        counted_thing<C> t(2);
        std::stop_source source;
        std::atomic<unsigned> gave_up{0}, woken{0};
        constexpr unsigned each = 6;
        crowd all;
        for (unsigned i = 0; i < 3 * each; ++i)
            all.start(rt, i >= 2 * each + 3, [&, i, d = std::chrono::microseconds(random() % 1000), token = source.get_token()] {
                if (i % 3 == 0) {
                    if (!t.c.wait_for(d)) return void(++gave_up);
                } else if (i % 3 == 1) {
                    try {
                        t.c.wait(token);
                    } catch (const handoff::cancelled&) {
                        return void(++gave_up);
                    }
                } else {
                    t.c.wait();
                }
                ++woken;
            });
        t.finish();
        source.request_stop();
        EXPECT_EVENTUALLY(gave_up == 2 * each);
        EXPECT_EQ(woken, 0u);
        t.finish();
        all.join();
        EXPECT_EQ(woken, each);
    }
}
TEST_P(wait_groups, survive_waiters_that_give_up) { expect_survives_those_that_give_up<wait_group>(rt_); }
TEST_P(latches, survive_waiters_that_give_up) { expect_survives_those_that_give_up<latch>(rt_); }

template <class C>
void expect_stop_ends_the_wait(runtime& rt) {
    for (const bool on_thread : {false, true})
        for (const bool by_goroutine : {false, true}) {
            counted_thing<C> t(1);
            std::stop_source source;
            crowd all;
            all.start(rt, on_thread, [&, token = source.get_token()] {
                EXPECT_THROW(t.c.wait(token), handoff::cancelled);
                EXPECT_THROW(t.c.wait(token), handoff::cancelled);   // and does not begin another
            });
            EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt, counted_thing<C>::reason) == 1);
            if (by_goroutine) rt.run([&] { source.request_stop(); });
            else source.request_stop();
            all.join();
            EXPECT_FALSE(t.c.wait_for(0s));
            t.finish();
            t.c.wait(source.get_token());   // nothing to wait for: no wait to end
        }
    counted_thing<C> t(1);
    std::stop_source source;
    crowd all;
    all.go(rt, [&] { t.c.wait(source.get_token()); });
    EXPECT_EVENTUALLY(waiting(rt, counted_thing<C>::reason) == 1);
    t.finish();
    all.join();
}
TEST_P(wait_groups, a_stop_ends_the_wait) { expect_stop_ends_the_wait<wait_group>(rt_); }
TEST_P(latches, a_stop_ends_the_wait) { expect_stop_ends_the_wait<latch>(rt_); }

// Whoever returns from wait() destroys it, while the last count-down may not have returned.
template <class C>
void expect_destroyed_by_the_waiter(runtime& rt, runtime& other) {
    for (std::size_t round = 0; round < scaled(2'000, 200); ++round) {
        constexpr int n = 3;
        auto* t = new counted_thing<C>(n);
        crowd all;
        std::atomic<bool> destroyed{false};
        for (int i = 0; i < n; ++i)
            all.start(i == 0 ? other : rt, round % 4 == static_cast<std::size_t>(i), [t] { t->finish(); });
        all.start(rt, round % 4 == 3, [t, round, &destroyed] {
            if (round % 2 == 0) t->c.wait();
            else EXPECT_TRUE(t->c.wait_for(1h));
            delete t;
            destroyed = true;
        });
        all.join();
        EXPECT_TRUE(destroyed);
    }
}
TEST_P(wait_groups, are_destroyed_by_who_waited) { expect_destroyed_by_the_waiter<wait_group>(rt_, other_); }
TEST_P(latches, are_destroyed_by_who_waited) { expect_destroyed_by_the_waiter<latch>(rt_, other_); }

template <class C>
void expect_shows_who_waits(runtime& rt) {
    counted_thing<C> t(1);
    crowd all;
    for (int i = 0; i < 4; ++i)
        all.go(rt, [&, i] {
            if (i % 2 == 0) t.c.wait();
            else EXPECT_TRUE(t.c.wait_for(1h));
        });
    EXPECT_EVENTUALLY(waiting(rt, counted_thing<C>::reason) == 4);
    t.finish();
    all.join();
}
TEST_P(wait_groups, show_who_waits) { expect_shows_who_waits<wait_group>(rt_); }
TEST_P(latches, show_who_waits) { expect_shows_who_waits<latch>(rt_); }

template <class C>
void expect_errno_left_alone() {
    counted_thing<C> t(1);
    errno = EDOM;
    EXPECT_FALSE(t.c.wait_for(2ms));
    EXPECT_EQ(errno, EDOM);
    t.finish();
}
TEST(wait_group, leaves_errno_alone_on_threads) { expect_errno_left_alone<wait_group>(); }
TEST(latch, leaves_errno_alone_on_threads) { expect_errno_left_alone<latch>(); }

}  // namespace
