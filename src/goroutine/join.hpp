// What is left of a goroutine when it ends: its result or exception, and the waiter for its end.
#pragma once

#include "sched/g.hpp"
#include "sched/g_store.hpp"

#include <cstdint>

namespace handoff::detail {

// wake_joiner is the last step in which a goroutine's end touches the waiter for it. m: the calling M if it has a P, else null.
void wake_joiner(M* m, join_waiter& j) noexcept;

// drop_outcome destroys the result of g, or reports its exception, which no join will see any more.
void drop_outcome(G* g, g_store& store) noexcept;

}  // namespace handoff::detail
