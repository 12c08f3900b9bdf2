// Cases of select for what is not a channel, and join_any.
#include "channels.hpp"
#include "wait/parking_lot.hpp"

#include <handoff/runtime.hpp>
#include <handoff/select_cases.hpp>
#include <handoff/simulation.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using handoff::channel;
using handoff::join_any;
using handoff::join_handle;
using handoff::latch;
using handoff::on_acquire;
using handoff::on_done;
using handoff::on_join;
using handoff::on_recv;
using handoff::on_set;
using handoff::on_timeout;
using handoff::otherwise;
using handoff::runtime;
using handoff::select;
using handoff::simulation;
using handoff::task_group;
using handoff::usage_error;
using handoff::wait_group;
using namespace std::chrono_literals;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class select_cases : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, select_cases, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

TEST_P(select_cases, wait_for_the_end_of_a_goroutine) {
    everywhere([&] {
        const channel<int> go_on(0), never(0);
        auto handle = rt_.go([go_on] { return *go_on.recv(); });
        EXPECT_EQ(select(on_join(handle), otherwise()), 1u);
        EXPECT_EQ(select(on_join(handle), on_timeout(1ms)), 1u);
        EXPECT_EQ(select(on_join(handle), on_recv(never), on_timeout(1ms)), 2u);
        auto waker = rt_.go([go_on] { go_on.send(7); });
        bool called = false;
        EXPECT_EQ(select(on_recv(never), on_join(handle, [&] { called = true; })), 1u);
        EXPECT_TRUE(called);
        EXPECT_TRUE(handle.done());
        EXPECT_EQ(select(on_join(handle), otherwise()), 0u) << "it stays so";
        EXPECT_EQ(handle.join(), 7);
        waker.join();
    });
}

TEST_P(select_cases, wait_for_counters) {
    everywhere([&] {
        wait_group w;
        latch l(1);
        EXPECT_EQ(select(on_done(w), otherwise()), 0u);
        w.add();
        EXPECT_EQ(select(on_done(w), on_done(l), otherwise()), 2u);
        EXPECT_EQ(select(on_done(w), on_done(l), on_timeout(1ms)), 2u);
        auto counts = rt_.go([&] { l.count_down(); });
        EXPECT_EQ(select(on_done(w), on_done(l)), 1u);
        counts.join();
        auto ends = rt_.go([&] { w.done(); });
        EXPECT_EQ(select(on_done(w), on_timeout(1h)), 0u);
        ends.join();
    });
}

TEST_P(select_cases, wait_for_a_group) {
    everywhere([&] {
        task_group g(rt_);
        const channel<int> ch(0), never(0);
        g.go([ch] { ch.recv(); });
        g.go([ch] { ch.recv(); });
        EXPECT_EQ(select(on_done(g), on_timeout(1ms)), 1u);
        ch.send(1);
        EXPECT_EQ(select(on_done(g), otherwise()), 1u);
        ch.send(1);
        EXPECT_EQ(select(on_recv(never), on_done(g)), 1u);
        g.wait();
    });
}

TEST_P(select_cases, acquire_permits) {
    everywhere([&] {
        handoff::counting_semaphore<> s(1);
        const channel<int> never(0);
        EXPECT_EQ(select(on_acquire(s), otherwise()), 0u);
        EXPECT_EQ(select(on_acquire(s), otherwise()), 1u);
        EXPECT_EQ(select(on_recv(never), on_acquire(s), on_timeout(1ms)), 2u);
        auto releases = rt_.go([&] { s.release(); });
        bool called = false;
        EXPECT_EQ(select(on_recv(never), on_acquire(s, [&] { called = true; })), 1u);
        EXPECT_TRUE(called);
        EXPECT_FALSE(s.try_acquire()) << "it has the only one";
        releases.join();
    });
}

TEST_P(select_cases, are_let_through_by_events) {
    everywhere([&] {
        handoff::event manual;
        handoff::auto_reset_event automatic;
        EXPECT_EQ(select(on_set(manual), on_set(automatic), otherwise()), 2u);
        EXPECT_EQ(select(on_set(manual), on_set(automatic), on_timeout(1ms)), 2u);
        auto sets = rt_.go([&] { automatic.set(); });
        EXPECT_EQ(select(on_set(manual), on_set(automatic)), 1u);
        sets.join();
        EXPECT_EQ(select(on_set(manual), on_set(automatic), otherwise()), 2u) << "it was reset";
        auto sets_too = rt_.go([&] { manual.set(); });
        EXPECT_EQ(select(on_set(manual), on_set(automatic)), 0u);
        sets_too.join();
        EXPECT_EQ(select(on_set(manual), otherwise()), 0u) << "it stays set";
    });
}

