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
        channel<int> ch(1), direct(0), none = channel<int>::nil();
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
        channel<single> direct(0), none = channel<single>::nil();
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
        static const auto none = channel<int>::nil();   // reachable, while this waits for ever
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

TEST_P(selects, never_take_a_nil_channel) {
    everywhere([] {
        const channel<int> none = channel<int>::nil(), ready(1);
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
        channel<int> closed(2), open(0), none = channel<int>::nil();
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
        const bool partner = i % 10 != 0;   // one on a thread can always be the first
        for (; !selecting.done(); this_goroutine::yield()) sent += partner && ch.try_send(single(1));
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

}  // namespace
