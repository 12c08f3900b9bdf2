// Checks of counts that a program passes to latches, semaphores, barriers and wait groups.
#pragma once

#include <handoff/detail/export.hpp>

#include <cstddef>

namespace handoff::detail {

// Both throw usage_error.
[[noreturn]] HANDOFF_API void bad_count(const char* what);
[[noreturn]] HANDOFF_API void count_out_of_range(std::ptrdiff_t n, std::ptrdiff_t most, const char* of);

// checked_count returns n if 0 <= n <= most.
constexpr std::ptrdiff_t checked_count(std::ptrdiff_t n, std::ptrdiff_t most, const char* of) {
    if (n < 0 || n > most) count_out_of_range(n, most, of);
    return n;
}

}  // namespace handoff::detail
