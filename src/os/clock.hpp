// The steady clock in nanoseconds: the same instants as std::chrono::steady_clock. On a thread that runs a simulation it is
// the virtual clock instead. The whole library takes its time from this function.
#pragma once

#include <cstdint>

namespace handoff::os {

std::int64_t nanotime() noexcept;

// set_virtual_clock makes *now the time of the calling thread (null: the steady clock), and returns the previous setting.
const std::int64_t* set_virtual_clock(const std::int64_t* now) noexcept;

}  // namespace handoff::os
