// promise and future: values, exceptions, misuse, waits, and who may go first.
#include "locks.hpp"

#include <handoff/future.hpp>

#include <stdexcept>
#include <stop_token>

using handoff::cancelled;
using handoff::future;
using handoff::promise;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(!std::is_copy_constructible_v<promise<int>> && std::is_nothrow_move_constructible_v<promise<int>>);
static_assert(!std::is_copy_constructible_v<future<int>> && std::is_nothrow_move_assignable_v<future<int>>);

constexpr auto reason = "event";

class futures : public with_procs {};
INSTANTIATE_WITH_PROCS(futures);

template <class F>
void expect_error(std::future_errc code, F f) {
    try {
        f();
        ADD_FAILURE() << "nothing was thrown";
    } catch (const std::future_error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
    }
}

TEST_P(futures, bring_values) {
    on_both(rt_, [] {
        promise<std::string> p;
        future<std::string> f = p.get_future();
        EXPECT_TRUE(f.valid());
        EXPECT_FALSE(f.ready());
        p.set_value("text");
        EXPECT_TRUE(f.ready() && f.wait_for(-1s) && f.wait_until(steady::time_point::min()));
        EXPECT_EQ(f.get(), "text");
        EXPECT_FALSE(f.valid());

        promise<std::pair<int, int>> pair;
        auto two = pair.get_future();
        pair.set_value({1, 2});
        EXPECT_EQ(two.get(), std::pair(1, 2));

        promise<std::unique_ptr<int>> moved;
        auto only = moved.get_future();
        moved.set_value(std::make_unique<int>(3));
        EXPECT_EQ(*only.get(), 3);

        promise<void> nothing;
        auto done = nothing.get_future();
        nothing.set_value();
        done.get();

        int x = 0;
        promise<int&> reference;
        auto to = reference.get_future();
        reference.set_value(x);
        EXPECT_EQ(&to.get(), &x);
        promise<const int&> constant;
        constant.set_value(x);
        EXPECT_EQ(&constant.get_future().get(), &x);
    });
}

TEST_P(futures, bring_exceptions) {
    on_both(rt_, [] {
        promise<int> p;
        auto f = p.get_future();
        p.set_exception(std::make_exception_ptr(std::runtime_error("mine")));
        EXPECT_TRUE(f.ready());
        EXPECT_EQ(thrown_by<std::runtime_error>([&] { f.get(); }), "mine");
        EXPECT_FALSE(f.valid());
        promise<void> nothing;
        nothing.set_exception(std::make_exception_ptr(7));
        EXPECT_THROW(nothing.get_future().get(), int);
    });
}

TEST_P(futures, fail_as_the_standards_do) {
    on_both(rt_, [] {
        promise<int> p;
        auto f = p.get_future();
        expect_error(std::future_errc::future_already_retrieved, [&] { (void)p.get_future(); });
        p.set_value(1);
        expect_error(std::future_errc::promise_already_satisfied, [&] { p.set_value(2); });
        expect_error(std::future_errc::promise_already_satisfied, [&] { p.set_exception(std::make_exception_ptr(3)); });
        EXPECT_EQ(f.get(), 1);
        expect_error(std::future_errc::no_state, [&] { f.get(); });
        expect_error(std::future_errc::no_state, [&] { (void)f.ready(); });
        expect_error(std::future_errc::no_state, [&] { f.wait(); });
        expect_error(std::future_errc::no_state, [&] { f.wait(std::stop_token()); });
        expect_error(std::future_errc::no_state, [&] { f.wait_for(1h); });
        expect_error(std::future_errc::no_state, [&] { f.wait_until(steady::now()); });

        promise<int> to = std::move(p);
        expect_error(std::future_errc::no_state, [&] { p.set_value(1); });   // NOLINT(bugprone-use-after-move)
        expect_error(std::future_errc::no_state, [&] { p.set_exception(std::make_exception_ptr(3)); });
        expect_error(std::future_errc::no_state, [&] { (void)p.get_future(); });
        expect_error(std::future_errc::promise_already_satisfied, [&] { to.set_value(2); });

        future<int> broken, replaced;
        {
            promise<int> dropped;
            broken = dropped.get_future();
        }
        EXPECT_TRUE(broken.ready());
        expect_error(std::future_errc::broken_promise, [&] { broken.get(); });
        promise<int> assigned;
        replaced = assigned.get_future();
        assigned = promise<int>();
        expect_error(std::future_errc::broken_promise, [&] { replaced.get(); });
        promise<int> other;
        auto others = other.get_future();
        swap(assigned, other);
        assigned.set_value(5);
        EXPECT_EQ(others.get(), 5);
    });
}

