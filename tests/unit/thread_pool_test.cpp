// The threads of a runtime by themselves, with a body of the tests' own in place of the scheduler's: what a thread is started with,
// how many there may be, who goes, and who is joined when. In a runtime: idle_test.cpp (thread_cap.*, thread_shortage.*) and
// thread_life_test.cpp.
#include "sched/thread_pool.hpp"
#include "testing.hpp"

#include "os/thread.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <vector>

using handoff::detail::counters;
using handoff::detail::held_p;
using handoff::detail::M;
using handoff::detail::m_role;
using handoff::detail::P;
using handoff::detail::thread_pool;
using namespace handoff_test;
namespace os = handoff::os;

namespace {

constexpr unsigned no_p = ~0u;

// A gate that lets through as many threads as it was told to.
class gate {
public:
    void pass() {
        std::unique_lock hold(lock_);
        changed_.wait(hold, [&] { return open_ || places_ != 0; });
        if (!open_) --places_;
    }
    void let_through(unsigned n) {
        const std::lock_guard hold(lock_);
        places_ += n;
        changed_.notify_all();
    }
    void open() {
        const std::lock_guard hold(lock_);
        open_ = true;
        changed_.notify_all();
    }

private:
    std::mutex lock_;
    std::condition_variable changed_;
    unsigned places_ = 0;
    bool open_ = false;
};

// What a thread found when it started.
struct start_of_thread {
    M* m;
    unsigned p;
    m_role role;
    bool spinning;
};

// A pool whose threads wait at two gates: before they end, as a thread with work, and after, as one whose destructors take long.
struct pool_and_threads {
    explicit pool_and_threads(unsigned most) : pool(most, count) { present = this; }
    ~pool_and_threads() {
        to_end.open();
        to_exit.open();
        if (!eventually([&] { return pool.all_ended(); })) std::abort();   // what they use goes
        pool.join_all();
        present = nullptr;
    }
    pool_and_threads(const pool_and_threads&) = delete;
    pool_and_threads& operator=(const pool_and_threads&) = delete;

    // start_with starts a thread; false if it was refused, and then the caller has p still.
    bool start_with(P* p, m_role role = m_role::worker, bool spinning = false) {
        held_p held;
        if (p) held = held_p::out_of_list(*p);
        const bool done = pool.start(nullptr, body, held, spinning, role);
        EXPECT_EQ(bool(held), p && !done);
        if (held) {
            EXPECT_EQ(&held.into_list(), p);
        }
        return done;
    }
    bool start() { return start_with(nullptr); }

    bool wait_for_starts(std::size_t n) {
        return eventually([&] { return starts().size() == n; });
    }
    std::vector<start_of_thread> starts() {
        const std::lock_guard hold(lock);
        return started;
    }
    std::size_t made_ms() const { return pool.visit(0, ~std::size_t{0}, [](const M&) {}); }

    static void body(void* arg) {
        M* m = static_cast<M*>(arg);
        m->thread = ::pthread_self();
        m->tid.store(this_tid(), std::memory_order_relaxed);
        pool_and_threads& all = *present;
        held_p p = std::move(m->orders.p);
        {
            const std::lock_guard hold(all.lock);
            all.started.push_back({m, p ? p.into_list().id : no_p, m->orders.role, m->spinning});
        }
        all.to_end.pass();
        m->ends_with_its_goroutine = true;   // as it may have been, for who has m next
        all.pool.ends(m);
        all.to_exit.pass();
        ++all.exited;
    }

