#pragma once

// HANDOFF_API marks what the shared library exports; everything else is hidden.
#define HANDOFF_API __attribute__((visibility("default")))

// HANDOFF_OPAQUE keeps a function from being inlined, cloned or treated as pure, also at link time. Such a function reads a
// thread-local variable, and its caller may have moved to another thread since it last called the function. Clang has no
// noipa; there the function's body also contains an asm statement, which the compiler must not look through.
#if defined(__clang__)
#define HANDOFF_OPAQUE __attribute__((noinline))
#else
#define HANDOFF_OPAQUE __attribute__((noipa))
#endif
