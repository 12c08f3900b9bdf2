// Closing the inline fast paths of locks and channels for a while (handoff/detail/fast_path.hpp).
#pragma once

namespace handoff::detail {

// As often opened as closed. Any thread; each time for all threads of the process.
void close_fast_paths() noexcept;
void open_fast_paths() noexcept;

}  // namespace handoff::detail
