// Reports of stack overflow: a handler for SIGSEGV and SIGBUS that recognizes faults in guards.
//
// Our handler and those of others. A program's crash reporter passes a fault on to the handler that it found, as ours does;
// and runtimes start and end, before and after it is installed. If ours were installed over a handler that passes on to
// ours, a fault would go round in a circle. So our handler is installed over the one that is there when the first runtime
// starts, which can't know ours. After that it is installed only if the process has no handler, or over that first one
// again, if we have restored it ourselves. A handler that was installed later stays in place. If it passes on, it finds
// ours: ours stays in its chain when the last runtime ends, and is found there by the faults of the next runtime.
//
// Others can make circles on their own: a handler that was there before ours may be installed over ours once more. So each
// handler has its turn only once. If ours is reached from the handler to which it would pass on, or a second time by the
// same fault, it passes on no more, and restores the default action.
#pragma once

#include <cstddef>

namespace handoff::context {

// describe writes a report into `text`, and returns true, if the fault at `address` shows that the goroutine of the calling
// thread has overflowed its stack, or has touched the guard of another stack. `sp` is the stack pointer (null: unknown). It
// runs in a signal handler.
using overflow_describer = bool (*)(const void* address, const void* sp, char* text, std::size_t size);

// install_overflow_handler installs the handler for the first user, unless a foreign handler was installed since ours was
// last in place. A fault that is no overflow goes to the handler that was there before. remove_overflow_handler, called by
// the last user, restores that handler, unless ours has been replaced meanwhile.
void install_overflow_handler(overflow_describer describe) noexcept;
void remove_overflow_handler() noexcept;

}  // namespace handoff::context