// Selects and plain waiters take permits from one another: none is lost, none is given twice.
TEST_P(select_cases, lose_no_permit) {
    constexpr int takers = 4;
    const int each = static_cast<int>(scaled(3'000, 300));
    handoff::counting_semaphore<> a(0), b(0);
    std::atomic<int> got_a{0}, got_b{0}, late{0};
    std::vector<join_handle<void>> all;
    for (int t = 0; t < takers; ++t)
        all.push_back(rt_.go([&, t] {
            for (int i = 0, tries = 0; i < each;) {
                const auto limit = std::chrono::microseconds(i % 7 * 20);
                switch (t == 0 ? 3 : select(on_acquire(a), on_acquire(b), on_timeout(limit))) {
                    case 0: ++got_a, ++i; break;
                    case 1: ++got_b, ++i; break;
                    case 2: ++late; break;
                    default:   // the plain one asks for either in turn
                        if (++tries % 2 ? a.try_acquire_for(limit) : b.try_acquire_for(limit)) ++(tries % 2 ? got_a : got_b), ++i;
                }
            }
        }));
    auto give = [&](handoff::counting_semaphore<>& s, int n) {
        return rt_.go([&s, n] {
            for (int i = 0; i < n; ++i) {
                s.release();
                if (i % 5 == 0) this_goroutine::yield();
            }
        });
    };
    auto to_a = give(a, 3 * each), to_b = give(b, each);
    join_all(all);
    to_a.join();
    to_b.join();
    EXPECT_EQ(got_a + got_b, takers * each);
    EXPECT_FALSE(a.try_acquire() || b.try_acquire());
}

TEST_P(select_cases, of_bad_handles_throw) {
    everywhere([&] {
        join_handle<int> none;
        EXPECT_THROW((void)on_join(none), std::system_error);
        std::vector<join_handle<int>> all(3);
        EXPECT_THROW(join_any(all), std::system_error);
        const channel<int> go_on(0);
        auto handle = rt_.go([go_on] { go_on.recv(); });
        EXPECT_THROW(select(on_join(handle), on_join(handle)), usage_error) << "twice the same";
        go_on.close();
        handle.join();
    });
    rt_.run([&] {
        const channel<int> go_on(0);
        join_handle<void> handle;
        const channel<int> assigned(0);
        handle = handoff::go([&, assigned] {
            assigned.recv();
            EXPECT_THROW((void)on_join(handle), std::system_error) << "itself";
            assigned.send(1);
        });
        assigned.send(1);
        assigned.recv();
        handle.join();
    });
}

TEST_P(select_cases, are_chosen_with_the_same_chance) {
    everywhere([&] {
        wait_group done;
        auto handle = rt_.go([] {});
        while (!handle.done()) this_goroutine::yield();
        channel<int> ch(1);
        std::array<int, 3> times{};
        for (int i = 0; i < 600; ++i) {
            ch.try_send(1);
            ++times[select(on_join(handle), on_done(done), on_recv(ch))];
        }
        for (const int n : times) EXPECT_GT(n, 100);   // 200 on average; six times the standard deviation
    });
}

// A select that fires through one case leaves the queues of the others: they can be waited for again, and their objects may
// go.
bool is_waited_for(const void* object) {
    using namespace handoff::detail;
    bucket& b = bucket_of(object);
    parked_ring ring;
    spin_guard hold(b.lock);
    return !parked_waiters(b, object, ring).empty();
}

TEST_P(select_cases, leave_no_waiter_behind) {
    for (std::size_t i = 0; i < scaled(300, 50); ++i)
        everywhere([&] {
            const channel<int> ch(0), go_on(0);
            auto handle = rt_.go([go_on] { go_on.recv(); });
            auto counter = std::make_unique<wait_group>();
            counter->add();
            auto sends = rt_.go([ch] { ch.send(1); });
            EXPECT_EQ(select(on_join(handle), on_done(*counter), on_recv(ch)), 2u);
            EXPECT_FALSE(is_waited_for(counter.get()));
            sends.join();
            counter->done();
            counter.reset();
            go_on.close();
            handle.join();
        });
}

TEST_P(select_cases, can_be_cancelled) {
    rt_.run([&] {
        std::atomic<int> ended{0};
        wait_group never;
        never.add();
        const channel<int> go_on(0);
        auto handle = handoff::go([go_on] { go_on.recv(); });
        {
            task_group g;
            const channel<int> started(0);
            g.go([&, started] {
                started.send(1);
                try {
                    select(on_join(handle), on_done(never));
                } catch (const handoff::cancelled&) {
                    ++ended;
                    throw;
                }
            });
            started.recv();
            g.cancel();
        }
        EXPECT_EQ(ended, 1);
        go_on.close();
        handle.join();
    });
}

// Several cases become ready at about the same time; the select gets one of them, and the others are still ready.
TEST_P(select_cases, race_with_each_other) {
    for (std::size_t i = 0; i < scaled(2'000, 200); ++i)
        rt_.run([&] {
            wait_group start, counter;
            start.add();
            counter.add();
            const channel<int> ch(1);
            auto a = handoff::go([&] { start.wait(); });
            auto b = handoff::go([&] {
                start.wait();
                counter.done();
            });
            auto c = handoff::go([&] {
                start.wait();
                ch.send(1);
            });
            auto opens = handoff::go([&] { start.done(); });
            int got = 0;
            const std::size_t which = select(on_join(a), on_done(counter), on_recv(ch, [&](std::optional<int> v) { got = v.value(); }));
            EXPECT_EQ(got, which == 2 ? 1 : 0);
            if (which != 2) {
                EXPECT_EQ(ch.recv(), 1);
            }
            counter.wait();
            opens.join();
            a.join();
            b.join();
            c.join();
        });
}

// ---- join_any -----------------------------------------------------------------------------------------------------------

TEST_P(select_cases, join_any_finds_each) {
    everywhere([&] {
        std::vector<join_handle<int>> all;
        const channel<int> let_go(0);
        for (int i = 0; i < 8; ++i) all.push_back(rt_.go([i, let_go] { return let_go.recv(), i; }));
        EXPECT_FALSE(handoff::join_any_for(all, 1ms));
        EXPECT_FALSE(handoff::join_any_until(all, std::chrono::system_clock::now() + 1ms));
        std::vector<bool> seen(8);
        for (int n = 0; n < 8; ++n) {
            let_go.send(0);
            const std::size_t i = n % 2 ? join_any(all) : handoff::join_any_for(all, 1h).value();
            EXPECT_EQ(all[i].join(), static_cast<int>(i));
            EXPECT_FALSE(seen[i]);
            seen[i] = true;
        }
        EXPECT_THROW(join_any(all), std::system_error);
    });
}

TEST_P(select_cases, join_any_tells_of_a_failure_first) {
    everywhere([&] {
        const channel<int> never(0);
        std::vector<join_handle<void>> all;
        all.push_back(rt_.go([never] { never.recv(); }));
        all.push_back(rt_.go([] { throw std::runtime_error("failed"); }));
        const std::size_t i = join_any(all);
        EXPECT_EQ(i, 1u);
        EXPECT_THROW(all[i].join(), std::runtime_error);
        never.close();
        all[0].join();
    });
}

// ---- In simulations -------------------------------------------------------------------------------------------------------

TEST(select_cases_in_simulations, take_what_comes_first) {
    std::array<int, 3> times{};
    for (std::uint64_t seed = 0; seed < 300; ++seed)
        simulation(seed).run([&] {
            wait_group counter;
            counter.add();
            const channel<int> ch(0);
            auto ends = handoff::go([] { this_goroutine::yield(); });
            auto counts = handoff::go([&] { counter.done(); });
            auto sends = handoff::go([ch] { ch.send_for(1, 1h); });
            ++times[select(on_join(ends), on_done(counter), on_recv(ch))];
            ends.join();
            counts.join();
            ch.try_recv();
            sends.join();
        });
    for (const int n : times) EXPECT_GT(n, 0);
}

}  // namespace
