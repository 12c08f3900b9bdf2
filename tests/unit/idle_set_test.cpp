// The idle processors and threads by themselves: who is taken, who looks for work, and for how long. (Who wakes for timers, and
// what is left to the monitor: idle_set_monitor_test.cpp.)
#include "idle_sets.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

using namespace handoff_test;
using handoff::detail::M;
using handoff::detail::P;

namespace {

// ---- Processors ------------------------------------------------------------------------------------------------------

TEST_F(idle_set_, starts_empty) {
    EXPECT_EQ(idle_.ps(), 0u);
    EXPECT_EQ(idle_.spinning(), 0u);
    EXPECT_FALSE(idle_.is_starved());
    EXPECT_EQ(ms(), 0u);
    EXPECT_EQ(take_p(), none);
    EXPECT_EQ(take_p(1), none);
    EXPECT_EQ(take_m(), none);
    EXPECT_EQ(take_longest_idle_m(), none);
    EXPECT_EQ(first_timer(), never);
    EXPECT_FALSE(somebody_keeps_time());
    EXPECT_FALSE(monitor_was_woken());
}

TEST_F(idle_set_, gives_the_processor_that_is_preferred_if_that_is_idle) {
    for (const unsigned i : {0u, 1u, 2u}) put_p(i);
    EXPECT_EQ(take_p(1), 1u);
    EXPECT_FALSE(has_p(1));
    const unsigned another = take_p(1);
    EXPECT_TRUE(another == 0 || another == 2) << another;
    EXPECT_EQ(take_p(3), 2 - another);   // the one that is left
    EXPECT_EQ(take_p(1), none);
    put_p(1);
    EXPECT_EQ(take_p(), 1u);
}

TEST_F(idle_set_, gives_a_processor_of_which_something_holds) {
    for (const unsigned i : {0u, 1u, 2u}) put_p(i);
    const auto is = [](const P& p, std::int64_t arg) noexcept { return p.id == arg; };
    EXPECT_EQ(take_p_if(is, 3), none);
    EXPECT_EQ(idle_.ps(), 3u);
    EXPECT_EQ(take_p_if(is, 1), 1u);
    EXPECT_EQ(take_p_if(is, 1), none);
    EXPECT_EQ(idle_.ps(), 2u);
}

TEST_F(idle_set_, counts_processors) {
    for (unsigned i = 0; i < 2; ++i) one_more_lives();
    EXPECT_FALSE(all_ps());
    put_p(0);
    EXPECT_EQ(idle_.ps(), 1u);
    EXPECT_FALSE(all_ps());
    put_p(1);
    EXPECT_EQ(idle_.ps(), 2u);
    EXPECT_TRUE(all_ps());
    EXPECT_TRUE(has_p(0));
    EXPECT_FALSE(has_p(2));
    one_more_lives();
    EXPECT_FALSE(all_ps());   // that one is in somebody's hands
    one_ends();
    EXPECT_TRUE(all_ps());
    take_p();
    EXPECT_EQ(idle_.ps(), 1u);
    EXPECT_FALSE(all_ps());
    one_ends();
    EXPECT_TRUE(all_ps());
    lock_guard hold(idle_.lock);
    EXPECT_EQ(idle_.live(), 1u);
}

TEST_F(idle_set_, shows_all_idle_processors) {
    for (const unsigned i : {2u, 0u, 3u}) put_p(i);
    std::vector<unsigned> seen;
    {
        lock_guard hold(idle_.lock);
        idle_.for_each_p([&](const P& p) { seen.push_back(p.id); });
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, (std::vector<unsigned>{0, 2, 3}));
    idle_.clear();
    for (const unsigned i : {0u, 1u, 2u, 3u}) EXPECT_FALSE(has_p(i));
}

// What ran on a processor before it was idle has used nothing of the time of who gets it now.
TEST_F(idle_set_, gives_processors_with_a_slice_of_their_own) {
    for (const unsigned i : {0u, 1u}) put_p(i);
    const auto slice = ps_[0].slice();
    const auto turns = ps_[0].spent_turns.load();
    ASSERT_EQ(take_p(0), 0u);
    EXPECT_EQ(ps_[0].slice(), slice + 1);
    EXPECT_EQ(ps_[0].spent_turns, turns + 1);
    put_p(0);
    EXPECT_EQ(ps_[0].slice(), slice + 1);
    ASSERT_EQ(take_p_if([](const P& p, std::int64_t) noexcept { return p.id == 0; }, 0), 0u);
    EXPECT_EQ(ps_[0].slice(), slice + 2);
}

// Nobody has a processor that another has.
TEST_F(idle_set_, gives_a_processor_to_one) {
    for (unsigned i = 0; i < 4; ++i) put_p(i);
    int holders[4]{};   // plain: whoever holds it has it alone
    std::atomic<unsigned> twice{0}, taken{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < scaled(20'000); ++i) {
                const unsigned p = take_p(t);
                if (p == none) continue;
                ++taken;
                if (++holders[p] != 1) ++twice;
                --holders[p];
                put_p(p);
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(twice, 0u);
    EXPECT_GT(taken, 0u);
    EXPECT_EQ(idle_.ps(), 4u);
}

// ---- Threads ---------------------------------------------------------------------------------------------------------

TEST_F(idle_set_, gives_the_thread_that_went_to_sleep_last) {
    for (const unsigned i : {2u, 0u, 1u}) put_m(i);
    EXPECT_EQ(ms(), 3u);
    EXPECT_TRUE(has_m(1));
    EXPECT_EQ(take_m(), 1u);
    EXPECT_FALSE(has_m(1));
    EXPECT_EQ(take_m(), 0u);
    put_m(3);
    EXPECT_EQ(take_m(), 3u);
    EXPECT_EQ(take_m(), 2u);
    EXPECT_EQ(take_m(), none);
    EXPECT_EQ(ms(), 0u);
}

TEST_F(idle_set_, gives_the_thread_that_has_slept_longest_where_asked_to) {
    for (const unsigned i : {2u, 0u, 1u}) put_m(i);
    EXPECT_EQ(take_longest_idle_m(), 2u);
    EXPECT_FALSE(has_m(2));
    EXPECT_EQ(take_longest_idle_m(), 0u);
}

TEST_F(idle_set_, threads_may_leave_by_themselves) {
    for (const unsigned i : {2u, 0u, 1u}) put_m(i);
    {
        lock_guard hold(idle_.lock);
        idle_.leaves(ms_[0]);
    }
    EXPECT_FALSE(has_m(0));
    EXPECT_EQ(ms(), 2u);
    EXPECT_EQ(take_m(), 1u);
    EXPECT_EQ(take_m(), 2u);
    EXPECT_EQ(take_m(), none);
}

TEST_F(idle_set_, counts_who_looks_for_work) {
    M &first = ms_[0], &second = ms_[1];
    idle_.begin_spinning(&first);
    EXPECT_TRUE(first.spinning);
    EXPECT_EQ(idle_.spinning(), 1u);
    EXPECT_FALSE(idle_.add_first_spinner());   // there is one
    idle_.begin_spinning(&second);
    EXPECT_EQ(idle_.spinning(), 2u);
    EXPECT_TRUE(idle_.end_spinning(&first));
    EXPECT_FALSE(first.spinning);
    EXPECT_FALSE(idle_.end_spinning(&first));   // it is counted once
    EXPECT_EQ(idle_.spinning(), 1u);
    EXPECT_TRUE(idle_.end_spinning(&second));
    EXPECT_TRUE(idle_.add_first_spinner());
    EXPECT_EQ(idle_.spinning(), 1u);
    idle_.remove_spinner();
    EXPECT_EQ(idle_.spinning(), 0u);
}

// Of all who submit work at the same moment one starts a thread.
TEST_F(idle_set_, has_one_first_spinner) {
    constexpr unsigned n = 3;
    std::atomic<unsigned> first{0}, arrived{0};
    std::vector<std::thread> threads;
    const std::size_t rounds = scaled(500);
    std::vector<unsigned> firsts;   // of each round
    for (unsigned t = 0; t < n; ++t)
        threads.emplace_back([&, t] {
            const auto meet = [&] {
                const unsigned before = arrived++;
                while (arrived < before / n * n + n) std::this_thread::yield();
            };
            for (std::size_t i = 0; i < rounds; ++i) {
                meet();
                if (idle_.add_first_spinner()) ++first;
                meet();
                if (t != 0) continue;
                firsts.push_back(first.exchange(0));
                while (idle_.spinning() != 0) idle_.remove_spinner();
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(firsts, std::vector<unsigned>(rounds, 1));
}

// ---- How long idle threads spin --------------------------------------------------------------------------------------

constexpr std::int64_t most = 32'000;

TEST_F(idle_set_, learns_to_spin_for_longer_than_most_are_called_after) {
    idle_.learn_spin_time(1'000, most);
    EXPECT_GT(spin_time(), 1'000);
    idle_.learn_spin_time(5'000, most);
    EXPECT_GT(spin_time(), 5'000);
    const std::int64_t now = spin_time();
    idle_.learn_spin_time(1, most);
    EXPECT_EQ(spin_time(), now);   // it was long enough
}

TEST_F(idle_set_, learns_to_spin_for_less_where_nobody_calls) {
    idle_.learn_spin_time(most - 1, most);
    for (std::int64_t before = spin_time(); before > most / 32; before = spin_time()) {
        idle_.learn_spin_time(most, most);
        ASSERT_LT(spin_time(), before);
    }
    idle_.learn_spin_time(never, most);
    EXPECT_EQ(spin_time(), most / 32);   // so that it can learn again
}

TEST_F(idle_set_, spins_within_its_bounds_whatever_it_learns) {
    auto rng = seeded_random("idle_set.spins_within_its_bounds_whatever_it_learns");
    for (int i = 0; i < 10'000; ++i) {
        idle_.learn_spin_time(static_cast<std::int64_t>(rng() % (2 * most)), most);
        ASSERT_GE(spin_time(), most / 32);
        ASSERT_LE(spin_time(), most);
    }
    handoff::detail::idle_set never_spins;
    for (const std::int64_t waited : {std::int64_t{0}, std::int64_t{1}, never}) {
        never_spins.learn_spin_time(waited, 0);
        EXPECT_EQ(never_spins.spin_time.load(), 0);
    }
}

}  // namespace
