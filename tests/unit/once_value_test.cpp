// once_value: computed once, by who asks first; again after an exception.
#include "locks.hpp"

#include <any>
#include <stdexcept>

using handoff::once_value;
using handoff::runtime;
using handoff::simulation;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

constexpr auto reason = "call_once";

constinit once_value global([] { return 42; });

static_assert(std::is_same_v<decltype(global()), const int&>);
static_assert(!std::is_copy_constructible_v<decltype(global)> && !std::is_copy_assignable_v<decltype(global)>);

class once_values : public with_procs {};
INSTANTIATE_WITH_PROCS(once_values);

TEST(once_value, returns_what_the_function_does) {
    EXPECT_EQ(global(), 42);
    int x = 1;
    const once_value reference([&x]() -> int& { return x; });
    static_assert(std::is_same_v<decltype(reference()), int&>);
    EXPECT_EQ(&reference(), &x);
    const once_value moves_only([] { return std::make_unique<int>(3); });
    EXPECT_EQ(*moves_only(), 3);
    EXPECT_EQ(&moves_only(), &moves_only());
    struct pinned {
        explicit pinned(int v) : value(v) {}
        pinned(const pinned&) = delete;
        pinned& operator=(const pinned&) = delete;
        int value;
    };
    const once_value in_place([] { return pinned(4); });
    EXPECT_EQ(in_place().value, 4);
    const once_value anything([] { return std::any(5); });
    EXPECT_EQ(std::any_cast<int>(anything()), 5);
    int calls = 0;
    const once_value changes([&calls, n = 0]() mutable { return ++calls, ++n; });
    EXPECT_EQ(changes() + changes(), 2);
    EXPECT_EQ(calls, 1);
}

struct tag {};

TEST(once_value, destroys_what_there_is) {
    using value = counted<tag>;
    const int made = value::made;
    {
        const once_value asked([] { return value(); });
        const once_value not_asked([] { return value(); });
        asked();
        EXPECT_EQ(value::alive, 1);
    }
    EXPECT_EQ(value::alive, 0);
    EXPECT_EQ(value::made, made + 1);
}

TEST_P(once_values, are_the_same_for_everybody) {
    for (std::size_t round = 0; round < scaled(300, 40); ++round) {
        std::atomic<int> wrong{0};
        int calls = 0;
        const once_value text([&calls] { return "text " + std::to_string(++calls); });
        crowd all;
        for (int i = 0; i < 9; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i >= 7, [&] {
                if (text() != "text 1") ++wrong;
            });
        all.join();
        ASSERT_EQ(wrong, 0);
        ASSERT_EQ(calls, 1);
    }
}

TEST_P(once_values, are_waited_for_while_they_are_computed) {
    std::atomic<bool> go_on{false}, runs{false};
    const once_value slow([&] {
        runs = true;
        EXPECT_EVENTUALLY(go_on.load());
        return 7;
    });
    crowd all;
    all.go(rt_, [&] { EXPECT_EQ(slow(), 7); });
    EXPECT_EVENTUALLY(runs.load());
    crowd others;
    for (int i = 0; i < 4; ++i) others.start(other_, i == 3, [&] { EXPECT_EQ(slow(), 7); });
    EXPECT_EVENTUALLY(waiting(other_, reason) == 3 && others.threads_sleep());
    go_on = true;
    all.join();
    others.join();
}

TEST_P(once_values, are_tried_again_after_an_exception) {
    on_both(rt_, [] {
        using value = counted<tag>;
        int calls = 0;
        {
            const once_value late([&calls] {
                if (++calls < 3) throw std::runtime_error("try " + std::to_string(calls));
                return value();
            });
            EXPECT_EQ(thrown_by<std::runtime_error>([&] { late(); }), "try 1");
            EXPECT_EQ(thrown_by<std::runtime_error>([&] { late(); }), "try 2");
            EXPECT_EQ(value::alive, 0);
            late();
            late();
            EXPECT_EQ(value::alive, 1);
        }
        EXPECT_EQ(calls, 3);
        EXPECT_EQ(value::alive, 0);
    });
}

TEST(once_value, is_computed_once_in_each_order_of_a_simulation) {
    bool failed = false;
    simulation::explore(handoff::exploration{.count = 200}, [&] {
        int calls = 0;
        const once_value value([&calls] {
            this_goroutine::interleave();
            if (++calls == 1) throw std::runtime_error("not yet");
            this_goroutine::interleave();
            return calls;
        });
        task_group g;
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                try {
                    if (value() != 2) throw std::logic_error("another value");
                } catch (const std::runtime_error&) {
                    failed = true;
                }
            });
        g.wait();
        if (calls != 2 || value() != 2) throw std::logic_error("computed too often, or not");
    });
    EXPECT_TRUE(failed);
}

}  // namespace
