/* The C interface: goroutines, sleep, the syscall brackets, and the runtime's life. C99 and later.
 *
 * Functions that can fail return 0 or an errno value; errno itself may change. No exception comes out of them; one that
 * leaves a goroutine's function (C++ code that is called from it) is treated as handoff::options says. */
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

/* What a runtime can be told; 0 stands for the default of each, which is that of handoff::options. */
typedef struct handoff_options {
    unsigned procs;         /* goroutines that run at once */
    size_t stack_size;      /* bytes of address space of each goroutine's stack */
    unsigned max_threads;   /* OS threads, the monitor's included */
} handoff_options;

/* Starts a runtime; `options` may be null. EINVAL for a bad option, else what the system said. Any thread. */
HANDOFF_C_API int handoff_runtime_create(handoff_runtime** created, const handoff_options* options) HANDOFF_C_NOEXCEPT;

/* Waits until every goroutine of the runtime has ended, and ends it. Null: does nothing. Not on one of its goroutines. */
HANDOFF_C_API void handoff_runtime_destroy(handoff_runtime* runtime) HANDOFF_C_NOEXCEPT;

/* Starts a goroutine that calls f(arg). `runtime` null: the current goroutine's, else the process's default one. Does not
 * switch. ENOMEM. Any thread. */
HANDOFF_C_API int handoff_go(handoff_runtime* runtime, void (*f)(void*), void* arg) HANDOFF_C_NOEXCEPT;

/* The same, and waits until it has ended: a goroutine parks, any other thread blocks. ENOMEM; ECANCELED if the calling
 * goroutine's task group is cancelled meanwhile: then f(arg) may still run. */
HANDOFF_C_API int handoff_run(handoff_runtime* runtime, void (*f)(void*), void* arg) HANDOFF_C_NOEXCEPT;

/* Lets the other goroutines of this processor run first. On a thread that runs no goroutine: sched_yield. */
HANDOFF_C_API void handoff_yield(void) HANDOFF_C_NOEXCEPT;

/* Sleeps, never for less. Parks a goroutine, blocks any other thread. ENOMEM, ECANCELED. */
HANDOFF_C_API int handoff_sleep_ns(int64_t nanoseconds) HANDOFF_C_NOEXCEPT;

/* The current goroutine's number, unique in the process; 0 on any other thread. */
HANDOFF_C_API uint64_t handoff_goroutine_id(void) HANDOFF_C_NOEXCEPT;

/* The brackets around a call that may block, as in syscall.hpp: within them the processor may go to others. They nest,
 * keep errno, and do nothing on a thread that runs no goroutine. The beginning may switch; from then on to the next call of
 * the library after the end the goroutine stays on its thread. `block`: the call will block; hand off at once. */
HANDOFF_C_API void handoff_entersyscall(void) HANDOFF_C_NOEXCEPT;
HANDOFF_C_API void handoff_entersyscallblock(void) HANDOFF_C_NOEXCEPT;
HANDOFF_C_API void handoff_exitsyscall(void) HANDOFF_C_NOEXCEPT;

/* errno of the thread that the goroutine runs on now. After a call that may switch, the compiler may read that of the
 * thread it ran on before. */
HANDOFF_C_API int handoff_last_errno(void) HANDOFF_C_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
