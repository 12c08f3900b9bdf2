#pragma once

#include <cstddef>

namespace handoff::base {

// prefetch_lines prefetches N cache lines, for writing. The address need not be valid: it may be called for an object that
// is gone. Always inline, since gcc drops a call that does nothing but prefetch.
template <int N>
[[gnu::always_inline]] inline void prefetch_lines(const void* from) noexcept {
    constexpr std::ptrdiff_t line = 64;
    for (std::ptrdiff_t i = 0; i < N; ++i) __builtin_prefetch(static_cast<const char*>(from) + i * line, 1);
}

}  // namespace handoff::base
