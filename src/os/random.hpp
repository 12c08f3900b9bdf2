// Random numbers of a thread: where no seed of the program's is wanted.
#pragma once

#include <cstdint>

namespace handoff::os {

// random_number of the calling thread's own generator.
std::uint32_t random_number() noexcept;

// exchange_random_state gives the thread's generator another state (0: to be made up), and returns the old one.
std::uint64_t exchange_random_state(std::uint64_t state) noexcept;

}  // namespace handoff::os
