// The report of a standstill: when every goroutine of a runtime waits for another one.
#include "locks.hpp"

#include <cstdio>
#include <optional>
#include <stdexcept>

using handoff::channel;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class deadlocks : public testing::TestWithParam<unsigned> {
protected:
    static constexpr std::chrono::nanoseconds quickly = 5ms;

    handoff::options reporting() {
        handoff::options o;
        o.procs = GetParam();
        o.deadlock_after = quickly;
        o.on_deadlock = [this](const std::string& report) {
            const std::lock_guard hold(lock_);
            reports_.push_back(report);
        };
        return o;
    }
    std::vector<std::string> reports() {
        const std::lock_guard hold(lock_);
        return reports_;
    }
    std::size_t count() { return reports().size(); }

    // Long enough for a report to come, if it were to: its time, and some of the monitor's rounds.
    static void wait_in_vain() { std::this_thread::sleep_for(quickly + 60ms); }

    std::mutex lock_;
    std::vector<std::string> reports_;
};
INSTANTIATE_WITH_PROCS(deadlocks);

std::string address_of(const void* p) {
    char text[32];
    std::snprintf(text, sizeof text, "%p", p);
    return text;
}

std::size_t lines_with(const std::string& text, std::string_view what) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += what.size()) ++n;
    return n;
}

TEST_P(deadlocks, of_two_name_both_and_what_they_wait_for) {
    runtime rt(reporting());
    handoff::mutex a, b;
    channel<int> meet(0);
    constexpr unsigned line = __LINE__ + 1;
    auto first = rt.go(handoff::spawn_options{.name = "romeo"}, [&] {
        a.lock();
        meet.send(1);
        b.lock();
        b.unlock();
    });
    auto second = rt.go(handoff::spawn_options{.name = "juliet"}, [&] {
        b.lock();
        meet.recv();
        a.lock();
        a.unlock();
        b.unlock();
    });
    ASSERT_EVENTUALLY(count() == 1);
    const std::string report = reports()[0];
    EXPECT_NE(report.find("all goroutines wait for each other"), std::string::npos) << report;
    for (const auto& [name, id, wants] : {std::tuple("romeo", first.id(), static_cast<void*>(&b)), std::tuple("juliet", second.id(), static_cast<void*>(&a))}) {
        const std::string who = "goroutine " + std::to_string(id) + " \"" + name + "\" (deadlock_test.cpp:";
        const std::size_t at = report.find(who);
        ASSERT_NE(at, std::string::npos) << report;
        const std::string rest = report.substr(at, report.find('\n', at) - at);
        EXPECT_NE(rest.find("waiting for mutex " + address_of(wants)), std::string::npos) << report;
    }
    EXPECT_NE(report.find("(deadlock_test.cpp:" + std::to_string(line) + ")"), std::string::npos) << report;
    EXPECT_EQ(lines_with(report, "\n  goroutine "), 2u) << report;

    // It ends from outside, and everything goes on.
    a.unlock();
    second.join();
    first.join();
    EXPECT_EQ(rt.run([] { return 3; }), 3);
    wait_in_vain();
    EXPECT_EQ(count(), 1u);
}

TEST_P(deadlocks, are_reported_once_and_again_if_they_come_again) {
    runtime rt(reporting());
    channel<int> ch(0);
    auto h = rt.go([ch]() mutable {
        for (int i = 0; i < 3; ++i) ch.recv();
    });
    for (std::size_t i = 1; i <= 3; ++i) {
        ASSERT_EVENTUALLY(count() == i);
        wait_in_vain();
        EXPECT_EQ(count(), i);
        ch.send(1);
    }
    h.join();
    wait_in_vain();
    EXPECT_EQ(count(), 3u);
}

TEST_P(deadlocks, are_not_reported_before_their_time) {
    auto o = reporting();
    o.deadlock_after = 150ms;
    runtime rt(o);
    channel<int> ch(0);
    const auto begin = steady::now();
    auto h = rt.go([ch]() mutable { ch.recv(); });
    ASSERT_EVENTUALLY(count() == 1);
    EXPECT_GE(steady::now() - begin, 150ms);
    ch.send(1);
    h.join();
}