    static inline pool_and_threads* present = nullptr;   // one at a time
    gate to_end, to_exit;
    std::atomic<unsigned> exited{0};
    std::mutex lock;
    std::vector<start_of_thread> started;   // under the lock
    counters count;
    thread_pool pool;
};

// ---- Beginnings ------------------------------------------------------------------------------------------------------

TEST(thread_pool, has_no_threads_at_first) {
    pool_and_threads all(4);
    EXPECT_EQ(all.pool.threads(), 0u);
    EXPECT_EQ(all.pool.most_threads(), 0u);
    EXPECT_TRUE(all.pool.all_ended());
    EXPECT_FALSE(all.pool.some_exit());
    EXPECT_TRUE(all.pool.join_gone());
    EXPECT_EQ(all.made_ms(), 0u);
}

TEST(thread_pool, gives_a_thread_its_orders) {
    P p(7);   // before the threads that have it
    pool_and_threads all(4);
    ASSERT_TRUE(all.start_with(&p, m_role::worker, true));
    ASSERT_TRUE(all.wait_for_starts(1));
    ASSERT_TRUE(all.start_with(nullptr, m_role::monitor, false));
    ASSERT_TRUE(all.wait_for_starts(2));
    const auto starts = all.starts();
    EXPECT_EQ(starts[0].p, 7u);
    EXPECT_EQ(starts[0].role, m_role::worker);
    EXPECT_TRUE(starts[0].spinning);
    EXPECT_EQ(starts[1].p, no_p);
    EXPECT_EQ(starts[1].role, m_role::monitor);
    EXPECT_FALSE(starts[1].spinning);
    EXPECT_NE(starts[0].m, starts[1].m);
    EXPECT_NE(starts[0].m->id, starts[1].m->id);
    EXPECT_EQ(all.pool.threads(), 2u);
    EXPECT_EQ(all.count.threads_created.get(), 2u);
    EXPECT_FALSE(all.pool.all_ended());
}

TEST(thread_pool, knows_what_its_threads_are_to_begin_with) {
    unsigned long here = 0, there = 0;
    std::thread([&] {
        os::set_timer_slack(123'456);
        pool_and_threads all(1);
        there = all.pool.inherited.timer_slack_ns;
        here = os::thread_defaults::of_this_thread().timer_slack_ns;
    }).join();
    EXPECT_EQ(there, 123'456u);
    EXPECT_EQ(here, there);
}

TEST(thread_pool, keeps_to_its_most_threads) {
    P p(7);   // before the threads that have it
    pool_and_threads all(2);
    ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.start());
    EXPECT_FALSE(all.start_with(&p));
    EXPECT_FALSE(all.start());
    EXPECT_EQ(all.count.thread_cap_hits.get(), 2u);
    EXPECT_EQ(all.count.thread_create_failures.get(), 0u);
    EXPECT_EQ(all.count.threads_created.get(), 2u);
    EXPECT_EQ(all.pool.threads(), 2u);
    EXPECT_EQ(all.made_ms(), 2u);
    all.to_end.let_through(1);
    EXPECT_EVENTUALLY(all.pool.threads() == 1);   // one that exits still is none of them
    EXPECT_TRUE(all.start_with(&p));
    EXPECT_EQ(all.pool.threads(), 2u);
    EXPECT_FALSE(all.start());
}

TEST(thread_pool, remembers_the_most_threads_that_it_had) {
    pool_and_threads all(8);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(all.start());
    EXPECT_EQ(all.pool.most_threads(), 3u);
    all.to_end.let_through(2);
    EXPECT_EVENTUALLY(all.pool.threads() == 1);
    EXPECT_EQ(all.pool.most_threads(), 3u);
    ASSERT_TRUE(all.start());
    EXPECT_EQ(all.pool.most_threads(), 3u);
}

// All at once, from many threads.
TEST(thread_pool, keeps_to_its_most_threads_whoever_starts_them) {
    constexpr unsigned most = 3;
    pool_and_threads all(most);
    all.to_end.open();
    all.to_exit.open();
    std::atomic<unsigned> started{0}, refused{0};
    std::vector<std::thread> starters;
    for (int t = 0; t < 4; ++t)
        starters.emplace_back([&] {
            for (int i = 0; i < 50; ++i) {
                held_p none;
                if (all.pool.start(nullptr, pool_and_threads::body, none, false, m_role::worker)) ++started;
                else ++refused;
            }
        });
    for (auto& t : starters) t.join();
    EXPECT_EVENTUALLY(all.exited == started);
    EXPECT_GE(started, most);
    EXPECT_EQ(all.starts().size(), started);
    EXPECT_EQ(all.count.threads_created.get(), started);
    EXPECT_EQ(all.count.thread_cap_hits.get(), refused);
    EXPECT_LE(all.pool.most_threads(), most);
    EXPECT_EQ(all.pool.threads(), 0u);
    EXPECT_EVENTUALLY(all.pool.join_gone());
}

// The system refuses: p is the caller's again, which start_with looks at, and nothing is left behind.
bool goes_on_when_threads_fail() {
    P p(7);   // before the threads that have it
    pool_and_threads all(4);
    if (!forbid_threads()) return false;
    for (unsigned failures = 1; failures < 4; ++failures) {
        if (all.start_with(&p) || testing::Test::HasFailure()) return false;
        if (all.count.thread_create_failures.get() != failures) return false;
        if (all.count.thread_create_errno.load() != EAGAIN) return false;
        if (all.pool.threads() != 0 || !all.pool.all_ended() || all.pool.some_exit()) return false;
    }
    return all.made_ms() == 1 && all.count.threads_created.get() == 0 && all.count.thread_cap_hits.get() == 0;
}

TEST(thread_pool, leaves_the_processor_with_the_caller_when_threads_fail) { EXPECT_IN_CHILD(goes_on_when_threads_fail(), ""); }

// ---- Ends ------------------------------------------------------------------------------------------------------------

TEST(thread_pool, uses_the_m_of_a_thread_that_is_gone_again) {
    P p(7);   // before the threads that have it
    pool_and_threads all(4);
    ASSERT_TRUE(all.start_with(&p, m_role::monitor, true));
    ASSERT_TRUE(all.wait_for_starts(1));
    M* const m = all.starts()[0].m;
    EXPECT_NE(m->tid, 0);
    all.to_end.let_through(1);
    all.to_exit.let_through(1);
    EXPECT_EVENTUALLY(all.pool.all_ended() && all.pool.join_gone());
    EXPECT_EQ(m->tid, 0);   // no thread of it can be asked about
    EXPECT_EQ(all.pool.threads(), 0u);
    ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.wait_for_starts(2));
    const start_of_thread again = all.starts()[1];
    EXPECT_EQ(again.m, m);
    EXPECT_EQ(again.p, no_p);   // nothing is left of the orders before
    EXPECT_EQ(again.role, m_role::worker);
    EXPECT_FALSE(again.spinning);
    EXPECT_FALSE(m->ends_with_its_goroutine);
    EXPECT_EQ(all.made_ms(), 1u);
}

// Its destructors may look at the library, which goes by its M.
TEST(thread_pool, does_not_use_the_m_of_a_thread_that_exits_still) {
    pool_and_threads all(4);
    ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.wait_for_starts(1));
    all.to_end.let_through(1);
    EXPECT_EVENTUALLY(all.pool.some_exit());
    EXPECT_FALSE(all.pool.join_gone());   // and it waits for none
    EXPECT_TRUE(all.pool.all_ended());
    EXPECT_EQ(all.exited, 0u);
    ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.wait_for_starts(2));
    EXPECT_NE(all.starts()[1].m, all.starts()[0].m);
    all.to_exit.let_through(1);
    EXPECT_EVENTUALLY(all.pool.join_gone());
    EXPECT_FALSE(all.pool.some_exit());
}

