// timer, ticker and after: when they fire, what stop and reset say, and what is left behind.
#include "locks.hpp"

#include <map>
#include <optional>

using handoff::after;
using handoff::channel;
using handoff::runtime;
using handoff::ticker;
using handoff::timer;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

using instant = steady::time_point;

class timers : public with_procs {};
INSTANTIATE_WITH_PROCS(timers);
class tickers : public with_procs {};
INSTANTIATE_WITH_PROCS(tickers);

static_assert(!std::is_copy_constructible_v<timer> && !std::is_copy_assignable_v<timer>);
static_assert(std::is_nothrow_move_constructible_v<timer>);
static_assert(!std::is_copy_constructible_v<ticker> && !std::is_copy_assignable_v<ticker>);

// How many timers rt has in its heaps.
unsigned pending(const runtime& rt) {
    unsigned n = 0;
    for (const auto& p : rt.snapshot().processors) n += p.timers;
    return n;
}

// The next value of ch, which must come.
instant next(channel<instant> ch) {
    const auto v = ch.recv_for(patience);
    EXPECT_TRUE(v);
    return v.value_or(instant::max());
}

TEST_P(timers, fire_once_and_never_early) {
    on_both(rt_, [] {
        for (const std::chrono::nanoseconds d : {-5'000'000ns, 0ns, 1ns, 1'000'000ns, 15'000'000ns}) {
            const auto before = steady::now();
            const timer t(d);
            const auto fired = next(t.chan());
            EXPECT_GE(fired, before + std::max(d, 0ns));
            EXPECT_LE(fired, steady::now());
            channel<instant> ch = t.chan();
            EXPECT_FALSE(ch.recv_for(3ms));
            EXPECT_EQ(ch.cap(), 1u);
        }
        const auto before = steady::now();
        EXPECT_GE(next(timer(std::chrono::duration<double, std::micro>(1500.5)).chan()), before + 1'500'500ns);
    });
}

TEST_P(timers, call_their_function_once) {
    on_both(rt_, [] {
        std::atomic<int> calls{0};
        std::atomic<bool> on_goroutine{false};
        std::atomic<instant> at{instant()};
        const auto before = steady::now();
        timer t(3ms, [&] {
            at = steady::now();
            on_goroutine = this_goroutine::id() != 0;
            ++calls;
        });
        EXPECT_FALSE(t.chan());
        ASSERT_EVENTUALLY(calls == 1);
        EXPECT_GE(at.load(), before + 3ms);
        EXPECT_TRUE(on_goroutine);
        EXPECT_FALSE(t.stop());
        this_goroutine::sleep_for(5ms);
        EXPECT_EQ(calls, 1);
    });
}

