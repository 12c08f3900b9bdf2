#pragma once

#include <cstddef>

namespace handoff::base {

// prefetch_lines fetches N cache lines, for writing. Whatever is there, or is not: it may be called for what is gone.
// Always inline: gcc drops a call that does nothing but prefetch.
template <int N>
[[gnu::always_inline]] inline void prefetch_lines(const void* from) noexcept {
    constexpr std::ptrdiff_t line = 64;
    for (std::ptrdiff_t i = 0; i < N; ++i) __builtin_prefetch(static_cast<const char*>(from) + i * line, 1);
}

}  // namespace handoff::base
