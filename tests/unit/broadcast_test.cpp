// broadcast: each receiver gets each value, or learns how many it has missed; waits, stops, its end.
#include "locks.hpp"

#include <handoff/broadcast.hpp>

#include <stdexcept>
#include <stop_token>

using handoff::broadcast;
using handoff::cancelled;
using handoff::channel_closed;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

constexpr auto reason = "condition_variable";

class broadcasts : public with_procs {};
INSTANTIATE_WITH_PROCS(broadcasts);

TEST_P(broadcasts, bring_each_value_to_each_receiver) {
    on_both(rt_, [] {
        broadcast<std::string> b(3);
        b.send("before");
        auto r = b.subscribe();
        EXPECT_EQ(r.try_recv(), std::nullopt);
        EXPECT_EQ(r.recv_for(1ms), std::nullopt);
        EXPECT_EQ(r.recv_until(std::chrono::system_clock::now() + 1ms), std::nullopt);
        b.send("a");
        auto later = b.subscribe();
        b.send("b");
        EXPECT_EQ(r.recv(), "a");
        auto copy = r;
        EXPECT_EQ(r.recv_for(-1s), "b");
        EXPECT_EQ(r.try_recv(), std::nullopt);
        EXPECT_EQ(copy.recv_until(steady::time_point::min()), "b");
        EXPECT_EQ(later.try_recv(), "b");
        EXPECT_EQ(r.missed() + later.missed() + copy.missed(), 0u);
    });
}

TEST_P(broadcasts, drop_the_oldest_for_who_is_slow) {
    on_both(rt_, [] {
        broadcast<int> b(3);
        auto slow = b.subscribe(), quick = b.subscribe();
        for (int i = 0; i < 5; ++i) {
            b.send(i);
            EXPECT_EQ(quick.recv(), i);
        }
        EXPECT_EQ(slow.missed(), 2u);
        EXPECT_EQ(slow.recv(), 2);
        EXPECT_EQ(slow.missed(), 2u);
        for (int i = 5; i < 8; ++i) b.send(i);
        EXPECT_EQ(slow.missed(), 4u) << "3 and 4 besides";
        for (int i = 5; i < 8; ++i) EXPECT_EQ(slow.try_recv(), i);
        EXPECT_EQ(slow.try_recv(), std::nullopt);
        EXPECT_EQ(slow.missed(), 4u);
        EXPECT_EQ(quick.missed(), 0u);
    });
}

TEST(broadcast, keeps_at_least_one) {
    EXPECT_EQ(thrown_by<usage_error>([] { broadcast<int> b(0); }), "handoff: a broadcast of capacity 0 would lose each value");
    broadcast<int> b(1);
    auto r = b.subscribe();
    b.send(1);
    b.send(2);
    EXPECT_EQ(r.recv(), 2);
    EXPECT_EQ(r.missed(), 1u);
}

TEST_P(broadcasts, are_drained_once_closed) {
    on_both(rt_, [] {
        std::optional<broadcast<int>> b(std::in_place, 4);
        auto r = b->subscribe(), late = b->subscribe();
        b->send(1);
        b->send(2);
        EXPECT_FALSE(r.closed());
        b->close();
        b->close();
        EXPECT_THROW(b->send(3), channel_closed);
        auto last = b->subscribe();
        b.reset();
        EXPECT_TRUE(r.closed());
        EXPECT_EQ(r.recv(), 1);
        EXPECT_EQ(r.recv(), 2);
        for (int i = 0; i < 2; ++i) EXPECT_EQ(r.recv(), std::nullopt);
        EXPECT_FALSE(r.recv_for(1h) || r.recv_until(steady::now() + 1h) || r.try_recv() || r.recv(std::stop_token()));
        EXPECT_EQ(last.recv(), std::nullopt);
        EXPECT_EQ(late.recv_for(1h), 1);
    });
}

TEST_P(broadcasts, wake_all_who_wait) {
    for (const bool closes : {false, true}) {
        std::optional<broadcast<int>> b(std::in_place, 1);
        crowd all;
        for (int i = 0; i < 12; ++i)
            all.start(rt_, i >= 10, [&, i, r = b->subscribe()]() mutable {
                EXPECT_EQ(i % 2 == 0 ? r.recv() : r.recv_for(1h), closes ? std::nullopt : std::optional(2));
            });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 10 && all.threads_sleep());
        if (closes) b.reset();
        else b->send(2);
        all.join();
    }
}

