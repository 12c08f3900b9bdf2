// A barrier on every thread of the process at once, paid for by the caller alone.
#pragma once

#include "base/atomic.hpp"

namespace handoff::os {

// membarrier_available registers the process for expedited barriers, once; false where the kernel or a filter has
// none, or HANDOFF_NO_MEMBARRIER=1 says to do without.
bool membarrier_available() noexcept;

// membarrier_all makes every running thread of the process execute a full memory barrier before it returns. Only if
// membarrier_available().
void membarrier_all() noexcept;

// True once membarrier_available() was found to be true. Relaxed: constant from the first runtime on.
extern base::atomic<bool> membarrier_in_use;

}  // namespace handoff::os
