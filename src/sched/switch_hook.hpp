// Who wants to hear of each switch: the check of held mutexes (debug/held_mutexes.hpp).
#pragma once

#include "base/atomic.hpp"

namespace handoff::detail {

struct G;
struct M;

using switch_hook = void (*)(M* m, const G* g) noexcept;

// Null: nobody. Relaxed: set before the first runtime starts a thread.
extern base::atomic<switch_hook> on_switch;

inline bool switches_are_watched() noexcept { return on_switch.load(std::memory_order_relaxed) != nullptr; }

// tell_switch: m is on its way to goroutine g; null: to the scheduler itself. Only if somebody watches; before the one that
// it leaves can be found by others. Where a goroutine starts, the test for it is one that is made anyway, P::handoff: one
// more would be seen in the time that a yield takes.
[[gnu::cold]] inline void tell_switch(M* m, const G* g) noexcept { on_switch.load(std::memory_order_relaxed)(m, g); }

}  // namespace handoff::detail
