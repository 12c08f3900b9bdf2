// Threads as the scheduler needs them: created with the process's own signal mask and timer slack.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <pthread.h>
#include <sys/types.h>

namespace handoff::os {

// What a new thread starts with, taken from the thread that starts the runtime. The rest it inherits from the thread that
// creates it (sched/thread_pool.hpp, Who makes threads); these two the runtime's own threads change, or a goroutine might.
struct thread_defaults {
    sigset_t mask{};
    unsigned long timer_slack_ns = 50'000;

    static thread_defaults of_this_thread() noexcept;
    void apply() const noexcept;
};

// create_thread starts a joinable thread; returns 0 or an errno (EAGAIN: the limit of threads). It has the stack that the
// process's limit (RLIMIT_STACK) says: what runs on it by call_on_thread_stack may be deep, and pages that are never touched cost
// nothing. Where memory, or address space, is short it has 128 KiB,
// beside the thread-local data that the C library takes out of it.
int create_thread(pthread_t& t, void (*body)(void*), void* arg) noexcept;

// thread_stack_room is the size of stack that create_thread tries first.
std::size_t thread_stack_room() noexcept;

// The calling thread's stack; lo is null if the system does not say.
struct thread_stack {
    char* lo = nullptr;
    std::size_t size = 0, guard = 0;

    static thread_stack of_this_thread() noexcept;
    // guards: `address` is one that faults where the stack ends, whether the C library counts the guard as a part of it or not.
    bool guards(const void* address) const noexcept { return lo && address >= lo - guard && address < lo + guard; }
};

// join_if_gone joins t if that takes no waiting: the thread has ended, its destructors included. True if it did.
bool join_if_gone(pthread_t t) noexcept;

pid_t this_tid() noexcept;

// set_timer_slack sets how late the kernel may let this thread's timed sleeps end; 0 is its default.
void set_timer_slack(unsigned long ns) noexcept;

// thread_cpu_time of a thread of this process, in ns; -1 if it can't be read (it has exited). By its kernel id, since a
// pthread_t may not be asked once its thread may be gone.
std::int64_t thread_cpu_time(pid_t tid) noexcept;

// core_time tells for how long a thread of this process has wanted a core so far, in ns: it ran, or waited for one; -1 where the
// kernel does not tell (no /proc, no descriptor, the thread has exited). A wait counts when it is over. `turns` is how often it
// was put on a core. By its kernel id.
struct core_time {
    std::int64_t wanted = -1, turns = 0;
};
core_time core_time_of(pid_t tid) noexcept;

// voluntary_switches is how often the calling thread has gone to sleep of itself so far.
long voluntary_switches() noexcept;

// call_name is the name of a system call that can block: "read"; null if it is not in the list.
const char* call_name(long number) noexcept;

// An alternate signal stack for this thread, so that a handler can run when its stack has overflowed.
class signal_stack {
public:
    signal_stack() noexcept;    // without one if memory is short: the overflow is then not reported by name
    ~signal_stack();
    signal_stack(const signal_stack&) = delete;
    signal_stack& operator=(const signal_stack&) = delete;

private:
    void* memory_ = nullptr;
    stack_t old_{};
};

}  // namespace handoff::os
