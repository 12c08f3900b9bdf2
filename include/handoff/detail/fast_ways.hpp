// How the inline fast paths of locks and channels are closed, so that calls take their slow paths: while a simulation runs
// (simulation.hpp), and while the monitor waits for a goroutine to yield that may be in a loop of fast paths
// (src/sync/fast_ways.hpp).
//
// A simulation may preempt a goroutine at each library call, so no call may bypass it. Most fast paths compare some word
// with a constant. Here the constant is combined with one in memory. While the fast paths are closed, the comparison fails,
// and the call takes its slow path, which is right in any state. This costs no additional instruction where the constant
// was 0 or a mask, and no branch in most places. Other threads of the process take the slow paths meanwhile, too.
#pragma once

#include <handoff/detail/export.hpp>

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define HANDOFF_CHECKED_FAST_WAYS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDOFF_CHECKED_FAST_WAYS 1
#endif
#endif

namespace handoff::detail {

// Written through atomic_ref, read by read(). The thread of a simulation has written the words itself; for other threads
// either value is right.
struct fast_ways {
    std::uint64_t closed = 0;                   // all bits set while the fast paths are closed, otherwise 0
    std::uint64_t open = ~std::uint64_t{0};     // the complement of `closed`

    // A plain access, unless thread sanitizer is on: gcc takes an atomic access for so costly that it would no longer
    // inline the function that contains it (a buffered receive became 12 instructions longer).
    static std::uint64_t read(const std::uint64_t& word) noexcept {
#if HANDOFF_CHECKED_FAST_WAYS
        return __atomic_load_n(&word, __ATOMIC_RELAXED);
#else
        return word;
#endif
    }
};
HANDOFF_API extern constinit fast_ways fast;

// or_never returns `constant` or, while the fast paths are closed, a value that no word ever has.
template <class T>
T or_never(T constant) noexcept {
    return static_cast<T>(constant | static_cast<T>(fast_ways::read(fast.closed)));
}
// or_zero returns `value` or, while the fast paths are closed, 0.
template <class T>
T or_zero(T value) noexcept {
    return static_cast<T>(value & static_cast<T>(fast_ways::read(fast.open)));
}

// interleave_point lets a simulation preempt the calling goroutine; elsewhere it does nothing, unless the goroutine has
// been asked to yield. interleave also ends a goroutine of a simulation that has failed.
HANDOFF_API void interleave_point_slow() noexcept;
HANDOFF_API void interleave_slow();
// preempts says whether the fast paths are closed, for those that have no constant to combine.
inline bool preempts() noexcept { return fast_ways::read(fast.closed) != 0; }
inline void interleave_point() noexcept {
    if (preempts()) [[unlikely]] interleave_point_slow();
}

}  // namespace handoff::detail
