// Access to errno by calls that the compiler can't merge: the goroutine may have changed threads in between.
#pragma once

namespace handoff::os {

int get_errno() noexcept;
void set_errno(int e) noexcept;

}  // namespace handoff::os
