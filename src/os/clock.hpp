// The steady clock, in nanoseconds: the same instants as std::chrono::steady_clock.
#pragma once

#include <cstdint>
#include <ctime>

namespace handoff::os {

inline std::int64_t nanotime() noexcept {
    timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

}  // namespace handoff::os
