// Reports of stack overflow: a handler for SIGSEGV and SIGBUS that knows a guard when it sees one.
//
// The handler and those of others. A program's crash reporter passes on to the one that it found, as ours does; and runtimes
// come and go, before and after it. If ours went over a handler that passes on to ours, a fault would go round in a circle.
// So ours is put over the one that is there when the first runtime starts, which can't know ours, and from then on only over
// nobody, or over that one again, if we have put it back ourselves. One that came later keeps its place, and finds ours, if
// it passes on; ours stays where it is in its chain when the last runtime ends, and is found there by the next one's faults.
//
// Others can make circles on their own: one that was there before ours is put over ours once more. Each has its turn once: if
// ours is reached by the handler that it would pass on to, or a second time by the same fault, it is the end.
#pragma once

#include <cstddef>

namespace handoff::context {

// describe writes who has overflowed into `text` if the fault at `address` shows that the calling thread has, its stack pointer
// being `sp` (null: unknown), and returns true. It runs in a signal handler.
using overflow_describer = bool (*)(const void* address, const void* sp, char* text, std::size_t size);

// install_overflow_handler puts the handler in place for the first user, unless a foreign one has come since it was last
// there. Any fault that is no overflow goes to the handler that was there before. remove_overflow_handler, by the last user,
// restores that one, unless somebody has replaced ours meanwhile.
void install_overflow_handler(overflow_describer describe) noexcept;
void remove_overflow_handler() noexcept;

}  // namespace handoff::context
