// A memory barrier on every thread of the process at once; only the caller pays for it.
#pragma once

#include "base/atomic.hpp"

namespace handoff::os {

// membarrier_available registers the process for expedited barriers, once. False if the kernel or a filter does not allow
// them, or if HANDOFF_NO_MEMBARRIER=1 is set.
bool membarrier_available() noexcept;

// membarrier_all makes every running thread of the process execute a full memory barrier before it returns. Only if
// membarrier_available().
void membarrier_all() noexcept;

// Set by the first runtime, to what membarrier_available() says. Relaxed: it is constant from then on.
extern base::atomic<bool> membarrier_in_use;

}  // namespace handoff::os
