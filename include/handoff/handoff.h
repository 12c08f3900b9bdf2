/* The C interface: goroutines, sleep, the syscall brackets, and starting and ending a runtime. C99 and later.
 *
 * Functions that can fail return 0 or an errno value; they may also change errno. They throw no exceptions. An exception that
 * leaves a goroutine's function (from C++ code that it calls) is treated as handoff::options says. */
#ifndef HANDOFF_HANDOFF_H
#define HANDOFF_HANDOFF_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define HANDOFF_C_API __attribute__((visibility("default")))
#else
#define HANDOFF_C_API
#endif

#ifdef __cplusplus
extern "C" {
#define HANDOFF_C_NOEXCEPT noexcept
#else
#define HANDOFF_C_NOEXCEPT
#endif

typedef struct handoff_runtime handoff_runtime;

/* Options of a runtime. 0 stands for the default of each, which is that of handoff::options. */
typedef struct handoff_options {
    unsigned procs;         /* processors: how many goroutines run at once */
    size_t stack_size;      /* bytes of address space of each goroutine's stack */
    unsigned max_threads;   /* the most OS threads, including the monitor */
} handoff_options;

/* Starts a runtime; `options` may be null. EINVAL for a bad option, otherwise the system's error. Any thread. */
HANDOFF_C_API int handoff_runtime_create(handoff_runtime** created, const handoff_options* options) HANDOFF_C_NOEXCEPT;

/* Waits until every goroutine of the runtime has ended, then ends it. Null: does nothing. Not to be called on one of its
 * goroutines. */
HANDOFF_C_API void handoff_runtime_destroy(handoff_runtime* runtime) HANDOFF_C_NOEXCEPT;

/* Refuses goroutines from outside of the runtime from now on, and waits until all of its goroutines have ended, at most so
 * long: handoff::runtime::shutdown. Null: the process's default runtime. Returns how many are left, or, negated: EPERM on one of
 * its goroutines, in a simulation and in a forked child; ENOMEM. Any other thread. */
HANDOFF_C_API int handoff_runtime_shutdown(handoff_runtime* runtime, int64_t nanoseconds) HANDOFF_C_NOEXCEPT;

/* Starts a goroutine that calls f(arg). If `runtime` is null: in the current goroutine's runtime or, off a goroutine, in the
 * process's default one. Does not switch. ENOMEM; EPERM from outside of a runtime that is shutting down. Any thread. */
HANDOFF_C_API int handoff_go(handoff_runtime* runtime, void (*f)(void*), void* arg) HANDOFF_C_NOEXCEPT;

/* Does the same, and waits until the goroutine has ended: a calling goroutine parks, any other thread blocks. ENOMEM,
 * EPERM; ECANCELED if the calling goroutine's task group is cancelled meanwhile: f(arg) may still run then. */
HANDOFF_C_API int handoff_run(handoff_runtime* runtime, void (*f)(void*), void* arg) HANDOFF_C_NOEXCEPT;

/* Lets the other goroutines of this processor run first. On a thread that runs no goroutine: sched_yield. */
HANDOFF_C_API void handoff_yield(void) HANDOFF_C_NOEXCEPT;

/* Sleeps, never for less than that. Parks a goroutine, blocks any other thread. ENOMEM, ECANCELED. */
HANDOFF_C_API int handoff_sleep_ns(int64_t nanoseconds) HANDOFF_C_NOEXCEPT;

/* The current goroutine's number, unique in the process; 0 on any other thread. */
HANDOFF_C_API uint64_t handoff_goroutine_id(void) HANDOFF_C_NOEXCEPT;

/* The brackets: to be called before and after a call that may block, as in syscall.hpp. Between them other goroutines may get
 * the processor. They nest, keep errno, and do nothing on a thread that runs no goroutine. The beginning may switch. From its
 * return until the first library call after the end, the goroutine stays on its thread. handoff_entersyscallblock: the call
 * will block; hands the processor off at once. */
HANDOFF_C_API void handoff_entersyscall(void) HANDOFF_C_NOEXCEPT;
HANDOFF_C_API void handoff_entersyscallblock(void) HANDOFF_C_NOEXCEPT;
HANDOFF_C_API void handoff_exitsyscall(void) HANDOFF_C_NOEXCEPT;

/* errno of the thread that the goroutine runs on now. After a call that may switch, plain errno may be that of the thread that
 * the goroutine ran on before. */
HANDOFF_C_API int handoff_last_errno(void) HANDOFF_C_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