// In the runtime of who made it, and none of its goroutines while it waits.
TEST_P(timers, belong_to_the_runtime_of_their_maker) {
    channel<int> go_on(0);
    auto t = rt_.run([&] { return timer(1h, [go_on]() mutable { go_on.recv(); }); });
    EXPECT_EQ(pending(rt_), 1u);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
    EXPECT_TRUE(t.reset(1ms));
    EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
    EXPECT_EQ(pending(rt_), 0u);
    EXPECT_FALSE(t.stop());   // it runs
    go_on.send(1);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

TEST_P(timers, may_wait_for_centuries) {
    on_both(rt_, [] {
        timer a(std::chrono::nanoseconds::max()), b(std::chrono::hours::max()), c(std::chrono::duration<double>(1e300), [] { FAIL(); });
        EXPECT_TRUE(a.reset(std::chrono::hours::max()));
        EXPECT_FALSE(channel<instant>(a.chan()).recv_for(1ms));
        EXPECT_TRUE(a.stop() && b.stop() && c.stop());
        ticker d(std::chrono::hours::max());
        d.reset(std::chrono::duration<double>(1e300));
        EXPECT_FALSE(d.chan().recv_for(1ms));
    });
}

TEST_P(timers, stop_before_they_fire) {
    on_both(rt_, [] {
        std::atomic<int> calls{0};
        timer a(1h), b(1h, [&] { ++calls; });
        EXPECT_TRUE(a.stop());
        EXPECT_TRUE(b.stop());
        EXPECT_FALSE(a.stop());
        EXPECT_FALSE(b.stop());
    });
    EXPECT_EQ(pending(rt_), 0u);
}

// As from Go 1.23 on: nothing old is left, and what nobody has received has not happened.
TEST_P(timers, stop_after_they_fired_and_take_the_time_back) {
    on_both(rt_, [] {
        timer t(1ms);
        ASSERT_EVENTUALLY(t.chan().len() == 1);
        EXPECT_TRUE(t.stop());
        EXPECT_EQ(t.chan().len(), 0u);
        EXPECT_FALSE(t.stop());
        timer u(1ms);
        next(u.chan());
        EXPECT_FALSE(u.stop());
        // What programs for older versions of Go do.
        for (int i = 0; i < 1000; ++i) {
            timer quick(std::chrono::nanoseconds(i * 37 % 3'000));
            if (!quick.stop()) next(quick.chan());
            EXPECT_EQ(quick.chan().len(), 0u);
        }
    });
}

TEST_P(timers, are_reset_while_they_run_after_they_fired_and_when_stopped) {
    on_both(rt_, [] {
        timer t(1h);
        auto before = steady::now();
        EXPECT_TRUE(t.reset(2ms));
        EXPECT_GE(next(t.chan()), before + 2ms);

        before = steady::now();
        EXPECT_FALSE(t.reset(2ms));   // received
        EXPECT_GE(next(t.chan()), before + 2ms);

        EXPECT_FALSE(t.reset(0ms));
        ASSERT_EVENTUALLY(t.chan().len() == 1);
        EXPECT_TRUE(t.reset(1h));   // not received
        EXPECT_EQ(t.chan().len(), 0u);
        before = steady::now();
        EXPECT_TRUE(t.reset(2ms));
        EXPECT_GE(next(t.chan()), before + 2ms);

        EXPECT_FALSE(t.stop());
        EXPECT_FALSE(t.reset(1h));
        EXPECT_TRUE(t.stop());
        before = steady::now();
        EXPECT_FALSE(t.reset(1ms));
        EXPECT_GE(next(t.chan()), before + 1ms);
        EXPECT_EQ(t.chan().len(), 0u);
    });
}

// Those who wait on the channel wait on.
TEST_P(timers, may_be_reset_while_somebody_receives) {
    timer t = rt_.run([] { return timer(1h); });
    const auto before = steady::now();
    auto receiver = rt_.go([ch = t.chan()]() mutable { return ch.recv(); });
    ASSERT_EVENTUALLY(waiting(rt_, "receive") == 1);
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.reset(1h));
    EXPECT_EQ(waiting(rt_, "receive"), 1u);
    EXPECT_TRUE(t.reset(1ms));
    EXPECT_GE(receiver.join(), before + 1ms);
}

// They become due at every moment of the receiver's way into its wait.
TEST_P(timers, fire_while_their_receiver_goes_to_sleep) {
    rt_.run([] {
        for (std::size_t i = 0; i < scaled(20'000, 5'000); ++i) {
            const std::chrono::nanoseconds d(i * 7 % 3'000);
            const auto before = steady::now();
            const auto at = after(d).recv();   // without a limit
            ASSERT_TRUE(at);
            EXPECT_GE(*at, before + d);
        }
    });
}

TEST_P(timers, are_reset_and_stopped_by_their_own_function) {
    on_both(rt_, [] {
        handoff::mutex lock;   // one at a time
        std::optional<timer> t;
        std::atomic<int> calls{0};
        {
            const std::lock_guard hold(lock);
            t.emplace(1ms, [&] {
                const std::lock_guard inner(lock);
                EXPECT_FALSE(t->stop());
                if (calls < 9) {
                    EXPECT_FALSE(t->reset(10us));
                }
                ++calls;
            });
        }
        ASSERT_EVENTUALLY(calls == 10);
        const std::lock_guard hold(lock);
        EXPECT_FALSE(t->stop());
    });
}

TEST_P(timers, are_dropped_by_their_own_function) {
    on_both(rt_, [] {
        auto token = std::make_shared<int>(0);
        channel<std::unique_ptr<timer>> to_function(1);
        std::atomic<bool> over{false};
        auto t = std::make_unique<timer>(1h, [&over, to_function, token]() mutable {
            to_function.recv()->reset();   // its last handle
            EXPECT_EQ(token.use_count(), 2);
            over = true;
        });
        t->reset(1ms);
        to_function.send(std::move(t));
        ASSERT_EVENTUALLY(over.load());
        EXPECT_EVENTUALLY(token.use_count() == 1);
    });
}

TEST_P(timers, that_are_dropped_stop) {
    on_both(rt_, [] {
        auto token = std::make_shared<int>(0);
        {
            const timer t(1h, [token] { FAIL(); }), u(1h);
            EXPECT_EQ(token.use_count(), 2);
        }
        EXPECT_EQ(token.use_count(), 1);
        channel<instant> ch = timer(5ms).chan();
        EXPECT_FALSE(ch.recv_for(10ms));
    });
    EXPECT_EQ(pending(rt_), 0u);
}

TEST_P(timers, that_are_dropped_let_their_function_end) {
    on_both(rt_, [] {
        auto token = std::make_shared<int>(0);
        channel<int> begun(0), go_on(0);
        std::atomic<bool> over{false};
        {
            const timer t(1ms, [&over, begun, go_on, token]() mutable {
                begun.send(1);
                go_on.recv();
                EXPECT_GE(token.use_count(), 2);
                over = true;
            });
            begun.recv();
        }
        EXPECT_EQ(token.use_count(), 2);
        go_on.send(1);
        EXPECT_EVENTUALLY(over.load());
        EXPECT_EVENTUALLY(token.use_count() == 1);
    });
}

TEST_P(timers, move) {
    on_both(rt_, [] {
        auto first = std::make_shared<int>(0), second = std::make_shared<int>(0);
        std::atomic<int> calls{0};
        timer a(1h, [&calls, first] { ++calls; });
        timer b(std::move(a));
        EXPECT_EQ(first.use_count(), 2);
        EXPECT_TRUE(b.reset(1h));
        b = timer(1h, [&calls, second] { ++calls; });
        EXPECT_EQ(first.use_count(), 1);   // assigned over: dropped
        EXPECT_TRUE(b.reset(1ms));
        EXPECT_EVENTUALLY(calls == 1);
        timer c(1h), d(1ms);
        channel<instant> old = c.chan();
        c = std::move(d);
        EXPECT_FALSE(c.chan() == old);
        next(c.chan());
        EXPECT_FALSE(c.reset(1h));
        EXPECT_TRUE(c.stop());
    });
}

// Whatever becomes of the object that it came from.
TEST_P(timers, that_are_assigned_over_stop) {
    on_both(rt_, [] {
        auto token = std::make_shared<int>(0);
        timer a(1h, [token] {}), b(1h);
        a = std::move(b);
        EXPECT_EQ(token.use_count(), 1);
    });
}

// One heap: the times that were sent are in the order of the times that were wanted.
TEST_P(timers, fire_in_the_order_of_their_times) {
    auto rng = seeded_random("timers.fire_in_the_order_of_their_times");
    struct entry {
        instant earliest, latest;   // when it is due, but for the moment that its making took
        timer t;
    };
    rt_.run([&] {
        std::vector<entry> all;
        const std::size_t n = scaled(5'000, 1'000);
        all.reserve(n);
        for (std::size_t i = 0; i < n; ++i) {
            const std::chrono::nanoseconds d(rng() % 50'000'000);
            const auto before = steady::now();
            timer t(d);
            all.push_back({before + d, steady::now() + d, std::move(t)});
        }
        std::vector<std::pair<entry*, instant>> fired;
        for (entry& e : all) {
            fired.emplace_back(&e, next(e.t.chan()));
            EXPECT_GE(fired.back().second, e.earliest);
        }
        if (GetParam() != 1) return;   // several heaps
        std::sort(fired.begin(), fired.end(), [](const auto& a, const auto& b) { return a.first->earliest < b.first->earliest; });
        std::size_t compared = 0;
        for (std::size_t i = 1; i < fired.size(); ++i) {
            if (fired[i - 1].first->latest >= fired[i].first->earliest) continue;   // who knows
            ++compared;
            EXPECT_LE(fired[i - 1].second, fired[i].second);
        }
        EXPECT_GT(compared, n / 4);
    });
    EXPECT_EQ(pending(rt_), 0u);
}

TEST_P(timers, all_fire_if_there_are_many) {
    const std::size_t n = scaled(20'000, 2'000);
    std::atomic<std::size_t> calls{0};
    rt_.run([&] {
        std::vector<timer> all;
        for (std::size_t i = 0; i < n; ++i) all.emplace_back(std::chrono::microseconds(i % 5'000), [&] { ++calls; });
        EXPECT_EVENTUALLY(calls == n);
    });
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
    EXPECT_EQ(calls, n);
}

// A timer takes no goroutine.
TEST_P(timers, cost_no_goroutine_while_they_wait) {
    rt_.run([&] {
        const auto before = rt_.stats().spawned;
        std::vector<timer> all;
        for (int i = 0; i < 1'000; ++i) all.emplace_back(1h);
        for (int i = 0; i < 1'000; ++i) all.emplace_back(1h, [] {});
        EXPECT_EQ(pending(rt_), 2'000u);
        EXPECT_EQ(rt_.stats().spawned, before);
    });
    EXPECT_EQ(pending(rt_), 0u);
}

TEST_P(timers, are_used_from_another_runtime) {
    timer t = rt_.run([] { return timer(1h); });
    std::atomic<int> calls{0};
    timer f = rt_.run([&] { return timer(1h, [&] { ++calls; }); });
    other_.run([&] {
        EXPECT_TRUE(t.stop());
        EXPECT_FALSE(t.stop());
        EXPECT_EQ(pending(rt_), 1u);
        EXPECT_FALSE(t.reset(1h));
        EXPECT_EQ(pending(rt_), 2u);
        EXPECT_EQ(pending(other_), 0u);
        const auto before = steady::now();
        EXPECT_TRUE(t.reset(2ms));
        EXPECT_GE(next(t.chan()), before + 2ms);
        EXPECT_TRUE(f.reset(1ms));
        EXPECT_EVENTUALLY(calls == 1);
        EXPECT_FALSE(f.stop());
    });
    std::thread([&] {
        EXPECT_FALSE(t.reset(1ms));
        next(t.chan());
        EXPECT_FALSE(f.reset(1h));
    }).join();
    EXPECT_EQ(pending(rt_), 1u);
    EXPECT_TRUE(f.stop());
    EXPECT_EQ(pending(rt_), 0u);
}

// A deadline that comes before those that the idle runtime waits for.
TEST_P(timers, wake_an_idle_runtime_in_time) {
    timer late = rt_.run([] { return timer(1h); });
    timer t = rt_.run([] { return timer(1h); });
    for (int i = 0; i < 20; ++i) {
        ASSERT_EVENTUALLY(idle_processors(rt_) == GetParam());
        t.reset(1ms);
        next(t.chan());
    }
    EXPECT_TRUE(late.stop());
}

TEST_P(timers, do_not_keep_a_runtime_and_outlive_it) {
    auto token = std::make_shared<int>(0);
    std::optional<runtime> rt(std::in_place, handoff::options{.procs = GetParam()});
    std::optional<timer> t, f, stopped;
    std::optional<ticker> k;
    channel<instant> let_go;
    rt->run([&] {
        t.emplace(1h);
        f.emplace(1h, [token] { FAIL(); });
        stopped.emplace(1h);
        EXPECT_TRUE(stopped->stop());
        k.emplace(1h);
        let_go = after(1h);
    });
    rt.reset();   // at once
    const auto use = [&] {
        for (timer* each : {&*t, &*f, &*stopped}) {
            EXPECT_FALSE(each->stop());
            EXPECT_NE(thrown_by<handoff::usage_error>([&] { each->reset(1ms); }).find("runtime of a timer has ended"), std::string::npos);
            EXPECT_FALSE(each->stop());
        }
        EXPECT_THROW(k->reset(1ms), handoff::usage_error);
        k->stop();
        EXPECT_FALSE(channel<instant>(t->chan()).recv_for(2ms));
        EXPECT_FALSE(channel<instant>(k->chan()).try_recv());
        EXPECT_FALSE(let_go.try_recv());
    };
    on_both(rt_, use);
    EXPECT_EQ(token.use_count(), 2);
    f.reset();
    EXPECT_EQ(token.use_count(), 1);
}

// What is due just as the runtime ends fires, or not; nothing is left either way.
TEST_P(timers, leave_nothing_when_they_fire_at_the_end_of_their_runtime) {
    auto rng = seeded_random("timers.leave_nothing_when_they_fire_at_the_end_of_their_runtime");
    auto token = std::make_shared<int>(0);
    std::atomic<int> begun{0}, ended{0};
    for (std::size_t i = 0; i < scaled(400, 80); ++i) {
        std::vector<timer> all;
        {
            runtime rt({.procs = GetParam()});
            rt.run([&] {
                for (int k = 0; k < 8; ++k)
                    all.emplace_back(std::chrono::nanoseconds(rng() % 300'000), [&, token] {
                        ++begun;
                        this_goroutine::yield();
                        ++ended;
                    });
                for (int k = 0; k < 4; ++k) after(std::chrono::nanoseconds(rng() % 300'000));
            });
        }
        ASSERT_EQ(begun, ended);
        for (timer& t : all) EXPECT_FALSE(t.stop());
        all.clear();
        ASSERT_EQ(token.use_count(), 1) << "round " << i;
    }
}

TEST_P(timers, of_after_take_part_in_select) {
    on_both(rt_, [] {
        const channel<int> never(0);
        auto before = steady::now();
        std::optional<instant> at;
        EXPECT_EQ(handoff::select(handoff::on_recv(never), handoff::on_recv(after(2ms), [&](std::optional<instant> v) { at = v; })), 1u);
        ASSERT_TRUE(at);
        EXPECT_GE(*at, before + 2ms);
        channel<int> ready(1);
        ready.send(1);
        EXPECT_EQ(handoff::select(handoff::on_recv(after(1h)), handoff::on_recv(ready)), 1u);
        // The first of several, again and again.
        before = steady::now();
        const timer slow(1h), quick(1ms);
        EXPECT_EQ(handoff::select(handoff::on_recv(slow.chan()), handoff::on_recv(quick.chan())), 1u);
        EXPECT_GE(steady::now(), before + 1ms);
        EXPECT_EQ(handoff::select(handoff::on_recv(slow.chan()), handoff::on_recv(quick.chan()), handoff::otherwise()), 2u);
    });
}

TEST_P(timers, of_after_fire_once_though_nobody_holds_them) {
    on_both(rt_, [] {
        for (int i = 0; i < 100; ++i) after(1ms);   // nobody receives
        const auto before = steady::now();
        channel<instant> ch = after(3ms);
        EXPECT_GE(next(ch), before + 3ms);
        EXPECT_FALSE(ch.recv_for(2ms));
        EXPECT_FALSE(ch.closed());
    });
    EXPECT_EVENTUALLY(pending(rt_) == 0);
}

// A loop around a select does not keep what it no longer waits for.
TEST_P(timers, of_after_go_with_the_last_who_could_receive) {
    rt_.run([this] {
        for (int i = 0; i < 100; ++i) {
            EXPECT_EQ(handoff::select(handoff::on_recv(after(1h)), handoff::otherwise()), 1u);
            ASSERT_EQ(pending(rt_), 0u);
        }
        channel<instant> kept = after(1h);
        {
            const channel<instant> copy = kept;
            kept = {};
            EXPECT_EQ(pending(rt_), 1u);
        }
        EXPECT_EQ(pending(rt_), 0u);
        kept = after(1ms);
        ASSERT_EVENTUALLY(kept.len() == 1);   // dropped with its time in it
    });
    // By a thread, and by another runtime.
    channel<instant> a = rt_.run([] { return after(1h); }), b = rt_.run([] { return after(1h); });
    EXPECT_EQ(pending(rt_), 2u);
    a = {};
    EXPECT_EQ(pending(rt_), 1u);
    other_.run([&] { b = {}; });
    EXPECT_EQ(pending(rt_), 0u);
}

// They become due while their channel goes.
TEST_P(timers, of_after_fire_as_their_channel_goes) {
    auto rng = seeded_random("timers.of_after_fire_as_their_channel_goes");
    std::vector<std::uint64_t> seeds(4);
    for (auto& s : seeds) s = rng();
    crowd all;
    for (std::size_t k = 0; k < seeds.size(); ++k)
        all.start(k == 0 ? other_ : rt_, k == 1, [this, k, seed = seeds[k]] {
            std::mt19937_64 random(seed);
            for (std::size_t i = 0; i < scaled(5'000, 1'000); ++i) {
                const std::chrono::nanoseconds d(random() % 20'000);
                const auto until = steady::now() + d + std::chrono::nanoseconds(random() % 4'000) - 2us;
                channel<instant> ch = random() % 4 == 0 ? rt_.run([d] { return after(d); }) : k == 1 ? after(rt_, d) : after(d);
                while (steady::now() < until) {
                }
                if (random() % 3 == 0) ch.try_recv();
            }
        });
    all.join();
    EXPECT_EQ(pending(rt_), 0u);
}

// Go's TestTimerModifiedEarlier.
TEST_P(timers, fire_after_they_were_made_earlier) {
    rt_.run([] {
        for (std::size_t i = 0; i < scaled(1'000); ++i) {
            timer t(1h);
            for (int k = 0; k < 10; ++k) {
                t.stop();
                t.reset(-1000h);
            }
            ASSERT_TRUE(channel<instant>(t.chan()).recv_for(patience));
        }
    });
}

// Go's TestTimerModifiedOdd: every second one is changed, earlier or later.
TEST_P(timers, fire_if_every_second_one_is_changed) {
    rt_.run([&] {
        std::vector<timer> all;
        constexpr std::size_t n = 512;
        for (std::size_t i = 0; i < n; ++i) all.emplace_back(1h + std::chrono::seconds(i * 37 % n));
        const auto before = steady::now();
        for (std::size_t i = 1; i < n; i += 2) EXPECT_TRUE(all[i].reset(i % 4 == 1 ? std::chrono::nanoseconds(100 * i) : 2h));
        EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const timer& t) { return t.chan().len() > 1; }), 0);
        for (std::size_t i = 1; i < n; i += 4) EXPECT_GE(next(all[i].chan()), before + std::chrono::nanoseconds(100 * i));
        for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(all[i].stop(), i % 4 != 1) << i;
    });
    EXPECT_EQ(pending(rt_), 0u);
}

// Go's TestZeroTimer.
TEST_P(timers, of_no_time_fire_again_and_again) {
    rt_.run([] {
        timer t(0s);
        for (std::size_t i = 0; i < scaled(20'000, 2'000); ++i) {
            ASSERT_TRUE(channel<instant>(t.chan()).recv_for(patience));
            EXPECT_FALSE(t.reset(0s));
        }
    });
}

// Rule 1: whatever the goroutines do.
TEST_P(timers, fire_while_all_processors_are_away) {
    for (const int how : {0, 1, 2}) {
        std::atomic<int> calls{0}, over{0};
        const timer t = rt_.run([] { return timer(5ms); });
        const timer f = rt_.run([&] { return timer(5ms, [&] { ++calls; }); });
        const auto fired = [&] { return calls == 1 && t.chan().len() == 1; };
        std::vector<handoff::join_handle<void>> all;
        for (unsigned i = 0; i < GetParam(); ++i)
            all.push_back(rt_.go([&, how] {
                bool seen = false;
                if (how == 0) seen = compute_until(fired);
                else if (how == 1) seen = block_until(fired);
                else seen = handoff::blocking_call(handoff::handoff_policy::sysmon, [&] { return block_until(fired); });
                over += seen;
            }));
        for (auto& h : all) h.join();
        EXPECT_EQ(over, static_cast<int>(GetParam()));
    }
}

TEST(timers_beside_a_computation, are_fired_by_an_idle_processor) {
    runtime rt({.procs = 1, .unguarded_grace = 1h, .retake_running_after = 1h});
    std::atomic<bool> fired{false}, awake{false};
    auto sleeper = rt.go([&] {
        this_goroutine::sleep_for(20ms);
        awake = true;
    });
    rt.run([&] {
        const timer t(20ms, [&] { fired = true; });
        this_goroutine::yield();   // both are with the only processor
        rt.set_procs(2);
        EXPECT_TRUE(compute_until([&] { return fired && awake; }));
    });
    sleeper.join();
}

TEST_P(timers, survive_a_change_of_processors) {
    std::vector<timer> all;
    rt_.set_procs(4);
    for (int i = 0; i < 200; ++i) rt_.run([&] { all.emplace_back(i % 2 == 0 ? 20ms : 1h); });
    rt_.set_procs(1);
    for (std::size_t i = 0; i < all.size(); i += 2) next(all[i].chan());
    EXPECT_EVENTUALLY(rt_.snapshot().processors.size() == 1);
    for (std::size_t i = 1; i < all.size(); i += 2) EXPECT_TRUE(all[i].stop());
    EXPECT_EQ(pending(rt_), 0u);
}

// ---- ticker --------------------------------------------------------------------------------------------------------

TEST_P(tickers, are_never_early) {
    on_both(rt_, [] {
        constexpr auto period = 2ms;
        const auto before = steady::now();
        const ticker t(period);
        instant last{};
        for (int i = 1; i <= 15; ++i) {
            const auto tick = next(t.chan());
            EXPECT_GE(tick, before + i * period);
            EXPECT_GT(tick, last);
            EXPECT_LE(tick, steady::now());
            last = tick;
        }
    });
}

// A late tick is followed by one at start + n * period, which is sooner than a period later.
TEST_P(tickers, do_not_put_off_later_ticks) {
    static constexpr auto period = 20ms;
    const ticker t = rt_.run([] { return ticker(period); });
    channel<instant> ch = t.chan();
    bool caught_up = false;
    const auto deadline = steady::now() + patience;
    while (!caught_up && steady::now() < deadline) {
        // All processors are kept until half a period after the next tick.
        const auto tick = next(ch);
        const auto until = tick + period * 3 / 2;
        runtime& rt = rt_;
        std::vector<handoff::join_handle<void>> all;
        for (unsigned i = 0; i < rt.procs(); ++i)
            all.push_back(rt.go([&] { compute_until([&] { return steady::now() > until; }); }));
        for (auto& h : all) h.join();
        const auto late = next(ch), after_it = next(ch);
        caught_up = late > tick + period && after_it - late < period;
    }
    EXPECT_TRUE(caught_up);
}

TEST_P(tickers, do_not_wait_for_slow_receivers) {
    on_both(rt_, [] {
        constexpr auto period = 1ms;
        const auto start = steady::now();
        const ticker t(period);
        channel<instant> ch = t.chan();
        ASSERT_EVENTUALLY(ch.len() == 1);
        this_goroutine::sleep_until(start + 20 * period);
        for (int i = 0; i < 5; ++i) {
            EXPECT_EQ(ch.len(), 1u);
            const auto before = steady::now();
            EXPECT_LE(next(ch), before);     // the one that lay ready
            EXPECT_GE(next(ch), before);     // and no other
            ASSERT_EVENTUALLY(ch.len() == 1);
        }
        EXPECT_EQ(ch.cap(), 1u);
    });
}

TEST_P(tickers, stop_and_start_anew) {
    on_both(rt_, [] {
        ticker t(1ms);
        channel<instant> ch = t.chan();
        next(ch);
        ASSERT_EVENTUALLY(ch.len() == 1);
        t.stop();
        EXPECT_EQ(ch.len(), 0u);
        EXPECT_FALSE(ch.recv_for(5ms));
        t.stop();
        auto before = steady::now();
        t.reset(3ms);
        for (int i = 1; i <= 3; ++i) EXPECT_GE(next(ch), before + i * 3ms);
        t.reset(1ms);   // while it runs, and something lies ready
        ASSERT_EVENTUALLY(ch.len() == 1);
        before = steady::now();
        t.reset(2ms);
        for (int i = 1; i <= 3; ++i) EXPECT_GE(next(ch), before + i * 2ms);
        t.reset(1h);
        EXPECT_EQ(ch.len(), 0u);
    });
    EXPECT_EQ(pending(rt_), 0u);
}

TEST_P(tickers, that_are_dropped_stop) {
    on_both(rt_, [] {
        channel<instant> ch;
        {
            const ticker t(1ms);
            ch = t.chan();
            next(ch);
        }
        EXPECT_FALSE(ch.recv_for(5ms));
    });
    EXPECT_EQ(pending(rt_), 0u);
    rt_.run([] {
        ticker a(1ms), b(1h);
        const channel<instant> of_a = a.chan();
        b = std::move(a);
        EXPECT_TRUE(b.chan() == of_a);
        next(b.chan());
    });
    EXPECT_EQ(pending(rt_), 0u);
}

TEST_P(tickers, need_a_period) {
    on_both(rt_, [] {
        EXPECT_NE(thrown_by<handoff::usage_error>([] { ticker t(0s); }).find("period"), std::string::npos);
        EXPECT_THROW(ticker(-1ns), handoff::usage_error);
        EXPECT_THROW(ticker(std::chrono::duration<double>(0)), handoff::usage_error);
        ticker t(1ms);
        EXPECT_THROW(t.reset(0ms), handoff::usage_error);
        EXPECT_THROW(t.reset(-1h), handoff::usage_error);
        next(t.chan());   // as before
        next(t.chan());
    });
    EXPECT_EQ(pending(rt_), 0u);
}

// As often as it goes; the others go on.
TEST_P(tickers, may_have_the_shortest_period) {
    rt_.run([] {
        ticker t(1ns), part(std::chrono::duration<double, std::nano>(0.1));
        for (int i = 0; i < 100; ++i) {
            next(t.chan());
            next(part.chan());
        }
        handoff::go([] { this_goroutine::sleep_for(1ms); }).join();
        t.stop();
        part.stop();
        EXPECT_EQ(t.chan().len(), 0u);
        EXPECT_FALSE(channel<instant>(t.chan()).recv_for(2ms));
    });
}

TEST_P(tickers, do_not_keep_a_runtime) {
    for (int i = 0; i < 20; ++i) {
        std::optional<ticker> t;
        {
            runtime rt({.procs = GetParam()});
            rt.run([&] {
                t.emplace(10us);
                next(t->chan());
            });
        }
        t->stop();
        EXPECT_FALSE(channel<instant>(t->chan()).recv_for(1ms));
        EXPECT_THROW(t->reset(1ms), handoff::usage_error);
    }
}

TEST_P(tickers, serve_several_receivers) {
    constexpr int receivers = 4;
    const ticker t = rt_.run([] { return ticker(500us); });
    std::atomic<int> got{0};
    std::vector<handoff::join_handle<std::vector<instant>>> all;
    for (int i = 0; i < receivers; ++i)
        all.push_back((i % 2 == 0 ? rt_ : other_).go([&, ch = t.chan()]() mutable {
            std::vector<instant> mine;
            while (got++ < 40)
                if (auto v = ch.recv_for(patience)) mine.push_back(*v);
            return mine;
        }));
    std::vector<instant> ticks;
    for (auto& h : all) {
        const auto mine = h.join();
        ticks.insert(ticks.end(), mine.begin(), mine.end());
    }
    std::sort(ticks.begin(), ticks.end());
    EXPECT_EQ(ticks.size(), 40u);
    EXPECT_EQ(std::adjacent_find(ticks.begin(), ticks.end()), ticks.end());   // each tick once
}

}  // namespace
