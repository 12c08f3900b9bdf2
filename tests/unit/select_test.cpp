// select: which case it takes, that it takes one, and that the others are as if nothing had been. Go's tests of the
// same are named where there are some.
#include "channels.hpp"

#include <array>
#include <barrier>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

using handoff::cancelled;
using handoff::channel;
using handoff::channel_closed;
using handoff::join_handle;
using handoff::on_deadline;
using handoff::on_recv;
using handoff::on_send;
using handoff::on_stop;
using handoff::on_timeout;
using handoff::otherwise;
using handoff::runtime;
using handoff::select_case;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class selects : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, selects, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

template <class H>
void join_all(H& handles) {
    for (auto& h : handles) h.join();
}

// expect_even: `hits` of `tries` came with a chance of 1 in `choices`, give or take ten standard deviations.
void expect_even(std::size_t hits, std::size_t tries, unsigned choices) {
    const double n = static_cast<double>(tries), p = 1.0 / choices;
    EXPECT_LT(std::abs(static_cast<double>(hits) - n * p), 10 * std::sqrt(n * p * (1 - p)))
        << hits << " of " << tries << ", 1 in " << choices;
}

// ---- One of several -------------------------------------------------------------------------------------------------

TEST_P(selects, take_the_case_that_is_ready) {
    everywhere([] {
        channel<int> empty(1), ready(1), full(1);
        ready.send(5);
        full.send(6);
        std::string log;
        const auto write = [&log](const char* what) { return [&log, what] { log += what; }; };
        const auto index = handoff::select(on_recv(empty, [&](std::optional<int>) { log += "empty"; }),
                                           on_send(full, 1, write("full")),
                                           on_recv(ready, [&](std::optional<int> v) { log += std::to_string(*v); }),
                                           on_timeout(1h, write("timeout")));
        EXPECT_EQ(index, 2u);
        EXPECT_EQ(log, "5");
        EXPECT_EQ(ready.len(), 0u);
        EXPECT_EQ(full.len(), 1u);

        log.clear();
        const auto sends = handoff::select(on_recv(empty), on_recv(ready), on_send(empty, 7, write("sent")),
                                           otherwise(write("no")));
        EXPECT_EQ(sends, 2u);
        EXPECT_EQ(log, "sent");
        EXPECT_EQ(empty.recv(), 7);

        std::optional<int> got = 1;
        EXPECT_EQ(handoff::select(on_recv(full, got)), 0u);
        EXPECT_EQ(got, 6);
        full.send(8);
        EXPECT_EQ(handoff::select(on_recv(empty, got), on_recv(full)), 1u);
        EXPECT_EQ(got, 6);
        EXPECT_EQ(full.len(), 0u);
    });
}

TEST_P(selects, do_not_wait_with_otherwise) {
    everywhere([] {
        channel<int> ch(1), direct(0), none;
        int times = 0;
        const auto count = [&] { ++times; };
        EXPECT_EQ(handoff::select(otherwise(count)), 0u);
        EXPECT_EQ(handoff::select(on_recv(ch), otherwise(count)), 1u);
        EXPECT_EQ(handoff::select(otherwise(count), on_recv(direct), on_send(direct, 1), on_recv(none)), 0u);
        EXPECT_EQ(handoff::select(otherwise(count), on_timeout(0s)), 0u);
        EXPECT_EQ(times, 4);
        EXPECT_EQ(handoff::select(on_send(ch, 1), otherwise(count)), 0u);
        EXPECT_EQ(handoff::select(on_send(ch, 1), otherwise(count)), 1u);
        EXPECT_EQ(handoff::select(on_recv(ch), otherwise(count)), 0u);
        EXPECT_EQ(times, 5);
        // It leaves nothing behind.
        EXPECT_FALSE(direct.try_send(1));
        EXPECT_FALSE(direct.try_recv());
    });
}

TEST_P(selects, wait_for_the_first) {
    for (int ready = 0; ready < 4; ++ready) {
        channel<int> a(0), b(2), c(0), d(1);
        d.send(0);
        auto selecting = rt_.go([=]() mutable {
            std::optional<int> from_a, from_b;
            const auto i = handoff::select(on_recv(a, from_a), on_recv(b, from_b), on_send(c, 30), on_send(d, 40));
            return std::pair{static_cast<int>(i), from_a.value_or(0) + from_b.value_or(0)};
        });
        ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
        EXPECT_FALSE(selecting.done());
        switch (ready) {
            case 0: EXPECT_TRUE(a.try_send(10)); break;
            case 1: EXPECT_TRUE(b.try_send(20)); break;
            case 2: EXPECT_EQ(c.try_recv(), 30); break;
            default: EXPECT_EQ(d.try_recv(), 0); break;
        }
        // The others are not ready any more, even before it goes on.
        EXPECT_FALSE(a.try_send(1));
        EXPECT_FALSE(c.try_recv());
        EXPECT_EQ(b.len(), 0u);
        EXPECT_EQ(d.len(), 1u);
        EXPECT_EQ(d.recv(), ready == 3 ? 40 : 0);
        EXPECT_EQ(selecting.join(), (std::pair{ready, ready == 0 ? 10 : ready == 1 ? 20 : 0}));
    }
}

