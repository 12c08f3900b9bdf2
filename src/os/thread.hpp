// Threads as the scheduler needs them, created with the signal mask and the timer slack of the process.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <pthread.h>
#include <sys/types.h>

namespace handoff::os {

// What a new thread starts with, taken from the thread that starts the runtime. Everything else it inherits from the thread
// that creates it ("Which threads make threads" in sched/thread_pool.hpp). These two are set explicitly, since the runtime changes
// them on its own threads, or a goroutine might.
struct thread_defaults {
    sigset_t mask{};
    unsigned long timer_slack_ns = 50'000;

    static thread_defaults of_this_thread() noexcept;
    void apply() const noexcept;
};

// create_thread starts a joinable thread; it returns 0 or an errno (EAGAIN: the limit of threads). The stack has the size of
// the process's limit (RLIMIT_STACK): what call_on_thread_stack runs there may be deep, and pages that are never touched
// cost nothing. If memory or address space is short, it has 128 KiB, plus the thread-local data that the C library keeps
// there.
int create_thread(pthread_t& t, void (*body)(void*), void* arg) noexcept;

// thread_stack_room is the stack size that create_thread tries first.
std::size_t thread_stack_room() noexcept;

// A thread's stack; lo is null if the system does not tell where it is.
struct thread_stack {
    char* lo = nullptr;
    std::size_t size = 0, guard = 0;

    static thread_stack of_this_thread() noexcept;
    // guards says whether a fault at `address` means that the end of the stack was reached, no matter whether the C library
    // counts the guard as a part of the stack.
    bool guards(const void* address) const noexcept { return lo && address >= lo - guard && address < lo + guard; }
};

// join_if_gone joins t if that does not block: the thread has ended, its destructors included. True if it did.
bool join_if_gone(pthread_t t) noexcept;

pid_t this_tid() noexcept;

// name_this_thread names the calling thread `handoff/ID`, for debuggers and /proc; at most 15 characters of it.
void name_this_thread(int id) noexcept;

// set_timer_slack sets how late the kernel may end this thread's timed sleeps; 0 restores its default.
void set_timer_slack(unsigned long ns) noexcept;

// thread_cpu_time returns the CPU time of a thread of this process in ns; -1 if it can't be read (the thread has exited).
// The thread is given by its kernel id, since a pthread_t must not be used once its thread may be gone.
std::int64_t thread_cpu_time(pid_t tid) noexcept;

// core_time says how long a thread of this process has wanted a core so far, in ns: the time that it ran plus the time that
// it waited for a core; -1 if the kernel does not tell (no /proc, no descriptor, the thread has exited). A wait is counted
// when it is over. `turns` is how often the thread was put on a core. The thread is given by its kernel id.
struct core_time {
    std::int64_t wanted = -1, turns = 0;
};
core_time core_time_of(pid_t tid) noexcept;

// voluntary_switches is how often the calling thread has gone to sleep voluntarily so far.
long voluntary_switches() noexcept;

// call_name returns the name of a system call that may block, such as "read"; null if it is not in the list.
const char* call_name(long number) noexcept;

// An alternate signal stack for the calling thread, so that a handler can run when the thread's stack has overflowed.
class signal_stack {
public:
    signal_stack() noexcept;    // none if memory is short: then an overflow is not reported by name
    ~signal_stack();
    signal_stack(const signal_stack&) = delete;
    signal_stack& operator=(const signal_stack&) = delete;

private:
    void* memory_ = nullptr;
    stack_t old_{};
};

}  // namespace handoff::os
