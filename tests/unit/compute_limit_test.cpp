// The limit on goroutines that compute without a processor, by itself: who is kept back, who is let on, and who counts as computing.
// In a runtime: computing.* in unguarded_test.cpp, and the stress test of hogs.
#include "sched/compute_limit.hpp"
#include "testing.hpp"

#include "os/clock.hpp"
#include "os/thread.hpp"
#include "os/thread_activity.hpp"

#include <atomic>
#include <deque>
#include <thread>
#include <vector>

using handoff::detail::compute_limit;
using handoff::detail::G;
using handoff::detail::g_queue;
using handoff::detail::M;
using namespace handoff_test;
namespace os = handoff::os;

namespace {

constexpr auto slice = 10ms;
constexpr std::int64_t ms = 1'000'000;

// Kinds that share nothing by which they are counted; the last shares that with `hogs`, but is another.
constexpr std::uint64_t hogs = std::uint64_t{1} << 58, others = std::uint64_t{2} << 58, third = std::uint64_t{3} << 58,
                        like_hogs = hogs + 1;

class compute_limit_ : public testing::Test {
protected:
    G* g(std::uint64_t kind) {
        G& made = gs_.emplace_back();
        made.kind.store(kind, std::memory_order_relaxed);
        return &made;
    }
    M* m() { return &ms_.emplace_back(nullptr, static_cast<int>(ms_.size())); }
    M* begin(std::uint64_t kind) {
        M* computes = m();
        limit_.begin(computes, kind);
        return computes;
    }
    // Whether g is kept back; `also_` is who may start besides, and `procs` how many may compute.
    bool keeps_back(G* g, std::uint32_t procs = 1) { return limit_.keeps_back(g, procs, also_); }
    void earn_credit(std::uint64_t kind, int starts) {
        for (; starts > 0; --starts) {
            G* one = g(kind);
            if (!keeps_back(one)) continue;
            ASSERT_EQ(limit_.let_through(), one);   // after long
            ASSERT_FALSE(keeps_back(one));
        }
    }
    static std::vector<G*> all_of(g_queue q) {
        std::vector<G*> all;
        while (G* next = q.pop()) all.push_back(next);
        return all;
    }

