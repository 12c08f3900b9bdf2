// Handles that close their channel, unbounded and nil channels, and handles without a channel.
#include "channels.hpp"

#include "sync/channel_overflow.hpp"

#include <handoff/channel_ends.hpp>
#include <handoff/select.hpp>
#include <handoff/task_group.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace handoff_test;
using namespace handoff;

static_assert(std::input_iterator<receiver<int>::iterator>);

class channel_ends : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, channel_ends, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

TEST_P(channel_ends, the_last_sender_closes) {
    everywhere([] {
        auto [tx, rx] = make_channel<int>(4);
        {
            const sender<int> other = tx;
            other.send(1);
            tx = {};
            EXPECT_FALSE(rx.closed());
            other.send(2);
        }
        EXPECT_TRUE(rx.closed());
        std::vector<int> got;
        for (const int v : rx) got.push_back(v);
        EXPECT_EQ(got, (std::vector{1, 2}));
        EXPECT_FALSE(rx.recv());
    });
}

TEST_P(channel_ends, the_last_receiver_closes) {
    everywhere([] {
        auto [tx, rx] = make_channel<single>(1);
        receiver<single> other = std::move(rx);
        EXPECT_FALSE(rx);   // NOLINT(bugprone-use-after-move): that is the test
        tx.send(single(1));
        other = {};
        EXPECT_THROW(tx.send(single(2)), channel_closed);
        EXPECT_THROW(tx.try_send(single(2)), channel_closed);
        EXPECT_TRUE(tx.closed());
    });
    EXPECT_EQ(single::objects.load(), 0);
}

TEST_P(channel_ends, those_who_wait_learn_of_it) {
    rt_.run([] {
        auto [tx, rx] = make_channel<int>(0);
        auto receives = go([r = rx] { return r.recv(); });
        EXPECT_FALSE(receives.done());
        this_goroutine::yield();
        tx = {};
        EXPECT_EQ(receives.join(), std::nullopt);

        auto [tx2, rx2] = make_channel<int>(0);
        auto sends = go([t = tx2] { t.send(1); });
        this_goroutine::yield();
        rx2 = {};
        EXPECT_THROW(sends.join(), channel_closed);
    });
}

// A loop goes on over a channel whose handle its body drops.
TEST_P(channel_ends, may_go_while_a_loop_receives) {
    everywhere([] {
        auto [tx, rx] = make_channel<single>(4);
        for (int i = 0; i < 3; ++i) tx.send(single(i));
        int sum = 0;
        for (single& v : rx) {
            rx = {};
            tx = {};
            sum += v.get();
        }
        EXPECT_EQ(sum, 3);
    });
}

TEST_P(channel_ends, may_be_closed_by_hand_before) {
    everywhere([] {
        auto [tx, rx] = make_channel<int>(1);
        tx.chan().close();
        tx = {};   // no second close
        EXPECT_FALSE(rx.recv());
    });
}

TEST_P(channel_ends, have_all_forms_of_a_channel) {
    everywhere([] {
        auto [tx, rx] = make_channel<std::string>(1);
        EXPECT_EQ(tx.cap(), 1u);
        EXPECT_TRUE(tx.send_for("a", 1s));
        EXPECT_EQ(rx.len(), 1u);
        EXPECT_FALSE(tx.try_send("b"));
        EXPECT_FALSE(tx.send_for("b", 1us));
        EXPECT_FALSE(tx.send_until("b", std::chrono::steady_clock::now()));
        EXPECT_EQ(rx.recv_for(1s), "a");
        EXPECT_FALSE(rx.try_recv());
        EXPECT_FALSE(rx.recv_until(std::chrono::steady_clock::now()));
        std::stop_source stop;
        tx.send("c", stop.get_token());
        EXPECT_EQ(rx.recv(stop.get_token()), "c");
        stop.request_stop();
        EXPECT_THROW(rx.recv(stop.get_token()), cancelled);
        EXPECT_EQ(select(on_send(tx.chan(), "d"), on_timeout(1s)), 0u);
        EXPECT_EQ(select(on_recv(rx.chan()), on_timeout(1s)), 0u);
    });
}

