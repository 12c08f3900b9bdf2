// The run queue by itself. README, promise 2 (no goroutine is lost or run twice) rests on it.
#include "sched/runq.hpp"
#include "testing.hpp"

#include <memory>
#include <set>
#include <thread>

using handoff::detail::G;
using handoff::detail::g_queue;
using handoff::detail::run_queue;
using namespace handoff_test;

namespace {

constexpr unsigned capacity = run_queue::capacity;

class runq : public testing::Test {
protected:
    G* g(std::size_t i) { return &gs_[i]; }
    std::size_t index(const G* g) const { return static_cast<std::size_t>(g - gs_.get()); }
    void fill(run_queue& q, std::size_t from, std::size_t to) {
        for (std::size_t i = from; i < to; ++i) ASSERT_TRUE(q.push(g(i)));
    }

    std::unique_ptr<G[]> gs_{new G[2 * capacity]};
    run_queue q_;
};

TEST_F(runq, starts_empty) {
    EXPECT_TRUE(q_.empty());
    EXPECT_EQ(q_.size(), 0u);
    EXPECT_FALSE(q_.owner_sees_work());
    EXPECT_EQ(q_.pop(), nullptr);
    EXPECT_EQ(q_.take_next(), nullptr);
}

TEST_F(runq, pops_in_order_of_pushes) {
    // Three times around the ring.
    for (unsigned round = 0; round < 3; ++round) {
        fill(q_, 0, 200);
        EXPECT_EQ(q_.size(), 200u);
        EXPECT_FALSE(q_.empty());
        for (std::size_t i = 0; i < 200; ++i) ASSERT_EQ(q_.pop(), g(i));
        EXPECT_TRUE(q_.empty());
        EXPECT_FALSE(q_.owner_sees_work());
    }
}

TEST_F(runq, push_refuses_when_full) {
    fill(q_, 0, capacity);
    EXPECT_FALSE(q_.push(g(capacity)));
    EXPECT_EQ(q_.size(), capacity);
    EXPECT_EQ(q_.room(), 0u);
    EXPECT_EQ(q_.pop(), g(0));
    EXPECT_EQ(q_.room(), 1u);
    EXPECT_TRUE(q_.push(g(capacity)));
    for (std::size_t i = 1; i <= capacity; ++i) ASSERT_EQ(q_.pop(), g(i));
}

TEST_F(runq, next_is_apart_from_the_ring) {
    EXPECT_TRUE(q_.set_next(g(0)));
    EXPECT_FALSE(q_.set_next(g(1)));
    EXPECT_FALSE(q_.empty());
    EXPECT_EQ(q_.size(), 1u);
    EXPECT_TRUE(q_.owner_sees_work());
    EXPECT_EQ(q_.pop(), nullptr);
    fill(q_, 1, 1 + capacity);   // it takes no room
    EXPECT_EQ(q_.size(), capacity + 1);
    EXPECT_EQ(q_.take_next(), g(0));
    EXPECT_EQ(q_.take_next(), nullptr);
    EXPECT_TRUE(q_.set_next(g(0)));
}

TEST_F(runq, overflow_moves_the_older_half) {
    fill(q_, 0, 10);
    for (int i = 0; i < 10; ++i) q_.pop();   // so that the half wraps around
    fill(q_, 0, capacity);
    G* half[capacity / 2];
    ASSERT_TRUE(q_.take_half(half));
    for (std::size_t i = 0; i < capacity / 2; ++i) ASSERT_EQ(half[i], g(i));
    for (std::size_t i = capacity / 2; i < capacity; ++i) ASSERT_EQ(q_.pop(), g(i));
    EXPECT_TRUE(q_.empty());
}

TEST_F(runq, overflow_leaves_a_ring_alone_that_is_not_full) {
    fill(q_, 0, capacity - 1);
    G* half[capacity / 2];
    EXPECT_FALSE(q_.take_half(half));
    EXPECT_EQ(q_.size(), capacity - 1);
}

TEST_F(runq, steals_the_older_half_rounded_up) {
    for (const unsigned n : {1u, 2u, 3u, 7u, 100u, 255u, 256u}) {
        run_queue victim, thief;
        fill(victim, 0, n);
        unsigned moved = 0;
        const unsigned half = n - n / 2;
        // The last of them is to run at once; the others keep their order.
        ASSERT_EQ(thief.steal_from(victim, false, moved), g(half - 1));
        EXPECT_EQ(moved, half);
        for (std::size_t i = 0; i + 1 < half; ++i) ASSERT_EQ(thief.pop(), g(i));
        EXPECT_TRUE(thief.empty());
        for (std::size_t i = half; i < n; ++i) ASSERT_EQ(victim.pop(), g(i));
        EXPECT_TRUE(victim.empty());
    }
}

TEST_F(runq, steals_next_only_when_told_and_last) {
    run_queue thief;
    unsigned moved = 7;
    ASSERT_TRUE(q_.set_next(g(0)));
    EXPECT_EQ(thief.steal_from(q_, false, moved), nullptr);
    EXPECT_EQ(moved, 0u);
    fill(q_, 1, 2);
    EXPECT_EQ(thief.steal_from(q_, true, moved), g(1));
    EXPECT_EQ(moved, 1u);
    EXPECT_EQ(thief.steal_from(q_, true, moved), g(0));
    EXPECT_EQ(moved, 1u);
    EXPECT_EQ(thief.steal_from(q_, true, moved), nullptr);
    EXPECT_EQ(moved, 0u);
    EXPECT_TRUE(q_.empty());
}

// One owner that does all that an owner does, against several thieves: every goroutine comes out once.
TEST_F(runq, nothing_is_lost_or_taken_twice) {
    constexpr unsigned thieves = 3;
    const std::size_t total = scaled(2'000'000);
    auto rng = seeded_random("runq.nothing_is_lost_or_taken_twice");
    // Goroutines are reused once they were seen; each carries in `predict` whether it is out.
    constexpr std::size_t stock = 4 * capacity;
    const std::unique_ptr<G[]> gs(new G[stock]);
    const std::unique_ptr<std::atomic<bool>[]> queued(new std::atomic<bool>[stock] {});
    std::atomic<std::size_t> taken{0};
    std::atomic<bool> over{false};
    std::atomic<int> twice{0};
    const auto take = [&](G* g) {
        if (!queued[static_cast<std::size_t>(g - gs.get())].exchange(false)) ++twice;
        ++taken;
    };
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < thieves; ++t)
        threads.emplace_back([&, t] {
            run_queue mine;
            while (!over.load()) {
                unsigned moved = 0;
                G* g = mine.steal_from(q_, t != 0, moved);
                if (!g) {
                    std::this_thread::yield();
                    continue;
                }
                std::size_t got = 1;
                take(g);
                for (; (g = mine.pop()) != nullptr; ++got) take(g);
                if (got != moved) ++twice;
            }
        });
    std::size_t put = 0, at = 0;
    while (put < total) {
        const auto random = rng();
        for (std::uint64_t burst = random % 64; burst > 0 && put < total; --burst, at = (at + 1) % stock) {
            bool out = false;
            if (!queued[at].compare_exchange_strong(out, true)) continue;   // still queued
            G* g = &gs[at];
            if ((random >> 8) % 4 == 0 && q_.set_next(g)) {
                ++put;
                continue;
            }
            while (!q_.push(g)) {
                G* half[capacity / 2];
                if (!q_.take_half(half)) continue;
                for (G* h : half) take(h);
            }
            ++put;
        }
        for (std::uint64_t burst = (random >> 16) % 64; burst > 0; --burst)
            if (G* g = (random >> 24) % 2 ? q_.pop() : q_.take_next()) take(g);
    }
    while (G* g = q_.pop()) take(g);
    while (G* g = q_.take_next()) take(g);
    EXPECT_TRUE(q_.empty());
    EXPECT_EVENTUALLY(taken.load() == total);   // a thief may still count its last batch
    over = true;
    for (auto& t : threads) t.join();
    EXPECT_EQ(taken.load(), total);
    EXPECT_EQ(twice.load(), 0);
}

