// Reports of stack overflow: a handler for SIGSEGV and SIGBUS that knows a guard page when it sees one.
#pragma once

#include <cstddef>

namespace handoff::context {

// describe writes who has overflowed into `text` if `address` lies in the guard of the stack that the calling thread
// runs on, and returns true. It runs in a signal handler.
using overflow_describer = bool (*)(const void* address, char* text, std::size_t size);

// install_overflow_handler puts the handler in place for the first user; any fault that is no overflow goes to the
// handler that was there before. remove_overflow_handler, by the last user, restores that one, unless somebody has
// replaced ours meanwhile.
void install_overflow_handler(overflow_describer describe) noexcept;
void remove_overflow_handler() noexcept;

}  // namespace handoff::context