TEST_P(channel_ends, that_are_empty_say_so) {
    everywhere([] {
        const sender<int> tx;
        const receiver<int> rx;
        EXPECT_FALSE(tx);
        EXPECT_THROW(tx.send(1), usage_error);
        EXPECT_THROW((void)rx.recv(), usage_error);
    });
}

// Senders and receivers come and go; each value arrives, and each loop ends.
TEST_P(channel_ends, end_all_loops) {
    std::mt19937_64 random = seeded_random("channel_ends.end_all_loops");
    for (std::size_t round = 0; round < scaled(200, 30); ++round) {
        const std::size_t capacity = random() % 3, senders = 1 + random() % 4, receivers = 1 + random() % 4, each = random() % 20;
        std::atomic<std::size_t> got{0};
        rt_.run([&] {
            task_group g;
            auto [tx, rx] = round % 2 ? make_channel<int>(unbounded) : make_channel<int>(capacity);
            for (std::size_t i = 0; i < senders; ++i)
                g.go([tx, each] {
                    for (std::size_t k = 0; k < each; ++k) tx.send(1);
                });
            for (std::size_t i = 0; i < receivers; ++i)
                g.go([rx, &got] {
                    for (const int v : rx) got += static_cast<std::size_t>(v);
                });
            tx = {};
            rx = {};
            g.wait();
        });
        ASSERT_EQ(got.load(), senders * each);
    }
}

// ---- Unbounded --------------------------------------------------------------------------------------------------------

class unbounded_channels : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, unbounded_channels, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

TEST_P(unbounded_channels, are_never_full_and_keep_the_order) {
    everywhere([] {
        const channel<single> ch(unbounded);
        EXPECT_EQ(ch.cap(), SIZE_MAX);
        constexpr int n = 1000;
        int sent = 0, got = 0;
        // Fills and drains, over the ring's end and into the overflow.
        for (const int fill : {10, 64, 65, 200, 1, n}) {
            for (int i = 0; i < fill; ++i) EXPECT_TRUE(ch.try_send(single(sent++)));
            EXPECT_EQ(ch.len(), static_cast<std::size_t>(sent - got));
            for (int i = 0; i < fill / 2; ++i) ASSERT_EQ(ch.recv()->get(), got++);
        }
        ch.close();
        EXPECT_THROW(ch.send(single(0)), channel_closed);
        while (auto v = ch.recv()) ASSERT_EQ(v->get(), got++);
        EXPECT_EQ(got, sent);
        EXPECT_EQ(ch.len(), 0u);
    });
    EXPECT_EQ(single::objects.load(), 0);
}

TEST_P(unbounded_channels, that_are_dropped_destroy_their_values) {
    everywhere([] {
        const channel<single> ch(unbounded);
        for (int i = 0; i < 300; ++i) ch.send(single(i));
        for (int i = 0; i < 50; ++i) ch.recv();
    });
    EXPECT_EQ(single::objects.load(), 0);
}

struct alignas(64) aligned {
    explicit aligned(int n) : value(n), where(this) {}
    aligned(aligned&& other) noexcept : value(other.value), where(this) {
        auto at = reinterpret_cast<std::uintptr_t>(this);   // also where the channel keeps it
        asm("" : "+r"(at));                                 // the compiler takes the alignment for granted
        EXPECT_EQ(at % 64, 0u);
    }
    ~aligned() { EXPECT_EQ(where, this); }
    int value;
    aligned* where;
};

TEST_P(unbounded_channels, respect_alignment_and_moves) {
    everywhere([] {
        const channel<aligned> ch(unbounded);
        for (int i = 0; i < 200; ++i) ch.send(aligned(i));
        for (int i = 0; i < 200; ++i) {
            const auto v = ch.recv();
            ASSERT_EQ(reinterpret_cast<std::uintptr_t>(&*v) % 64, 0u);
            ASSERT_EQ(v->value, i);
        }
    });
}

