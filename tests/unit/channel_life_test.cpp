// Channels: what their values and handles live through, stop tokens, and who may use them.
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

class channel_lives : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, channel_lives, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

// ---- The life of values and of handles ------------------------------------------------------------------------------

TEST_P(channel_lives, destroy_each_value_once) {
    everywhere([] {
        {
            channel<single> ch(5);   // its ring has gone round
            for (int i = 0; i < 5; ++i) ch.send(single(i));
            for (int i = 0; i < 3; ++i) EXPECT_EQ(ch.recv()->get(), i);
            for (int i = 5; i < 8; ++i) ch.send(single(i));
            EXPECT_EQ(single::objects.load(), 5);
            channel<single> other = ch;
            ch = channel<single>();
            EXPECT_EQ(single::objects.load(), 5);
            EXPECT_EQ(other.recv()->get(), 3);
            EXPECT_EQ(single::objects.load(), 4);
        }
        EXPECT_EQ(single::objects.load(), 0);
        {
            channel<single> ch(2);
            ch.send(single(1));
            ch.close();
        }
        EXPECT_EQ(single::objects.load(), 0);
        {
            channel<fragile> ch(3);
            ch.send(fragile(1));
            ch.send(fragile(2));
            EXPECT_EQ(fragile::objects.load(), 2);
        }
        EXPECT_EQ(fragile::objects.load(), 0);
    });
}

// A value is in one place at a time.
TEST_P(channel_lives, do_not_copy) {
    channel<single> ch(0);
    auto receiver = rt_.go([ch]() mutable { return ch.recv(); });
    ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
    ch.send(single(1));
    EXPECT_EQ(single::values.load(), 1);
    EXPECT_EQ(receiver.join()->get(), 1);
    EXPECT_EQ(single::objects.load(), 0);
}

TEST_P(channel_lives, live_as_long_as_a_handle) {
    channel<int> a(2), b = a, none;
    EXPECT_TRUE(a);
    EXPECT_FALSE(none);
    EXPECT_TRUE(a == b);
    EXPECT_FALSE(a == none);
    EXPECT_FALSE(a == channel<int>(2));
    EXPECT_TRUE(none == channel<int>());
    a.send(1);
    channel<int> c = std::move(a);
    EXPECT_FALSE(a);   // NOLINT: a moved-from handle is as a default-constructed one
    EXPECT_TRUE(c == b);
    b = c;
    b = std::move(c);
    auto& self = b;
    b = self;
    EXPECT_EQ(b.recv(), 1);
    using std::swap;
    swap(b, none);
    EXPECT_TRUE(none);
    EXPECT_FALSE(b);
    none.send(4);
    EXPECT_EQ(none.len(), 1u);

    // Many copies, dropped at the same time; the ring's value goes with the last.
    for (std::size_t i = 0; i < scaled(500, 100); ++i) {
        channel<single> ch(1);
        ch.send(single(1));
        std::vector<join_handle<void>> all;
        for (int k = 0; k < 4; ++k)
            all.push_back(rt_.go([copy = ch]() mutable {
                auto another = copy;
                copy = channel<single>();
                EXPECT_EQ(another.len(), 1u);
            }));
        ch = channel<single>();
        join_all(all);
        EXPECT_EVENTUALLY(single::objects == 0);
    }
}

// ---- Iteration ------------------------------------------------------------------------------------------------------

static_assert(std::input_iterator<channel<int>::iterator>);
static_assert(std::input_iterator<channel<single>::iterator>);
static_assert(std::sentinel_for<std::default_sentinel_t, channel<int>::iterator>);
static_assert(std::ranges::input_range<channel<int>>);

TEST_P(channel_lives, are_iterated_until_they_are_closed) {
    channel<single> ch(1);
    auto sender = rt_.go([ch]() mutable {
        for (int i = 0; i < 100; ++i) ch.send(single(i));
        ch.close();
    });
    rt_.run([ch]() mutable {
        int expected = 0;
        for (single& v : ch) {
            EXPECT_EQ(v.get(), expected++);
            const single taken = std::move(v);
            if (expected == 50) break;
        }
        EXPECT_EQ(expected, 50);
        auto it = ch.begin();   // goes on where the other has stopped
        EXPECT_EQ(it->get(), 50);
        it++;
        EXPECT_EQ((*it).get(), 51);
        ++it;
        for (expected = 52; it != ch.end(); ++it) EXPECT_EQ(it->get(), expected++);
        EXPECT_EQ(expected, 100);
        for (single& v : ch) ADD_FAILURE() << v.get();
    });
    sender.join();

    channel<int> numbers(10);
    for (int i = 0; i < 10; ++i) numbers.send(i);
    numbers.close();
    int sum = 0;
    std::ranges::for_each(numbers, [&](int v) { sum += v; });
    EXPECT_EQ(sum, 45);
}

