// The bottom of every goroutine's stack.
#pragma once

#include "context/context.hpp"

namespace handoff::detail {

// Does not return.
void goroutine_main(context::switcher* arrived) noexcept;

}  // namespace handoff::detail
