// Channels: what send, recv, close and their variants promise, on goroutines and on threads, and what a value lives
// through. Go's tests of the same are named where there are some.
#include "channels.hpp"

#include <array>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <ranges>
#include <stop_token>
#include <string>
#include <thread>

using handoff::cancelled;
using handoff::channel;
using handoff::channel_closed;
using handoff::join_handle;
using handoff::runtime;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class channels : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, channels, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

// ---- Waiting --------------------------------------------------------------------------------------------------------

TEST_P(channels, send_waits_for_a_receiver) {
    channel<int> ch(0);
    auto sender = rt_.go([ch]() mutable { ch.send(5); });
    ASSERT_EVENTUALLY(parked_for(rt_, "send") == 1);
    EXPECT_FALSE(sender.done());
    EXPECT_EQ(ch.len(), 0u);
    EXPECT_EQ(ch.recv(), 5);
    sender.join();
}

TEST_P(channels, recv_waits_for_a_sender) {
    for (const std::size_t capacity : {0u, 1u, 3u}) {
        channel<int> ch(capacity);
        auto receiver = rt_.go([ch]() mutable { return ch.recv(); });
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
        EXPECT_FALSE(receiver.done());
        ch.send(6);
        EXPECT_EQ(receiver.join(), 6);
    }
}

TEST_P(channels, senders_wait_only_while_the_ring_is_full) {
    everywhere([this] {
        channel<int> ch(3);
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(ch.len(), static_cast<std::size_t>(i));
            ch.send(i);
        }
        auto sender = rt_.go([ch]() mutable { ch.send(3); });
        ASSERT_EVENTUALLY(parked_for(rt_, "send") == 1);
        EXPECT_EQ(ch.len(), 3u);
        EXPECT_EQ(ch.recv(), 0);
        EXPECT_EQ(ch.len(), 3u);   // the place was the waiting sender's at once
        sender.join();
        for (int i = 1; i < 4; ++i) EXPECT_EQ(ch.recv(), i);
        EXPECT_EQ(ch.len(), 0u);
    });
}

// A value for a receiver that waits does not lie about for others, not even for a moment.
TEST_P(channels, hand_values_to_waiting_receivers) {
    for (const std::size_t capacity : {0u, 4u}) {
        channel<int> ch(capacity);
        auto first = rt_.go([ch]() mutable { return ch.recv(); });
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
        auto second = rt_.go([ch]() mutable { return ch.recv_for(patience); });
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 2);
        EXPECT_TRUE(ch.try_send(1));
        EXPECT_EQ(ch.len(), 0u);
        EXPECT_FALSE(ch.try_recv());
        EXPECT_TRUE(ch.try_send(2));
        EXPECT_EQ(ch.len(), 0u);
        EXPECT_FALSE(ch.try_recv());
        EXPECT_EQ(ch.try_send(3), capacity != 0);
        EXPECT_EQ(first.join(), 1);
        EXPECT_EQ(second.join(), 2);
    }
}

TEST_P(channels, take_values_from_waiting_senders) {
    channel<int> ch(0);
    auto first = rt_.go([ch]() mutable { ch.send(1); });
    ASSERT_EVENTUALLY(parked_for(rt_, "send") == 1);
    auto second = rt_.go([ch]() mutable { EXPECT_TRUE(ch.send_for(2, patience)); });
    ASSERT_EVENTUALLY(parked_for(rt_, "send") == 2);
    EXPECT_EQ(ch.len(), 0u);
    EXPECT_EQ(ch.try_recv(), 1);
    EXPECT_EQ(ch.try_recv(), 2);
    EXPECT_FALSE(ch.try_recv());
    first.join();
    second.join();
}

