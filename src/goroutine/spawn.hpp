// Starting goroutines; handoff/goroutine.hpp has what users call.
#pragma once

#include "sched/m.hpp"

#include <handoff/goroutine.hpp>

namespace handoff::detail {

// spawn_detached starts a goroutine without a handle, in m's section. The task must be quiet (task_ops). Throws as spawn does.
void spawn_detached(M* m, const task_ops& ops, void* task, const spawn_site& site);

}  // namespace handoff::detail