    std::deque<G> gs_;
    std::deque<M> ms_;
    G* also_ = nullptr;
    compute_limit limit_{slice, 4};
};

// ---- Who is kept back ------------------------------------------------------------------------------------------------

TEST_F(compute_limit_, is_not_reached_at_first) {
    EXPECT_EQ(limit_.computing(), 0u);
    EXPECT_EQ(limit_.kept_back(), 0u);
    EXPECT_FALSE(limit_.is_reached(1));
    EXPECT_FALSE(keeps_back(g(hogs)));
    EXPECT_EQ(limit_.let_through(), nullptr);
}

TEST_F(compute_limit_, is_reached_when_as_many_compute_as_there_are_processors) {
    M* const first = begin(hogs);
    EXPECT_EQ(limit_.computing(), 1u);
    EXPECT_TRUE(limit_.is_reached(1));
    EXPECT_FALSE(limit_.is_reached(2));
    M* const second = begin(others);
    EXPECT_EQ(limit_.computing(), 2u);
    EXPECT_TRUE(limit_.is_reached(2));
    EXPECT_FALSE(limit_.is_reached(3));
    limit_.end(first, 2);
    EXPECT_EQ(limit_.computing(), 1u);
    limit_.end(second, 2);
    EXPECT_EQ(limit_.computing(), 0u);
    EXPECT_FALSE(limit_.is_reached(1));
}

TEST_F(compute_limit_, keeps_back_those_of_a_kind_that_computes) {
    M* const hog = begin(hogs);
    EXPECT_FALSE(keeps_back(g(others)));
    EXPECT_FALSE(keeps_back(g(like_hogs)));
    EXPECT_EQ(limit_.kept_back(), 0u);
    EXPECT_TRUE(keeps_back(g(hogs)));
    EXPECT_TRUE(keeps_back(g(hogs)));
    EXPECT_EQ(also_, nullptr);
    EXPECT_EQ(limit_.kept_back(), 2u);
    M* const other = begin(others);
    EXPECT_TRUE(keeps_back(g(others)));
    EXPECT_EQ(limit_.kept_back(), 3u);
    limit_.end(other, 1);
    EXPECT_FALSE(keeps_back(g(others)));   // none of them computes any more
    limit_.end(hog, 1);
    EXPECT_FALSE(keeps_back(g(hogs)));
}

TEST_F(compute_limit_, keeps_nobody_back_below_it) {
    begin(hogs);
    EXPECT_FALSE(keeps_back(g(hogs), 2));
    begin(others);
    EXPECT_TRUE(keeps_back(g(hogs), 2));
    EXPECT_FALSE(keeps_back(g(hogs), 3));
}

TEST_F(compute_limit_, makes_all_wait_for_longer_the_more_there_are) {
    const std::int64_t one = std::chrono::nanoseconds(slice).count();
    EXPECT_EQ(limit_.wait_over_limit(0, 2), 10 * one);
    EXPECT_EQ(limit_.wait_over_limit(1, 2), 10 * one);
    EXPECT_EQ(limit_.wait_over_limit(2, 2), 20 * one);
    EXPECT_EQ(limit_.wait_over_limit(3, 2), 20 * one);
    EXPECT_EQ(limit_.wait_over_limit(200, 2), 1'010 * one);
}

// ---- Who is let on ---------------------------------------------------------------------------------------------------

TEST_F(compute_limit_, lets_those_through_that_have_waited_longest) {
    begin(hogs);
    begin(others);
    G *const first = g(hogs), *const second = g(others);
    ASSERT_TRUE(keeps_back(first));
    ASSERT_TRUE(keeps_back(second));
    EXPECT_EQ(limit_.let_through(), first);
    EXPECT_EQ(limit_.kept_back(), 1u);
    EXPECT_EQ(limit_.let_through(), second);
    EXPECT_EQ(limit_.let_through(), nullptr);
    EXPECT_EQ(limit_.kept_back(), 0u);
    EXPECT_FALSE(keeps_back(first));
    EXPECT_FALSE(keeps_back(second));
}

// It is for one start: who comes by again in the same G is another.
TEST_F(compute_limit_, lets_one_through_once) {
    M* const hog = begin(hogs);
    G* const one = g(hogs);
    ASSERT_TRUE(keeps_back(one));
    ASSERT_EQ(limit_.let_through(), one);
    ASSERT_FALSE(keeps_back(one));
    limit_.found(hog);   // the credit that it has earned is gone
    EXPECT_TRUE(keeps_back(one));
}

TEST_F(compute_limit_, releases_all_when_fewer_compute) {
    M *const first = begin(hogs), *const second = begin(hogs);
    const std::vector<G*> kept{g(hogs), g(hogs), g(hogs)};
    for (G* each : kept) ASSERT_TRUE(keeps_back(each));
    EXPECT_TRUE(limit_.end(first, 1).empty());   // one computes still, which is enough
    EXPECT_EQ(limit_.kept_back(), 3u);
    EXPECT_EQ(all_of(limit_.end(second, 1)), kept);
    EXPECT_EQ(limit_.kept_back(), 0u);
    EXPECT_EQ(limit_.let_through(), nullptr);
}

TEST_F(compute_limit_, a_kind_earns_credit_with_those_that_start) {
    M* const hog = begin(hogs);
    G *const first = g(hogs), *const second = g(hogs);
    ASSERT_TRUE(keeps_back(first));
    ASSERT_EQ(limit_.let_through(), first);
    EXPECT_FALSE(keeps_back(first));
    EXPECT_FALSE(keeps_back(second));   // that one did not wait
    EXPECT_FALSE(keeps_back(g(hogs)));
    begin(others);
    EXPECT_TRUE(keeps_back(g(others)));   // its own kind
    limit_.end(hog, 1);
}

TEST_F(compute_limit_, a_kind_loses_more_credit_with_each_that_computes) {
    M* const hog = begin(hogs);
    earn_credit(hogs, 3);
    limit_.found(hog);
    EXPECT_TRUE(keeps_back(g(hogs)));   // more than three starts are worth
    ASSERT_NE(limit_.let_through(), nullptr);
    earn_credit(hogs, 5);
    limit_.found(hog);
    EXPECT_FALSE(keeps_back(g(hogs)));   // there was some left
    limit_.found(hog);
    EXPECT_TRUE(keeps_back(g(hogs)));
}

// So a kind of which many start is not believed for long.
TEST_F(compute_limit_, credit_has_an_end) {
    M *const hog = begin(hogs), *const other = begin(others);
    earn_credit(hogs, 1'000);   // a byte would wrap around
    earn_credit(others, 1'000);
    limit_.found(hog);
    EXPECT_FALSE(keeps_back(g(hogs)));
    for (int i = 0; i < 2; ++i) limit_.found(hog);
    EXPECT_TRUE(keeps_back(g(hogs)));
    EXPECT_FALSE(keeps_back(g(others)));
    for (int i = 0; i < 100; ++i) limit_.found(other);   // and does not go below none
    EXPECT_TRUE(keeps_back(g(others)));
}

// Those that were kept back before their kind had credit are let on as others of it start.
TEST_F(compute_limit_, lets_one_of_the_same_kind_on_with_each_that_starts) {
    for (const auto kind : {hogs, others}) begin(kind);
    G *const first = g(hogs), *const second = g(hogs), *const of_others = g(others), *const last = g(hogs);
    for (G* each : {first, second, of_others, last}) ASSERT_TRUE(keeps_back(each));
    ASSERT_EQ(limit_.let_through(), first);
    EXPECT_FALSE(keeps_back(first));
    EXPECT_EQ(also_, second);
    EXPECT_EQ(limit_.kept_back(), 2u);
    EXPECT_FALSE(keeps_back(g(hogs)));
    EXPECT_EQ(also_, nullptr);   // the first that waits is another's, and goes behind, so that all are come to
    EXPECT_EQ(limit_.kept_back(), 2u);
    EXPECT_FALSE(keeps_back(g(hogs)));
    EXPECT_EQ(also_, last);
    EXPECT_EQ(limit_.kept_back(), 1u);
    EXPECT_EQ(limit_.let_through(), of_others);
}

// Whatever comes in whichever order from many threads: each that is kept back comes out once.
TEST_F(compute_limit_, loses_nobody) {
    constexpr unsigned n = 3;
    const std::size_t rounds = scaled(3'000);
    std::atomic<std::size_t> started{0};
    const auto count_all = [&](g_queue q) { started += all_of(q).size(); };
    std::deque<G> gs[n];
    M* const ms_of[n] = {m(), m(), m()};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < n; ++t)
        threads.emplace_back([&, t] {
            const auto start = [&](G* one) {
                G* also = nullptr;
                if (limit_.keeps_back(one, 1, also)) return;
                ++started;
                if (also) ++started;
            };
            for (std::size_t i = 0; i < rounds; ++i) {
                const std::uint64_t kind = i % 4 == 0 ? others : hogs;
                if (t != 0 || i % 16 == 0) limit_.begin(ms_of[t], kind);
                G& fresh = gs[t].emplace_back();
                fresh.kind.store(kind, std::memory_order_relaxed);
                start(&fresh);
                if (G* one = i % 8 == t ? limit_.let_through() : nullptr) start(one);
                if (t != 0 || i % 16 == 0) {
                    limit_.found(ms_of[t]);
                    count_all(limit_.end(ms_of[t], 1));
                }
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(limit_.computing(), 0u);
    M* const last = begin(third);
    count_all(limit_.end(last, 1));
    EXPECT_EQ(limit_.kept_back(), 0u);
    EXPECT_EQ(started, n * rounds);
}

// ---- Who computes ----------------------------------------------------------------------------------------------------

// A thread that computes, or sleeps in a call, as it is told.
class busy_thread {
public:
    busy_thread() : thread_([this] { run(); }) {}
    ~busy_thread() { end(); }
    busy_thread(const busy_thread&) = delete;
    busy_thread& operator=(const busy_thread&) = delete;

    pid_t tid() {
        EXPECT_EVENTUALLY(tid_ != 0);
        return tid_;
    }
    void sleep() {
        sleeps_ = true;
        // Once it sleeps by both accounts: a thread that was preempted on its way to sleep is called asleep, and still runs.
        EXPECT_EVENTUALLY(asleep(tid()) && files_.of(tid()).what != os::activity::computing);
    }
    void compute() {
        sleeps_ = false;
        pipe_.write();
    }
    void end() {
        over_ = true;
        if (sleeps_) compute();
        if (thread_.joinable()) thread_.join();
    }

    // What the kernel says that it has wanted of a core; where it does not tell, what it has had.
    std::int64_t wanted() {
        const std::int64_t said = os::core_time_of(tid()).wanted;
        return said >= 0 ? said : os::thread_cpu_time(tid());
    }

private:
    void run() {
        tid_ = this_tid();
        while (!over_)
            if (sleeps_) pipe_.read();
    }

    os::activity_files files_;
    pipe_pair pipe_;
    std::atomic<pid_t> tid_{0};
    std::atomic<bool> sleeps_{false}, over_{false};
    std::thread thread_;
};

class who_computes : public compute_limit_ {
protected:
    M* begin_on(busy_thread& t) {
        M* computes = m();
        computes->tid.store(t.tid(), std::memory_order_relaxed);
        limit_.begin(computes, hogs);
        return computes;
    }
    std::vector<G*> judge(std::int64_t now, std::uint32_t procs = 1) { return all_of(limit_.judge(now, procs, files_)); }

    os::activity_files files_;
};

TEST_F(who_computes, is_nobody_who_sleeps) {
    busy_thread hog, sleeper;
    sleeper.sleep();
    M *const computes = begin_on(hog), *const sleeps = begin_on(sleeper);
    const std::int64_t before = hog.wanted();
    EXPECT_EVENTUALLY(hog.wanted() >= before + 10 * ms);
    EXPECT_EQ(limit_.computing(), 2u);
    EXPECT_TRUE(judge(sleeps->judged + 10 * ms).empty());
    EXPECT_EQ(limit_.computing(), 1u);
    EXPECT_TRUE(computes->computes);
    EXPECT_FALSE(sleeps->computes);
    EXPECT_TRUE(limit_.is_reached(1));
    limit_.end(sleeps, 1);   // it is none of those that are counted
    EXPECT_EQ(limit_.computing(), 1u);
    limit_.end(computes, 1);
    EXPECT_EQ(limit_.computing(), 0u);
}

TEST_F(who_computes, is_who_does_so_again) {
    busy_thread t;
    t.sleep();
    M* const one = begin_on(t);
    judge(one->judged + 10 * ms);
    EXPECT_EQ(limit_.computing(), 0u);
    EXPECT_FALSE(keeps_back(g(hogs)));   // nor does it keep its kind back
    const std::int64_t before = t.wanted();
    t.compute();
    EXPECT_EVENTUALLY(t.wanted() >= before + 10 * ms);
    judge(one->judged + 10 * ms);
    EXPECT_EQ(limit_.computing(), 1u);
    EXPECT_TRUE(keeps_back(g(hogs)));
}

TEST_F(who_computes, is_nobody_whose_thread_is_gone) {
    busy_thread t;
    M* const one = begin_on(t);
    const pid_t tid = t.tid();
    t.end();
    EXPECT_EVENTUALLY(thread_letter(tid) == '\0');
    judge(one->judged + 10 * ms);
    EXPECT_EQ(limit_.computing(), 0u);
}

// A look that meets it awake may have met the one moment: what it has wanted over the time tells.
TEST_F(who_computes, is_nobody_who_seldom_wants_a_core) {
    busy_thread t;
    t.sleep();
    const std::int64_t turns = os::core_time_of(t.tid()).turns;
    M* const one = begin_on(t);
    t.compute();
    if (os::core_time_of(t.tid()).wanted >= 0) {
        EXPECT_EVENTUALLY(os::core_time_of(t.tid()).turns != turns);
    }
    EXPECT_EVENTUALLY(!asleep(t.tid()));
    judge(one->judged + 3'600'000 * ms);   // an hour, in which it has had a moment
    EXPECT_EQ(limit_.computing(), 0u);
}

TEST_F(who_computes, is_judged_each_10_ms) {
    busy_thread t;
    t.sleep();
    M* const one = begin_on(t);
    const std::int64_t began = one->judged;
    judge(began + 10 * ms - 1);   // too soon for that one
    EXPECT_EQ(limit_.computing(), 1u);
    judge(began + 11 * ms);   // too soon after the last look
    EXPECT_EQ(limit_.computing(), 1u);
    judge(began + 20 * ms - 1);
    EXPECT_EQ(limit_.computing(), 0u);
}

TEST_F(who_computes, lets_all_on_when_it_is_found_to_be_fewer) {
    busy_thread t;
    t.sleep();
    M *const one = begin_on(t), *const another = begin_on(t);
    const std::vector<G*> kept{g(hogs), g(hogs)};
    for (G* each : kept) ASSERT_TRUE(keeps_back(each, 2));
    EXPECT_EQ(judge(one->judged + 20 * ms, 2), kept);
    EXPECT_EQ(limit_.kept_back(), 0u);
    for (M* each : {one, another}) EXPECT_TRUE(limit_.end(each, 2).empty());
}

}  // namespace