TEST_P(selects, work_on_threads) {
    channel<int> a(0), b(0);
    std::atomic<pid_t> tid{0};
    std::thread receiver([=, &tid]() mutable {
        tid = this_tid();
        std::optional<int> got;
        EXPECT_EQ(handoff::select(on_recv(a, got), on_recv(b, got)), 1u);
        EXPECT_EQ(got, 1);
        EXPECT_EQ(handoff::select(on_send(a, 2), on_send(b, 3)), 0u);
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    rt_.run([=]() mutable {
        b.send(1);
        EXPECT_EQ(a.recv(), 2);
    });
    receiver.join();
    EXPECT_FALSE(b.try_recv());
}

// Selects of threads and of goroutines of two runtimes meet each other.
TEST_P(selects, meet_each_other) {
    const int each = static_cast<int>(scaled(2'000));
    runtime other({.procs = 1});
    for (const std::size_t capacity : {0u, 1u}) {
        channel<int> a(capacity), b(capacity);
        std::atomic<long> balance{0};
        std::atomic<int> sent{0}, received{0};
        const auto send = [=, &balance, &sent]() mutable {
            for (int i = 1; i <= each; ++i) {
                handoff::select(on_send(a, i), on_send(b, i));
                balance += i;
                ++sent;
            }
        };
        const auto receive = [=, &balance, &received]() mutable {
            for (bool open = true; open;) {
                const auto take = [&](std::optional<int> v) {
                    if (!v) open = false;
                    else balance -= *v, ++received;
                };
                handoff::select(on_recv(a, take), on_recv(b, take));
            }
        };
        std::vector<join_handle<void>> sending, receiving;
        sending.push_back(rt_.go(send));
        sending.push_back(other.go(send));
        receiving.push_back(rt_.go(receive));
        receiving.push_back(other.go(receive));
        std::thread send_thread(send), receive_thread(receive);
        join_all(sending);
        send_thread.join();
        EXPECT_EVENTUALLY(a.len() == 0 && b.len() == 0);
        a.close();
        b.close();
        join_all(receiving);
        receive_thread.join();
        EXPECT_EQ(sent.load(), 3 * each);
        EXPECT_EQ(received.load(), 3 * each);
        EXPECT_EQ(balance.load(), 0);
    }
}

// ---- Time and stop --------------------------------------------------------------------------------------------------

TEST_P(selects, time_out_never_early) {
    everywhere([] {
        channel<single> direct(0), none;
        for (const std::chrono::nanoseconds d : {-1'000'000ns, 0ns, 1ns, 200'000ns, 3'000'000ns}) {
            int fired = 0;
            const auto begin = steady::now();
            EXPECT_EQ(handoff::select(on_recv(direct), on_send(none, single(1)), on_timeout(d, [&] { ++fired; })), 2u);
            EXPECT_GE(steady::now() - begin, d);
            const auto until = steady::now() + d;
            EXPECT_EQ(handoff::select(on_deadline(until, [&] { ++fired; }), on_send(direct, single(2))), 0u);
            EXPECT_GE(steady::now(), until);
            EXPECT_EQ(fired, 2);
        }
        EXPECT_EQ(handoff::select(on_timeout(100us)), 0u);
        // The earliest of several; it counts from when the case was made.
        auto late = on_timeout(1h);
        auto soon = on_timeout(1ms);
        const auto made = steady::now();
        this_goroutine::sleep_for(2ms);
        EXPECT_EQ(handoff::select(late, on_recv(direct), soon), 2u);
        EXPECT_LT(steady::now() - made, 1h);
        EXPECT_EQ(handoff::select(on_deadline(std::chrono::system_clock::now()), late), 0u);
        EXPECT_EQ(handoff::select(on_timeout(std::chrono::hours::max()), on_timeout(1us)), 1u);
    });
    // What is ready goes before.
    channel<int> ready(1);
    for (int i = 0; i < 100; ++i) {
        ready.send(i);
        EXPECT_EQ(handoff::select(on_timeout(0s), on_recv(ready)), 1u);
    }
}

TEST_P(selects, stop) {
    channel<single> direct(0);
    std::stop_source stop;
    std::atomic<int> fired{0};
    const auto wait = [&] {
        const auto i = handoff::select(on_recv(direct), on_stop(stop.get_token(), [&] { ++fired; }),
                                       on_send(channel<single>(0), single(1)));
        EXPECT_EQ(i, 1u);
    };
    auto selecting = rt_.go(wait);
    ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
    std::atomic<pid_t> tid{0};
    std::thread thread([&] {
        tid = this_tid();
        wait();
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    EXPECT_EQ(fired.load(), 0);
    stop.request_stop();
    selecting.join();
    thread.join();
    EXPECT_EQ(fired.load(), 2);
    everywhere(wait);   // a stop that came before
    EXPECT_EQ(fired.load(), 4);
    everywhere([&] {
        EXPECT_EQ(handoff::select(on_stop(stop.get_token()), otherwise()), 0u);
        EXPECT_EQ(handoff::select(on_stop(stop.get_token())), 0u);
        EXPECT_EQ(handoff::select(on_stop(std::stop_token()), on_timeout(100us)), 1u);
        EXPECT_EQ(handoff::select(on_stop(std::stop_token()), otherwise()), 1u);
    });
    EXPECT_FALSE(direct.try_send(single(2)));
}

// Who always finds something to do sees the stop nevertheless: it is one case among those that are ready.
TEST_P(selects, see_the_stop_also_when_busy) {
    everywhere([] {
        channel<int> busy(1);
        std::stop_source stop;
        stop.request_stop();
        bool seen = false;
        for (int i = 0; i < 1'000 && !seen; ++i) {
            busy.try_send(i);
            seen = handoff::select(on_recv(busy), on_stop(stop.get_token())) == 1;
        }
        EXPECT_TRUE(seen);
    });
}

TEST_P(selects, without_a_case_ever_ready_are_ended_by_a_stop) {
    std::stop_source stop;
    auto selecting = rt_.go([token = stop.get_token()] { return handoff::select(on_stop(token)); });
    ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
    EXPECT_FALSE(selecting.done());
    stop.request_stop();
    EXPECT_EQ(selecting.join(), 0u);
}

TEST(select_never_ready, waits_forever) {
    static runtime* const left_alone = new runtime(never_ends());
    const std::size_t before = parked_for(*left_alone, "select");   // if it is repeated
    std::vector<join_handle<void>> all;
    all.push_back(left_alone->go([] { handoff::select(); }));
    all.push_back(left_alone->go([] {
        channel<int> none;
        handoff::select(on_recv(none), on_send(none, 1));
    }));
    all.push_back(left_alone->go([] {
        std::vector<select_case> no_cases;
        handoff::select(no_cases);
    }));
    EXPECT_EVENTUALLY(parked_for(*left_alone, "select") == before + all.size());
    left_alone->run([] { this_goroutine::sleep_for(1ms); });
    for (auto& h : all) EXPECT_FALSE(h.done());
}

// ---- Channels that are never ready, and closed ones -----------------------------------------------------------------

TEST_P(selects, never_take_a_default_constructed_channel) {
    everywhere([] {
        channel<int> none, ready(1);
        for (int i = 0; i < 100; ++i) {
            ready.send(i);
            EXPECT_EQ(handoff::select(on_recv(none), on_send(none, 1), on_recv(ready)), 2u);
            EXPECT_EQ(handoff::select(on_recv(none), on_send(none, 1), otherwise()), 2u);
        }
        EXPECT_EQ(handoff::select(on_recv(none), on_timeout(1ms), on_send(none, 1)), 1u);
    });
}

TEST_P(selects, find_closed_channels_ready) {
    everywhere([] {
        channel<int> closed(2), open(0), none;
        closed.send(1);
        closed.close();
        std::optional<int> got;
        EXPECT_EQ(handoff::select(on_recv(open), on_recv(closed, got), on_recv(none)), 1u);
        EXPECT_EQ(got, 1);
        for (int i = 0; i < 3; ++i) {
            got = 7;
            EXPECT_EQ(handoff::select(on_recv(open), on_recv(closed, got), otherwise()), 1u);
            EXPECT_EQ(got, std::nullopt);
            bool called = false;
            EXPECT_EQ(handoff::select(on_recv(closed, [&](std::optional<int> v) { called = !v; })), 0u);
            EXPECT_TRUE(called);
        }
        bool called = false;
        const auto call = [&] { called = true; };
        EXPECT_THROW(handoff::select(on_recv(open), on_send(closed, 2, call), otherwise()), channel_closed);
        EXPECT_THROW(handoff::select(on_send(closed, 2)), channel_closed);
        EXPECT_FALSE(called);
        EXPECT_EQ(closed.len(), 0u);
    });
}

TEST_P(selects, are_woken_by_close) {
    for (const bool sends : {false, true}) {
        channel<single> ch(0), other(0);
        auto selecting = rt_.go([=]() mutable {
            if (!sends) {
                std::optional<single> got(std::in_place, 1);
                EXPECT_EQ(handoff::select(on_recv(other), on_recv(ch, got)), 1u);
                EXPECT_FALSE(got);
                return;
            }
            auto send = on_send(ch, single(2), [] { ADD_FAILURE(); });
            EXPECT_THROW(handoff::select(on_recv(other), send), channel_closed);
            EXPECT_EQ(send.value()->get(), 2);
            EXPECT_FALSE(send.value());
        });
        ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
        ch.close();
        EXPECT_FALSE(other.try_send(single(3)));
        selecting.join();
    }
}

// ---- One instant ----------------------------------------------------------------------------------------------------

// Go's TestNonblockSelectRace and, with close, TestNonblockSelectRace2: one of two channels is ready at any time, first
// the one and then the other.
TEST_P(selects, see_one_instant) {
    for (const bool close : {false, true})
        for (std::size_t i = 0; i < scaled(5'000); ++i) {
            channel<int> a(1), b(1);
            a.send(1);
            auto other = rt_.go([=]() mutable { return handoff::select(on_recv(a), on_recv(b), otherwise()); });
            if (close) b.close();
            else b.send(1);
            a.try_recv();
            ASSERT_NE(other.join(), 2u) << i;
        }
}

// The same in the other direction, and for longer: two values move about among three rings, so one of them has room at
// any time.
TEST_P(selects, find_the_place_that_moves) {
    const std::array<channel<int>, 3> ch{channel<int>(1), channel<int>(1), channel<int>(1)};
    for (channel<int> c : {ch[0], ch[1]}) c.send(1);
    std::atomic<bool> over{false};
    std::thread mover([&over, a = ch]() mutable {
        for (std::size_t k = 0; !over; k = (k + 1) % 3)
            if (a[k].try_recv())
                for (std::size_t to = k + 1; !a[to % 3].try_send(1);) ++to;
    });
    rt_.run([a = ch, n = scaled(10'000)]() mutable {
        for (std::size_t i = 0; i < n; ++i) {
            ASSERT_NE(handoff::select(on_send(a[0], 1), on_send(a[1], 1), on_send(a[2], 1), otherwise()), 3u) << i;
            handoff::select(on_recv(a[0]), on_recv(a[1]), on_recv(a[2]));
        }
    });
    over = true;
    mover.join();
}

// ---- Only one, and nothing of the others ----------------------------------------------------------------------------

// Go's TestSelfSelect: a select with both directions does not serve itself.
TEST_P(selects, never_receive_what_they_send) {
    everywhere([] {
        channel<int> direct(0);
        EXPECT_EQ(handoff::select(on_send(direct, 1), on_recv(direct), otherwise()), 2u);
        EXPECT_EQ(handoff::select(on_recv(direct), on_send(direct, 1), on_timeout(1ms)), 2u);
    });
    for (const std::size_t capacity : {0u, 10u}) {
        const int n = static_cast<int>(scaled(5'000));
        channel<int> ch(capacity);
        std::vector<join_handle<void>> all;
        for (int who = 0; who < 2; ++who)
            all.push_back(rt_.go([=]() mutable {
                const auto check = [&](std::optional<int> v) { EXPECT_TRUE(capacity != 0 || *v != who); };
                for (int i = 0; i < n; ++i) {
                    if (who == 0 || i % 2 == 0) handoff::select(on_send(ch, who), on_recv(ch, check));
                    else handoff::select(on_recv(ch, check), on_send(ch, who));
                }
            }));
        join_all(all);
    }
}

// Two partners come at the same time, each for another case: one of them gets what he wants.
TEST_P(selects, never_fire_twice) {
    const std::size_t n = scaled(400, 100);
    for (std::size_t i = 0; i < n; ++i) {
        channel<single> a(0), b(0);
        auto selecting = rt_.go([=]() mutable {
            int fired = 0;
            const auto got = [&](std::optional<single> v) { fired += v.value().get(); };
            if (i % 2) handoff::select(on_recv(a, got), on_recv(b, got), on_timeout(patience));
            else handoff::select(on_recv(a, got), on_send(b, single(2), [&] { fired += 2; }));
            return fired;
        });
        while (parked_for(rt_, "select") != 1) this_goroutine::yield();
        std::atomic<bool> go_on{false};
        const auto ready = [&go_on] {
            while (!go_on) this_goroutine::yield();
        };
        auto one = rt_.go([=]() mutable {
            ready();
            return a.try_send(single(1)) ? 1 : 0;
        });
        auto two = rt_.go([=]() mutable {
            ready();
            if (i % 2) return b.try_send(single(2)) ? 2 : 0;
            return b.try_recv() ? 2 : 0;
        });
        go_on = true;
        const int done = one.join() + two.join();
        EXPECT_NE(done, 3);
        EXPECT_NE(done, 0);
        EXPECT_EQ(selecting.join(), done);
    }
}

// Time, stop and a partner at the same moment.
TEST_P(selects, fire_one_of_timeout_stop_and_partner) {
    std::array<std::size_t, 3> times{};
    for (std::size_t i = 0; i < scaled(1'000, 200); ++i) {
        channel<single> ch(0);
        std::stop_source stop;
        int fired = 0, received = 0;
        auto selecting = rt_.go([&, ch]() mutable {
            const auto take = [&](std::optional<single> v) { ++fired, received += v.value().get(); };
            const auto c = handoff::select(on_recv(ch, take), on_stop(stop.get_token(), [&] { ++fired; }),
                                           on_timeout(std::chrono::microseconds(i % 40), [&] { ++fired; }));
            ++times[c];
        });
        auto stopper = rt_.go([&] {
            for (std::size_t k = i % 7; k > 0; --k) this_goroutine::yield();
            stop.request_stop();
        });
        int sent = 0;
        for (; !selecting.done(); this_goroutine::yield()) sent += ch.try_send(single(1));
        selecting.join();
        stopper.join();
        EXPECT_EQ(fired, 1);
        EXPECT_EQ(received, sent);
    }
    EXPECT_GT(times[1] + times[2], 0u);
}

// Go's TestSelectDuplicateChannel: a goroutine stands in a queue twice, and leaves it without damage to who comes next.
TEST_P(selects, name_a_channel_twice) {
    for (int round = 0; round < 50; ++round) {
        channel<int> c(0), d(0);
        auto first = rt_.go([=]() mutable { return handoff::select(on_recv(c), on_recv(c), on_recv(d)); });
        ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
        auto second = rt_.go([=]() mutable { return c.recv(); });
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
        d.send(7);
        EXPECT_EQ(first.join(), 2u);
        EXPECT_TRUE(c.try_send(8));
        EXPECT_EQ(second.join(), 8);
        EXPECT_FALSE(c.try_send(9));

        // The one in the queue twice is served once.
        auto third = rt_.go([=]() mutable { return handoff::select(on_send(c, 1), on_recv(d), on_send(c, 2)); });
        ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
        const auto got = c.try_recv();
        EXPECT_FALSE(c.try_recv());
        EXPECT_EQ(third.join(), got == 1 ? 0u : 2u);
    }
}

// Go's test/fixedbugs for issue 2075 (test/chan/select6): losing cases leave the queues of their channels in order.
TEST_P(selects, leave_queues_in_order) {
    for (int round = 0; round < 50; ++round) {
        channel<bool> c1(0), c2(0), c3(0), c4(0);
        std::vector<join_handle<void>> all;
        all.push_back(rt_.go([=]() mutable { c1.recv(); }));
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
        all.push_back(rt_.go([=]() mutable {
            EXPECT_EQ(handoff::select(on_recv(c1), on_recv(c2)), 1u);
            c3.send(true);
            c1.recv();
        }));
        all.push_back(rt_.go([=]() mutable { c2.send(true); }));
        c3.recv();
        c1.send(true);
        c1.send(true);
        join_all(all);
        all.clear();

        all.push_back(rt_.go([=]() mutable { c1.send(true); }));
        ASSERT_EVENTUALLY(parked_for(rt_, "send") == 1);
        all.push_back(rt_.go([=]() mutable {
            EXPECT_EQ(handoff::select(on_send(c1, true), on_send(c2, true)), 1u);
            c3.send(true);
            c1.send(true);
        }));
        all.push_back(rt_.go([=]() mutable { c2.recv(); }));
        c3.recv();
        c1.recv();
        c1.recv();
        join_all(all);
    }
}

// Many selects that lose on one channel, again and again, and one plain waiter among them.
TEST_P(selects, leave_nothing_on_channels_that_lost) {
    const int n = static_cast<int>(scaled(3'000));
    channel<int> never(0), often(0);
    auto last = rt_.go([=]() mutable { return never.recv(); });
    std::vector<join_handle<void>> all;
    for (int k = 0; k < 4; ++k)
        all.push_back(rt_.go([=]() mutable {
            std::optional<int> got;
            do handoff::select(on_recv(never, [](std::optional<int>) { ADD_FAILURE(); }), on_recv(often, got));
            while (got);
        }));
    ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
    for (int i = 0; i < n; ++i) often.send(i);
    often.close();
    join_all(all);
    EXPECT_TRUE(never.try_send(5));
    EXPECT_FALSE(never.try_send(6));
    EXPECT_EQ(last.join(), 5);
}

// ---- At random ------------------------------------------------------------------------------------------------------

// Each of four cases that are always ready, two of them on one channel.
TEST_P(selects, choose_evenly_among_rings) {
    everywhere([n = scaled(20'000)] {
        channel<int> a(2), b(2), full(1), empty(1);
        full.send(0);
        std::array<std::size_t, 6> times{};
        for (std::size_t i = 0; i < n; ++i) {
            a.try_send(1);
            b.try_send(1);
            const auto c = handoff::select(on_recv(full, [&](std::optional<int> v) { full.send(*v); }), on_recv(a),
                                           on_recv(empty), on_send(full, 1), on_recv(b), on_recv(a));
            ++times[c];
        }
        EXPECT_EQ(times[2] + times[3], 0u);
        for (const std::size_t c : {0u, 1u, 4u, 5u}) expect_even(times[c], n, 4);
    });
}

// Go's TestSelectFairness: sources that are always ready, two partners that take turns.
TEST_P(selects, are_fair) {
    const std::size_t trials = scaled(10'000);
    channel<char> c1(trials + 1), c2(trials + 1), c3(0), c4(0), out1(0), out2(0);
    for (std::size_t i = 0; i <= trials; ++i) {
        c1.send(1);
        c2.send(2);
    }
    channel<bool> done(0);
    auto middle = rt_.go([=]() mutable {
        for (bool over = false; !over;) {
            char b = 0;
            const auto take = [&](std::optional<char> v) { b = *v; };
            handoff::select(on_recv(c3, take), on_recv(c4, take), on_recv(c1, take), on_recv(c2, take));
            handoff::select(on_send(out1, b), on_send(out2, b), on_recv(done, [&](auto) { over = true; }));
        }
    });
    std::array<std::size_t, 2> from{}, by{};
    rt_.run([&] {
        for (std::size_t i = 0; i < trials; ++i) {
            const auto count = [&](std::optional<char> v) { ++from[v == 1 ? 0 : 1]; };
            ++by[handoff::select(on_recv(out1, count), on_recv(out2, count))];
        }
    });
    done.close();
    middle.join();
    EXPECT_EQ(from[0] + from[1], trials);
    // What was ready was at random; which of two waiting cases another select takes is at random as well.
    expect_even(from[0], trials, 2);
    expect_even(by[0], trials, 2);
}

// Senders and receivers wait at each of four channels already.
TEST_P(selects, choose_evenly_among_waiting_partners) {
    const std::size_t each = scaled(800);
    const std::array<channel<int>, 4> ch{channel<int>(0), channel<int>(0), channel<int>(0), channel<int>(0)};
    for (const bool send : {false, true}) {
        std::stop_source stop;
        std::vector<join_handle<void>> all;
        for (auto c : ch)
            for (std::size_t i = 0; i < each; ++i)
                all.push_back(rt_.go([c, send, token = stop.get_token()]() mutable {
                    try {
                        if (send) c.recv(token);
                        else c.send(1, token);
                    } catch (const cancelled&) {
                    }
                }));
        ASSERT_EVENTUALLY(parked_for(rt_, send ? "receive" : "send") == all.size());
        std::array<std::size_t, 4> times{};
        rt_.run([&] {
            for (std::size_t i = 0; i < each; ++i)   // so none runs out
                ++times[send ? handoff::select(on_send(ch[0], 1), on_send(ch[1], 1), on_send(ch[2], 1),
                                               on_send(ch[3], 1))
                             : handoff::select(on_recv(ch[0]), on_recv(ch[1]), on_recv(ch[2]), on_recv(ch[3]))];
        });
        for (const std::size_t t : times) expect_even(t, each, 4);
        stop.request_stop();
        join_all(all);
    }
}

// Go's TestPseudoRandomSend: a select that could send 0 or 1 on the same channel.
TEST_P(selects, send_at_random) {
    const std::size_t n = scaled(5'000);
    for (const std::size_t capacity : {std::size_t{0}, n}) {
        channel<int> ch(capacity);
        std::size_t ones = 0;
        auto receiver = rt_.go([=, &ones]() mutable {
            for (std::size_t i = 0; i < n; ++i) {
                this_goroutine::yield();
                ones += static_cast<std::size_t>(*ch.recv());
            }
        });
        rt_.run([=]() mutable {
            for (std::size_t i = 0; i < n; ++i) handoff::select(on_send(ch, 0), on_send(ch, 1));
        });
        receiver.join();
        // Also if the select waits most of the time, with both cases in one queue.
        expect_even(ones, n, 2);
    }
}

// ---- Values and functions -------------------------------------------------------------------------------------------

TEST_P(selects, give_back_what_was_not_sent) {
    everywhere([] {
        channel<single> full(0), ring(1);
        auto a = on_send(full, single(1)), b = on_send(ring, single(2));
        EXPECT_EQ(handoff::select(a, b), 1u);
        EXPECT_EQ(a.value()->get(), 1);
        EXPECT_FALSE(a.value());
        EXPECT_FALSE(b.value());
        auto c = on_send(full, single(3));
        EXPECT_EQ(handoff::select(c, on_timeout(1ms)), 1u);
        auto moved = std::move(c);
        EXPECT_FALSE(c.value());   // NOLINT
        EXPECT_EQ(handoff::select(moved, otherwise()), 1u);   // it may be used until it fires
        EXPECT_EQ(moved.value()->get(), 3);
        EXPECT_EQ(single::objects.load(), 1);   // in the ring
        {
            auto dropped = on_send(full, single(4));
            EXPECT_EQ(handoff::select(dropped, otherwise()), 1u);
            EXPECT_EQ(single::objects.load(), 2);
        }
        EXPECT_EQ(single::objects.load(), 1);
        // Values are copied, or made in place, as they are given.
        channel<std::string> text(3);
        const std::string lvalue(100, 'x');
        handoff::select(on_send(text, lvalue));
        handoff::select(on_send(text, "literal"));
        handoff::select(on_send(text, std::string("temporary")));
        EXPECT_EQ(text.recv(), lvalue);
        EXPECT_EQ(text.recv(), "literal");
        EXPECT_EQ(text.recv(), "temporary");
    });
}

struct failure {};

TEST_P(selects, let_exceptions_of_their_functions_out) {
    everywhere([] {
        channel<single> ch(1), direct(0);
        ch.send(single(1));
        EXPECT_THROW(handoff::select(on_recv(ch, [](std::optional<single>) { throw failure(); })), failure);
        EXPECT_EQ(ch.len(), 0u);   // the operation is done
        EXPECT_EQ(single::objects.load(), 0);
        EXPECT_THROW(handoff::select(on_send(ch, single(2), [] { throw failure(); })), failure);
        EXPECT_EQ(ch.len(), 1u);
        EXPECT_EQ(ch.recv()->get(), 2);
        EXPECT_THROW(handoff::select(otherwise([] { throw failure(); })), failure);
        EXPECT_THROW(handoff::select(on_recv(direct), on_timeout(1us, [] { throw failure(); })), failure);
        std::stop_source stop;
        stop.request_stop();
        EXPECT_THROW(handoff::select(on_recv(direct), on_stop(stop.get_token(), [] { throw failure(); })), failure);
        EXPECT_FALSE(direct.try_send(single(3)));
    });
    channel<single> direct(0), other(0);
    auto selecting = rt_.go([=]() mutable {
        EXPECT_THROW(handoff::select(on_recv(other), on_recv(direct, [](std::optional<single>) { throw failure(); })),
                     failure);
    });
    ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
    direct.send(single(4));
    selecting.join();
    EXPECT_FALSE(other.try_send(single(5)));
}

// A function may do anything: select, on the same channel too.
TEST_P(selects, nest) {
    everywhere([] {
        channel<int> ch(3);
        for (int i = 0; i < 3; ++i) ch.send(i);
        int sum = 0;
        handoff::select(on_recv(ch, [&](std::optional<int> a) {
            handoff::select(on_recv(ch, [&](std::optional<int> b) { sum = *a * 10 + *b + *ch.recv(); }));
        }));
        EXPECT_EQ(sum, 3);
        EXPECT_EQ(ch.len(), 0u);
    });
}

TEST_P(selects, keep_temporary_channels) {
    everywhere([] {
        channel<single> ch(1);
        ch.send(single(3));
        auto receive = on_recv(channel<single>(ch), [](std::optional<single> v) { EXPECT_EQ(v.value().get(), 3); });
        auto drop = on_recv(channel<single>(ch));
        auto send = on_send(channel<single>(ch), single(4));
        ch = channel<single>();   // the cases have the last handles
        EXPECT_EQ(handoff::select(receive), 0u);
        EXPECT_EQ(handoff::select(send), 0u);
        EXPECT_EQ(handoff::select(drop), 0u);
        EXPECT_EQ(single::objects.load(), 0);
    });
}

// A function whose move throws: the case that could not be moved still has its value.
TEST_P(selects, survive_functions_whose_moves_throw) {
    struct function {
        fragile f{0};
        void operator()() const {}
    };
    channel<single> ch(1);
    for (int at = 1; at <= 3; ++at) {
        fragile::break_at = 0;
        auto send = on_send(ch, single(1), function());
        fragile::break_at = at;
        try {
            select_case holder(std::move(send));
        } catch (const fragile::broken&) {
        }
    }
    fragile::break_at = 0;
    EXPECT_EQ(single::objects.load(), 0);
    EXPECT_EQ(fragile::objects.load(), 0);
}

TEST_P(selects, carry_values_whose_moves_throw) {
    everywhere([] {
        for (int at = 0; at <= 6; ++at) {
            channel<fragile> ch(1);
            fragile::break_at = at;
            bool sent = false, received = false;
            try {
                handoff::select(on_send(ch, fragile(1), [&] { sent = true; }));
            } catch (const fragile::broken&) {
            }
            EXPECT_EQ(ch.len(), sent ? 1u : 0u);
            EXPECT_EQ(fragile::objects.load(), sent ? 1 : 0);
            try {
                const auto take = [&](std::optional<fragile> v) { received = v.value().get() == 1; };
                handoff::select(on_recv(ch, take), otherwise());
            } catch (const fragile::broken&) {
            }
            fragile::break_at = 0;
            EXPECT_EQ(ch.len(), 0u);
            EXPECT_TRUE(sent || !received);
            EXPECT_EQ(fragile::objects.load(), 0);
            if (at == 0) {
                EXPECT_TRUE(received);
            }
        }
    });
    EXPECT_EQ(fragile::objects.load(), 0);
}

TEST_P(selects, refuse_two_of_a_kind) {
    everywhere([] {
        channel<int> direct(0);
        EXPECT_THROW(handoff::select(on_recv(direct), otherwise(), otherwise()), usage_error);
        EXPECT_THROW(handoff::select(on_stop({}), on_recv(direct), on_stop({})), usage_error);
    });
}

// ---- Cases known only at run time -----------------------------------------------------------------------------------

TEST_P(selects, take_any_number_of_cases) {
    for (const std::size_t n : {1u, 2u, 7u, 8u, 9u, 30u, 100u}) {
        std::vector<channel<single>> ch;
        for (std::size_t i = 0; i < n; ++i) ch.emplace_back(i % 3 ? 0 : 1);
        // One after the other becomes ready while it waits.
        for (std::size_t i = 0; i < n; i += 1 + n / 7) {
            int got = 0;
            auto selecting = rt_.go([&] {
                std::vector<select_case> cases;
                for (auto& c : ch) cases.push_back(on_recv(c, [&](std::optional<single> v) { got = v.value().get(); }));
                return handoff::select(cases);
            });
            ASSERT_EVENTUALLY(parked_for(rt_, "select") == 1);
            ch[i].send(single(static_cast<int>(i) + 1));
            EXPECT_EQ(selecting.join(), i);
            EXPECT_EQ(got, static_cast<int>(i) + 1);
            for (auto& c : ch) EXPECT_TRUE(c.cap() == 1 || !c.try_send(single(0)));
        }
        // And all kinds together, with the cases that did not fire used again.
        everywhere([&] {
            std::vector<select_case> cases;
            for (std::size_t i = 0; i < n; ++i) {
                if (i % 2) cases.push_back(on_recv(ch[i]));
                else cases.push_back(on_send(ch[i], single(1)));
            }
            std::vector<bool> fired(n, false);
            std::stop_source stop;
            cases.push_back(on_stop(stop.get_token()));
            cases.push_back(on_timeout(1ms));
            std::size_t i = handoff::select(std::span(cases));
            EXPECT_EQ(i % 6, 0u);   // a send, to a ring
            cases.erase(cases.begin() + static_cast<std::ptrdiff_t>(i));
            EXPECT_EQ(ch[i].recv()->get(), 1);
            stop.request_stop();
            cases.push_back(otherwise());
            i = handoff::select(cases);
            EXPECT_LE(i, n - 1);
        });
        for (auto& c : ch)
            if (c.cap() == 1) (void)c.try_recv();
    }
}

// Go's TestSelectStress: four channels, one goroutine that sends and one that receives for each, and one of each kind
// that does it by selects over all.
TEST_P(selects, stress) {
    const std::size_t n = scaled(5'000);
    const std::array<channel<int>, 4> c{channel<int>(0), channel<int>(0), channel<int>(2), channel<int>(3)};
    std::vector<join_handle<void>> all;
    for (const auto& one : c) {
        all.push_back(rt_.go([n, ch = one]() mutable {
            for (std::size_t i = 0; i < n; ++i) {
                ch.send(0);
                if (i % 2) this_goroutine::yield();
            }
        }));
        all.push_back(rt_.go([n, ch = one]() mutable {
            for (std::size_t i = 0; i < n; ++i) {
                ch.recv();
                if (i % 2) this_goroutine::yield();
            }
        }));
    }
    for (const bool sends : {false, true})
        all.push_back(rt_.go([&c, n, sends] {
            std::array<std::size_t, 4> times{};
            auto left = c;   // those that are finished become never ready
            for (std::size_t i = 0; i < 4 * n; ++i) {
                const auto k = sends ? handoff::select(on_send(left[3], 0), on_send(left[2], 0), on_send(left[0], 0),
                                                       on_send(left[1], 0))
                                     : handoff::select(on_recv(left[0]), on_recv(left[1]), on_recv(left[2]),
                                                       on_recv(left[3]));
                const std::array<std::size_t, 4> order{3, 2, 0, 1};
                const std::size_t which = sends ? order[k] : k;
                if (++times[which] == n) left[which] = channel<int>();
            }
        }));
    join_all(all);
    for (const auto& ch : c) EXPECT_EQ(ch.len(), 0u);
}

// ---- Power series (Go's test/chan/powser1.go) -----------------------------------------------------------------------

struct rational {
    std::int64_t num = 0, den = 1;
    friend bool operator==(const rational&, const rational&) = default;
    static rational reduced(std::int64_t n, std::int64_t d) {
        const auto g = std::gcd(n, d);
        return {n / g, d / g};
    }
    friend rational operator+(rational a, rational b) { return reduced(a.num * b.den + b.num * a.den, a.den * b.den); }
    friend rational operator*(rational a, rational b) { return reduced(a.num * b.num, a.den * b.den); }
};

// Series are demand channels: who wants the next coefficient asks for it. All goroutines end by the stop token.
class power_series {
public:
    struct series {
        channel<char> ask{0};
        channel<rational> coefficient{0};
    };
    using two = std::array<series, 2>;

    ~power_series() {
        stop_.request_stop();
        EXPECT_EVENTUALLY(running_ == 0);
    }

    rational get(series s) {
        s.ask.send(0, token_);
        return *s.coefficient.recv(token_);
    }
    // 1, 1, 1, ... times c
    series repeat(rational c) {
        return make([this, c](series z) {
            for (;;) put(c, z);
        });
    }
    // c*x
    series linear(rational c) {
        return make([this, c](series z) {
            put({0, 1}, z);
            put(c, z);
            for (;;) put({0, 1}, z);
        });
    }
    series add(series u, series v) {
        return make([this, u, v](series z) {
            for (;;) {
                wait_for_demand(z);
                const auto [a, b] = get_two(u, v);
                z.coefficient.send(a + b, token_);
            }
        });
    }
    series times(rational c, series u) {
        return make([this, c, u](series z) {
            for (;;) {
                wait_for_demand(z);
                z.coefficient.send(c * get(u), token_);
            }
        });
    }
    // (u + x*U) * (v + x*V) = u*v + x*(u*V + v*U) + x*x*U*V
    series multiply(series u, series v) {
        return make([this, u, v](series z) {
            wait_for_demand(z);
            const auto [a, b] = get_two(u, v);
            z.coefficient.send(a * b, token_);
            const two uu = split(u), vv = split(v);
            const series w = add(times(a, vv[0]), times(b, uu[0]));
            wait_for_demand(z);
            z.coefficient.send(get(w), token_);
            copy(add(w, multiply(uu[1], vv[1])), z);
        });
    }
    series differentiate(series u) {
        return make([this, u](series z) {
            wait_for_demand(z);
            get(u);
            for (std::int64_t i = 1;; ++i) {
                z.coefficient.send(rational{i, 1} * get(u), token_);
                wait_for_demand(z);
            }
        });
    }
    series integrate(rational c, series u) {
        return make([this, c, u](series z) {
            put(c, z);
            for (std::int64_t i = 1;; ++i) {
                wait_for_demand(z);
                z.coefficient.send(rational{1, i} * get(u), token_);
            }
        });
    }
    // exp(U) = V with V' = V*U'; V goes into its own making.
    series exp(series u) {
        two v;
        split_into(integrate({1, 1}, multiply(v[0], differentiate(u))), v);
        return v[1];
    }
    two split(series in) {
        two out;
        split_into(in, out);
        return out;
    }

private:
    template <class F>
    void spawn(F f) {
        ++running_;
        handoff::go([this, f]() mutable {
            try {
                f();
            } catch (const cancelled&) {
            }
            --running_;
        }).detach();
    }
    template <class F>
    series make(F f) {
        series z;
        spawn([f, z]() mutable { f(z); });
        return z;
    }
    void wait_for_demand(series& z) { (void)z.ask.recv(token_); }
    void put(rational c, series& z) {
        wait_for_demand(z);
        z.coefficient.send(c, token_);
    }
    void copy(series from, series& to) {
        for (;;) {
            wait_for_demand(to);
            to.coefficient.send(get(from), token_);
        }
    }
    void stopped() const { throw cancelled(); }

    // Both at once, in whatever order they can.
    std::pair<rational, rational> get_two(series u, series v) {
        std::array<series, 2> from{u, v};
        std::array<channel<char>, 2> ask{u.ask, v.ask};
        std::array<channel<rational>, 2> answer;
        std::array<rational, 2> got;
        for (int n = 0; n < 4; ++n) {
            const auto take = [&](std::size_t k) {
                return [&, k](std::optional<rational> c) {
                    got[k] = *c;
                    answer[k] = {};
                };
            };
            const auto asked = [&](std::size_t k) {
                return [&, k] {
                    ask[k] = {};
                    answer[k] = from[k].coefficient;
                };
            };
            const channel<char> a0 = ask[0], a1 = ask[1];
            const channel<rational> b0 = answer[0], b1 = answer[1];
            handoff::select(on_send(a0, 0, asked(0)), on_send(a1, 0, asked(1)), on_recv(b0, take(0)),
                            on_recv(b1, take(1)), on_stop(token_, [this] { stopped(); }));
        }
        return {got[0], got[1]};
    }

    // One coefficient for both sides. While the one before has not been asked for by both (`wait`), out[0], which is
    // ahead, may go on.
    void split_next(series in, two out, channel<char> wait) {
        bool both = false;
        const auto second = [&](std::optional<char>) { std::swap(out[0], out[1]); };
        const two side = out;
        const auto stop = [this] { stopped(); };
        handoff::select(on_recv(side[0].ask), on_recv(wait, [&](std::optional<char>) {
            both = true;
            handoff::select(on_recv(side[0].ask), on_recv(side[1].ask, second), on_stop(token_, stop));
        }), on_stop(token_, stop));
        in.ask.send(0, token_);
        channel<char> release(0);
        spawn([this, in, out, release] { split_next(in, out, release); });
        const rational c = *in.coefficient.recv(token_);
        out[0].coefficient.send(c, token_);
        if (!both) (void)wait.recv(token_);
        wait_for_demand(out[1]);
        out[1].coefficient.send(c, token_);
        release.send(0, token_);
    }
    void split_into(series in, two out) {
        spawn([this, in, out] {
            channel<char> release(0);
            spawn([this, in, out, release] { split_next(in, out, release); });
            release.send(0, token_);
        });
    }

    std::stop_source stop_;
    std::stop_token token_ = stop_.get_token();
    std::atomic<int> running_{0};
};

TEST_P(selects, compute_power_series) {
    rt_.run([] {
        power_series ps;
        const std::size_t n = with_sanitizer ? 6 : 10;
        const auto expect = [&](power_series::series s, auto coefficient) {
            for (std::size_t i = 0; i < n; ++i) {
                const rational got = ps.get(s), wanted = coefficient(static_cast<std::int64_t>(i));
                EXPECT_TRUE(got == wanted) << i << ": " << got.num << "/" << got.den;
            }
        };
        expect(ps.add(ps.repeat({1, 2}), ps.repeat({1, 3})), [](std::int64_t) { return rational{5, 6}; });
        expect(ps.differentiate(ps.repeat({1, 1})), [](std::int64_t i) { return rational{i + 1, 1}; });
        expect(ps.multiply(ps.repeat({1, 1}), ps.repeat({1, 1})), [](std::int64_t i) { return rational{i + 1, 1}; });
        const auto factorial = [](std::int64_t i) {
            std::int64_t f = 1;
            for (; i > 1; --i) f *= i;
            return f;
        };
        expect(ps.exp(ps.linear({1, 1})), [&](std::int64_t i) { return rational{1, factorial(i)}; });
        const auto halves = ps.split(ps.exp(ps.linear({-1, 1})));
        expect(halves[0], [&](std::int64_t i) { return rational{i % 2 ? -1 : 1, factorial(i)}; });
        expect(halves[1], [&](std::int64_t i) { return rational{i % 2 ? -1 : 1, factorial(i)}; });
    });
}

}  // namespace
