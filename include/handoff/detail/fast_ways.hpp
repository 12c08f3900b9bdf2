// How the inline fast ways of locks and channels are closed while a simulation runs (simulation.hpp).
//
// A simulation may preempt a goroutine at each call of the library, so none of them may go by without it. Most fast ways
// compare some word with a constant; here the constant is combined with one that is in memory, so that in a simulation the
// comparison fails and the call takes its slow way, which is right in any state. No instruction more where the constant
// was 0 or a mask, and no branch anywhere. Other threads of the process take the slow ways meanwhile, too.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>

#include <cstddef>
#include <cstdint>

namespace handoff::detail {

// Relaxed: the thread of a simulation has written them itself, and for the others either value will do.
struct fast_ways {
    base::atomic<std::uint64_t> closed{0};                     // all ones while a simulation runs, else none
    base::atomic<std::uint64_t> open{~std::uint64_t{0}};       // the other way round
};
HANDOFF_API extern constinit fast_ways fast;

// or_never is `constant`, or, while a simulation runs, a value that no word ever has.
template <class T>
T or_never(T constant) noexcept {
    return static_cast<T>(constant | static_cast<T>(fast.closed.load(std::memory_order_relaxed)));
}
// or_zero is `value`, or 0 while a simulation runs.
template <class T>
T or_zero(T value) noexcept {
    return static_cast<T>(value & static_cast<T>(fast.open.load(std::memory_order_relaxed)));
}

// interleave_point lets a simulation preempt the calling goroutine; elsewhere it does nothing. interleave also ends a
// goroutine of a simulation that has failed.
HANDOFF_API void interleave_point_slow() noexcept;
HANDOFF_API void interleave_slow();
inline void interleave_point() noexcept {
    if (fast.closed.load(std::memory_order_relaxed) != 0) [[unlikely]] interleave_point_slow();
}

}  // namespace handoff::detail
