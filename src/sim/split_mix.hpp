// The random numbers of simulations.
#pragma once

#include <cstdint>

namespace handoff::detail {

// The next number of a sequence, computed from its state (splitmix64, Steele et al.). Any two seeds have different
// sequences.
inline std::uint64_t split_mix(std::uint64_t& state) noexcept {
    std::uint64_t x = state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

}  // namespace handoff::detail
