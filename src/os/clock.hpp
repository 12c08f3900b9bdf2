// The steady clock, in nanoseconds: the same instants as std::chrono::steady_clock. On a thread that runs a simulation it is
// the virtual one instead; all of the library goes by this function.
#pragma once

#include <cstdint>

namespace handoff::os {

std::int64_t nanotime() noexcept;

// set_virtual_clock makes *now the calling thread's time (null: the steady clock), and returns what was so before.
const std::int64_t* set_virtual_clock(const std::int64_t* now) noexcept;

}  // namespace handoff::os
