// What the library's atomics and fences call in the build that explores schedules. See explore.hpp.
#pragma once

#include <cstdint>

namespace explore {

enum class operation : std::uint8_t {
    load, store, drain, exchange, compare_exchange, fetch_add, fetch_sub, fetch_and, fetch_or, fence, barrier, relax,
    lock, unlock, futex_wait, futex_wake, sleep, starts, ends, join,
};

// True while a model thread runs.
extern bool active;

std::uint64_t load(const void* at, unsigned size, int order) noexcept;
void store(void* at, unsigned size, std::uint64_t value, int order) noexcept;
void begin_modify(const void* at, operation what) noexcept;
void end_modify(const void* at, operation what, std::uint64_t before, std::uint64_t after) noexcept;
void forget(const void* at) noexcept;
void full_fence() noexcept;
void relax() noexcept;
bool fails_spuriously() noexcept;

}  // namespace explore
