// call_once: once, also with functions that throw, park or are called by everybody at once.
#include "locks.hpp"

#include <functional>
#include <stdexcept>

using handoff::call_once;
using handoff::once_flag;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(!std::is_copy_constructible_v<once_flag> && !std::is_copy_assignable_v<once_flag>);
static_assert(std::is_nothrow_default_constructible_v<once_flag>);

constexpr auto reason = "call_once";

constinit once_flag global;

class once : public with_procs {};
INSTANTIATE_WITH_PROCS(once);

TEST(call_once, takes_arguments_as_invoke_does) {
    once_flag a, b, c, d;
    int n = 0;
    call_once(a, [&](int x, int y) { n = x + y; }, 1, 2);
    EXPECT_EQ(n, 3);
    call_once(a, [&] { n = 100; });
    EXPECT_EQ(n, 3);
    struct object {
        const char* name = "";
        int value = 0;
        void set(int x) { value = x; }
    } o;
    call_once(b, &object::set, o, 5);
    EXPECT_EQ(o.value, 5);
    call_once(c, &object::set, &o, 6);
    EXPECT_EQ(o.value, 6);
    std::unique_ptr<int> moved;
    call_once(d, [&](std::unique_ptr<int> p) { moved = std::move(p); }, std::make_unique<int>(7));
    EXPECT_EQ(*moved, 7);
    call_once(global, [] {});
}

// Go's TestOnce: everybody sees what the one has done.
TEST_P(once, is_once_for_everybody) {
    for (std::size_t round = 0; round < scaled(300, 40); ++round) {
        once_flag flag;
        int plain = 0;
        std::atomic<int> wrong{0};
        crowd all;
        for (int i = 0; i < 12; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i >= 9, [&] {
                call_once(flag, [&] { ++plain; });
                if (plain != 1) ++wrong;
            });
        all.join();
        ASSERT_EQ(plain, 1);
        ASSERT_EQ(wrong, 0);
    }
}

// The function parks; the others wait for its end.
TEST_P(once, waits_for_a_function_that_parks) {
    once_flag flag;
    std::atomic<bool> runs{false}, go_on{false};
    std::atomic<int> returned{0};
    crowd all;
    all.go(rt_, [&] {
        call_once(flag, [&] {
            runs = true;
            EXPECT_EVENTUALLY(go_on.load());
        });
        ++returned;
    });
    EXPECT_EVENTUALLY(runs.load());
    crowd others;
    for (int i = 0; i < 6; ++i)
        others.start(i % 2 == 0 ? rt_ : other_, i >= 4, [&] {
            call_once(flag, [] { ADD_FAILURE(); });
            ++returned;
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 2 && waiting(other_, reason) == 2 && others.threads_sleep());
    EXPECT_EQ(returned, 0);
    go_on = true;
    all.join();
    others.join();
    EXPECT_EQ(returned, 7);
}

// Go's TestOncePanic, with C++'s answer: who throws has it thrown, and the next one tries.
TEST_P(once, goes_on_after_an_exception) {
    on_both(rt_, [] {
        once_flag flag;
        int calls = 0;
        for (int i = 1; i <= 2; ++i)
            EXPECT_EQ(thrown_by<std::runtime_error>([&] {
                          call_once(flag, [&] {
                              ++calls;
                              throw std::runtime_error("try " + std::to_string(calls));
                          });
                      }),
                      "try " + std::to_string(i));
        call_once(flag, [&] { ++calls; });
        call_once(flag, [&] { ++calls; });
        EXPECT_EQ(calls, 3);
    });
}

// Those that wait for a function that throws try themselves, one after the other, until one succeeds.
TEST_P(once, lets_the_waiters_try_after_an_exception) {
    for (std::size_t round = 0; round < scaled(100, 20); ++round) {
        once_flag flag;
        constexpr int n = 9, failing = 4;
        std::atomic<bool> go_on{false}, runs{false};
        std::atomic<int> caught{0}, returned{0}, inside{0}, wrong{0};
        int tries = 0;
        const auto body = [&] {
            try {
                call_once(flag, [&] {
                    if (++inside != 1) ++wrong;
                    runs = true;
                    const bool fails = ++tries <= failing;
                    EXPECT_EVENTUALLY(go_on.load());
                    --inside;
                    if (fails) throw std::runtime_error("once");
                });
                ++returned;
            } catch (const std::runtime_error&) {
                ++caught;
            }
        };
        crowd all;
        all.go(rt_, body);
        EXPECT_EVENTUALLY(runs.load());
        for (int i = 1; i < n; ++i) all.start(i % 2 == 0 ? rt_ : other_, i >= 7, body);
        EXPECT_EVENTUALLY(waiting(rt_, reason) + waiting(other_, reason) == 6);
        go_on = true;
        all.join();
        EXPECT_EQ(wrong, 0);
        EXPECT_EQ(tries, failing + 1);
        EXPECT_EQ(caught, failing);
        EXPECT_EQ(returned, n - failing);
    }
}

TEST_P(once, may_call_another) {
    once_flag outer, inner;
    int calls = 0;
    rt_.run([&] { call_once(outer, [&] { call_once(inner, [&] { ++calls; }); }); });
    call_once(inner, [&] { ++calls; });
    EXPECT_EQ(calls, 1);
}

// The last that returns destroys the flag, though the one that called the function may not have returned.
TEST_P(once, flag_is_destroyed_when_all_have_returned) {
    struct object {
        once_flag flag;
        std::atomic<int> users{4};
        int made = 0;
    };
    std::atomic<std::size_t> destroyed{0};
    const std::size_t rounds = scaled(500, 60);
    for (std::size_t round = 0; round < rounds; ++round) {
        auto* o = new object;
        crowd all;
        for (int i = 0; i < 4; ++i)
            all.start(i % 2 == 0 ? rt_ : other_, i == 3, [o, &destroyed] {
                call_once(o->flag, [&] { ++o->made; });
                EXPECT_EQ(o->made, 1);
                if (--o->users > 0) return;
                delete o;
                ++destroyed;
            });
        all.join();
    }
    EXPECT_EQ(destroyed, rounds);
}

}  // namespace
