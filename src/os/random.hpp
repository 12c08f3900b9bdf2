// Random numbers per thread, for purposes that need no seed from the program.
#pragma once

#include <cstdint>

namespace handoff::os {

// random_number returns the next number of the calling thread's own generator.
std::uint32_t random_number() noexcept;

// exchange_random_state sets the state of the thread's generator (0: it makes one up), and returns the old state.
std::uint64_t exchange_random_state(std::uint64_t state) noexcept;

}  // namespace handoff::os
