// Channels and select: each value arrives once, in order, and nobody waits in vain.
#include "explore_runtime.hpp"

#include <handoff/select_cases.hpp>

#include <optional>
#include <vector>

using namespace explore;
using handoff::channel;
using handoff::join_handle;
using handoff::runtime;

namespace {

// What two senders sent, by the receivers' notes.
class received {
public:
    void note(int v) {
        const int sender = v / 100, n = v % 100;
        EXPLORE_CHECK(sender >= 0 && sender < 2);
        if (seen_[sender] & 1u << n) fail("value %d arrived twice", v);
        seen_[sender] |= 1u << n;
    }
    unsigned count() const { return static_cast<unsigned>(__builtin_popcount(seen_[0]) + __builtin_popcount(seen_[1])); }

private:
    unsigned seen_[2] = {};
};

// Two senders, two receivers, of them one a thread; a close ends it.
void exchange(std::size_t capacity) {
    runtime rt(quiet(1 + choose(2)));
    const channel<int> ch(capacity);
    received all;
    const auto send = [&](int sender) {
        for (int i = 0; i < 3; ++i) {
            const int v = sender * 100 + i;
            switch (choose(3)) {
                case 0:
                    if (ch.try_send(v)) break;
                    [[fallthrough]];
                case 1:
                    if (ch.send_for(v, std::chrono::nanoseconds(choose(2'000)))) break;
                    [[fallthrough]];
                default: ch.send(v);
            }
        }
    };
    const auto receive = [&] {
        int last[2] = {-1, -1};
        for (;;) {
            std::optional<int> v;
            if (perhaps()) v = ch.try_recv();
            if (!v && perhaps()) v = ch.recv_for(std::chrono::nanoseconds(choose(2'000)));
            if (!v) v = ch.recv();
            if (!v) return;
            all.note(*v);
            EXPLORE_CHECK(*v % 100 > last[*v / 100]);
            last[*v / 100] = *v % 100;
        }
    };
    auto receiver = rt.go(receive);
    thread outside(receive);
    auto a = rt.go(send, 0), b = rt.go(send, 1);
    a.join();
    b.join();
    ch.close();
    receiver.join();
    outside.join();
    EXPLORE_CHECK(all.count() == 6);
}

EXPLORE_SCENARIO(unbuffered, "channel.unbuffered", 100'000, .length = 2'500) { exchange(0); }
EXPLORE_SCENARIO(buffered, "channel.buffered", 100'000, .length = 2'500) { exchange(1 + choose(2)); }

// Waits that are plain, between goroutines: from hand to hand.
EXPLORE_SCENARIO(ping_pong, "channel.ping_pong", 100'000, .length = 1'200) {
    runtime rt(quiet(1 + choose(2)));
    const channel<int> there(0), back(0);
    auto echo = rt.go([&] {
        for (auto v = there.recv(); v; v = there.recv()) back.send(*v + 1);
    });
    rt.go([&] {
          for (int i = 0; i < 3; ++i) {
              there.send(i);
              EXPLORE_CHECK(back.recv() == i + 1);
          }
          there.close();
      }).join();
    echo.join();
}

// A close reaches everybody who waits.
EXPLORE_SCENARIO(close_wakes_all, "channel.close", 100'000, .length = 1'200) {
    runtime rt(quiet(2));
    const channel<int> ch(choose(2));
    unsigned sent = 0, got = 0, refused = 0;
    const auto send = [&] {
        try {
            ch.send(1);
            ++sent;
        } catch (const handoff::channel_closed&) {
            ++refused;
        }
    };
    join_handle<void> senders[] = {rt.go(send), rt.go(send)};
    const auto receive = [&] {
        while (ch.recv()) ++got;
    };
    join_handle<void> receivers[] = {perhaps() ? rt.go(receive) : rt.go([] {}), perhaps() ? rt.go(receive) : rt.go([] {})};
    if (perhaps()) rt.go([&] { ch.close(); }).join();
    else ch.close();
    for (auto& h : senders) h.join();
    for (auto& h : receivers) h.join();
    receive();   // what is left in the ring
    EXPLORE_CHECK(sent + refused == 2 && got == sent);
}

// Two channels: a receiver that selects gets each value once, and never two for one select.
EXPLORE_SCENARIO(select_receives, "select.receive", 100'000, .length = 2'500) {
    runtime rt(quiet(1 + choose(2)));
    const channel<int> a(choose(2)), b(choose(2));
    received all;
    const auto receive = [&](unsigned n) {
        while (n > 0) {
            unsigned fired = 0;
            const auto take = [&](std::optional<int> v) {
                all.note(*v);
                ++fired;
            };
            if (perhaps()) {
                const auto i = handoff::select(handoff::on_recv(a, take), handoff::on_recv(b, take),
                                               handoff::on_timeout(std::chrono::nanoseconds(choose(2'000))));
                EXPLORE_CHECK(fired == (i < 2 ? 1u : 0u));
            } else {
                handoff::select(handoff::on_recv(a, take), handoff::on_recv(b, take));
                EXPLORE_CHECK(fired == 1);
            }
            n -= fired;
        }
    };
    join_handle<void> receivers[] = {rt.go(receive, 2u), rt.go(receive, 2u)};
    auto first = rt.go([&] {
        for (int i = 0; i < 2; ++i) a.send(i);
    });
    thread second([&] {
        for (int i = 0; i < 2; ++i) b.send(100 + i);
    });
    for (auto& h : receivers) h.join();
    first.join();
    second.join();
    EXPLORE_CHECK(all.count() == 4);
}

// Selects meet selects: each of three sends on one channel or receives from the other; what is sent is received.
EXPLORE_SCENARIO(select_meets_select, "select.crossing", 100'000, .length = 2'500) {
    runtime rt(quiet(2));
    const channel<int> a(0), b(0), end(0);
    int sent = 0, got = 0;
    const auto body = [&](bool turned) {
        const auto &mine = turned ? a : b, &other = turned ? b : a;
        for (bool goes_on = true; goes_on;) {
            int s = 0, r = 0;
            handoff::select(handoff::on_send(mine, 1, [&] { ++s; }),
                            handoff::on_recv(other, [&](std::optional<int>) { ++r; }),
                            handoff::on_recv(end, [&](std::optional<int>) { goes_on = false; }));
            EXPLORE_CHECK(s + r == (goes_on ? 1 : 0));
            sent += s;
            got += r;
            if (sent > 3) linger();
        }
    };
    join_handle<void> all[] = {rt.go(body, false), rt.go(body, true), rt.go(body, false)};
    compute(choose(200));
    for (auto& h : all) {
        (void)h;
        end.send(0);
    }
    for (auto& h : all) h.join();
    EXPLORE_CHECK(sent == got);
}

// A select waits for a channel, a counter and the end of a goroutine, which come at about the same time: it takes one of
// them, and the others are as if it had never waited for them.
EXPLORE_SCENARIO(select_waits_for_events, "select.events", 100'000, .length = 2'500) {
    runtime rt(quiet(1 + choose(2)));
    const channel<int> ch(choose(2));
    handoff::wait_group counter;
    counter.add();
    int sent = 0, got = 0;
    auto ends = rt.go([] { compute(choose(100)); });
    auto counts = rt.go([&] {
        compute(choose(100));
        counter.done();
    });
    thread sends([&] {
        compute(choose(100));
        if (ch.send_for(1, std::chrono::microseconds(50))) ++sent;
    });
    auto selects = rt.go([&] {
        const auto take = [&](std::optional<int> v) { got += *v; };
        std::size_t which;
        if (perhaps())
            which = handoff::select(handoff::on_join(ends), handoff::on_done(counter), handoff::on_recv(ch, take));
        else
            which = handoff::select(handoff::on_recv(ch, take), handoff::on_done(counter), handoff::on_join(ends),
                                    handoff::on_timeout(std::chrono::nanoseconds(choose(300))));
        (void)which;
        counter.wait();
        ends.join();
    });
    selects.join();
    counts.join();
    sends.join();
    if (auto v = ch.try_recv()) got += *v;
    EXPLORE_CHECK(sent == got);
}

// An unbounded channel: nobody who sends waits, and what is sent arrives once.
EXPLORE_SCENARIO(unbounded, "channel.unbounded", 100'000, .length = 2'500) {
    runtime rt(quiet(1 + choose(2)));
    const channel<int> ch(handoff::unbounded);
    received all;
    const auto send = [&](int sender) {
        for (int i = 0; i < 3; ++i) ch.send(sender * 100 + i);
    };
    const auto receive = [&] {
        while (auto v = ch.recv()) all.note(*v);
    };
    auto first = rt.go(send, 0);
    thread second([&] { send(1); });
    join_handle<void> receivers[] = {rt.go(receive), rt.go(receive)};
    first.join();
    second.join();
    ch.close();
    for (auto& h : receivers) h.join();
    EXPLORE_CHECK(all.count() == 6);
}

// Two selects and a plain waiter for the permits of a semaphore and an event, which come one by one: each is taken once.
EXPLORE_SCENARIO(select_acquires, "select.permits", 100'000, .length = 2'500) {
    runtime rt(quiet(1 + choose(2)));
    handoff::counting_semaphore<> a(0);
    handoff::auto_reset_event b;
    int got = 0;
    const auto take = [&] {
        const auto limit = std::chrono::nanoseconds(choose(500));
        const std::size_t which = perhaps() ? handoff::select(handoff::on_acquire(a), handoff::on_set(b), handoff::on_timeout(limit))
                                            : handoff::select(handoff::on_set(b), handoff::on_acquire(a));
        if (which < 2) ++got;
    };
    join_handle<void> takers[] = {rt.go(take), rt.go(take)};
    thread gives([&] {
        a.release();
        compute(choose(100));
        b.set();
    });
    if (a.try_acquire_for(std::chrono::nanoseconds(choose(300)))) ++got;
    a.release();
    gives.join();
    for (auto& h : takers) h.join();
    while (a.try_acquire()) ++got;
    if (b.try_wait()) ++got;
    EXPLORE_CHECK(got == 3);
}

}  // namespace
