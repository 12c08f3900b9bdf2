// What calls teach of the kinds of goroutines, by itself. That first calls are handed off by it: without_a_processor.* and
// adaptive_guard.* in syscall_test.cpp.
#include "sched/prediction.hpp"
#include "testing.hpp"

#include <atomic>
#include <memory>
#include <set>
#include <thread>

using handoff::detail::G;
using handoff::detail::prediction;
using namespace handoff_test;

namespace {

constexpr std::size_t places = std::size_t{1} << prediction::kind_bits;
constexpr std::uint64_t one_place = std::uint64_t{1} << (64 - prediction::kind_bits);

class prediction_ : public testing::Test {
protected:
    G* of(std::uint64_t kind) {
        g_.kind.store(kind, std::memory_order_relaxed);
        return &g_;
    }
    void learn(std::uint64_t kind, bool blocked, int times = 1) {
        for (; times > 0; --times) learnt_.learn(of(kind), blocked);
    }
    unsigned counter_of(std::uint64_t kind) { return learnt_.of_kind(of(kind)); }
    bool will_block(std::uint64_t kind) { return learnt_.will_block(of(kind)); }

    G g_;
    prediction learnt_;
};

TEST_F(prediction_, is_at_first_that_no_call_blocks) {
    for (std::size_t i = 0; i < places; ++i) {
        ASSERT_EQ(counter_of(i * one_place), 0u);
        ASSERT_FALSE(will_block(i * one_place));
    }
}

TEST_F(prediction_, is_that_calls_block_once_two_more_did_than_did_not) {
    learn(one_place, true);
    EXPECT_FALSE(will_block(one_place));
    learn(one_place, false);
    learn(one_place, true);
    EXPECT_FALSE(will_block(one_place));
    learn(one_place, true);
    EXPECT_TRUE(will_block(one_place));
    learn(one_place, false);
    EXPECT_FALSE(will_block(one_place));
}

// So a kind that has blocked for long is unlearnt as soon as any other, and the other way round.
TEST_F(prediction_, forgets_what_is_more_than_three_calls_ago) {
    learn(one_place, true, 300);   // would wrap around in a byte
    EXPECT_EQ(counter_of(one_place), 3u);
    learn(one_place, false);
    EXPECT_TRUE(will_block(one_place));
    learn(one_place, false);
    EXPECT_FALSE(will_block(one_place));
    learn(one_place, false, 300);
    EXPECT_EQ(counter_of(one_place), 0u);
    learn(one_place, true, 2);
    EXPECT_TRUE(will_block(one_place));
}

TEST_F(prediction_, is_of_one_kind) {
    learn(5 * one_place, true, 2);
    for (std::size_t i = 0; i < places; ++i) ASSERT_EQ(will_block(i * one_place), i == 5) << i;
}

TEST_F(prediction_, has_a_place_for_every_kind) {
    std::set<std::size_t> seen;
    for (std::size_t i = 0; i < places; ++i) {
        const std::uint64_t first = i * one_place, last = first + (one_place - 1);
        EXPECT_EQ(prediction::place_of(first), prediction::place_of(last));   // the upper bits say which
        seen.insert(prediction::place_of(first));
    }
    EXPECT_EQ(seen.size(), places);
    EXPECT_EQ(*seen.rbegin(), places - 1);
}

TEST_F(prediction_, learns_nothing_of_nobody) {
    learnt_.learn(nullptr, true);
    learnt_.learn(nullptr, true);
    for (std::size_t i = 0; i < places; ++i) ASSERT_EQ(counter_of(i * one_place), 0u);
}

TEST_F(prediction_, may_be_given) {
    learnt_.learnt_of_all(prediction::blocks);
    for (std::size_t i = 0; i < places; ++i) ASSERT_TRUE(will_block(i * one_place));
    learn(0, false);
    EXPECT_FALSE(will_block(0));
    EXPECT_TRUE(will_block(one_place));
}

// What one has learnt another may overwrite, but the counter stays one of two bits.
TEST_F(prediction_, stays_in_its_bounds_while_many_learn) {
    std::atomic<unsigned> beyond{0};
    std::vector<std::thread> threads;
    for (const bool blocked : {true, false, true, false})
        threads.emplace_back([&, blocked] {
            const auto g = std::make_unique<G>();
            for (std::size_t i = 0; i < scaled(100'000); ++i) {
                learnt_.learn(g.get(), blocked);
                if (learnt_.of_kind(g.get()) > 3) ++beyond;
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(beyond, 0u);
}

}  // namespace
