// A barrier on every thread of the process at once, paid for by the caller alone.
#pragma once

namespace handoff::os {

// membarrier_available registers the process for expedited barriers, once; false where the kernel or a filter has
// none, or HANDOFF_NO_MEMBARRIER=1 says to do without.
bool membarrier_available() noexcept;

// membarrier_all makes every running thread of the process execute a full memory barrier before it returns. Only if
// membarrier_available().
void membarrier_all() noexcept;

}  // namespace handoff::os
