// The timed waits of a join_handle, and joining in a task group that is cancelled.
#include "locks.hpp"

#include <stdexcept>
#include <system_error>

using handoff::cancelled;
using handoff::channel;
using handoff::join_handle;
using handoff::runtime;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class timed_joins : public with_procs {};
INSTANTIATE_WITH_PROCS(timed_joins);

TEST_P(timed_joins, are_never_early_and_leave_the_handle) {
    channel<int> go_on(0);
    auto h = rt_.go([go_on]() mutable { return *go_on.recv() + 1; });
    on_both(rt_, [&] {
        for (const std::chrono::nanoseconds d : {1ns, 100'000ns, 5'000'000ns}) {
            EXPECT_FALSE(never_earlier_than(d, [&] { return h.wait_for(d); }));
            EXPECT_FALSE(never_earlier_than(d, [&] { return h.wait_until(steady::now() + d); }));
        }
        EXPECT_FALSE(h.wait_for(std::chrono::duration<double, std::micro>(0.5)));
        const auto until = std::chrono::system_clock::now() + 3ms;
        EXPECT_FALSE(h.wait_until(until));
        EXPECT_GE(std::chrono::system_clock::now(), until - 1ms);   // that clock may be slewed
        EXPECT_TRUE(h.joinable());
        EXPECT_FALSE(h.done());
        EXPECT_NE(h.id(), 0u);
    });
    go_on.send(4);
    EXPECT_TRUE(h.wait_for(patience));
    EXPECT_TRUE(h.done());
    EXPECT_EQ(h.join(), 5);
}

// What std::thread has.
TEST(join_handle, is_swapped_and_says_whose_it_is) {
    runtime rt({.procs = 1});
    auto a = rt.go([] { return this_goroutine::id(); });
    join_handle<handoff::goroutine_id> b;
    const auto id = a.get_id();
    EXPECT_EQ(id, a.id());
    EXPECT_EQ(b.get_id(), 0u);
    a.swap(b);
    EXPECT_FALSE(a.joinable());
    EXPECT_EQ(b.get_id(), id);
    using std::swap;
    swap(a, b);
    EXPECT_FALSE(b.joinable());
    a.swap(a);
    EXPECT_EQ(a.join(), id);
    static_assert(noexcept(a.swap(b)) && noexcept(swap(a, b)) && std::is_nothrow_swappable_v<join_handle<int>>);
}

TEST_P(timed_joins, of_no_time_say_what_is) {
    channel<int> go_on(0);
    auto h = rt_.go([go_on]() mutable { go_on.recv(); });
    on_both(rt_, [&] {
        EXPECT_FALSE(h.wait_for(0s));
        EXPECT_FALSE(h.wait_for(-1h));
        EXPECT_FALSE(h.wait_for(std::chrono::hours::min()));
        EXPECT_FALSE(h.wait_until(steady::time_point::min()));
        EXPECT_FALSE(h.wait_until(steady::time_point()));
        EXPECT_FALSE(h.wait_until(steady::now()));
    });
    go_on.send(1);
    EXPECT_EVENTUALLY(h.done());
    on_both(rt_, [&] {
        EXPECT_TRUE(h.wait_for(0s));
        EXPECT_TRUE(h.wait_for(-1h));
        EXPECT_TRUE(h.wait_until(steady::time_point::min()));
    });
    h.join();
}

TEST_P(timed_joins, end_when_the_goroutine_does) {
    for (const bool on_thread : {false, true}) {
        channel<int> go_on(0);
        auto h = rt_.go([go_on]() mutable { return *go_on.recv(); });
        crowd c;
        bool in_time = false;
        const auto& tid = c.thread([&] {
            const auto wait = [&] { in_time = h.wait_for(std::chrono::hours::max()); };
            if (on_thread) wait();
            else other_.run(wait);
        });
        EXPECT_EVENTUALLY(on_thread ? tid != 0 && asleep(tid) : waiting(other_, "join") == 1);
        go_on.send(3);
        c.join();
        EXPECT_TRUE(in_time);
        EXPECT_EQ(h.join(), 3);
    }
}

TEST_P(timed_joins, do_not_throw_what_the_goroutine_threw) {
    on_both(rt_, [&] {
        auto h = rt_.go([] { throw std::logic_error("later"); });
        EXPECT_TRUE(h.wait_for(patience));
        EXPECT_TRUE(h.wait_until(steady::now() + patience));
        EXPECT_TRUE(h.joinable());
        EXPECT_EQ(thrown_by<std::logic_error>([&] { h.join(); }), "later");
        EXPECT_FALSE(h.joinable());
    });
}

TEST_P(timed_joins, throw_as_join_does) {
    const auto error_of = [](auto f) {
        try {
            f();
        } catch (const std::system_error& e) {
            return static_cast<std::errc>(e.code().value());
        }
        return std::errc();
    };
    on_both(rt_, [&] {
        join_handle<int> empty;
        EXPECT_EQ(error_of([&] { empty.wait_for(1h); }), std::errc::invalid_argument);
        EXPECT_EQ(error_of([&] { empty.wait_until(steady::now()); }), std::errc::invalid_argument);
    });
    join_handle<void> self;
    channel<int> go_on(1);
    self = rt_.go([&, go_on]() mutable {
        go_on.recv();
        EXPECT_EQ(error_of([&] { self.wait_for(1h); }), std::errc::resource_deadlock_would_occur);
        EXPECT_TRUE(self.joinable());
    });
    go_on.send(1);
    EXPECT_EVENTUALLY(self.done());
    self.join();
}

TEST_P(timed_joins, may_follow_each_other) {
    channel<int> go_on(0);
    auto h = rt_.go([go_on]() mutable { return *go_on.recv(); });
    for (int i = 0; i < 200; ++i) {
        EXPECT_FALSE(h.wait_for(10us));
        EXPECT_FALSE((i % 2 == 0 ? rt_ : other_).run([&] { return h.wait_for(10us); }));
    }
    go_on.send(1);
    EXPECT_EQ(h.join(), 1);
}

TEST_P(timed_joins, outlive_the_runtime) {
    join_handle<int> h;
    {
        runtime rt({.procs = GetParam()});
        h = rt.go([] { return 6; });
    }
    EXPECT_TRUE(h.wait_for(1h));
    EXPECT_TRUE(h.wait_for(0s));
    EXPECT_EQ(h.join(), 6);
}

TEST_P(timed_joins, that_time_out_leave_a_handle_that_can_be_dropped) {
    struct tag;
    using value = counted<tag>;
    channel<int> go_on(0);
    {
        auto h = rt_.go([go_on]() mutable {
            go_on.recv();
            return value();
        });
        EXPECT_FALSE(h.wait_for(1ms));
    }
    go_on.send(1);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
    EXPECT_EQ(value::alive, 0);
}

// The end of the goroutine and the end of the time meet at ever different places.
TEST_P(timed_joins, that_end_as_the_goroutine_does_are_right) {
    auto rng = seeded_random("timed_joins.that_end_as_the_goroutine_does_are_right");
    std::size_t in_time = 0, late = 0;
    for (std::size_t i = 0; i < scaled(3'000, 400); ++i) {
        const auto work = std::chrono::nanoseconds(rng() % 60'000), limit = std::chrono::nanoseconds(rng() % 60'000);
        const auto one = [&, i] {
            auto h = rt_.go([&, i] {
                if (i % 3 == 0) compute_until([until = steady::now() + work] { return steady::now() >= until; });
                else this_goroutine::sleep_for(work);
                return i;
            });
            const auto before = steady::now();
            if (h.wait_for(limit)) {
                EXPECT_TRUE(h.done());
                ++in_time;
            } else {
                EXPECT_GE(steady::now(), before + limit);
                ++late;
            }
            if (i % 8 == 0) return;   // dropped, running or not
            if (i % 2 == 0) h.wait_for(work);
            EXPECT_EQ(h.join(), i);
        };
        if (i % 4 == 0) one();
        else if (i % 4 == 1) other_.run(one);
        else rt_.run(one);
    }
    std::printf("%zu in time, %zu late\n", in_time, late);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

// ---- Cancelled ---------------------------------------------------------------------------------------------------------

TEST_P(timed_joins, that_are_cancelled_leave_the_handle_joinable) {
    for (const bool timed : {false, true}) {
        channel<int> go_on(0);
        auto h = other_.go([go_on]() mutable { return *go_on.recv(); });
        int thrown = 0;
        rt_.run([&] {
            task_group g;
            g.go([&] {
                for (int i = 0; i < 3; ++i) {   // the first one waits, the others don't begin to
                    EXPECT_THROW(timed ? (void)h.wait_for(1h) : (void)h.join(), cancelled);
                    ++thrown;
                }
            });
            EXPECT_EVENTUALLY(waiting(rt_, "join") == 1);
            g.cancel();
            g.wait();
        });
        EXPECT_EQ(thrown, 3);
        EXPECT_TRUE(h.joinable());
        EXPECT_FALSE(h.done());
        EXPECT_FALSE(h.wait_for(1ms));
        go_on.send(8);
        EXPECT_EQ(h.join(), 8);
    }
}

// One that need not wait goes through.
TEST_P(timed_joins, of_goroutines_that_have_ended_work_though_cancelled) {
    rt_.run([&] {
        auto h = handoff::go([] { return 2; });
        EXPECT_EVENTUALLY(h.done());
        task_group g;
        std::atomic<bool> begun{false};
        int result = 0;
        g.go([&] {
            begun = true;
            while (!this_goroutine::cancelled()) this_goroutine::yield();
            EXPECT_TRUE(h.wait_for(1h));
            result = h.join();
        });
        EXPECT_EVENTUALLY(begun.load());
        g.cancel();
        g.wait();
        EXPECT_EQ(result, 2);
    });
}

// The cancellation comes as the goroutine ends: its result is had once in any case.
TEST_P(timed_joins, that_are_cancelled_as_the_goroutine_ends_lose_no_result) {
    auto rng = seeded_random("timed_joins.that_are_cancelled_as_the_goroutine_ends_lose_no_result");
    std::size_t joined = 0, given_up = 0;
    for (std::size_t i = 0; i < scaled(1'500, 300); ++i) {
        auto result = std::make_shared<std::size_t>(i);
        const auto spins = rng() % 4'000;
        const bool timed = rng() % 2 == 0;
        rt_.run([&] {
            channel<int> start(0);
            auto h = other_.go([start, result]() mutable {
                start.recv();
                return result;
            });
            task_group g;
            g.go([&] {
                try {
                    if (timed && !h.wait_for(1h)) ADD_FAILURE();
                    const auto r = h.join();
                    EXPECT_EQ(*r, i);
                    EXPECT_FALSE(h.joinable());
                    ++joined;
                } catch (const cancelled&) {
                    EXPECT_TRUE(h.joinable());
                    ++given_up;
                }
            });
            if (i % 4 != 0) {
                EXPECT_EVENTUALLY(waiting(rt_, "join") == 1);
            }
            start.send(1);
            for (auto n = spins; n > 0; --n) __asm__ volatile("" ::: "memory");
            g.cancel();
            g.wait();
            if (h.joinable()) {
                EXPECT_EQ(*h.join(), i);
            }
        });
        ASSERT_EQ(result.use_count(), 1);
        if (HasFailure()) break;
    }
    std::printf("%zu joined, %zu given up\n", joined, given_up);
}

}  // namespace