TEST_P(deadlocks, may_be_waits_of_any_kind) {
    channel<int> ch(0), never = channel<int>::nil();
    handoff::counting_semaphore<> s(0);
    handoff::condition_variable cv;
    handoff::mutex m;
    handoff::latch l(1);
    handoff::wait_group g;
    g.add();
    std::stop_source stop;   // ends those that nothing else does
    auto token = stop.get_token();
    runtime rt(reporting());
    std::vector<handoff::join_handle<void>> all;
    const auto ends_cancelled = [](auto f) {
        return [f] { EXPECT_THROW(f(), handoff::cancelled); };
    };
    all.push_back(rt.go(ends_cancelled([&] { channel<int>(ch).send(1, token); })));
    all.push_back(rt.go(ends_cancelled([&] { channel<int>(never).recv(token); })));
    all.push_back(rt.go([&] { handoff::select(handoff::on_recv(never), handoff::on_stop(token)); }));
    all.push_back(rt.go(ends_cancelled([&] { s.acquire(token); })));
    all.push_back(rt.go(ends_cancelled([&] { l.wait(token); })));
    all.push_back(rt.go(ends_cancelled([&] { g.wait(token); })));
    all.push_back(rt.go([&] {
        std::unique_lock lock(m);
        EXPECT_FALSE(cv.wait(lock, token, [] { return false; }));
    }));
    handoff::join_handle<void>& last = all.back();
    auto joiner = rt.go([&] { last.join(); });
    ASSERT_EVENTUALLY(count() == 1);
    const std::string report = reports()[0];
    for (const char* what : {"send", "a channel that is never ready", "select", "semaphore", "latch", "wait_group", "condition_variable", "join"})
        EXPECT_NE(report.find(std::string("waiting for ") + what), std::string::npos) << what << '\n' << report;
    EXPECT_NE(report.find("semaphore " + address_of(&s)), std::string::npos) << report;
    EXPECT_NE(report.find("condition_variable " + address_of(&cv)), std::string::npos) << report;
    EXPECT_EQ(lines_with(report, "waiting for"), 8u) << report;
    stop.request_stop();
    joiner.join();
    all.pop_back();
    for (auto& h : all) h.join();
    EXPECT_EQ(count(), 1u);
}

// While any of these goes on there is none, though another goroutine waits forever. Then there is.
TEST_P(deadlocks, are_not_reported_while_something_goes_on) {
    pipe_pair pipe;
    std::atomic<bool> over{false};
    struct kind {
        const char* name;
        std::function<void()> go_on, end;
    };
    const kind kinds[] = {
        {"a sleep", [] { this_goroutine::sleep_for(quickly + 100ms); }, [] {}},
        {"a timed wait", [] { EXPECT_FALSE(channel<int>(0).recv_for(quickly + 100ms)); }, [] {}},
        {"a guarded call", [&] { handoff::blocking_call(handoff::handoff_policy::sysmon, [&] { return pipe.read(); }); }, [&] { pipe.write(); }},
        {"a call handed off", [&] { handoff::blocking_call(handoff::handoff_policy::immediate, [&] { return pipe.read(); }); }, [&] { pipe.write(); }},
        {"a call without a guard", [&] { pipe.read(); }, [&] { pipe.write(); }},
        {"a computation", [&] { compute_until([&] { return over.load(); }); }, [&] { over = true; }},
        {"a loop of yields", [&] { while (!over) this_goroutine::yield(); }, [&] { over = true; }},
    };
    for (const kind& k : kinds) {
        SCOPED_TRACE(k.name);
        over = false;
        const std::size_t before = count();
        runtime rt(reporting());
        channel<int> ch(0);
        auto waits = rt.go([ch]() mutable { ch.recv(); });
        auto works = rt.go([&] { k.go_on(); });
        wait_in_vain();
        EXPECT_TRUE(works.done() || count() == before);
        k.end();
        works.join();
        EXPECT_EVENTUALLY(count() == before + 1);
        ch.send(1);
        waits.join();
    }
}

TEST_P(deadlocks, are_not_reported_while_a_timer_is_set) {
    runtime rt(reporting());
    channel<int> ch(0);
    std::optional<handoff::timer> t;
    auto h = rt.go([&, ch]() mutable {
        t.emplace(1h);
        ch.recv();
        t->stop();
        ch.recv();
    });
    ASSERT_EVENTUALLY(waiting(rt, "receive") == 1);
    wait_in_vain();
    EXPECT_EQ(count(), 0u);
    ch.send(1);
    EXPECT_EVENTUALLY(count() == 1);   // nothing is left that could help
    ch.send(1);
    h.join();
}

// A timer that comes to the rescue.
TEST_P(deadlocks, are_not_what_a_timer_ends) {
    runtime rt(reporting());
    channel<int> ch(0);
    rt.run([&] {
        handoff::timer rescue(quickly + 50ms, [ch]() mutable { ch.send(1); });
        ch.recv();
        handoff::channel<handoff::timer::time_point> after = handoff::after(quickly + 50ms);
        after.recv();
    });
    EXPECT_EQ(count(), 0u);
}