// A value that can't be made leaves the promise as it was.
TEST(future, may_be_satisfied_after_an_exception) {
    struct fragile {
        explicit fragile(int n) : value(n) {
            if (n < 0) throw std::out_of_range("negative");
        }
        int value;
    };
    promise<fragile> p;
    auto f = p.get_future();
    EXPECT_THROW(p.set_value(-1), std::out_of_range);
    EXPECT_FALSE(f.ready());
    p.set_value(2);
    EXPECT_EQ(f.get().value, 2);
}

struct tag {};

TEST(future, destroys_the_value) {
    using value = counted<tag>;
    {
        promise<value> taken, left;
        auto f = taken.get_future();
        taken.set_value({});
        left.set_value(value());
        f.get();
    }
    EXPECT_EQ(value::alive, 0);
}

TEST_P(futures, are_waited_for) {
    promise<int> p;
    const auto f = p.get_future();
    crowd all;
    for (const bool on_thread : {false, true}) {
        all.start(rt_, on_thread, [&] { f.wait(); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(f.wait_for(1h)); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(f.wait_until(steady::now() + 1h)); });
        all.start(rt_, on_thread, [&] { f.wait(std::stop_token()); });
    }
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 4 && all.threads_sleep());
    EXPECT_FALSE(never_earlier_than(2ms, [&] { return f.wait_for(2ms); }));
    other_.run([&] { p.set_value(1); });
    all.join();
}

TEST_P(futures, are_as_before_after_a_stop_or_a_cancellation) {
    promise<int> p;
    auto f = p.get_future();
    std::stop_source source;
    crowd all;
    all.go(rt_, [&] { EXPECT_THROW(f.wait(source.get_token()), cancelled); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    source.request_stop();
    all.join();
    rt_.run([&] {
        task_group g;
        g.go([&] { EXPECT_THROW(f.get(), cancelled); });
        EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
        g.cancel();
        g.wait();
    });
    EXPECT_TRUE(f.valid());
    p.set_value(4);
    EXPECT_EQ(f.get(), 4);
}

// One succeeds.
TEST_P(futures, are_satisfied_once) {
    for (std::size_t round = 0; round < scaled(300, 40); ++round) {
        promise<std::string> p;
        auto f = p.get_future();
        std::atomic<int> satisfied{0}, refused{0};
        crowd all;
        for (int i = 0; i < 6; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i == 5, [&, i] {
                try {
                    if (i < 4) p.set_value(std::to_string(i));
                    else p.set_exception(std::make_exception_ptr(i));
                    ++satisfied;
                } catch (const std::future_error&) {
                    ++refused;
                }
            });
        try {
            EXPECT_EQ(f.get().size(), 1u);
        } catch (int i) {
            EXPECT_GE(i, 4);
        }
        all.join();
        ASSERT_EQ(satisfied, 1);
        ASSERT_EQ(refused, 5);
    }
}

// Who has got the value destroys the promise, while set_value may not have returned.
TEST_P(futures, may_outlive_the_promise_or_go_with_it) {
    for (std::size_t round = 0; round < scaled(1'000, 100); ++round) {
        auto* p = new promise<std::size_t>;
        crowd all;
        all.start(rt_, round % 2 == 0, [p, round, f = p->get_future()]() mutable {
            EXPECT_EQ(f.get(), round);
            delete p;
        });
        all.start(other_, round % 3 == 0, [p, round] { p->set_value(round); });
        all.join();
    }
}

TEST(future, comes_in_each_order_of_a_simulation) {
    bool waited = false, late = false;
    simulation::explore(handoff::exploration{.count = 200}, [&] {
        promise<int> p;
        auto f = p.get_future();
        auto broken = promise<int>().get_future();
        auto setter = handoff::go([&] { p.set_value(3); });
        (f.ready() ? late : waited) = true;
        if (f.get() != 3 || !broken.ready()) throw std::logic_error("another value");
        setter.join();
        promise<void> never;
        const auto start = handoff::clock::now();
        if (never.get_future().wait_for(1h) || handoff::clock::now() - start != 1h) throw std::logic_error("it ended early");
    });
    EXPECT_TRUE(waited && late);
}

}  // namespace
