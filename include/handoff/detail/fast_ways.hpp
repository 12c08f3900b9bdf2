// How the inline fast ways of locks and channels are closed while a simulation runs (simulation.hpp).
//
// A simulation may preempt a goroutine at each call of the library, so none of them may go by without it. Most fast ways
// compare some word with a constant; here the constant is combined with one that is in memory, so that in a simulation the
// comparison fails and the call takes its slow way, which is right in any state. No instruction more where the constant
// was 0 or a mask, and no branch in most. Other threads of the process take the slow ways meanwhile, too.
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

// Written by atomic_ref, read by read(): the thread of a simulation has written them itself, and for the others either value
// will do.
struct fast_ways {
    std::uint64_t closed = 0;                   // all ones while a simulation runs, else none
    std::uint64_t open = ~std::uint64_t{0};     // the other way round

    // A plain access where nobody checks: gcc takes an atomic one for so costly that it would no longer inline what it is
    // part of (a buffered receive became 12 instructions longer).
    static std::uint64_t read(const std::uint64_t& word) noexcept {
#if HANDOFF_CHECKED_FAST_WAYS
        return __atomic_load_n(&word, __ATOMIC_RELAXED);
#else
        return word;
#endif
    }
};
HANDOFF_API extern constinit fast_ways fast;

// or_never is `constant`, or, while a simulation runs, a value that no word ever has.
template <class T>
T or_never(T constant) noexcept {
    return static_cast<T>(constant | static_cast<T>(fast_ways::read(fast.closed)));
}
// or_zero is `value`, or 0 while a simulation runs.
template <class T>
T or_zero(T value) noexcept {
    return static_cast<T>(value & static_cast<T>(fast_ways::read(fast.open)));
}

// interleave_point lets a simulation preempt the calling goroutine; elsewhere it does nothing. interleave also ends a
// goroutine of a simulation that has failed.
HANDOFF_API void interleave_point_slow() noexcept;
HANDOFF_API void interleave_slow();
// preempts: whether a simulation runs, for fast ways that have no constant to combine.
inline bool preempts() noexcept { return fast_ways::read(fast.closed) != 0; }
inline void interleave_point() noexcept {
    if (preempts()) [[unlikely]] interleave_point_slow();
}

}  // namespace handoff::detail
