// select: that it chooses at random, what its cases hold, cases known only at run time, and programs that use it.
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

class select_choices : public channel_suite {};
INSTANTIATE_TEST_SUITE_P(procs, select_choices, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

// expect_even: `hits` of `tries` came with a chance of 1 in `choices`, give or take ten standard deviations.
void expect_even(std::size_t hits, std::size_t tries, unsigned choices) {
    const double n = static_cast<double>(tries), p = 1.0 / choices;
    EXPECT_LT(std::abs(static_cast<double>(hits) - n * p), 10 * std::sqrt(n * p * (1 - p)))
        << hits << " of " << tries << ", 1 in " << choices;
}
// ---- At random ------------------------------------------------------------------------------------------------------

// Each of four cases that are always ready, two of them on one channel.
TEST_P(select_choices, choose_evenly_among_rings) {
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
TEST_P(select_choices, are_fair) {
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
TEST_P(select_choices, choose_evenly_among_waiting_partners) {
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
TEST_P(select_choices, send_at_random) {
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

TEST_P(select_choices, give_back_what_was_not_sent) {
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

TEST_P(select_choices, let_exceptions_of_their_functions_out) {
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
TEST_P(select_choices, nest) {
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

TEST_P(select_choices, keep_temporary_channels) {
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
TEST_P(select_choices, survive_functions_whose_moves_throw) {
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

TEST_P(select_choices, carry_values_whose_moves_throw) {
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

TEST_P(select_choices, refuse_two_of_a_kind) {
    everywhere([] {
        channel<int> direct(0);
        EXPECT_THROW(handoff::select(on_recv(direct), otherwise(), otherwise()), usage_error);
        EXPECT_THROW(handoff::select(on_stop({}), on_recv(direct), on_stop({})), usage_error);
    });
}

// ---- Cases known only at run time -----------------------------------------------------------------------------------

TEST_P(select_choices, take_any_number_of_cases) {
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
TEST_P(select_choices, stress) {
    const std::size_t n = scaled(5'000);
    const std::array<channel<int>, 4> c{channel<int>(0), channel<int>(0), channel<int>(2), channel<int>(3)};
    std::vector<join_handle<void>> all;
    for (const auto& one : c) {
        all.push_back(rt_.go([=, ch = one]() mutable {
            for (std::size_t i = 0; i < n; ++i) {
                ch.send(0);
                if (i % 2) this_goroutine::yield();
            }
        }));
        all.push_back(rt_.go([=, ch = one]() mutable {
            for (std::size_t i = 0; i < n; ++i) {
                ch.recv();
                if (i % 2) this_goroutine::yield();
            }
        }));
    }
    for (const bool sends : {false, true})
        all.push_back(rt_.go([=, &c] {
            std::array<std::size_t, 4> times{};
            auto left = c;   // those that are finished become never ready
            for (std::size_t i = 0; i < 4 * n; ++i) {
                const auto k = sends ? handoff::select(on_send(left[3], 0), on_send(left[2], 0), on_send(left[0], 0),
                                                       on_send(left[1], 0))
                                     : handoff::select(on_recv(left[0]), on_recv(left[1]), on_recv(left[2]),
                                                       on_recv(left[3]));
                const std::array<std::size_t, 4> order{3, 2, 0, 1};
                const std::size_t which = sends ? order[k] : k;
                if (++times[which] == n) left[which] = channel<int>::nil();
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
        std::array<channel<rational>, 2> answer{channel<rational>::nil(), channel<rational>::nil()};
        std::array<rational, 2> got;
        for (int n = 0; n < 4; ++n) {
            const auto take = [&](std::size_t k) {
                return [&, k](std::optional<rational> c) {
                    got[k] = *c;
                    answer[k] = channel<rational>::nil();
                };
            };
            const auto asked = [&](std::size_t k) {
                return [&, k] {
                    ask[k] = channel<char>::nil();
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

TEST_P(select_choices, compute_power_series) {
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
