#pragma once

// HANDOFF_API marks what the shared library exports; all else is hidden.
#define HANDOFF_API __attribute__((visibility("default")))

// HANDOFF_OPAQUE keeps a function from being inlined, cloned or taken for pure, at link time too: it reads a
// thread-local, and its caller may have moved to another thread since it last called it. Clang has no noipa; there
// the function's body also holds an asm statement that it must not look through.
#if defined(__clang__)
#define HANDOFF_OPAQUE __attribute__((noinline))
#else
#define HANDOFF_OPAQUE __attribute__((noipa))
#endif
