// Channels and select against simple models: exactly, by one goroutine that does everything; and by many goroutines and
// threads at once, for what holds in any order.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace {

using namespace stress;
using handoff::channel;
using handoff::channel_closed;
using handoff::on_recv;
using handoff::on_send;
using handoff::on_timeout;
using handoff::otherwise;

// Values that count themselves, and whose moves can't be copied by mistake. T is moved without exceptions or, as far as
// the compiler knows, with them: the two kinds take different ways through a channel.
template <bool Throws>
class item {
public:
    static inline std::atomic<long> alive{0};

    explicit item(std::uint64_t n) : n_(n) { ++alive; }
    item(item&& other) noexcept(!Throws) : n_(std::exchange(other.n_, gone)) { ++alive; }
    item& operator=(item&& other) noexcept(!Throws) {
        n_ = std::exchange(other.n_, gone);
        return *this;
    }
    ~item() { --alive; }
    std::uint64_t get() const noexcept { return n_; }

    static constexpr std::uint64_t gone = ~std::uint64_t{0};

private:
    std::uint64_t n_;
};

// ---- One goroutine against a model, step by step --------------------------------------------------------------------

template <class T>
class model {
public:
    explicit model(std::size_t capacity) : capacity_(capacity), ch_(capacity) {}

    bool can_send() const { return closed_ || values_.size() < capacity_; }
    bool can_recv() const { return closed_ || !values_.empty(); }

    void send(std::uint64_t n, rng& r) {
        T value(n);
        bool sent = false, thrown = false;
        try {
            switch (r.below(can_send() ? 4 : 3)) {   // send() only if it need not wait
                case 0: sent = ch_.try_send(std::move(value)); break;
                case 1: sent = ch_.send_for(std::move(value), std::chrono::nanoseconds(0)); break;
                case 2: sent = ch_.send_until(std::move(value), steady::time_point()); break;
                default:
                    ch_.send(T(n));
                    value = T(T::gone);
                    sent = true;
            }
        } catch (const channel_closed&) {
            thrown = true;
        }
        ASSERT_EQ(thrown, closed_);
        ASSERT_EQ(sent, !closed_ && values_.size() < capacity_);
        ASSERT_EQ(value.get(), sent ? T::gone : n);
        if (sent) values_.push_back(n);
    }

    void recv(rng& r) {
        std::optional<T> got;
        const auto take = [&](std::optional<T> v) {
            if (v) got.emplace(std::move(*v));
        };
        switch (r.below(can_recv() ? 4 : 3)) {
            case 0: take(ch_.try_recv()); break;
            case 1: take(ch_.recv_for(std::chrono::nanoseconds(0))); break;
            case 2: take(ch_.recv_until(steady::time_point())); break;
            default: take(ch_.recv()); break;
        }
        received(got);
    }

    void received(const std::optional<T>& got) {
        ASSERT_EQ(got.has_value(), !values_.empty());
        if (!got) return;
        ASSERT_EQ(got->get(), values_.front());
        values_.pop_front();
    }
    void was_sent(std::uint64_t n) {
        ASSERT_FALSE(closed_);
        ASSERT_LT(values_.size(), capacity_);
        values_.push_back(n);
    }

    void close() {
        if (closed_) {
            EXPECT_THROW(ch_.close(), handoff::usage_error);
        } else {
            ch_.close();
        }
        closed_ = true;
    }

    void check() const {
        ASSERT_EQ(ch_.len(), values_.size());
        ASSERT_EQ(ch_.cap(), capacity_);
        ASSERT_EQ(ch_.closed(), closed_);
    }

    bool closed() const { return closed_; }
    std::size_t size() const { return values_.size(); }
    channel<T>& ch() { return ch_; }

private:
    std::size_t capacity_;
    channel<T> ch_;
    std::deque<std::uint64_t> values_;
    bool closed_ = false;
};

template <class T>
class differential {
public:
    explicit differential(rng& r) : r_(r) {
        for (const std::size_t capacity : {0u, 1u, 2u, 3u, 8u, 64u})
            all_.push_back(std::make_unique<model<T>>(capacity));
    }

