// watch: receivers see the newest value; waits, stops, its end, and values whose copy throws.
#include "locks.hpp"

#include <handoff/watch.hpp>

#include <stdexcept>
#include <stop_token>

using handoff::cancelled;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using handoff::usage_error;
using handoff::watch;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

constexpr auto reason = "condition_variable";

class watches : public with_procs {};
INSTANTIATE_WITH_PROCS(watches);

TEST_P(watches, show_the_newest_value) {
    on_both(rt_, [] {
        watch<std::string> w("first");
        auto r = w.subscribe(), other = w.subscribe();
        EXPECT_EQ(r.next(), "first") << "it has not seen that";
        EXPECT_EQ(r.try_next(), std::nullopt);
        EXPECT_FALSE(r.changed_for(-1s));
        w.set("second");
        w.set("third");
        EXPECT_TRUE(r.changed() && r.changed_until(steady::time_point::min()));
        EXPECT_EQ(r.next_for(-1s), "third");
        EXPECT_EQ(r.next_for(1ms), std::nullopt);
        EXPECT_EQ(r.next_until(std::chrono::system_clock::now() + 1ms), std::nullopt);
        w.update([](std::string& s) { s += " and last"; });
        EXPECT_EQ(r.get(), "third and last");
        EXPECT_EQ(w.get(), "third and last");
        EXPECT_FALSE(r.changed_for(1ms)) << "get has seen it";
        EXPECT_TRUE(other.changed());
        auto copy = other;
        EXPECT_EQ(other.try_next(), "third and last");
        EXPECT_EQ(copy.try_next(), "third and last") << "which the original has seen since";
        EXPECT_EQ(w.subscribe().next(), "third and last");
        EXPECT_EQ(watch<int>().get(), 0);
    });
}

TEST_P(watches, are_closed) {
    on_both(rt_, [] {
        std::optional<watch<int>> w(std::in_place, 1);
        auto r = w->subscribe(), seen = w->subscribe();
        EXPECT_EQ(seen.next(), 1);
        w->set(2);
        EXPECT_EQ(seen.next(), 2);
        EXPECT_FALSE(r.closed());
        w->close();
        w->close();
        EXPECT_EQ(thrown_by<usage_error>([&] { w->set(3); }), "handoff: a closed watch is set");
        EXPECT_EQ(w->get(), 2);
        w.reset();
        EXPECT_TRUE(r.closed());
        EXPECT_TRUE(r.changed());
        EXPECT_EQ(r.next(), 2) << "it has not seen that";
        EXPECT_EQ(r.next(), std::nullopt);
        EXPECT_FALSE(r.changed() || r.changed_for(1h) || r.next_for(1h) || r.next_until(steady::now() + 1h));
        EXPECT_EQ(seen.next(std::stop_token()), std::nullopt);
        EXPECT_EQ(seen.get(), 2);
    });
}

TEST_P(watches, wake_all_who_wait) {
    for (const bool closes : {false, true}) {
        std::optional<watch<int>> w(std::in_place, 1);
        crowd all;
        for (int i = 0; i < 12; ++i)
            all.start(rt_, i >= 10, [&, i, r = w->subscribe()]() mutable {
                EXPECT_EQ(r.next(), 1);
                if (i % 3 == 2) {
                    EXPECT_EQ(r.changed(), !closes);
                }
                const std::optional<int> next = i % 3 == 1 ? r.next_for(1h) : r.next();
                EXPECT_EQ(next, closes ? std::nullopt : std::optional(2));
            });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 10 && all.threads_sleep());
        if (closes) w.reset();
        else w->set(2);
        all.join();
    }
}

TEST_P(watches, a_stop_ends_the_wait) {
    for (const bool on_thread : {false, true}) {
        watch<int> w(1);
        std::stop_source source;
        crowd all;
        all.start(rt_, on_thread, [&, r = w.subscribe(), token = source.get_token()]() mutable {
            EXPECT_EQ(r.next(token), 1);
            EXPECT_THROW(r.next(token), cancelled);
            EXPECT_THROW(r.changed(token), cancelled);   // and does not begin another
            w.set(2);
            EXPECT_TRUE(r.changed(token));
            EXPECT_EQ(r.next(token), 2) << "no wait to end";
        });
        EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt_, reason) == 1);
        source.request_stop();
        all.join();
    }
}

TEST_P(watches, a_cancellation_ends_the_wait) {
    watch<int> w(1);
    auto r = w.subscribe();
    EXPECT_EQ(r.next(), 1);
    rt_.run([&] {
        task_group g;
        g.go([&] { EXPECT_THROW(r.next(), cancelled); });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
        g.cancel();
        g.wait();
    });
    w.set(2);
    EXPECT_EQ(r.next(), 2);
}

// Copies throw, updates throw: nobody has seen anything, or been told of it.
TEST(watch, is_as_before_after_an_exception) {
    struct fragile {
        explicit fragile(bool* f) : fails(f) {}
        fragile(const fragile& other) : fails(other.fails), value(other.value) {
            if (*fails) throw std::runtime_error("copy");
        }
        fragile(fragile&&) = default;
        fragile& operator=(const fragile&) = default;
        bool* fails;
        int value = 0;
    };
    bool fails = false;
    watch<fragile> w{fragile(&fails)};
    auto r = w.subscribe();
    fails = true;
    EXPECT_THROW(r.next(), std::runtime_error);
    EXPECT_THROW(r.get(), std::runtime_error);
    fails = false;
    EXPECT_TRUE(r.changed_for(0s));
    EXPECT_TRUE(r.try_next());
    EXPECT_THROW(w.update([](fragile&) { throw 7; }), int);
    EXPECT_FALSE(r.changed_for(0s));
}

// Nobody misses the last value, or sees an older one after a newer one.
TEST_P(watches, bring_the_last_value_to_everybody) {
    const int last = static_cast<int>(scaled(5'000, 500));
    watch<std::pair<int, int>> w({0, 0});
    std::atomic<int> wrong{0};
    crowd all;
    for (int who = 0; who < 8; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who >= 6, [&, who, r = w.subscribe()]() mutable {
            int before = -1;
            while (before < last) {
                const auto v = who % 2 == 0 ? r.next() : r.next_for(50us);
                if (!v) continue;
                if (v->first <= before || v->first != v->second) ++wrong;
                before = v->first;
            }
        });
    for (int i = 1; i <= last; ++i) {
        if (i % 2 == 0) w.set({i, i});
        else w.update([i](auto& v) { v = {i, i}; });
        if (i % 16 == 0) this_goroutine::yield();
    }
    all.join();
    EXPECT_EQ(wrong, 0);
}

TEST(watch, shows_the_last_value_in_each_order_of_a_simulation) {
    bool missed_some = false, saw_all = false;
    simulation::explore(handoff::exploration{.count = 300}, [&] {
        std::optional<watch<int>> w(std::in_place, 0);
        int seen[2] = {}, last[2] = {};
        task_group g;
        for (int i = 0; i < 2; ++i)
            g.go([&, i, r = w->subscribe()]() mutable {
                while (const auto v = r.next()) {
                    ++seen[i];
                    last[i] = *v;
                }
            });
        g.go([&] {
            for (int i = 1; i <= 3; ++i) w->set(i);
            w.reset();
        });
        g.wait();
        for (int i = 0; i < 2; ++i) {
            if (last[i] != 3) throw std::logic_error("the last value was missed");
            (seen[i] == 4 ? saw_all : missed_some) = true;
        }
    });
    EXPECT_TRUE(missed_some && saw_all);
}

}  // namespace