TEST_P(deadlocks, are_not_seen_in_an_idle_runtime) {
    runtime rt(reporting());
    wait_in_vain();
    rt.run([] {});
    wait_in_vain();
    EXPECT_EQ(count(), 0u);
}

// A thread that waits for them does not count.
TEST_P(deadlocks, are_seen_though_threads_wait_too) {
    runtime rt(reporting());
    channel<int> ch(0);
    auto h = rt.go([ch]() mutable { ch.recv(); });
    std::thread joiner([&] { h.join(); });
    EXPECT_EVENTUALLY(count() == 1);
    ch.send(1);
    joiner.join();
}

// Others wait for those of another runtime, and are told all the same: it is a report, no more.
TEST_P(deadlocks, are_told_of_by_each_runtime) {
    runtime rt(reporting()), silent({.procs = GetParam()});
    channel<int> ch(0);
    auto a = rt.go([ch]() mutable { ch.recv(); });
    auto b = silent.go([ch]() mutable { ch.recv(); });
    EXPECT_EVENTUALLY(count() == 1);
    EXPECT_EQ(lines_with(reports()[0], "\n  goroutine "), 1u) << reports()[0];
    ch.send(1);
    ch.send(1);
    a.join();
    b.join();
}

TEST_P(deadlocks, are_not_reported_unless_asked_for) {
    std::atomic<int> calls{0};
    handoff::options o;
    o.procs = GetParam();
    o.on_deadlock = [&](const std::string&) { ++calls; };
    EXPECT_EQ(o.deadlock_after, 0ns);
    runtime rt(o);
    channel<int> ch(0);
    auto h = rt.go([ch]() mutable { ch.recv(); });
    ASSERT_EVENTUALLY(waiting(rt, "receive") == 1);
    wait_in_vain();
    EXPECT_EQ(calls, 0);
    ch.send(1);
    h.join();
}

TEST_P(deadlocks, are_printed_by_default) {
    auto o = reporting();
    o.on_deadlock = nullptr;
    EXPECT_IN_CHILD(
        [&] {
            runtime rt(o);
            channel<int> ch(0);
            auto h = rt.go(handoff::spawn_options{.name = "lonely"}, [ch]() mutable { ch.recv(); });
            EXPECT_EVENTUALLY(waiting(rt, "receive") == 1);
            wait_in_vain();
            wait_in_vain();
            ch.send(1);
            h.join();
            return true;
        }(),
        "handoff: all goroutines wait for each other\n.*\"lonely\" .*deadlock_test.cpp:.*waiting for receive 0x");
}

// The handler may look, and help.
TEST_P(deadlocks, have_a_handler_that_may_look_at_the_runtime) {
    std::atomic<const runtime*> where{nullptr};
    std::atomic<std::size_t> seen{0};
    auto o = reporting();
    o.on_deadlock = [&](const std::string&) {
        if (const runtime* rt = where) seen = rt->snapshot().goroutines.size() + rt->stats().goroutines;
    };
    runtime rt(o);
    where = &rt;
    channel<int> ch(0);
    auto h = rt.go([ch]() mutable { ch.recv(); });
    EXPECT_EVENTUALLY(seen == 2);
    where = nullptr;
    ch.send(1);
    h.join();
}

TEST_P(deadlocks, have_a_handler_that_may_end_them) {
    EXPECT_IN_CHILD(
        [&] {
            channel<int> ch(0);
            auto o = reporting();
            o.on_deadlock = [ch](const std::string&) mutable { ch.close(); };
            runtime rt(o);
            return !rt.run([ch]() mutable { return ch.recv(); }).has_value();
        }(),
        "");
}

TEST(deadlock_options, are_checked) {
    for (const std::chrono::nanoseconds bad : {-1'000'000ns, 1ns, 999'999ns, std::chrono::nanoseconds::max()}) {
        handoff::options o;
        o.deadlock_after = bad;
        EXPECT_NE(thrown_by<std::invalid_argument>([&] { runtime rt(o); }).find("deadlock_after"), std::string::npos) << bad.count();
    }
    for (const std::chrono::nanoseconds good : {0ns, 1'000'000ns, 3'600'000'000'000ns}) {
        handoff::options o;
        o.procs = 1;
        o.deadlock_after = good;
        const runtime rt(o);
    }
}

}  // namespace
