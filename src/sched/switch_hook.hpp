// The hook that is told of each switch: for the check of held mutexes (debug/held_mutexes.hpp).
#pragma once

#include "base/atomic.hpp"

namespace handoff::detail {

struct G;
struct M;

using switch_hook = void (*)(M* m, const G* g) noexcept;

// Null: switches are not watched. Relaxed: set before the first runtime starts a thread.
extern base::atomic<switch_hook> on_switch;

inline bool switches_are_watched() noexcept { return on_switch.load(std::memory_order_relaxed) != nullptr; }

// tell_switch: m switches to goroutine g; null: to the scheduler itself. To be called only if switches are watched, and before
// others can find the goroutine that is left. Where a goroutine starts, the test for this is one that is made anyway,
// P::handoff: a test of its own would show in the time that a yield takes.
[[gnu::cold]] inline void tell_switch(M* m, const G* g) noexcept { on_switch.load(std::memory_order_relaxed)(m, g); }

}  // namespace handoff::detail