// The owner takes its next back just when a thief wants it.
TEST_F(runq, next_is_not_taken_twice) {
    std::atomic<bool> over{false};
    std::atomic<std::size_t> stolen{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&] {
            run_queue mine;
            while (!over.load()) {
                unsigned moved = 0;
                if (mine.steal_from(q_, true, moved)) ++stolen;
            }
        });
    std::size_t put = 0, taken = 0;
    auto rng = seeded_random("runq.next_is_not_taken_twice");
    while (put < scaled(1'000'000) || (stolen < 10 && put < 100'000'000)) {
        put += q_.set_next(g(0));
        for (auto wait = rng() % 300; wait > 0; --wait) std::atomic_signal_fence(std::memory_order_seq_cst);
        taken += q_.take_next() != nullptr;
    }
    over = true;
    for (auto& t : threads) t.join();
    taken += q_.take_next() != nullptr;
    EXPECT_EQ(taken + stolen, put);
    EXPECT_GT(stolen.load(), 0u);
}

// The owner moves goroutines between next and the ring, and takes one only after it has put another: at no moment is
// the queue empty, so empty() must never say so.
TEST_F(runq, empty_is_never_said_of_a_queue_with_work) {
    std::atomic<bool> over{false}, started{false};
    std::uint64_t wrong = 0, looks = 0;
    ASSERT_TRUE(q_.set_next(g(0)));
    std::thread observer([&] {
        started = true;
        for (; !over.load(std::memory_order_relaxed); ++looks) wrong += q_.empty();
    });
    ASSERT_EVENTUALLY(started.load());
    const std::size_t rounds = scaled(3'000'000);
    for (std::size_t i = 0; i < rounds; ++i) {
        ASSERT_TRUE(q_.push(g(1)));             // next and ring
        ASSERT_EQ(q_.take_next(), g(0));        // ring
        ASSERT_TRUE(q_.set_next(g(0)));         // both
        ASSERT_EQ(q_.pop(), g(1));              // next
    }
    over = true;
    observer.join();
    EXPECT_EQ(wrong, 0u) << "of " << looks;
}

