// The end of a goroutine's values (handoff/goroutine_local.hpp).
#pragma once

namespace handoff::detail {

struct local_values;

// destroy_locals destroys the values of a goroutine that ends. Their destructors are user code.
void destroy_locals(local_values*& l) noexcept;

}  // namespace handoff::detail
