// HANDOFF_BLOCKING: calls of functions that are overloaded, or are macros.
#include "testing.hpp"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <unistd.h>
#include <utility>

using handoff::runtime;
using namespace handoff_test;

namespace {

int twice(int n) { return 2 * n; }
std::string twice(std::string_view s) { return std::string(s) + std::string(s); }
int& twice(int& n, int by) { return n *= by; }
#define HALF_OF(n) ((n) / 2)

bool in_a_call(const runtime& rt) {
    for (const auto& g : rt.snapshot().goroutines)
        if (g.state == handoff::goroutine_state::syscall) return true;
    return false;
}

TEST(blocking_expression, returns_what_the_expression_returns) {
    runtime rt({.procs = 2});
    const auto all = [] {
        EXPECT_EQ(HANDOFF_BLOCKING(twice(4)), 8);
        EXPECT_EQ(HANDOFF_BLOCKING(twice(std::string_view("ab"))), "abab");
        EXPECT_EQ(HANDOFF_BLOCKING(HALF_OF(8)), 4);
        int n = 5;
        int& r = HANDOFF_BLOCKING(twice(n, 3));
        EXPECT_EQ(&r, &n);
        EXPECT_EQ(n, 15);
        HANDOFF_BLOCKING(n) = 7;
        EXPECT_EQ(n, 7);
        static_assert(std::is_same_v<decltype(HANDOFF_BLOCKING(twice(1))), int>);
        static_assert(std::is_same_v<decltype(HANDOFF_BLOCKING(std::move(n))), int&&>);
        static_assert(std::is_void_v<decltype(HANDOFF_BLOCKING(static_cast<void>(n)))>);
        EXPECT_EQ(*HANDOFF_BLOCKING(std::make_unique<int>(6)), 6);
        EXPECT_EQ((HANDOFF_BLOCKING(std::pair<int, char>(1, 'x')).second), 'x');   // a comma
        EXPECT_THROW(HANDOFF_BLOCKING(throw std::range_error("call")), std::range_error);
    };
    all();
    rt.run(all);
}

TEST(blocking_expression, is_evaluated_once_and_under_a_guard) {
    runtime rt({.procs = 2});
    rt.run([&] {
        int n = 0;
        EXPECT_TRUE(HANDOFF_BLOCKING((++n, in_a_call(rt))));
        EXPECT_EQ(n, 1);
        EXPECT_FALSE(in_a_call(rt));
    });
}

TEST(blocking_expression, keeps_errno) {
    runtime rt(no_retakes(1));
    rt.run([] {
        EXPECT_EQ(HANDOFF_BLOCKING(::open("/no/such/file", O_RDONLY)), -1);   // takes more arguments at times
        EXPECT_EQ(handoff::last_errno(), ENOENT);
        EXPECT_EQ(HANDOFF_BLOCKING(::close(-1)), -1);
        EXPECT_EQ(handoff::last_errno(), EBADF);
    });
}

}  // namespace
