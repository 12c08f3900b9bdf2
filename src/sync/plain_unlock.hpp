// Whether mutexes may be unlocked by a plain store (handoff/detail/plain_unlock.hpp).
#pragma once

namespace handoff::detail {

// allow_plain_unlocks allows them from now on, if there is membarrier(2). Each runtime calls it as it starts, all with the
// same value.
void allow_plain_unlocks(bool membarrier) noexcept;

}  // namespace handoff::detail