TEST_P(channels, serve_those_who_wait_in_their_order) {
    constexpr int n = 20;
    channel<int> ch(0);
    std::vector<join_handle<std::optional<int>>> receivers;
    for (int i = 0; i < n; ++i) {
        // Every other one with a deadline, which waits in another way.
        receivers.push_back(rt_.go([ch, i]() mutable { return i % 2 ? ch.recv() : ch.recv_for(patience); }));
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == receivers.size());
    }
    for (int i = 0; i < n; ++i) ch.send(i);
    for (int i = 0; i < n; ++i) EXPECT_EQ(receivers[static_cast<std::size_t>(i)].join(), i);

    for (const std::size_t capacity : {0u, 5u}) {
        channel<int> to(capacity);
        std::vector<join_handle<void>> senders;
        const int at_once = static_cast<int>(capacity);
        for (int i = 0; i < at_once; ++i) to.send(i);
        for (int i = at_once; i < n; ++i) {
            senders.push_back(rt_.go([to, i]() mutable { i % 2 ? to.send(i) : void(to.send_for(i, patience)); }));
            ASSERT_EVENTUALLY(parked_for(rt_, "send") == senders.size());
        }
        for (int i = 0; i < n; ++i) EXPECT_EQ(to.recv(), i);
        join_all(senders);
    }
}

