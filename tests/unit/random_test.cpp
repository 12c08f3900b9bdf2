// Random numbers of a thread. That choices made by them are even: select_choice_test.cpp.
#include "os/random.hpp"
#include "testing.hpp"

#include <array>
#include <set>
#include <thread>

using handoff::os::exchange_random_state;
using handoff::os::random_number;
using namespace handoff_test;

namespace {

using numbers = std::array<std::uint32_t, 20>;

numbers some() {
    numbers all{};
    for (auto& n : all) n = random_number();
    return all;
}

// A simulation goes on from its seed, whatever its thread did before, and leaves that as it was.
TEST(random_number, follows_from_the_state) {
    const std::uint64_t before = exchange_random_state(77);
    const numbers first = some();
    const std::uint64_t between = exchange_random_state(77);
    EXPECT_NE(between, 77u);   // it has gone on
    EXPECT_EQ(some(), first);
    exchange_random_state(78);
    EXPECT_NE(some(), first);
    exchange_random_state(between);
    const numbers next = some();
    EXPECT_NE(next, first);
    exchange_random_state(between);
    EXPECT_EQ(some(), next);
    exchange_random_state(before);
}

TEST(random_number, is_each_threads_own) {
    const std::uint64_t before = exchange_random_state(77);
    const numbers here = some();
    exchange_random_state(77);
    std::set<numbers> all{here};
    for (int i = 0; i < 4; ++i) std::thread([&] { all.insert(some()); }).join();
    EXPECT_GE(all.size(), 3u);   // two threads that have the same address at the same instant are the same
    EXPECT_EQ(some(), here);     // what others do is nothing to this one
    exchange_random_state(before);
}

TEST(random_number, has_all_its_bits) {
    const std::uint64_t before = exchange_random_state(77);
    std::array<int, 32> set{};
    constexpr int n = 10'000;
    for (int i = 0; i < n; ++i) {
        const std::uint32_t number = random_number();
        for (unsigned bit = 0; bit < 32; ++bit) set[bit] += static_cast<int>(number >> bit & 1);
    }
    for (const int times : set) {   // from a fixed state: always the same
        EXPECT_GT(times, n * 4 / 10);
        EXPECT_LT(times, n * 6 / 10);
    }
    exchange_random_state(before);
}

}  // namespace
