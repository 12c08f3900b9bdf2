// What the tests of simulations' networks share.
#pragma once

#include "networks.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/select.hpp>
#include <handoff/net/unix.hpp>

#include <memory>
#include <stdexcept>
#include <thread>

namespace handoff_test {

// require ends the run, which a failed expectation would not.
inline void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
}

// How many seeds a scenario is tried with: n, or what HANDOFF_TEST_SEEDS says.
inline std::uint64_t seeds(std::uint64_t n) {
    const char* wanted = std::getenv("HANDOFF_TEST_SEEDS");
    return wanted ? std::strtoull(wanted, nullptr, 10) : scaled(n, 100);
}

template <class F>
void explore(std::uint64_t count, const handoff::simulation_options& each, F f) {
    EXPECT_NO_THROW(handoff::simulation::explore(handoff::exploration{.count = seeds(count), .each = each}, f));
}
template <class F>
void explore(std::uint64_t count, F f) {
    explore(count, {.max_steps = 100'000}, f);
}

inline handoff::simulation_options with_network(const handoff::network_options& o) {
    handoff::simulation_options s{.max_steps = 100'000};
    s.network = o;
    return s;
}

inline std::string text_of(std::size_t n) {
    std::string s(n, 0);
    for (std::size_t i = 0; i < n; ++i) s[i] = static_cast<char>('a' + i * 7 % 26);
    return s;
}

std::error_code read_a_byte(auto& s, const handoff::deadline& d = {}) {
    std::error_code ec;
    char b;
    if (s.read_some(handoff::mutable_buffer(&b, 1), ec, d) == 0 && !ec) ec = handoff::io_errc::end_of_file;
    return ec;
}

}  // namespace handoff_test