TEST_P(channels, keep_the_order) {
    const int n = static_cast<int>(scaled(20'000));
    for (const std::size_t capacity : {0u, 1u, 2u, 7u, 100u}) {
        channel<int> ch(capacity);
        auto sender = rt_.go([=]() mutable {
            for (int i = 0; i < n; ++i) ch.send(i);
            ch.close();
        });
        rt_.run([=]() mutable {
            for (int i = 0; i < n; ++i) ASSERT_EQ(ch.recv(), i);
            EXPECT_FALSE(ch.recv());
        });
        sender.join();
    }
}

// ---- Close ----------------------------------------------------------------------------------------------------------

TEST_P(channels, give_what_is_left_after_close) {
    everywhere([] {
        channel<int> ch(10);
        EXPECT_FALSE(ch.closed());
        EXPECT_EQ(ch.cap(), 10u);
        for (int i = 0; i < 4; ++i) ch.send(i);
        ch.close();
        EXPECT_TRUE(ch.closed());
        EXPECT_EQ(ch.len(), 4u);
        EXPECT_EQ(ch.cap(), 10u);
        EXPECT_EQ(ch.recv(), 0);
        EXPECT_EQ(ch.try_recv(), 1);
        EXPECT_EQ(ch.recv_for(1h), 2);
        EXPECT_EQ(ch.recv_until(steady::now() - 1h), 3);
        EXPECT_EQ(ch.len(), 0u);
        for (int i = 0; i < 3; ++i) {   // it stays so
            EXPECT_EQ(ch.recv(), std::nullopt);
            EXPECT_EQ(ch.try_recv(), std::nullopt);
            EXPECT_EQ(ch.recv_for(1h), std::nullopt);
            EXPECT_EQ(ch.recv_until(steady::now() + 1h), std::nullopt);
        }
        EXPECT_TRUE(ch.closed());
    });
}

TEST_P(channels, close_wakes_all_receivers) {
    const std::size_t n = scaled(200, 50);
    for (const std::size_t capacity : {0u, 3u}) {
        channel<int> ch(capacity);
        std::vector<join_handle<void>> all;
        for (std::size_t i = 0; i < n; ++i)
            all.push_back(rt_.go([ch, i]() mutable { EXPECT_FALSE(i % 2 ? ch.recv() : ch.recv_for(1h)); }));
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == n);
        ch.close();
        join_all(all);
    }
}

TEST_P(channels, close_wakes_all_senders) {
    const std::size_t n = scaled(200, 50);
    for (const std::size_t capacity : {0u, 3u}) {
        channel<single> ch(capacity);
        for (std::size_t i = 0; i < capacity; ++i) ch.send(single(static_cast<int>(i)));
        std::vector<join_handle<void>> all;
        for (std::size_t i = 0; i < n; ++i)
            all.push_back(rt_.go([ch, i]() mutable {
                single value(7);
                if (i % 2) {
                    EXPECT_THROW(ch.send(std::move(value)), channel_closed);
                } else {
                    EXPECT_THROW(ch.send_for(std::move(value), 1h), channel_closed);
                    EXPECT_EQ(value.get(), 7);
                }
            }));
        ASSERT_EVENTUALLY(parked_for(rt_, "send") == n);
        ch.close();
        join_all(all);
        EXPECT_EQ(single::values.load(), static_cast<int>(capacity));
        EXPECT_EQ(ch.len(), capacity);
        for (std::size_t i = 0; i < capacity; ++i) EXPECT_EQ(ch.recv()->get(), static_cast<int>(i));
        EXPECT_FALSE(ch.recv());
    }
}

TEST_P(channels, are_closed_once) {
    everywhere([] {
        channel<int> ch(1);
        auto other = ch;
        ch.close();
        EXPECT_THROW(ch.close(), usage_error);
        EXPECT_THROW(other.close(), usage_error);
        EXPECT_TRUE(other.closed());
        const auto none = channel<int>::nil();
        EXPECT_THROW(none.close(), usage_error);
        EXPECT_THROW(none.close(), handoff::error);
        EXPECT_FALSE(none.closed());
    });
    // One of many who try at the same time succeeds.
    for (std::size_t i = 0; i < scaled(500, 100); ++i) {
        channel<int> ch(0);
        std::atomic<int> closed{0}, refused{0};
        std::vector<join_handle<void>> all;
        for (int k = 0; k < 4; ++k)
            all.push_back(rt_.go([&, ch]() mutable {
                try {
                    ch.close();
                    ++closed;
                } catch (const usage_error&) {
                    ++refused;
                }
            }));
        join_all(all);
        EXPECT_EQ(closed.load(), 1);
        EXPECT_EQ(refused.load(), 3);
    }
}

TEST_P(channels, take_nothing_after_close) {
    everywhere([] {
        for (const std::size_t capacity : {0u, 2u}) {
            channel<single> ch(capacity);
            ch.close();
            EXPECT_THROW(ch.send(single(1)), channel_closed);
            EXPECT_EQ(single::objects.load(), 0);
            single kept(2);
            EXPECT_THROW(ch.try_send(std::move(kept)), channel_closed);
            EXPECT_THROW(ch.send_for(std::move(kept), 1h), channel_closed);
            EXPECT_THROW(ch.send_until(std::move(kept), steady::now() + 1h), channel_closed);
            EXPECT_EQ(kept.get(), 2);
            EXPECT_EQ(ch.len(), 0u);
            EXPECT_FALSE(ch.recv());
        }
    });
}

// ---- Without waiting ------------------------------------------------------------------------------------------------

TEST_P(channels, try_forms_do_not_wait) {
    everywhere([] {
        channel<single> direct(0);
        single value(1);
        EXPECT_FALSE(direct.try_send(std::move(value)));
        EXPECT_EQ(value.get(), 1);
        EXPECT_FALSE(direct.try_recv());

        channel<single> ring(2);
        EXPECT_FALSE(ring.try_recv());
        EXPECT_TRUE(ring.try_send(std::move(value)));
        EXPECT_EQ(value.get(), single::empty);
        EXPECT_TRUE(ring.try_send(single(2)));
        single third(3);
        EXPECT_FALSE(ring.try_send(std::move(third)));
        EXPECT_EQ(third.get(), 3);
        EXPECT_EQ(ring.try_recv()->get(), 1);
        EXPECT_EQ(ring.try_recv()->get(), 2);
        EXPECT_FALSE(ring.try_recv());

        channel<std::string> copied(1);
        const std::string text(100, 'x');
        EXPECT_TRUE(copied.try_send(text));
        EXPECT_FALSE(copied.try_send(text));
        EXPECT_EQ(text.size(), 100u);
        EXPECT_EQ(copied.try_recv(), text);
    });
}

// Go's TestNonblockRecvRace: there is a value, or else the channel is closed; which of both, there is something to see
// for the first to come, and nothing for the second.
TEST_P(channels, try_recv_sees_one_instant) {
    for (std::size_t i = 0; i < scaled(5'000); ++i) {
        channel<int> ch(1);
        ch.send(1);
        auto other = rt_.go([ch]() mutable { return ch.try_recv().has_value() || ch.closed(); });
        ch.close();
        ch.recv();
        ASSERT_TRUE(other.join()) << i;
    }
}

// As many values as places for them as workers, each of whom has one at most in hand: for who has none there is one,
// and for who has one there is a place, at any time. So nobody is ever told that he would have to wait.
TEST_P(channels, try_forms_never_fail_without_a_reason) {
    constexpr int workers = 4;
    const int each = static_cast<int>(scaled(20'000));
    channel<int> ch(workers);
    for (int i = 0; i < workers; ++i) ch.send(i);
    const auto work = [=]() mutable {
        for (int i = 0; i < each; ++i) {
            const auto v = ch.try_recv();
            ASSERT_TRUE(v) << i;
            ASSERT_TRUE(ch.try_send(*v)) << i;
        }
    };
    auto one = rt_.go(work), two = rt_.go(work);
    std::thread three(work), four(work);
    one.join();
    two.join();
    three.join();
    four.join();
    EXPECT_EQ(ch.len(), static_cast<std::size_t>(workers));
}

// A receiver that waits makes try_send succeed, and nothing else takes its place.
TEST_P(channels, try_send_meets_whoever_waits) {
    for (std::size_t i = 0; i < scaled(2'000, 200); ++i) {
        channel<int> ch(0);
        auto receiver = rt_.go([ch]() mutable { return ch.recv(); });
        while (!ch.try_send(static_cast<int>(i))) this_goroutine::yield();
        EXPECT_FALSE(ch.try_send(-1));
        EXPECT_EQ(receiver.join(), static_cast<int>(i));
    }
}

// ---- With a time limit ----------------------------------------------------------------------------------------------

template <class F>
void expect_not_before(std::chrono::nanoseconds d, F wait) {
    const auto begin = steady::now();
    wait();
    EXPECT_GE(steady::now() - begin, d);
}

TEST_P(channels, timed_forms_are_never_early) {
    everywhere([] {
        for (channel<single> ch : {channel<single>(0), channel<single>(1), channel<single>::nil()}) {
            if (ch.cap() == 1) ch.send(single(0));
            single value(1);
            for (const std::chrono::nanoseconds d : {-1'000'000ns, 0ns, 1ns, 300'000ns, 3'000'000ns}) {
                expect_not_before(d, [&] { EXPECT_FALSE(ch.send_for(std::move(value), d)); });
                const auto until = steady::now() + d;
                EXPECT_FALSE(ch.send_until(std::move(value), until));
                EXPECT_GE(steady::now(), until);
                EXPECT_EQ(value.get(), 1);
            }
            const auto until = std::chrono::system_clock::now() + 2ms;
            EXPECT_FALSE(ch.send_until(std::move(value), until));
            EXPECT_GE(std::chrono::system_clock::now() + 50us, until);   // it may be set meanwhile, or slewed
            EXPECT_EQ(value.get(), 1);
            if (ch.cap() == 1) {
                EXPECT_EQ(ch.recv()->get(), 0);
            }

            for (const std::chrono::nanoseconds d : {-1'000'000ns, 0ns, 1ns, 300'000ns, 3'000'000ns}) {
                expect_not_before(d, [&] { EXPECT_FALSE(ch.recv_for(d)); });
                const auto end = steady::now() + d;
                EXPECT_FALSE(ch.recv_until(end));
                EXPECT_GE(steady::now(), end);
            }
            EXPECT_FALSE(ch.recv_until(std::chrono::system_clock::now() + 1ms));
            EXPECT_FALSE(ch.recv_for(std::chrono::duration<double, std::micro>(50.5)));
        }
        channel<std::string> copied(0);
        const std::string text = "text";
        EXPECT_FALSE(copied.send_for(text, 1us));
        EXPECT_FALSE(copied.send_until(text, steady::now()));
    });
}

TEST_P(channels, timed_forms_need_not_wait) {
    everywhere([] {
        channel<int> ch(4);
        EXPECT_TRUE(ch.send_for(1, -1s));
        EXPECT_TRUE(ch.send_for(2, 0s));
        EXPECT_TRUE(ch.send_until(3, steady::time_point::min()));
        EXPECT_TRUE(ch.send_until(4, std::chrono::system_clock::time_point()));
        EXPECT_EQ(ch.recv_for(std::chrono::hours::min()), 1);
        EXPECT_EQ(ch.recv_for(0s), 2);
        EXPECT_EQ(ch.recv_until(steady::time_point::min()), 3);
        EXPECT_EQ(ch.recv_until(std::chrono::system_clock::time_point()), 4);
    });
}

// Any time at all: what is too far is for ever.
TEST_P(channels, timed_forms_take_any_time) {
    channel<int> ch(0);
    std::vector<join_handle<std::optional<int>>> receivers;
    receivers.push_back(rt_.go([ch]() mutable { return ch.recv_for(std::chrono::nanoseconds::max()); }));
    receivers.push_back(rt_.go([ch]() mutable { return ch.recv_for(std::chrono::hours::max()); }));
    receivers.push_back(rt_.go([ch]() mutable { return ch.recv_for(std::chrono::duration<double>(1e300)); }));
    receivers.push_back(rt_.go([ch]() mutable { return ch.recv_until(steady::time_point::max()); }));
    receivers.push_back(rt_.go([ch]() mutable { return ch.recv_until(std::chrono::system_clock::time_point::max()); }));
    ASSERT_EVENTUALLY(parked_for(rt_, "receive") == receivers.size());
    for (std::size_t i = 0; i < receivers.size(); ++i) EXPECT_TRUE(ch.send_for(1, std::chrono::hours::max()));
    for (auto& r : receivers) EXPECT_EQ(r.join(), 1);
}

// The limit and the partner come at about the same time: each value is received, or was not sent.
TEST_P(channels, timed_forms_lose_and_double_nothing) {
    const int n = static_cast<int>(scaled(2'000, 300));
    for (const std::size_t capacity : {0u, 1u}) {
        channel<single> ch(capacity);
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
        std::atomic<int> received{0};
        auto receiver = rt_.go([&, ch]() mutable {
            for (unsigned d = 0; !ch.closed() || ch.len() != 0; d = (d + 7) % 60)
                if (auto v = ch.recv_for(std::chrono::microseconds(d))) {
                    ++seen[static_cast<std::size_t>(v->get())];
                    ++received;
                }
        });
        int sent = 0;
        rt_.run([&, ch]() mutable {
            for (int i = 0; i < n; ++i) {
                single value(i);
                if (ch.send_for(std::move(value), std::chrono::microseconds(i % 50))) {
                    ++sent;
                    EXPECT_EQ(value.get(), single::empty);
                } else {
                    EXPECT_EQ(value.get(), i);
                    --seen[static_cast<std::size_t>(i)];
                }
            }
            ch.close();
        });
        receiver.join();
        EXPECT_EQ(received.load(), sent);
        EXPECT_GT(sent, 0);
        for (int i = 0; i < n; ++i) {
            const int times = seen[static_cast<std::size_t>(i)].load();
            EXPECT_TRUE(times == 1 || times == -1) << i << ": " << times;
        }
    }
}

// ---- Types ----------------------------------------------------------------------------------------------------------

template <class T>
T there_and_back(runtime& rt, T value, std::size_t capacity) {
    channel<T> there(capacity), back(capacity);
    auto echo = rt.go([there, back]() mutable {
        while (auto v = there.recv()) back.send(std::move(*v));
    });
    there.send(std::move(value));
    T got = *back.recv();
    there.close();
    echo.join();
    return got;
}

TEST_P(channels, carry_any_type) {
    for (const std::size_t capacity : {0u, 1u, 2u}) {
        EXPECT_EQ(*there_and_back(rt_, std::make_unique<int>(3), capacity), 3);
        EXPECT_EQ(there_and_back(rt_, std::string(1000, 'a'), capacity), std::string(1000, 'a'));
        EXPECT_EQ(there_and_back(rt_, 'x', capacity), 'x');
        EXPECT_EQ(there_and_back(rt_, true, capacity), true);
        EXPECT_EQ(there_and_back(rt_, single(4), capacity).get(), 4);

        // An empty optional is a value.
        EXPECT_EQ(there_and_back(rt_, std::optional<int>(), capacity), std::optional<int>());
        EXPECT_EQ(there_and_back(rt_, std::optional<int>(2), capacity), std::optional<int>(2));

        std::array<char, 10'000> large;
        std::iota(large.begin(), large.end(), char{});
        EXPECT_EQ(there_and_back(rt_, large, capacity), large);

        struct alignas(128) aligned {
            aligned* self = this;
            aligned() = default;
            aligned(const aligned&) noexcept {}
            bool well() const { return self == this && reinterpret_cast<std::uintptr_t>(this) % 128 == 0; }
        };
        EXPECT_TRUE(there_and_back(rt_, aligned(), capacity).well());

        struct no_default {
            const int n;   // neither assignable
            explicit no_default(int i) noexcept : n(i) {}
        };
        EXPECT_EQ(there_and_back(rt_, no_default(9), capacity).n, 9);
        channel<no_default> full(0);
        no_default kept(8);
        EXPECT_FALSE(full.try_send(std::move(kept)));
        EXPECT_EQ(kept.n, 8);

        const int on_stack = 0;
        EXPECT_EQ(there_and_back(rt_, &on_stack, capacity), &on_stack);
        EXPECT_EQ(there_and_back(rt_, std::function<int()>([] { return 6; }), capacity)(), 6);
    }
}

// A channel of channels: the answer comes where the question says.
TEST_P(channels, carry_channels) {
    struct question {
        int n;
        channel<int> answer;
    };
    channel<question> ask(0);
    auto server = rt_.go([ask]() mutable {
        for (question& q : ask) q.answer.send(q.n * q.n);
    });
    std::vector<join_handle<void>> all;
    for (int i = 0; i < 20; ++i)
        all.push_back(rt_.go([ask, i]() mutable {
            channel<int> answer(i % 2);
            ask.send({i, answer});
            EXPECT_EQ(answer.recv(), i * i);
        }));
    join_all(all);
    ask.close();
    server.join();
    // Left in a ring, a channel is destroyed with it, and with that what it holds.
    channel<channel<single>> outer(1);
    {
        channel<single> inner(1);
        inner.send(single(1));
        outer.send(inner);
    }
    EXPECT_EQ(single::values.load(), 1);
}

TEST_P(channels, too_large_are_refused) {
    EXPECT_THROW(channel<int>(SIZE_MAX), std::bad_alloc);
    EXPECT_THROW(channel<int>(SIZE_MAX / 4), std::bad_alloc);
}

// What a channel stores never throws; where a value enters or leaves it may, and the channel stays as it should be.
TEST_P(channels, survive_moves_that_throw) {
    everywhere([] {
        for (int at = 1; at <= 6; ++at) {
            channel<fragile> ch(4);
            ch.send(fragile(0));
            const auto attempt = [&](auto f) {
                fragile::break_at = at;
                bool done = true;
                try {
                    f();
                } catch (const fragile::broken&) {
                    done = false;
                }
                fragile::break_at = 0;
                return done;
            };
            std::size_t len = 1;
            const fragile copied(1);
            len += attempt([&] { ch.send(copied); });
            EXPECT_EQ(copied.get(), 1);
            ASSERT_EQ(ch.len(), len);

            fragile moved(2);
            const bool sent = attempt([&] { EXPECT_TRUE(ch.try_send(std::move(moved))); });
            EXPECT_EQ(moved.get(), sent ? -1 : 2);
            len += sent;
            ASSERT_EQ(ch.len(), len);

            EXPECT_EQ(ch.recv()->get(), 0);   // the order is as it was
            --len;
            while (len > 0) {
                // The value that can't be moved out is gone, and no other.
                attempt([&] { EXPECT_TRUE(ch.recv()); });
                ASSERT_EQ(ch.len(), --len);
            }
            EXPECT_FALSE(ch.try_recv());
            EXPECT_EQ(fragile::objects.load(), 2);   // copied, moved
        }
        // Not sent: moved to the box and back.
        channel<fragile> none(0);
        fragile kept(5);
        EXPECT_FALSE(none.try_send(std::move(kept)));
        EXPECT_EQ(kept.get(), 5);
        EXPECT_FALSE(none.send_for(std::move(kept), 100us));
        EXPECT_EQ(kept.get(), 5);
        fragile::break_at = 1;
        EXPECT_THROW(none.try_send(std::move(kept)), fragile::broken);
        EXPECT_EQ(kept.get(), 5);
        none.close();
        EXPECT_THROW(none.try_send(std::move(kept)), channel_closed);
        EXPECT_EQ(kept.get(), 5);
    });
    EXPECT_EQ(fragile::objects.load(), 0);
}

// The same between goroutines: with whom nothing has thrown, nothing is missing.
TEST_P(channels, carry_values_whose_moves_throw) {
    const int n = static_cast<int>(scaled(3'000));
    for (const std::size_t capacity : {0u, 1u, 8u}) {
        channel<fragile> ch(capacity);
        std::atomic<int> sent{0}, lost{0}, received{0};
        auto receiver = rt_.go([&, ch]() mutable {
            int last = -1;
            for (;;) {
                try {
                    const auto v = ch.recv();
                    if (!v) return;
                    EXPECT_GT(v->get(), last);
                    last = v->get();
                    ++received;
                } catch (const fragile::broken&) {
                    ++lost;
                }
            }
        });
        auto sender = rt_.go([&, ch]() mutable {
            for (int i = 0; i < n; ++i) {
                if (i % 10 == 0) fragile::break_at = 3;   // whomever it meets
                try {
                    ch.send(fragile(i));
                    ++sent;
                } catch (const fragile::broken&) {
                }
            }
            fragile::break_at = 0;
            ch.close();
        });
        sender.join();
        receiver.join();
        EXPECT_EQ(sent.load(), received.load() + lost.load());
        EXPECT_GT(received.load(), n / 2);
        EXPECT_LT(sent.load() - lost.load(), n);
    }
}

// Slicing: what is sent of a derived object is its base, and if it is not sent the object stays whole.
TEST_P(channels, leave_derived_objects_whole) {
    struct base {
        std::string text = "base";
        base() = default;
        base(base&&) noexcept = default;
        base& operator=(base&&) noexcept = default;
        virtual ~base() = default;
        virtual int kind() const { return 0; }
    };
    struct derived final : base {
        std::string more = "a text that is too long for its object";
        int kind() const override { return 1; }
    };
    channel<base> ch(0);
    const auto d = std::make_unique<derived>();
    EXPECT_FALSE(ch.try_send(std::move(*d)));
    const base& seen = *d;
    const auto kind = &base::kind;   // by the object's own table
    EXPECT_EQ((seen.*kind)(), 1);
    EXPECT_EQ(d->text, "base");
}

}  // namespace