// While it is alone nobody steals; from share() on everybody may.
TEST_F(runq, alone_is_not_stolen_from) {
    run_queue thief;
    unsigned moved = 0;
    q_.set_alone();
    fill(q_, 0, 4);
    ASSERT_TRUE(q_.set_next(g(4)));
    EXPECT_FALSE(q_.empty());
    EXPECT_EQ(thief.steal_from(q_, true, moved), nullptr);
    EXPECT_EQ(q_.take_next(), g(4));
    EXPECT_EQ(q_.take_next(), nullptr);
    EXPECT_EQ(q_.pop(), g(0));
    EXPECT_EQ(thief.steal_from(q_, true, moved), nullptr);
    q_.share();
    EXPECT_FALSE(q_.alone());
    EXPECT_NE(thief.steal_from(q_, true, moved), nullptr);
    EXPECT_EQ(moved, 2u);
    EXPECT_EQ(q_.pop(), g(3));
    EXPECT_EQ(q_.pop(), nullptr);
}

// The owner shares a queue that thieves have been after all the while: what it took before, without CAS, is its own.
TEST_F(runq, becomes_shared_while_thieves_look) {
    auto rng = seeded_random("runq.becomes_shared_while_thieves_look");
    std::atomic<run_queue*> victim{nullptr};
    std::atomic<bool> over{false};
    std::atomic<unsigned> looking{0};
    std::unique_ptr<std::atomic<int>[]> taken(new std::atomic<int>[capacity]);
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&] {
            run_queue mine;
            while (!over.load()) {
                ++looking;
                if (run_queue* v = victim.load()) {
                    unsigned moved = 0;
                    if (G* first = mine.steal_from(*v, true, moved)) ++taken[index(first)];
                    while (G* more = mine.pop()) ++taken[index(more)];
                }
                --looking;
            }
        });
    std::size_t stolen = 0;
    for (std::size_t round = 0; round < scaled(20'000) || (stolen == 0 && round < 1'000'000); ++round) {
        run_queue q;
        q.set_alone();
        const std::size_t n = 1 + rng() % 32, before = rng() % n;
        for (std::size_t i = 0; i < n; ++i) taken[i] = 0;
        ASSERT_TRUE(q.set_next(g(0)));
        for (std::size_t i = 1; i < n; ++i) ASSERT_TRUE(q.push(g(i)));
        victim = &q;
        std::size_t mine = 0;
        for (std::size_t i = 0; i < n; ++i) {
            if (i == before) q.share();
            G* got = i % 3 == 0 ? q.take_next() : nullptr;
            if (!got) got = q.pop();
            if (got) ++taken[index(got)], ++mine;
        }
        while (G* got = q.take_next()) ++taken[index(got)], ++mine;
        while (G* got = q.pop()) ++taken[index(got)], ++mine;
        victim = nullptr;
        while (looking.load() != 0) std::this_thread::yield();
        for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(taken[i].load(), 1) << i << " of " << n;
        stolen += n - mine;
    }
    over = true;
    for (auto& t : threads) t.join();
    EXPECT_GT(stolen, 0u);
}

}  // namespace
