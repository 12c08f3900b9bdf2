// The global queue by itself.
#include "sched/global_queue.hpp"
#include "testing.hpp"

#include <array>
#include <deque>
#include <list>
#include <numeric>
#include <vector>

using namespace handoff::detail;
using namespace handoff_test;

namespace {

class global_queue_ : public testing::Test {
protected:
    G* g(std::size_t i) {
        while (gs_.size() <= i) gs_.emplace_back();
        return &gs_[i];
    }
    std::size_t number(const G* wanted) const {
        for (std::size_t i = 0; i < gs_.size(); ++i)
            if (&gs_[i] == wanted) return i;
        return ~std::size_t{0};
    }
    void push_batch(std::size_t from, std::uint32_t n) {
        std::vector<G*> batch;
        for (std::size_t i = from; i < from + n; ++i) batch.push_back(g(i));
        q_.push_batch(batch.data(), n);
    }
    std::vector<std::size_t> take(std::uint32_t n, bool oldest = false) {
        std::vector<G*> out(n);
        out.resize(q_.take(out.data(), n, oldest));
        std::vector<std::size_t> taken;
        for (const G* x : out) taken.push_back(number(x));
        return taken;
    }
    using numbers = std::vector<std::size_t>;

    std::deque<G> gs_;
    global_queue q_;
};

TEST_F(global_queue_, starts_empty) {
    EXPECT_TRUE(q_.empty());
    EXPECT_EQ(take(5), numbers{});
    EXPECT_EQ(take(5, true), numbers{});
}

TEST_F(global_queue_, serves_single_ones_in_the_order_of_coming) {
    for (std::size_t i = 0; i < 10; ++i) q_.push(g(i));
    EXPECT_EQ(q_.size(), 10u);
    EXPECT_EQ(take(3), (numbers{0, 1, 2}));
    EXPECT_EQ(take(100), (numbers{3, 4, 5, 6, 7, 8, 9}));
    EXPECT_TRUE(q_.empty());
}

TEST_F(global_queue_, serves_the_newest_batch_first_and_within_it_the_oldest) {
    push_batch(0, 3);
    push_batch(10, 3);
    EXPECT_EQ(take(2), (numbers{10, 11}));
    push_batch(20, 2);
    EXPECT_EQ(take(9), (numbers{20, 21}));
    EXPECT_EQ(take(9), (numbers{12}));
    EXPECT_EQ(take(9), (numbers{0, 1, 2}));
    EXPECT_TRUE(q_.empty());
}

TEST_F(global_queue_, serves_the_oldest_batch_before_all_others_if_told) {
    push_batch(0, 3);
    push_batch(10, 3);
    q_.push(g(50));
    EXPECT_EQ(take(1, true), (numbers{0}));
    EXPECT_EQ(take(9, true), (numbers{1, 2}));
    EXPECT_EQ(take(1, true), (numbers{10}));
    EXPECT_EQ(take(9), (numbers{50}));   // single ones come before batches
    EXPECT_EQ(take(9, true), (numbers{11, 12}));
    EXPECT_TRUE(q_.empty());
    q_.push(g(60));
    EXPECT_EQ(take(9, true), (numbers{60}));   // without a batch
}

TEST_F(global_queue_, serves_spent_ones_last_and_one_by_one) {
    q_.push_spent(g(0));
    q_.push_spent(g(1));
    EXPECT_TRUE(q_.has_spent());
    EXPECT_FALSE(q_.has_unspent());
    EXPECT_EQ(q_.front(), nullptr);
    q_.push(g(2));
    push_batch(3, 2);
    q_.push_spent(g(5));
    EXPECT_EQ(q_.size(), 6u);
    EXPECT_TRUE(q_.has_unspent());
    EXPECT_EQ(take(9), numbers{2});
    EXPECT_EQ(take(9, true), (numbers{3, 4}));
    EXPECT_FALSE(q_.has_unspent());
    EXPECT_EQ(take(9), numbers{0});
    EXPECT_EQ(take(9, true), numbers{1});
    EXPECT_EQ(take(0), numbers{});
    EXPECT_EQ(number(q_.pop_spent()), 5u);
    EXPECT_EQ(q_.pop_spent(), nullptr);
    EXPECT_TRUE(q_.empty());
    EXPECT_FALSE(q_.has_spent());
    EXPECT_EQ(take(9), numbers{});
}

TEST_F(global_queue_, loses_nothing) {
    auto rng = seeded_random("global_queue.loses_nothing");
    std::vector<int> there(4'000, 0);
    std::size_t pushed = 0, taken = 0;
    while (pushed < there.size() || taken < pushed) {
        const auto what = rng() % 5;
        if ((what == 0 || what == 4) && pushed < there.size()) {
            ++there[pushed];
            if (what == 0) q_.push(g(pushed++));
            else q_.push_spent(g(pushed++));
        } else if (what == 1 && pushed < there.size()) {
            const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(1 + rng() % global_queue::batch_size, there.size() - pushed));
            push_batch(pushed, n);
            for (std::uint32_t i = 0; i < n; ++i) ++there[pushed++];
        } else {
            for (const std::size_t i : take(static_cast<std::uint32_t>(1 + rng() % 200), rng() % 2 == 0)) {
                --there[i];
                ++taken;
            }
        }
        ASSERT_EQ(q_.size(), pushed - taken);
    }
    for (const int n : there) ASSERT_EQ(n, 0);
}

}  // namespace