// ---- Never ready ----------------------------------------------------------------------------------------------------

TEST_P(channel_lives, nil_ones_are_never_ready) {
    everywhere([] {
        const auto none = channel<single>::nil();
        EXPECT_FALSE(none);
        EXPECT_EQ(none.len(), 0u);
        EXPECT_EQ(none.cap(), 0u);
        EXPECT_FALSE(none.closed());
        single value(1);
        EXPECT_FALSE(none.try_send(std::move(value)));
        EXPECT_EQ(value.get(), 1);
        EXPECT_FALSE(none.try_recv());
        std::stop_source stop;
        stop.request_stop();
        EXPECT_THROW(none.recv(stop.get_token()), cancelled);
        EXPECT_THROW(none.send(single(2), stop.get_token()), cancelled);
    });
    std::stop_source stop;
    auto receiver = rt_.go([token = stop.get_token()] {
        EXPECT_THROW(channel<int>::nil().recv(token), cancelled);
    });
    auto sender = rt_.go([token = stop.get_token()] {
        EXPECT_THROW(channel<single>::nil().send(single(1), token), cancelled);
    });
    EXPECT_EVENTUALLY(parked_for(rt_, "a channel that is never ready") == 2);
    EXPECT_FALSE(receiver.done());
    EXPECT_FALSE(sender.done());
    stop.request_stop();
    receiver.join();
    sender.join();
}

TEST(channel_never_ready, waits_forever) {
    static runtime* const left_alone = new runtime(never_ends());
    const std::size_t before = parked_for(*left_alone, "a channel that is never ready");   // if it is repeated
    static const auto none = channel<int>::nil();   // reachable, while the goroutines wait for ever
    auto receiver = left_alone->go([] { none.recv(); });
    auto sender = left_alone->go([] { none.send(1); });
    EXPECT_EVENTUALLY(parked_for(*left_alone, "a channel that is never ready") == before + 2);
    left_alone->run([] { this_goroutine::sleep_for(1ms); });
    EXPECT_FALSE(receiver.done());
    EXPECT_FALSE(sender.done());
}

// ---- Stop tokens ----------------------------------------------------------------------------------------------------

TEST_P(channel_lives, stop_ends_a_wait) {
    channel<single> direct(0), full(1);
    full.send(single(0));
    std::stop_source stop;
    std::atomic<int> ended{0};
    std::vector<join_handle<void>> all;
    const auto add = [&](auto f) {
        all.push_back(rt_.go([f, &ended, token = stop.get_token()]() mutable {
            EXPECT_THROW(f(token), cancelled);
            ++ended;
        }));
    };
    add([direct](const auto& token) mutable { direct.recv(token); });
    add([full](const auto& token) mutable { full.send(single(1), token); });
    ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1 && parked_for(rt_, "send") == 1);
    std::atomic<pid_t> tid{0};
    std::thread thread([&, token = stop.get_token()]() mutable {
        tid = this_tid();
        EXPECT_THROW(direct.recv(token), cancelled);
        ++ended;
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    EXPECT_EQ(ended.load(), 0);
    stop.request_stop();
    join_all(all);
    thread.join();
    EXPECT_EQ(ended.load(), 3);
    // Nobody is left in the queues.
    single value(2);
    EXPECT_FALSE(direct.try_send(std::move(value)));
    EXPECT_EQ(full.recv()->get(), 0);
    EXPECT_FALSE(full.try_recv());
    EXPECT_EQ(full.len(), 0u);
}

TEST_P(channel_lives, stop_that_came_before_ends_a_wait) {
    everywhere([] {
        std::stop_source stop;
        stop.request_stop();
        channel<single> ch(1);
        EXPECT_THROW(ch.recv(stop.get_token()), cancelled);
        EXPECT_THROW(channel<single>(0).send(single(1), stop.get_token()), cancelled);
        EXPECT_EQ(single::objects.load(), 0);
        // A token without a source is none.
        ch.send(single(3), std::stop_token());
        EXPECT_EQ(ch.recv(std::stop_token())->get(), 3);
    });
    channel<int> ch(0);
    auto receiver = rt_.go([ch]() mutable { return ch.recv(std::stop_token()); });
    ASSERT_EVENTUALLY(parked_for(rt_, "receive") == 1);
    ch.send(1);
    EXPECT_EQ(receiver.join(), 1);
}

// The stop and the partner come at the same time: either, and in the first case nothing has been moved.
TEST_P(channel_lives, stop_loses_and_doubles_nothing) {
    for (std::size_t i = 0; i < scaled(800, 150); ++i) {
        channel<single> ch(0);
        std::stop_source stop;
        auto receiver = rt_.go([ch, token = stop.get_token()]() mutable {
            try {
                return ch.recv(token)->get() == 1 ? 1 : -1;
            } catch (const cancelled&) {
                return 0;
            }
        });
        auto stopper = rt_.go([&] { stop.request_stop(); });
        int sent = 0;
        for (; !receiver.done(); this_goroutine::yield()) {
            sent += ch.try_send(single(1));
        }
        EXPECT_EQ(receiver.join(), sent);
        stopper.join();
    }
    for (std::size_t i = 0; i < scaled(800, 150); ++i) {
        channel<single> ch(0);
        std::stop_source stop;
        auto sender = rt_.go([ch, token = stop.get_token()]() mutable {
            try {
                ch.send(single(1), token);
                return 1;
            } catch (const cancelled&) {
                return 0;
            }
        });
        auto stopper = rt_.go([&] { stop.request_stop(); });
        int received = 0;
        for (; !sender.done(); this_goroutine::yield())
            if (ch.try_recv()) ++received;
        EXPECT_EQ(sender.join(), received);
        stopper.join();
    }
}

// Who gave up doesn't stand in the way of those behind him.
TEST_P(channel_lives, those_behind_one_who_gave_up_are_served) {
    channel<int> ch(0);
    std::stop_source stop;
    std::vector<join_handle<std::optional<int>>> all;
    for (int i = 0; i < 9; ++i) {
        all.push_back(rt_.go([ch, i, token = stop.get_token()]() mutable -> std::optional<int> {
            try {
                return i % 3 == 1 ? ch.recv() : ch.recv(token);
            } catch (const cancelled&) {
                return -1;
            }
        }));
        ASSERT_EVENTUALLY(parked_for(rt_, "receive") == all.size());
    }
    stop.request_stop();
    for (int i = 0; i < 3; ++i) ch.send(i);
    for (int i = 0; i < 9; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].join(), i % 3 == 1 ? i / 3 : -1) << i;
    EXPECT_FALSE(ch.try_send(9));
}

