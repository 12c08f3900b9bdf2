// Whether mutexes may be unlocked by a plain store (handoff/detail/plain_unlock.hpp).
#pragma once

namespace handoff::detail {

// allow_plain_unlocks from now on, if there is membarrier(2). Each runtime says the same as it starts.
void allow_plain_unlocks(bool membarrier) noexcept;

}  // namespace handoff::detail
