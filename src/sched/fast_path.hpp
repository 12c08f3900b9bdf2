// Closing the inline fast paths of locks and channels for a while (handoff/detail/fast_path.hpp).
#pragma once

namespace handoff::detail {

// Calls nest: the fast paths are open when they were opened as often as closed. Any thread may call this; it applies to all
// threads of the process.
void close_fast_paths() noexcept;
void open_fast_paths() noexcept;

}  // namespace handoff::detail