    void step() {
        const std::size_t at = r_.below(all_.size());
        model<T>& m = *all_[at];
        switch (r_.below(8)) {
            case 0: case 1: m.send(++next_, r_); break;
            case 2: case 3: m.recv(r_); break;
            case 4: case 5: case 6: select(); break;
            default:
                if (!r_.one_in(50)) break;
                m.close();
                m.check();
                if (r_.one_in(2)) all_[at] = std::make_unique<model<T>>(r_.below(10));   // with what is left in it
        }
        all_[at]->check();
        long in_rings = 0;
        for (const auto& each : all_) in_rings += static_cast<long>(each->size());
        ASSERT_EQ(T::alive.load(), in_rings);
    }

private:
    // Some sends and receives, any of them twice. Exactly those are ready that the model says.
    void select() {
        struct chosen {
            model<T>* m;
            bool sends;
            std::uint64_t n;
        };
        std::vector<chosen> wanted;
        std::vector<handoff::select_case> cases;
        std::optional<T> got;
        bool any = false;
        for (std::size_t k = r_.below(12); k > 0; --k) {
            chosen c{all_[r_.below(all_.size())].get(), r_.one_in(2), ++next_};
            any = any || (c.sends ? c.m->can_send() : c.m->can_recv());
            if (c.sends) {
                cases.push_back(on_send(c.m->ch(), T(c.n)));
            } else {
                cases.push_back(on_recv(c.m->ch(), [&got](std::optional<T> v) {
                    if (v) got.emplace(std::move(*v));
                }));
            }
            wanted.push_back(c);
        }
        if (any && r_.one_in(2)) cases.push_back(on_timeout(1h));
        else cases.push_back(otherwise());
        try {
            const std::size_t i = handoff::select(cases);
            ASSERT_EQ(i < wanted.size(), any);
            if (!any) return;
            if (wanted[i].sends) wanted[i].m->was_sent(wanted[i].n);
            else wanted[i].m->received(got);
            wanted[i].m->check();
        } catch (const channel_closed&) {
            const auto refused = [](const chosen& c) { return c.sends && c.m->closed(); };
            ASSERT_TRUE(std::any_of(wanted.begin(), wanted.end(), refused));
        }
    }

    rng& r_;
    std::vector<std::unique_ptr<model<T>>> all_;
    std::uint64_t next_ = 0;
};

