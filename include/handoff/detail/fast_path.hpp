// How the inline fast paths of locks and channels are closed, so that calls take their slow paths: while a simulation runs
// (simulation.hpp), and while the monitor waits for a goroutine to yield that may be in a loop of fast paths
// (src/sched/fast_path.hpp).
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
#define HANDOFF_CHECKED_FAST_PATHS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDOFF_CHECKED_FAST_PATHS 1
#endif
#endif

namespace handoff::detail {

// Written through atomic_ref, read by read(). The thread of a simulation has written the words itself; for other threads
// either value is right.
struct fast_paths {
    std::uint64_t closed = 0;                   // all bits set while the fast paths are closed, otherwise 0
    std::uint64_t open = ~std::uint64_t{0};     // the complement of `closed`

    // A plain access, unless thread sanitizer is on: gcc takes an atomic access for so costly that it would no longer
    // inline the function that contains it (a buffered receive became 12 instructions longer).
    static std::uint64_t read(const std::uint64_t& word) noexcept {
#if HANDOFF_CHECKED_FAST_PATHS
        return __atomic_load_n(&word, __ATOMIC_RELAXED);
#else
        return word;
#endif
    }
};
HANDOFF_API extern constinit fast_paths fast;

// never_if_closed returns `constant` or, while the fast paths are closed, a value that no word ever has.
template <class T>
T never_if_closed(T constant) noexcept {
    return static_cast<T>(constant | static_cast<T>(fast_paths::read(fast.closed)));
}
// zero_if_closed returns `value` or, while the fast paths are closed, 0.
template <class T>
T zero_if_closed(T value) noexcept {
    return static_cast<T>(value & static_cast<T>(fast_paths::read(fast.open)));
}

// interleave_point lets a simulation preempt the calling goroutine; elsewhere it does nothing, unless the goroutine has
// been asked to yield. interleave also ends a goroutine of a simulation that has failed.
HANDOFF_API void interleave_point_slow() noexcept;
HANDOFF_API void interleave_slow();
// fast_paths_are_closed is for fast paths that have no constant to combine.
inline bool fast_paths_are_closed() noexcept { return fast_paths::read(fast.closed) != 0; }
inline void interleave_point() noexcept {
    if (fast_paths_are_closed()) [[unlikely]] interleave_point_slow();
}

}  // namespace handoff::detail