TEST_P(unbounded_channels, work_in_selects) {
    everywhere([] {
        const channel<int> ch(unbounded);
        for (int i = 0; i < 200; ++i) ASSERT_EQ(select(on_send(ch, i), on_timeout(1h)), 0u);
        for (int i = 0; i < 200; ++i) ASSERT_EQ(select(on_recv(ch, [&](std::optional<int> v) { ASSERT_EQ(v, i); }), otherwise()), 0u);
        EXPECT_EQ(select(on_recv(ch), otherwise()), 1u);
    });
}

TEST_P(unbounded_channels, lose_and_double_nothing) {
    const std::size_t each = scaled(20'000, 2'000);
    constexpr std::size_t senders = 4, receivers = 3;
    const channel<std::size_t> ch(unbounded);
    std::vector<std::atomic<int>> seen(senders * each);
    std::vector<join_handle<void>> all, ends;
    for (std::size_t s = 0; s < senders; ++s)
        all.push_back(rt_.go([&, s] {
            for (std::size_t i = 0; i < each; ++i) {
                if (i % 3 == 0) select(on_send(ch, s * each + i));
                else ch.send(s * each + i);
            }
        }));
    for (std::size_t r = 0; r < receivers; ++r)
        ends.push_back(rt_.go([&, r] {
            std::vector<std::size_t> last(senders, 0);
            const auto take = [&](std::size_t v) {
                ++seen[v];
                ASSERT_LE(last[v / each], v % each + 1) << "out of order";
                last[v / each] = v % each + 1;
            };
            for (bool open = true; open;) {
                if (r == 0) {
                    select(on_recv(ch, [&](std::optional<std::size_t> v) { v ? take(*v) : void(open = false); }), on_timeout(1h));
                } else if (auto v = ch.recv()) {
                    take(*v);
                } else {
                    open = false;
                }
            }
        }));
    join_all(all);
    ch.close();
    join_all(ends);
    for (const auto& n : seen) ASSERT_EQ(n.load(), 1);
}

// A burst leaves no memory behind that is as large as the burst.
TEST_P(unbounded_channels, give_memory_back) {
    const channel<int> ch(unbounded);
    for (int i = 0; i < 10'000; ++i) ch.send(i);
    for (int i = 0; i < 10'000; ++i) ASSERT_EQ(ch.recv(), i);
    EXPECT_LE(detail::channel_access::of(ch)->overflow->spares.load(), 64u);
}

// ---- Handles without a channel, and nil -------------------------------------------------------------------------------

TEST_P(channel_ends, a_handle_without_a_channel_is_an_error) {
    everywhere([] {
        channel<int> a(1);
        const channel<int> b = std::move(a);
        for (const channel<int>& none : {channel<int>(), a}) {   // NOLINT(bugprone-use-after-move): that is the test
            EXPECT_FALSE(none);
            EXPECT_THROW(none.send(1), usage_error);
            EXPECT_THROW(none.try_send(1), usage_error);
            EXPECT_THROW((void)none.recv(), usage_error);
            EXPECT_THROW((void)none.try_recv(), usage_error);
            EXPECT_THROW((void)none.recv_for(1h), usage_error);
            EXPECT_THROW(none.close(), usage_error);
            EXPECT_THROW(select(on_recv(none), otherwise()), usage_error);
            EXPECT_THROW(select(on_send(none, 1), otherwise()), usage_error);
        }
        try {
            (void)channel<int>().recv();
            FAIL();
        } catch (const usage_error& e) {
            EXPECT_NE(std::string(e.what()).find("nil()"), std::string::npos) << e.what();
        }
    });
}

TEST_P(channel_ends, nil_ones_have_no_meeting) {
    rt_.run([] {
        const auto none = channel<int>::nil();
        auto sends = go([none] { return none.send_for(1, 20ms); });
        EXPECT_FALSE(none.recv_for(20ms));
        EXPECT_FALSE(sends.join());
        EXPECT_EQ(select(on_recv(none), on_send(none, 1), otherwise()), 2u);
        EXPECT_THROW(none.close(), usage_error);
    });
}

}  // namespace
