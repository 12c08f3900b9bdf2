#include "testing.hpp"
#include "timer/timer_heap.hpp"

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <thread>

using handoff::detail::timer;
using handoff::detail::timer_heap;
using namespace handoff_test;

namespace {

constexpr std::int64_t never = handoff::os::never;

thread_local unsigned woken;   // none: the timers here are not parts of waits

TEST(timer_heap, starts_empty) {
    timer_heap h;
    EXPECT_EQ(h.first(), never);
    EXPECT_EQ(h.size(), 0u);
    EXPECT_EQ(h.take_due(never, 10, nullptr, woken), nullptr);
    timer t;
    EXPECT_FALSE(h.remove(&t));
}

TEST(timer_heap, due_ones_come_in_order_and_at_most_so_many) {
    timer_heap h;
    std::deque<timer> timers(100);
    for (std::size_t i = 0; i < timers.size(); ++i) {
        timers[i].when = static_cast<std::int64_t>(i * 37 % 100);   // each of 0..99 once
        h.add(&timers[i]);
    }
    EXPECT_EQ(h.first(), 0);
    EXPECT_EQ(h.size(), 100u);
    EXPECT_EQ(h.take_due(-1, 10, nullptr, woken), nullptr);
    std::int64_t expected = 0;
    for (timer* t = h.take_due(49, 30, nullptr, woken); t; t = t->next_due) {
        EXPECT_EQ(t->when, expected++);
        EXPECT_EQ(t->heap.load(), nullptr);
    }
    EXPECT_EQ(expected, 30);
    EXPECT_EQ(h.first(), 30);
    for (timer* t = h.take_due(49, 30, nullptr, woken); t; t = t->next_due) EXPECT_EQ(t->when, expected++);
    EXPECT_EQ(expected, 50);   // the one that is due at 49 exactly is due
    EXPECT_EQ(h.first(), 50);
    EXPECT_EQ(h.size(), 50u);
}

// More than are settled at once.
TEST(timer_heap, many_due_ones_come_in_order_at_once) {
    timer_heap h;
    constexpr std::size_t n = 1000;
    std::deque<timer> timers(n);
    for (std::size_t i = 0; i < n; ++i) {
        timers[i].when = static_cast<std::int64_t>(i * 377 % n);   // each of 0..n-1 once
        h.add(&timers[i]);
    }
    std::int64_t expected = 0;
    for (timer* t = h.take_due(699, n, nullptr, woken); t; t = t->next_due) EXPECT_EQ(t->when, expected++);
    EXPECT_EQ(expected, 700);
    for (timer* t = h.take_due(n, 129, nullptr, woken); t; t = t->next_due) EXPECT_EQ(t->when, expected++);
    EXPECT_EQ(expected, 829);
    EXPECT_EQ(h.size(), n - 829);
}

TEST(timer_heap, removes_from_its_own_heap_only) {
    timer_heap a, b;
    timer t;
    t.when = 5;
    a.add(&t);
    EXPECT_FALSE(b.remove(&t));
    EXPECT_EQ(a.size(), 1u);
    EXPECT_TRUE(a.remove(&t));
    EXPECT_FALSE(a.remove(&t));
    EXPECT_EQ(a.first(), never);
    a.add(&t);
    a.move_all(b);
    EXPECT_EQ(a.first(), never);
    EXPECT_EQ(a.size(), 0u);
    EXPECT_EQ(b.first(), 5);
    EXPECT_FALSE(a.remove(&t));
    EXPECT_TRUE(b.remove(&t));
}

// Random operations on two heaps against two sorted maps.
TEST(timer_heap, behaves_as_a_sorted_map) {
    auto rng = seeded_random("timer_heap.behaves_as_a_sorted_map");
    const auto below = [&](std::uint64_t n) { return rng() % n; };
    struct side {
        timer_heap heap;
        std::multimap<std::int64_t, timer*> model;
    } sides[2];
    std::deque<timer> timers(300);
    std::vector<timer*> out;
    for (timer& t : timers) out.push_back(&t);
    const auto forget = [](side& s, timer* t) {
        const auto [from, to] = s.model.equal_range(t->when);
        for (auto it = from; it != to; ++it)
            if (it->second == t) return s.model.erase(it), true;
        return false;
    };
    const std::size_t steps = scaled(200'000);
    for (std::size_t step = 0; step < steps; ++step) {
        side& s = sides[below(2)];
        side& other = sides[&s == &sides[0]];
        switch (const auto what = below(100); what < 45 ? 0 : what < 70 ? 1 : what < 99 ? 2 : 3) {
            case 0: {   // add
                if (out.empty()) break;
                std::swap(out[below(out.size())], out.back());
                timer* t = out.back();
                out.pop_back();
                // Few values, so that many are equal.
                t->when = static_cast<std::int64_t>(below(50)) - 5;
                if (below(50) == 0) t->when = never;
                s.heap.add(t);
                s.model.emplace(t->when, t);
                break;
            }
            case 1: {   // remove any timer, wherever it is
                timer* t = &timers[below(timers.size())];
                const bool here = forget(s, t);
                ASSERT_EQ(s.heap.remove(t), here);
                if (here) out.push_back(t);
                break;
            }
            case 2: {   // take
                const auto now = static_cast<std::int64_t>(below(50)) - 5;
                const auto most = static_cast<unsigned>(below(8));
                unsigned n = 0;
                for (timer* t = s.heap.take_due(now, most, nullptr, woken); t; t = t->next_due, ++n) {
                    ASSERT_EQ(t->when, s.model.begin()->first);
                    ASSERT_LE(t->when, now);
                    ASSERT_TRUE(forget(s, t));
                    out.push_back(t);
                }
                ASSERT_TRUE(n == most || s.model.empty() || s.model.begin()->first > now);
                break;
            }
            case 3: {
                s.heap.move_all(other.heap);
                other.model.merge(s.model);
                break;
            }
        }
        for (const side& each : sides) {
            ASSERT_EQ(each.heap.size(), each.model.size());
            ASSERT_EQ(each.heap.first(), each.model.empty() ? never : each.model.begin()->first);
        }
    }
}

// Each timer is either removed by its owner or taken as due, never both and never neither.
TEST(timer_heap, removal_races_with_taking) {
    timer_heap h;
    const std::size_t rounds = scaled(50'000);
    std::atomic<bool> over{false};
    std::atomic<std::size_t> taken{0};
    std::thread taker([&] {
        while (!over.load())
            for (timer* t = h.take_due(1, 16, nullptr, woken); t;) {
                timer* next = t->next_due;   // the owner may reuse it at once
                ++taken;
                static_cast<std::atomic<bool>*>(t->arg)->store(true);
                t = next;
            }
    });
    std::size_t removed = 0;
    timer t[4];
    std::atomic<bool> fired[4]{};
    for (std::size_t i = 0; i < rounds; ++i) {
        for (unsigned k = 0; k < 4; ++k) {
            t[k].when = (i + k) % 3 == 0 ? 2 : 1;   // some are never due
            t[k].arg = &fired[k];
            fired[k] = false;
            h.add(&t[k]);
        }
        for (unsigned k = 0; k < 4; ++k) {
            if (h.remove(&t[k])) {
                ++removed;
                continue;
            }
            while (!fired[k].load()) std::this_thread::yield();
        }
    }
    over = true;
    taker.join();
    EXPECT_EQ(removed + taken.load(), 4 * rounds);
    EXPECT_EQ(h.size(), 0u);
}

// A timer that is part of a wait is settled under the lock: once it is out of the heap its owner may drop it.
TEST(timer_heap, waits_are_settled_when_remove_returns) {
    timer_heap heaps[2];
    const std::size_t rounds = scaled(50'000);
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    others.emplace_back([&] {
        unsigned none;
        while (!over.load())
            for (auto& h : heaps) h.take_due(1, 16, nullptr, none);
    });
    others.emplace_back([&] {
        while (!over.load()) {
            heaps[0].move_all(heaps[1]);
            heaps[1].move_all(heaps[0]);
        }
    });
    std::size_t removed = 0, due = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        struct wait {
            timer t;
            bool fired = false;
        };
        auto w = std::make_unique<wait>();
        w->t.when = i % 3 == 0 ? 2 : 1;   // some are never due
        w->t.arg = w.get();
        w->t.due = [](timer* t) noexcept -> handoff::detail::G* {
            static_cast<wait*>(t->arg)->fired = true;   // not atomic: remove_anywhere orders it
            return nullptr;
        };
        heaps[i % 2].add(&w->t);
        const bool was_there = timer_heap::remove_anywhere(&w->t);
        ASSERT_NE(was_there, w->fired);
        ++(was_there ? removed : due);
    }
    over = true;
    for (auto& t : others) t.join();
    EXPECT_EQ(removed + due, rounds);
    EXPECT_EQ(heaps[0].size() + heaps[1].size(), 0u);
}

}  // namespace