// ---- Threads, and several runtimes ----------------------------------------------------------------------------------

TEST_P(channel_lives, block_threads) {
    channel<int> ch(0);
    std::atomic<pid_t> tid{0};
    std::thread receiver([ch, &tid]() mutable {
        tid = this_tid();
        EXPECT_EQ(ch.recv(), 1);
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    rt_.run([ch]() mutable { ch.send(1); });
    receiver.join();

    tid = 0;
    std::thread sender([ch, &tid]() mutable {
        tid = this_tid();
        ch.send(2);
        EXPECT_THROW(ch.send(3), channel_closed);
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    EXPECT_EQ(rt_.run([ch]() mutable { return ch.recv(); }), 2);
    ch.close();
    sender.join();

    tid = 0;
    channel<int> other(0);
    std::thread closed([other, &tid]() mutable {
        tid = this_tid();
        EXPECT_FALSE(other.recv());
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    rt_.run([other]() mutable { other.close(); });
    closed.join();
}

// Senders and receivers of all kinds on one channel: each value arrives once, and the values of one sender at one
// receiver in their order.
TEST_P(channel_lives, connect_threads_and_goroutines_of_two_runtimes) {
    const int each = static_cast<int>(scaled(2'000));
    constexpr int senders = 6, receivers = 6;
    runtime other({.procs = 1});
    for (const std::size_t capacity : {0u, 1u, 16u}) {
        channel<std::pair<int, int>> ch(capacity);
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(senders * each));
        const auto send = [=](int who) mutable {
            for (int i = 0; i < each; ++i) ch.send({who, i});
        };
        const auto receive = [=, &seen]() mutable {
            std::array<int, senders> last;
            last.fill(-1);
            while (const auto v = ch.recv()) {
                const auto [who, i] = *v;
                EXPECT_GT(i, last[static_cast<std::size_t>(who)]);
                last[static_cast<std::size_t>(who)] = i;
                ++seen[static_cast<std::size_t>(who * each + i)];
            }
        };
        std::vector<std::thread> send_threads, receive_threads;
        std::vector<join_handle<void>> sending, receiving;
        for (int i = 0; i < receivers / 3; ++i) {
            receive_threads.emplace_back(receive);
            receiving.push_back(rt_.go(receive));
            receiving.push_back(other.go(receive));
        }
        for (int i = 0; i < senders / 3; ++i) {
            send_threads.emplace_back(send, 3 * i);
            sending.push_back(rt_.go(send, 3 * i + 1));
            sending.push_back(other.go(send, 3 * i + 2));
        }
        for (auto& t : send_threads) t.join();
        join_all(sending);
        ch.close();
        for (auto& t : receive_threads) t.join();
        join_all(receiving);
        for (std::size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i].load(), 1) << i;
    }
}

// Who wakes a goroutine of a runtime that then ends must be done with it by then.
TEST_P(channel_lives, wake_goroutines_of_runtimes_that_end) {
    for (std::size_t i = 0; i < scaled(300, 60); ++i) {
        channel<int> ch(0);
        {
            runtime brief({.procs = 1});
            brief.go([ch]() mutable { EXPECT_EQ(ch.recv(), 1); }).detach();
            if (i % 2) rt_.go([ch]() mutable { ch.send(1); }).detach();
            else std::thread([ch]() mutable { ch.send(1); }).detach();
        }
        channel<int> back(0);
        {
            runtime brief({.procs = 1});
            brief.go([back]() mutable { EXPECT_THROW(back.send(2), channel_closed); }).detach();
            if (i % 2) rt_.go([back]() mutable { back.close(); }).detach();
            else std::thread([back]() mutable { back.close(); }).detach();
        }
    }
}

// ---- Programs -------------------------------------------------------------------------------------------------------

// Go's test/chan/goroutines.go: a value goes through a chain of 10,000.
TEST_P(channel_lives, make_a_long_chain) {
    static constexpr int n = with_tsan ? 4'000 : with_asan ? 5'000 : 10'000;
    rt_.run([] {
        const channel<int> leftmost(0);
        channel<int> right = leftmost, left = leftmost;
        std::vector<join_handle<void>> all;
        for (int i = 0; i < n; ++i) {
            right = channel<int>(0);
            all.push_back(handoff::go([left, right]() mutable { left.send(*right.recv() + 1); }));
            left = right;
        }
        right.send(0);
        EXPECT_EQ(channel<int>(leftmost).recv(), n);
        join_all(all);
    });
}

// Go's test/chan/sieve1.go, but for its end: each stage closes the next.
TEST_P(channel_lives, sieve_primes) {
    const int limit = static_cast<int>(scaled(3'000));
    const auto found = rt_.run([=] {
        channel<int> ch(0);
        handoff::go([=]() mutable {
            for (int i = 2; i <= limit; ++i) ch.send(i);
            ch.close();
        }).detach();
        std::vector<int> primes;
        while (const auto prime = ch.recv()) {
            primes.push_back(*prime);
            channel<int> next(0);
            handoff::go([ch, next, p = *prime]() mutable {
                for (const int i : ch)
                    if (i % p != 0) next.send(i);
                next.close();
            }).detach();
            ch = next;
        }
        return primes;
    });
    std::vector<int> expected;
    for (int i = 2; i <= limit; ++i)
        if (std::none_of(expected.begin(), expected.end(), [i](int p) { return i % p == 0; })) expected.push_back(i);
    EXPECT_EQ(found, expected);
}

// Go's TestMultiConsumer.
TEST_P(channel_lives, serve_many_consumers) {
    constexpr int workers = 23;
    const std::size_t n = scaled(50'000, 5'000);
    channel<std::size_t> queue(workers), results(workers * 3);
    std::vector<join_handle<void>> all;
    for (int w = 0; w < workers; ++w)
        all.push_back(rt_.go([queue, results, w]() mutable {
            for (const std::size_t v : queue) {
                if (static_cast<std::size_t>(w) % (v % 7 + 1) == 0) this_goroutine::yield();
                results.send(v);
            }
        }));
    const std::array<std::size_t, 11> pattern{2, 3, 5, 7, 11, 13, 17, 19, 23, 27, 31};
    std::size_t expected = 0, got = 0, count = 0;
    for (std::size_t i = 0; i < n; ++i) expected += pattern[i % pattern.size()];
    auto feeder = rt_.go([&, queue, results]() mutable {
        for (std::size_t i = 0; i < n; ++i) queue.send(pattern[i % pattern.size()]);
        queue.close();
        join_all(all);
        results.close();
    });
    rt_.run([&, results]() mutable {
        for (const std::size_t v : results) {
            got += v;
            ++count;
        }
    });
    feeder.join();
    EXPECT_EQ(count, n);
    EXPECT_EQ(got, expected);
}

// A pair that plays ping-pong, and one that computes: the values get through.
TEST_P(channel_lives, play_ping_pong_beside_a_hog) {
    std::atomic<bool> over{false};
    auto hog = rt_.go([&] {
        while (!over) {
        }
    });
    channel<int> ping(0), pong(0);
    auto player = rt_.go([ping, pong]() mutable {
        for (const int v : ping) pong.send(v + 1);
    });
    rt_.run([&, ping, pong]() mutable {
        for (int i = 0; i < 100; ++i) {
            ping.send(i);
            EXPECT_EQ(pong.recv(), i + 1);
        }
        ping.close();
        over = true;
    });
    player.join();
    hog.join();
}

}  // namespace
