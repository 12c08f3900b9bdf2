// Timers that are stopped, reset and dropped by many while they fire, and timers beside busy channels and calls.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

namespace {

using namespace stress;
using handoff::channel;
using handoff::runtime;
using handoff::ticker;
using handoff::timer;
namespace this_goroutine = handoff::this_goroutine;
using instant = steady::time_point;

class Timers : public testing::TestWithParam<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Procs, Timers, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

// Soon, or just now, or not for a long time.
std::chrono::nanoseconds some_time(rng& rnd) {
    switch (rnd.below(8)) {
        case 0: return 0ns;
        case 1: return 1h;
        case 2: return std::chrono::nanoseconds(rnd.below(2'000'000));
        default: return std::chrono::nanoseconds(rnd.below(60'000));
    }
}

// Rarely sleeps, mostly spends some moments.
void moment(rng& rnd) {
    if (rnd.one_in(16)) this_goroutine::sleep_for(std::chrono::nanoseconds(rnd.below(100'000)));
    else if (rnd.one_in(4)) this_goroutine::yield();
    else compute(std::chrono::nanoseconds(rnd.below(20'000)));
}

// Something in a function's keeping that uses the library when it goes.
struct captured {
    std::atomic<std::uint64_t>* alive;
    handoff::mutex* m;
    channel<int> ch;
    captured(std::atomic<std::uint64_t>& count, handoff::mutex& lock, channel<int> to) : alive(&count), m(&lock), ch(std::move(to)) { ++count; }
    captured(const captured&) = delete;
    ~captured() {
        {
            const std::lock_guard hold(*m);
            --*alive;
        }
        ch.try_send(1);
        ch.try_recv();
        this_goroutine::yield();
    }
};

// Each start of a timer ends in one of two ways: its function is called, or a stop or reset says that it had been
// running. Counted over everybody who uses it, this is exact.
class shared_timer {
public:
    shared_timer(std::atomic<std::uint64_t>& alive, handoff::mutex& m, const channel<int>& ch) : alive_(alive), m_(m), ch_(ch) {}

    void step(rng& rnd) {
        const std::lock_guard hold(lock_);
        if (!t_) {
            auto counts = calls_ = std::make_shared<std::atomic<std::uint64_t>>(0);
            auto keeps = std::make_shared<captured>(alive_, m_, ch_);
            starts_ = 1;
            cancelled_ = 0;
            t_.emplace(some_time(rnd), [counts, keeps] { ++*counts; });
        } else if (rnd.one_in(3)) {
            cancelled_ += t_->stop();
            EXPECT_FALSE(t_->stop());
        } else if (rnd.one_in(12)) {
            t_.reset();   // pending, in flight, or just called
            EXPECT_LE(*calls_, starts_ - cancelled_);
            EXPECT_GE(*calls_ + 1 + in_flight_at_most, starts_ - cancelled_);
        } else {
            cancelled_ += t_->reset(some_time(rnd));
            ++starts_;
        }
    }

    // Once nobody else uses it: true if the count is right.
    bool settle() {
        const std::lock_guard hold(lock_);
        if (!t_) return true;
        cancelled_ += t_->stop();
        const auto deadline = steady::now() + 60s;
        while (*calls_ != starts_ - cancelled_ && steady::now() < deadline) this_goroutine::sleep_for(100us);
        this_goroutine::sleep_for(1ms);
        const bool right = *calls_ == starts_ - cancelled_;
        if (!right) ADD_FAILURE() << *calls_ << " calls of " << starts_ << " starts and " << cancelled_ << " cancelled";
        t_.reset();
        return right;
    }

private:
    // Functions that were to be called, but whose goroutines have not begun yet: any number, on a busy machine.
    static constexpr std::uint64_t in_flight_at_most = 1'000'000;

    std::atomic<std::uint64_t>& alive_;
    handoff::mutex& m_;
    const channel<int>& ch_;
    handoff::mutex lock_;   // one at a time
    std::shared_ptr<std::atomic<std::uint64_t>> calls_;
    std::uint64_t starts_ = 0, cancelled_ = 0;
    std::optional<timer> t_;
};

// Go's TestStopTimer and TestConcurrentTimerResetStop: threads, goroutines of the timers' runtime, and of another one.
TEST_P(Timers, AreStoppedResetAndDroppedByAll) {
    constexpr unsigned users = 9, steps = pick(4'000u, 1'200u, 500u), timers = 12;
    std::atomic<std::uint64_t> alive{0};
    handoff::mutex m;
    channel<int> ch(2);
    handoff::default_runtime();
    {
        runtime rt({.procs = GetParam()}), other({.procs = GetParam()});
        const watchdog dog(&rt);
        std::vector<std::unique_ptr<shared_timer>> all;
        for (unsigned i = 0; i < timers; ++i) all.push_back(std::make_unique<shared_timer>(alive, m, ch));
        const auto use = [&](unsigned user) {
            rng rnd(user + 100 * GetParam());
            for (unsigned i = 0; i < steps; ++i) {
                all[rnd.below(timers)]->step(rnd);
                if (rnd.one_in(3)) moment(rnd);
            }
        };
        std::vector<handoff::join_handle<void>> goroutines;
        std::vector<std::thread> threads;
        for (unsigned u = 0; u < users; ++u) {
            if (u % 3 == 0) threads.emplace_back(use, u);   // its timers are the default runtime's, if there is one
            else goroutines.push_back((u % 3 == 1 ? rt : other).go(use, u));
        }
        for (auto& h : goroutines) h.join();
        for (auto& t : threads) t.join();
        for (auto& t : all) EXPECT_TRUE(t->settle());
        all.clear();
        // What was dropped in flight is gone soon.
        const auto deadline = steady::now() + 60s;
        while (alive != 0 && steady::now() < deadline) std::this_thread::yield();
        EXPECT_EQ(alive, 0u);
        wait_for_end(rt);
        wait_for_end(other);
    }
    EXPECT_EQ(alive, 0u);
}

// A timer's channel holds nothing older than the last stop or reset.
TEST_P(Timers, LeaveNothingOldInTheirChannels) {
    constexpr unsigned users = 6, steps = pick(6'000u, 2'000u, 800u);
    runtime rt({.procs = GetParam()}), other({.procs = GetParam()});
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> received{0}, stopped{0};
    const auto use = [&](unsigned user) {
        rng rnd(user + 1000 * GetParam());
        instant started = steady::now();
        auto d = some_time(rnd);
        timer t = user % 2 == 0 ? timer(d) : rt.run([&] { return timer(d); });   // of its own runtime, or not
        channel<instant> ch = t.chan();
        bool runs = true;   // it has been started, and nothing has been received since
        for (unsigned i = 0; i < steps; ++i) {
            switch (rnd.below(4)) {
                case 0: {
                    const bool was = t.stop();
                    stopped += was;
                    EXPECT_EQ(was, runs);
                    EXPECT_EQ(ch.len(), 0u);
                    if (rnd.one_in(4)) moment(rnd);
                    EXPECT_FALSE(ch.try_recv());
                    runs = false;
                    break;
                }
                case 1:
                    if (const auto v = ch.try_recv()) {
                        EXPECT_TRUE(runs);
                        EXPECT_GE(*v, started + d);
                        ++received;
                        runs = false;
                    }
                    break;
                case 2:
                    if (runs && d < 1min) {
                        const auto v = ch.recv();   // comes
                        EXPECT_GE(*v, started + d);
                        ++received;
                        runs = false;
                    }
                    break;
                default: {
                    d = some_time(rnd);
                    started = steady::now();
                    const bool was = t.reset(d);
                    EXPECT_EQ(was, runs);
                    runs = true;
                    EXPECT_TRUE(d != 1h || ch.len() == 0);
                }
            }
            if (rnd.one_in(3)) moment(rnd);
        }
    };
    std::vector<handoff::join_handle<void>> goroutines;
    std::vector<std::thread> threads;
    for (unsigned u = 0; u < users; ++u) {
        if (u % 3 == 0) threads.emplace_back(use, u);
        else goroutines.push_back((u % 3 == 1 ? rt : other).go(use, u));
    }
    for (auto& h : goroutines) h.join();
    for (auto& t : threads) t.join();
    std::printf("P=%u: %llu received, %llu stopped\n", GetParam(), static_cast<unsigned long long>(received),
                static_cast<unsigned long long>(stopped));
    EXPECT_GT(received, 0u);
    EXPECT_GT(stopped, 0u);
}

// Many in the heaps at once, of which any may be taken out or moved; all others fire, none early.
TEST_P(Timers, FireInCrowds) {
    constexpr unsigned makers = 4, each = pick(4'000u, 1'500u, 800u);
    runtime rt({.procs = GetParam()});
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> fired{0}, expected{0}, early{0};
    std::vector<handoff::join_handle<void>> all;
    for (unsigned m = 0; m < makers; ++m)
        all.push_back(rt.go([&, m] {
            rng rnd(m + 17 * GetParam());
            std::vector<timer> mine;
            std::vector<std::unique_ptr<std::atomic<std::int64_t>>> due;
            for (unsigned i = 0; i < each; ++i) {
                auto& at = *due.emplace_back(std::make_unique<std::atomic<std::int64_t>>(INT64_MAX));
                const std::chrono::nanoseconds d(rnd.below(20'000'000));
                at = (steady::now() + d).time_since_epoch().count();
                mine.emplace_back(d, [&] {
                    early += steady::now().time_since_epoch().count() < at;
                    ++fired;   // last: `at` may go then
                });
                ++expected;
                if (rnd.one_in(3)) {
                    const std::size_t which = rnd.below(mine.size());
                    if (rnd.one_in(2)) {
                        expected -= mine[which].stop();
                    } else {
                        // The old function call may still be on its way, and must not be measured by the new time.
                        const bool ran = mine[which].stop();
                        expected -= ran;
                        if (!ran) continue;
                        const std::chrono::nanoseconds later(rnd.below(40'000'000));
                        *due[which] = (steady::now() + later).time_since_epoch().count();
                        mine[which].reset(later);
                        ++expected;
                    }
                }
                if (rnd.one_in(64)) this_goroutine::yield();
            }
            // Dropped only when they have all fired.
            while (fired != expected) this_goroutine::sleep_for(200us);
        }));
    for (auto& h : all) h.join();
    wait_for_end(rt);
    EXPECT_EQ(fired, expected);
    EXPECT_EQ(early, 0u);
}

// Go's TestAfterStress: short waits all the time, while the heaps are used by others, and runtimes come and go.
TEST_P(Timers, OfAfterUnderStress) {
    constexpr unsigned rounds = pick(3'000u, 1'000u, 400u);
    runtime rt({.procs = GetParam()});
    const watchdog dog(&rt);
    std::atomic<bool> over{false};
    auto churns = rt.go([&] {
        rng rnd(1);
        while (!over) {
            for (int i = 0; i < 10; ++i) handoff::after(std::chrono::nanoseconds(rnd.below(100'000)));
            std::vector<timer> dropped;
            for (int i = 0; i < 10; ++i) dropped.emplace_back(std::chrono::nanoseconds(rnd.below(100'000)), [] {});
            this_goroutine::yield();
        }
    });
    std::vector<handoff::join_handle<void>> all;
    for (unsigned k = 0; k < 3; ++k)
        all.push_back(rt.go([] {
            for (unsigned i = 0; i < rounds; ++i) {
                const auto before = steady::now();
                const auto v = handoff::after(1us).recv();
                EXPECT_GE(*v, before + 1us);
            }
        }));
    for (unsigned i = 0; i < rounds / 40; ++i) {
        // What is pending when a runtime ends is dropped.
        runtime passing({.procs = GetParam()});
        passing.run([&] {
            for (unsigned k = 0; k < 20; ++k) handoff::after(std::chrono::microseconds(k * 20));
            handoff::after(50us).recv();
        });
    }
    for (auto& h : all) h.join();
    over = true;
    churns.join();
}

// A runtime ends while its timers fire, are stopped and reset by others.
TEST_P(Timers, AreUsedWhileTheirRuntimeEnds) {
    constexpr unsigned rounds = pick(300u, 100u, 60u);
    const watchdog dog;
    std::atomic<std::uint64_t> alive{0};
    handoff::mutex m;
    channel<int> ch(2);
    for (unsigned r = 0; r < rounds; ++r) {
        std::vector<std::unique_ptr<timer>> timers;
        std::unique_ptr<ticker> ticks;
        std::atomic<bool> ended{false};
        std::atomic<unsigned> ready{0};
        std::vector<std::thread> users;
        rng rnd(r * 10 + GetParam());
        {
            runtime rt({.procs = GetParam()});
            rt.run([&] {
                for (unsigned i = 0; i < 6; ++i) {
                    auto keeps = std::make_shared<captured>(alive, m, ch);
                    if (i % 3 == 2) timers.push_back(std::make_unique<timer>(some_time(rnd)));
                    else timers.push_back(std::make_unique<timer>(some_time(rnd), [keeps] { this_goroutine::yield(); }));
                }
                ticks = std::make_unique<ticker>(10us);
            });
            for (unsigned u = 0; u < 2; ++u)
                users.emplace_back([&, u] {
                    rng mine(r * 1000 + u);
                    ++ready;
                    unsigned refused = 0;
                    while (!ended || refused == 0) {
                        const std::size_t which = mine.below(3) * 2 + u;   // its own
                        if (mine.one_in(3)) {
                            timers[which]->stop();
                        } else {
                            try {
                                timers[which]->reset(some_time(mine));
                            } catch (const handoff::usage_error&) {
                                ++refused;
                            }
                        }
                        if (mine.one_in(50)) std::this_thread::yield();
                    }
                });
            while (ready != 2) std::this_thread::yield();
            compute(std::chrono::nanoseconds(rnd.below(100'000)));
        }
        ended = true;
        for (auto& t : users) t.join();
        for (std::size_t i = 0; i < timers.size(); ++i) {
            const bool was = timers[i]->stop();
            if (i % 3 != 2) {
                EXPECT_FALSE(was);
            }   // else its time may lie unreceived in the channel
            EXPECT_FALSE(timers[i]->stop());
        }
        timers.clear();
        ASSERT_EQ(alive, 0u) << "round " << r;
    }
}

// Many that are due at once, and are dropped as they fire, whose functions keep something that uses the library when it
// goes.
TEST_P(Timers, AreDroppedInFlight) {
    constexpr unsigned rounds = pick(400u, 150u, 80u);
    const watchdog dog;
    std::atomic<std::uint64_t> alive{0};
    handoff::mutex m;
    channel<int> ch(2);
    for (unsigned r = 0; r < rounds; ++r) {
        runtime rt({.procs = GetParam()});
        std::vector<std::unique_ptr<timer>> all;
        const auto at = steady::now() + 400us;
        rt.run([&] {
            for (int i = 0; i < 64; ++i) {
                auto keeps = std::make_shared<captured>(alive, m, ch);
                all.push_back(std::make_unique<timer>(at - steady::now(), [keeps] {}));
            }
        });
        compute(at - steady::now() + std::chrono::microseconds(r % 60));
        while (!all.empty()) all.pop_back();   // the last one fires last
    }
    EXPECT_EQ(alive, 0u);
}

// Go's TestTimerFairness: a timer beside a channel that is always ready is chosen in the end; also where all
// processors are kept busy by channels.
TEST_P(Timers, AreFairBesideBusyChannels) {
    runtime rt({.procs = GetParam()});
    const watchdog dog(&rt);
    std::atomic<bool> over{false};
    std::vector<handoff::join_handle<void>> pairs;
    channel<int> busy(0);
    for (unsigned i = 0; i < 2 * GetParam(); ++i)
        pairs.push_back(rt.go([&, ch = busy]() mutable {
            while (!over) ch.send_for(1, 1ms);
        }));
    times late;
    for (int round = 0; round < 20; ++round) {
        const auto before = steady::now();
        const auto at = rt.run([&] {
            const timer t(10ms);
            std::optional<instant> fired;
            while (!fired) handoff::select(handoff::on_recv(busy), handoff::on_recv(t.chan(), fired));
            return *fired;
        });
        EXPECT_GE(at, before + 10ms);
        late.add(steady::now() - before - 10ms);
    }
    over = true;
    for (auto& h : pairs) h.join();
    late.print("beside channels");
    EXPECT_LT(late.quantile(0.5), 1000);   // by far
}

// Go's TestTimerFairness2: with calls, guarded and not, on all processors.
TEST_P(Timers, AreFairBesideCalls) {
    runtime rt({.procs = GetParam()});
    const watchdog dog(&rt);
    std::atomic<bool> over{false};
    const pipe_ends pipe;
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < 2 * GetParam(); ++i)
        all.push_back(rt.go([&, i] {
            rng rnd(i);
            while (!over) {
                const std::chrono::microseconds d(rnd.below(200));
                if (i % 3 == 0) handoff::blocking_call(sleep_in_kernel, d);
                else if (i % 3 == 1) handoff::blocking_call([&] { return pipe.put() && pipe.get(); });
                else sleep_in_kernel(d);
            }
        }));
    times late;
    for (int round = 0; round < 20; ++round) {
        const auto before = steady::now();
        std::atomic<bool> called{false};
        rt.run([&] {
            timer g(5ms, [&] { called = true; });
            while (!called) handoff::after(1ms).recv();
            EXPECT_FALSE(g.stop());
        });
        late.add(steady::now() - before - 5ms);
    }
    over = true;
    for (auto& h : all) h.join();
    late.print("beside calls");
    EXPECT_LT(late.quantile(0.5), 1000);
}

// Tickers of many periods, stopped and reset by their readers.
TEST_P(Timers, TickersTickOn) {
    constexpr unsigned readers = 16, ticks = pick(400u, 150u, 60u);
    runtime rt({.procs = GetParam()});
    const watchdog dog(&rt);
    std::vector<handoff::join_handle<void>> all;
    for (unsigned r = 0; r < readers; ++r)
        all.push_back(rt.go([r] {
            rng rnd(r);
            std::chrono::nanoseconds period(rnd.between(1'000, 300'000));
            auto start = steady::now();
            ticker t(period);
            channel<instant> ch = t.chan();
            std::int64_t n = 0;
            for (unsigned i = 0; i < ticks; ++i) {
                const auto v = ch.recv();
                EXPECT_GE(*v, start + ++n * period);
                if (rnd.one_in(20)) {
                    if (rnd.one_in(2)) t.stop();
                    period = std::chrono::nanoseconds(rnd.between(1'000, 300'000));
                    start = steady::now();
                    t.reset(period);
                    n = 0;
                }
            }
        }));
    for (auto& h : all) h.join();
}

}  // namespace