template <class T>
void run_differential(std::uint64_t stream) {
    constexpr int steps = pick(400'000, 100'000, 60'000);
    rng r(stream);
    differential<T> d(r);
    for (int i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) d.step();
}

TEST(Differential, OfOneGoroutine) {
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    rt.run(run_differential<item<false>>, 1);
    EXPECT_EQ(item<false>::alive.load(), 0);
}

TEST(Differential, OfOneThread) {
    const watchdog dog;
    run_differential<item<false>>(2);
    EXPECT_EQ(item<false>::alive.load(), 0);
}

TEST(Differential, OfValuesInBoxes) {
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    rt.run(run_differential<item<true>>, 3);
    EXPECT_EQ(item<true>::alive.load(), 0);
}

// ---- Many at once ---------------------------------------------------------------------------------------------------

// Channels of various capacities; senders and receivers use them in whatever way comes up. A value says who sent it,
// and which of his it is. Everything that was sent arrives once, and what one sender sent on one channel arrives at
// each receiver in its order.
template <class T>
class crowd {
public:
    static constexpr std::size_t channels = 5;

    explicit crowd(std::size_t senders, std::uint64_t each)
        : each_(each), seen_(senders * each), sent_(senders * each) {
        for (const std::size_t capacity : {0u, 0u, 1u, 4u, 50u}) ch_.emplace_back(capacity);
    }

    void send(std::uint64_t who) {
        rng r(100 + who);
        auto ch = ch_;
        for (std::uint64_t i = 0; i < each_; ++i) {
            const std::uint64_t n = who * each_ + i;
            T value(n);
            // Attempts that may fail, until one did not; some values are given up.
            bool done = false;
            for (int attempt = 0; !done && attempt < 2; ++attempt) done = attempt_send(ch, value, r);
            if (done != (value.get() == T::gone)) ++errors_;
            if (done) sent_[n].store(1, std::memory_order_relaxed);
            operations_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    void receive(std::uint64_t who) {
        rng r(10'000 + who);
        auto ch = ch_;
        std::array<std::vector<std::uint64_t>, channels> last;
        for (auto& l : last) l.assign(sent_.size() / each_, 0);
        for (std::size_t open = channels; open > 0;) {
            const auto take = [&](std::size_t k, std::optional<T> v) {
                if (!v) return;
                const std::uint64_t n = v->get();
                if (n >= seen_.size()) {
                    ++errors_;
                    return;
                }
                seen_[n].fetch_add(1, std::memory_order_relaxed);
                // Numbers from 1 on, so that 0 is none.
                std::uint64_t& before = last[k][n / each_];
                if (n % each_ + 1 <= before) ++errors_;
                before = n % each_ + 1;
                operations_.fetch_add(1, std::memory_order_relaxed);
            };
            // Those that are closed and empty become never ready.
            const auto end = [&](std::size_t k) {
                ch[k] = channel<T>::nil();
                --open;
            };
            const std::size_t k = r.below(channels);
            if (!ch[k]) continue;
            switch (r.below(6)) {
                case 0: take(k, ch[k].try_recv()); break;
                case 1: take(k, ch[k].recv_for(std::chrono::microseconds(r.below(30)))); break;
                case 2:
                    // The first one never waits for one channel alone: all receivers could come to wait for one, and
                    // all senders for another.
                    if (who == 0) break;
                    if (auto v = ch[k].recv()) take(k, std::move(v));
                    else end(k);
                    break;
                case 3: {
                    const std::size_t a = r.below(channels), b = r.below(channels);
                    const auto on = [&](std::size_t c) {
                        return [&, c](std::optional<T> v) { take(c, std::move(v)); };
                    };
                    const auto ca = ch[a], cb = ch[b];
                    handoff::select(on_recv(ca, on(a)), on_recv(cb, on(b)),
                                    on_timeout(std::chrono::microseconds(r.below(50))));
                    break;
                }
                default: {
                    std::vector<handoff::select_case> cases;
                    std::size_t ended = channels;
                    const auto of = ch;
                    for (std::size_t c = 0; c < channels; ++c)
                        cases.push_back(on_recv(of[c], [&, c](std::optional<T> v) {
                            if (v) take(c, std::move(v));
                            else ended = c;
                        }));
                    if (r.one_in(2)) cases.push_back(otherwise());
                    handoff::select(cases);
                    if (ended != channels) end(ended);
                }
            }
        }
    }

    void close() {
        for (auto& c : ch_) c.close();
    }

    void check() {
        EXPECT_EQ(errors_.load(), 0u);
        std::uint64_t arrived = 0;
        for (std::size_t n = 0; n < seen_.size(); ++n) {
            ASSERT_EQ(seen_[n].load(), sent_[n].load()) << "value " << n;
            arrived += seen_[n];
        }
        std::printf("%llu of %zu values sent, %llu operations\n", static_cast<unsigned long long>(arrived),
                    seen_.size(), static_cast<unsigned long long>(operations_.load()));
        EXPECT_GT(arrived, seen_.size() / 2);
        for (auto& c : ch_) EXPECT_EQ(c.len(), 0u);
    }

private:
    bool attempt_send(std::vector<channel<T>>& ch, T& value, rng& r) {
        channel<T>& to = ch[r.below(channels)];
        const std::uint64_t n = value.get();
        switch (r.below(6)) {
            case 0: return to.try_send(std::move(value));
            case 1: return to.send_for(std::move(value), std::chrono::microseconds(r.below(30)));
            case 2: to.send(std::move(value)); return true;
            case 3: {
                std::stop_source stop;   // a wait with a stop token goes another way
                to.send(std::move(value), stop.get_token());
                return true;
            }
            case 4: {
                auto a = on_send(to, std::move(value)), b = on_send(ch[r.below(channels)], T(n));
                const bool sent = handoff::select(a, b, on_timeout(std::chrono::microseconds(r.below(50)))) != 2;
                if (!sent) value = *a.value();
                return sent;
            }
            default: {
                std::vector<handoff::select_case> cases;
                for (auto& c : ch) cases.push_back(on_send(c, T(n)));
                if (r.one_in(2)) cases.push_back(otherwise());
                if (handoff::select(cases) == channels) return false;
                value = T(T::gone);
                return true;
            }
        }
    }

    const std::uint64_t each_;
    std::vector<channel<T>> ch_;
    std::vector<std::atomic<int>> seen_, sent_;
    std::atomic<std::uint64_t> errors_{0}, operations_{0};
};

class Crowd : public testing::TestWithParam<unsigned> {};

template <class T>
void run_crowd(unsigned procs, std::uint64_t each) {
    constexpr std::uint64_t goroutines = 12, threads = 3;
    {
        handoff::runtime rt({.procs = procs}), other({.procs = 1});
        const watchdog dog(&rt);
        crowd<T> c(goroutines + threads, each);
        std::vector<handoff::join_handle<void>> sending, receiving;
        std::vector<std::thread> send_threads, receive_threads;
        for (std::uint64_t i = 0; i < threads; ++i) {
            send_threads.emplace_back([&c, i] { c.send(i); });
            receive_threads.emplace_back([&c, i] { c.receive(i); });
        }
        for (std::uint64_t i = threads; i < threads + goroutines; ++i) {
            handoff::runtime& where = i % 4 == 0 ? other : rt;
            sending.push_back(where.go([&c, i] { c.send(i); }));
            receiving.push_back(where.go([&c, i] { c.receive(i); }));
        }
        for (auto& t : send_threads) t.join();
        for (auto& h : sending) h.join();
        c.close();
        for (auto& t : receive_threads) t.join();
        for (auto& h : receiving) h.join();
        c.check();
    }
    EXPECT_EQ(T::alive.load(), 0);
}

TEST_P(Crowd, LosesAndDoublesNothing) {
    run_crowd<item<false>>(GetParam(), pick(20'000u, 4'000u, 1'500u));
}

TEST_P(Crowd, LosesAndDoublesNothingInBoxes) {
    run_crowd<item<true>>(GetParam(), pick(5'000u, 1'000u, 500u));
}

// ---- Closed in the middle -------------------------------------------------------------------------------------------

// Senders, receivers and selects of all kinds, and somebody who closes while they are at it: a value arrives, or its
// sender is told that the channel is closed.
void close_in_the_middle(handoff::runtime& rt, rng& r) {
    using value = item<false>;
    constexpr unsigned senders = 4, receivers = 4, per_sender = 200;
    channel<value> ch(r.below(3));
    std::array<std::atomic<int>, senders * per_sender> seen{}, sent{};
    std::atomic<unsigned> refused{0}, furthest{0};
    std::vector<handoff::join_handle<void>> all;
    std::vector<std::thread> threads;
    const auto start = [&](auto f) {
        if (r.one_in(4)) threads.emplace_back(f);
        else all.push_back(rt.go(f));
    };
    for (unsigned who = 0; who < senders; ++who)
        start([&, ch, who]() mutable {
            for (unsigned i = 0; i < per_sender; ++i) {
                const unsigned n = who * per_sender + i;
                value v(n);
                furthest = i;
                try {
                    bool done = true;
                    if (i % 3 == 0) ch.send(std::move(v));
                    else if (i % 3 == 1) done = ch.send_for(std::move(v), 20us);
                    else handoff::select(on_send(ch, std::move(v)), on_send(channel<value>::nil(), value(n)));
                    if (done) ++sent[n];
                } catch (const channel_closed&) {
                    ++refused;
                }
            }
        });
    for (unsigned k = 0; k < receivers; ++k)
        start([&, ch, k]() mutable {
            for (bool open = true; open;) {
                const auto take = [&](std::optional<value> v) {
                    if (v) ++seen[v->get()];
                    else open = false;
                };
                if (k % 2) take(ch.recv());
                else handoff::select(on_recv(ch, take), on_recv(channel<value>::nil()));
            }
        });
    // The closer comes when some sender has got so far.
    const unsigned after = static_cast<unsigned>(r.below(per_sender));
    start([&, ch, after]() mutable {
        while (furthest.load() < after) handoff::this_goroutine::yield();
        ch.close();
    });
    for (auto& h : all) h.join();
    for (auto& t : threads) t.join();
    for (std::size_t n = 0; n < seen.size(); ++n) ASSERT_EQ(seen[n].load(), sent[n].load()) << n;
}

TEST_P(Crowd, ClosedInTheMiddle) {
    {
        handoff::runtime rt({.procs = GetParam()});
        const watchdog dog(&rt);
        rng r(50'000 + GetParam());
        for (int round = 0; round < pick(150, 25, 15) && !HasFatalFailure(); ++round) close_in_the_middle(rt, r);
    }
    EXPECT_EQ(item<false>::alive.load(), 0);
}

INSTANTIATE_TEST_SUITE_P(Procs, Crowd, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

}  // namespace