// One that takes its time does not keep the others from being joined.
TEST(thread_pool, joins_those_that_are_gone_beside_one_that_exits_still) {
    pool_and_threads all(4);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.wait_for_starts(3));
    all.to_end.open();
    EXPECT_EVENTUALLY(all.pool.all_ended());
    all.to_exit.let_through(2);
    const auto not_joined = [&] {
        unsigned n = 0;
        all.pool.for_each([&](const M& m) { n += m.tid != 0; });
        return n;
    };
    EXPECT_EVENTUALLY(!all.pool.join_gone() && not_joined() == 1);
    EXPECT_TRUE(all.pool.some_exit());
}

TEST(thread_pool, waits_for_those_that_exit_if_told) {
    pool_and_threads all(4);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.wait_for_starts(3));
    all.to_end.open();
    EXPECT_EVENTUALLY(all.pool.all_ended());
    // They go on once we wait for them; if we don't, the count below says so.
    const pid_t me = this_tid();
    std::atomic<bool> waits{false};
    std::thread opens([&] {
        EXPECT_EVENTUALLY(waits && asleep(me));
        all.to_exit.open();
    });
    waits = true;
    all.pool.join_all();
    EXPECT_EQ(all.exited, 3u);
    EXPECT_FALSE(all.pool.some_exit());
    opens.join();
}

// Those that are on their way out count no more, so that not all go at once.
TEST(thread_pool, lets_as_many_go_as_are_too_many) {
    pool_and_threads all(8);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(all.start());
    ASSERT_TRUE(all.wait_for_starts(4));
    const auto starts = all.starts();
    EXPECT_FALSE(all.pool.has_more_than(4));
    EXPECT_FALSE(all.pool.retires(starts[0].m, 4));
    EXPECT_TRUE(all.pool.has_more_than(2));
    EXPECT_TRUE(all.pool.retires(starts[0].m, 2));
    EXPECT_TRUE(all.pool.retires(starts[1].m, 2));
    EXPECT_FALSE(all.pool.has_more_than(2));
    EXPECT_FALSE(all.pool.retires(starts[2].m, 2));
    EXPECT_EQ(all.pool.threads(), 4u);   // they are alive
    all.to_end.let_through(4);
    EXPECT_EVENTUALLY(all.pool.all_ended());
    EXPECT_FALSE(all.pool.has_more_than(0));   // nothing is left of those that were on their way
    ASSERT_TRUE(all.start());
    EXPECT_TRUE(all.pool.has_more_than(0));
}

// ---- Ms --------------------------------------------------------------------------------------------------------------

TEST(thread_pool, has_an_m_for_a_thread_that_it_did_not_start) {
    pool_and_threads all(1);
    const M* m = all.pool.add_m(nullptr);
    EXPECT_EQ(m->s, nullptr);
    EXPECT_EQ(all.made_ms(), 1u);
    EXPECT_EQ(all.pool.threads(), 0u);
    EXPECT_TRUE(all.start());   // it took no place
    EXPECT_NE(all.pool.add_m(nullptr), m);
}

TEST(thread_pool, shows_all_ms_some_at_a_time) {
    pool_and_threads all(1);
    std::vector<const M*> added, seen;
    for (int i = 0; i < 7; ++i) added.push_back(all.pool.add_m(nullptr));
    const auto look = [&](const M& m) { seen.push_back(&m); };
    EXPECT_EQ(all.pool.visit(0, 3, look), 3u);
    EXPECT_EQ(all.pool.visit(3, 3, look), 6u);
    EXPECT_EQ(all.pool.visit(6, 3, look), 7u);
    EXPECT_EQ(all.pool.visit(7, 3, look), 7u);   // no more
    EXPECT_EQ(all.pool.visit(0, 0, look), 0u);
    EXPECT_EQ(seen, added);
    seen.clear();
    all.pool.for_each(look);
    EXPECT_EQ(seen, added);
    for (int i = 0; i < 7; ++i) EXPECT_EQ(added[static_cast<std::size_t>(i)]->id, i);
}

}  // namespace