TEST_P(broadcasts, a_stop_ends_the_wait) {
    for (const bool on_thread : {false, true}) {
        broadcast<int> b(1);
        std::stop_source source;
        crowd all;
        all.start(rt_, on_thread, [&, r = b.subscribe(), token = source.get_token()]() mutable {
            EXPECT_THROW(r.recv(token), cancelled);
            EXPECT_THROW(r.recv(token), cancelled);   // and does not begin another
            b.send(2);
            EXPECT_EQ(r.recv(token), 2) << "no wait to end";
        });
        EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt_, reason) == 1);
        source.request_stop();
        all.join();
    }
}

TEST_P(broadcasts, a_cancellation_ends_the_wait) {
    broadcast<int> b(1);
    auto r = b.subscribe();
    rt_.run([&] {
        task_group g;
        g.go([&] { EXPECT_THROW(r.recv(), cancelled); });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
        g.cancel();
        g.wait();
    });
    b.send(2);
    EXPECT_EQ(r.recv(), 2);
}

// A value that can't be copied is not lost.
TEST(broadcast, brings_a_value_again_after_an_exception) {
    struct fragile {
        fragile(bool* f, int v) : fails(f), value(v) {}
        fragile(const fragile& other) : fails(other.fails), value(other.value) {
            if (*fails) throw std::runtime_error("copy");
        }
        fragile(fragile&&) = default;
        bool* fails;
        int value;
    };
    bool fails = false;
    broadcast<fragile> b(1);
    auto r = b.subscribe();
    b.send({&fails, 1});
    b.send({&fails, 2});
    fails = true;
    EXPECT_THROW(r.recv(), std::runtime_error);
    EXPECT_EQ(r.missed(), 1u);
    fails = false;
    EXPECT_EQ(r.recv()->value, 2);
    EXPECT_EQ(r.missed(), 1u);
}

// Several send, several receive: each gets all, in the order of each sender, but for what it has missed.
TEST_P(broadcasts, account_for_each_value) {
    constexpr std::uint64_t senders = 3;
    const std::uint64_t each = scaled(2'000, 200);
    std::optional<broadcast<std::pair<std::uint64_t, std::uint64_t>>> b(std::in_place, 64);
    std::atomic<int> wrong{0};
    crowd receivers, sending;
    for (int who = 0; who < 6; ++who)
        receivers.start(who % 2 == 0 ? rt_ : other_, who == 5, [&, who, r = b->subscribe()]() mutable {
            std::uint64_t got = 0, next[senders] = {};
            for (;;) {
                auto v = who % 2 == 0 ? r.recv() : r.recv_for(50us);
                if (!v && who % 2 != 0) {
                    if (!r.closed()) continue;
                    v = r.recv();
                }
                if (!v) break;
                ++got;
                if (v->second < next[v->first]) ++wrong;
                next[v->first] = v->second + 1;
                if (who == 0 && got % 64 == 0) this_goroutine::sleep_for(50us);
            }
            if (got + r.missed() != senders * each) ++wrong;
        });
    for (std::uint64_t who = 0; who < senders; ++who)
        sending.start(rt_, who == 2, [&, who] {
            for (std::uint64_t i = 0; i < each; ++i) {
                b->send({who, i});
                if (i % 32 == 0) this_goroutine::yield();
            }
        });
    sending.join();
    b.reset();
    receivers.join();
    EXPECT_EQ(wrong, 0);
}

TEST(broadcast, accounts_for_each_value_in_each_order_of_a_simulation) {
    bool some_missed = false, none_missed = false;
    simulation::explore(handoff::exploration{.count = 300}, [&] {
        std::optional<broadcast<int>> b(std::in_place, 2);
        task_group g;
        for (int i = 0; i < 2; ++i)
            g.go([&, r = b->subscribe()]() mutable {
                std::uint64_t got = 0;
                int before = 0;
                for (; const auto v = r.recv(); ++got) {
                    if (*v <= before) throw std::logic_error("out of order");
                    before = *v;
                }
                if (got + r.missed() != 4 || before != 4) throw std::logic_error("a value is gone");
                (r.missed() == 0 ? none_missed : some_missed) = true;
            });
        g.go([&] {
            for (int i = 1; i <= 4; ++i) b->send(i);
            b.reset();
        });
        g.wait();
    });
    EXPECT_TRUE(some_missed && none_missed);
}

}  // namespace
