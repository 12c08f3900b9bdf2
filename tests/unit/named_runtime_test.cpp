// Groups and timers in a runtime that is named, and off a goroutine: nothing starts a second runtime unasked.
#include "locks.hpp"

#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

using handoff::runtime;
using handoff::task_group;
using handoff::ticker;
using handoff::timer;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// ran_in says how many goroutines f() starts in rt.
template <class F>
std::uint64_t ran_in(const runtime& rt, F f) {
    const std::uint64_t before = rt.stats().spawned;
    f();
    return rt.stats().spawned - before;
}

class named_runtime : public with_procs {};
INSTANTIATE_WITH_PROCS(named_runtime);

TEST_P(named_runtime, has_all_goroutines_of_a_group) {
    const auto use = [](task_group& g) {
        g.go([] { this_goroutine::yield(); });
        g.go(handoff::spawn_options{.name = "named"}, [] {});
        g.go([&g] { g.go([] {}); });   // by one of its own
        std::thread([&g] { g.go([] {}); }).join();
        g.wait();
    };
    const auto each_way = [&] {
        {
            task_group g(rt_);
            use(g);
        }
        {
            task_group g(rt_, 1h);
            use(g);
        }
        {
            task_group g(rt_, steady::now() + 1h);
            use(g);
        }
        task_group g(rt_, std::stop_token());
        use(g);
    };
    EXPECT_EQ(ran_in(rt_, each_way), 4u * 5u);
    // From another runtime's goroutine, too; and go() is called by goroutines of both.
    other_.run([&] { EXPECT_EQ(ran_in(rt_, each_way), 4u * 5u); });
}

// Where it was made, and not where go() is called.
TEST_P(named_runtime, is_the_makers_where_none_is_named) {
    rt_.run([&] {
        task_group g;
        EXPECT_EQ(ran_in(rt_, [&] {
                      std::thread([&] { g.go([] {}); }).join();
                      other_.run([&] { g.go([] {}); });
                      g.wait();
                  }),
                  2u);
    });
}

TEST_P(named_runtime, ends_a_group_in_time) {
    task_group g(rt_, 2ms);
    g.go([] { this_goroutine::sleep_for(1h); });
    EXPECT_THROW(g.wait(), handoff::deadline_exceeded);
    std::stop_source stop;
    task_group h(rt_, stop.get_token());
    h.go([] { this_goroutine::sleep_for(1h); });
    stop.request_stop();
    EXPECT_THROW(h.wait(), handoff::cancelled);
}

TEST_P(named_runtime, has_ended_before_its_group) {
    std::optional<runtime> rt(handoff::options{.procs = GetParam()});
    task_group g(*rt), unused(*rt, 1h);
    std::atomic<int> ran{0};
    g.go([&] { ++ran; });
    g.wait();
    rt.reset();
    EXPECT_NE(thrown_by<handoff::usage_error>([&] { g.go([&] { ++ran; }); }).find("runtime of a task_group has ended"),
              std::string::npos);
    g.wait();   // the one that was refused does not count
    EXPECT_EQ(ran, 1);
}

TEST_P(named_runtime, hears_what_nobody_else_does) {
    std::atomic<int> heard{0};
    handoff::options o;
    o.procs = GetParam();
    o.on_unhandled_exception = [&](const handoff::goroutine_name&, std::exception_ptr) { ++heard; };
    std::optional<runtime> rt(o);
    const auto nobody_waits = [&] {
        task_group g(*rt);
        g.go([] { throw std::runtime_error("unseen"); });
        EXPECT_EVENTUALLY(g.cancelled());
    };
    nobody_waits();
    EXPECT_EQ(heard, 1);
    other_.run(nobody_waits);
    EXPECT_EQ(heard, 2);
    // Also when it has ended.
    std::optional<task_group> g(std::in_place, *rt);
    g->go([] { throw std::runtime_error("unseen"); });
    EXPECT_EVENTUALLY((*g).cancelled());
    rt.reset();
    g.reset();
    EXPECT_EQ(heard, 3);
}

TEST_P(named_runtime, has_timers) {
    const auto each_way = [&] {
        const auto before = steady::now();
        EXPECT_GE(*timer(rt_, 1ms).chan().recv(), before + 1ms);
        EXPECT_GE(*ticker(rt_, 1ms).chan().recv(), before + 1ms);
        EXPECT_GE(*handoff::after(rt_, 1ms).recv(), before + 1ms);
        handoff::latch fired(1);
        EXPECT_EQ(ran_in(rt_, [&] {
                      timer t(rt_, 1ms, [&] { fired.count_down(); });
                      fired.wait();
                  }),
                  1u);
    };
    each_way();
    other_.run(each_way);
}

TEST(named_runtime_ended, starts_no_timer) {
    std::optional<timer> t;
    {
        runtime rt({.procs = 1});
        t.emplace(rt, 1h);
    }
    EXPECT_THROW(t->reset(1ms), handoff::usage_error);
}

// ---- Off a goroutine, with none named; in processes of their own, which have no default runtime --------------------

// refused_as says that f() throws usage_error, which names `what` and the ways out, and that no thread was started.
template <class F>
bool refused_as(const char* what, F f) {
    const std::size_t before = threads().size();
    const std::string said = thrown_by<handoff::usage_error>(f);
    return said.find(what) != said.npos && said.find("default_runtime()") != said.npos &&
           said.find("first argument") != said.npos && threads().size() == before;
}

bool all_are_refused() {
    return refused_as("a task_group", [] { task_group(); }) && refused_as("a task_group", [] { task_group(1h); }) &&
           refused_as("a task_group", [] { task_group(std::stop_token()); }) && refused_as("a timer", [] { timer(1h); }) &&
           refused_as("a timer", [] { timer(1h, [] {}); }) && refused_as("a ticker", [] { ticker(1h); }) &&
           refused_as("after", [] { handoff::after(1h); });
}

bool all_work() {
    task_group g(1h), h{std::stop_token()}, i;
    int ran = 0;
    g.go([&] { ++ran; });
    g.wait();
    h.go([&] { ++ran; });
    h.wait();
    i.go([&] { ++ran; });
    i.wait();
    handoff::latch fired(1);
    timer f(1ms, [&] { fired.count_down(); });
    fired.wait();
    return timer(1ms).chan().recv() && ticker(1ms).chan().recv() && handoff::after(1ms).recv() && ran == 3;
}

TEST(default_runtime, is_started_by_no_group_or_timer) {
    EXPECT_IN_CHILD(all_are_refused(), "^$");
    EXPECT_IN_CHILD(([] {
                        runtime rt({.procs = 2});
                        rt.run([] {});
                        return eventually([] { return threads().size() >= 3; }) && all_are_refused();
                    }()),
                    "^$");
}

TEST(default_runtime, serves_them_once_it_was_asked_for) {
    EXPECT_IN_CHILD((all_are_refused(), &handoff::default_runtime() != nullptr && all_work()), "^$");
    EXPECT_IN_CHILD((all_are_refused(), handoff::go([] { return true; }).join() && all_work()), "^$");
}

}  // namespace
