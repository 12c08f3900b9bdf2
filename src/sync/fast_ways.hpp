// Closing the inline fast ways of locks and channels for a while (handoff/detail/fast_ways.hpp).
#pragma once

namespace handoff::detail {

// As often opened as closed. Any thread; each time for all threads of the process.
void close_fast_ways() noexcept;
void open_fast_ways() noexcept;

}  // namespace handoff::detail
