// Threads as the scheduler needs them: created with a small stack and the process's own signal mask and timer slack.
#pragma once

#include <csignal>
#include <cstdint>
#include <pthread.h>
#include <sys/types.h>

namespace handoff::os {

// What a new thread starts with, taken from the thread that starts the runtime: a thread is created by whichever
// thread needs it, whose own mask and slack must not leak into it.
struct thread_defaults {
    sigset_t mask{};
    unsigned long timer_slack_ns = 50'000;

    static thread_defaults of_this_thread() noexcept;
    void apply() const noexcept;
};

// create_thread starts a joinable thread; returns 0 or an errno (EAGAIN: the limit of threads).
int create_thread(pthread_t& t, void (*body)(void*), void* arg) noexcept;

pid_t this_tid() noexcept;

// set_timer_slack sets how late the kernel may let this thread's timed sleeps end; 0 is its default.
void set_timer_slack(unsigned long ns) noexcept;

// thread_cpu_time of a thread of this process, in ns; -1 if it can't be read (it has exited). By its kernel id, since a
// pthread_t may not be asked once its thread may be gone.
std::int64_t thread_cpu_time(pid_t tid) noexcept;

// voluntary_switches is how often the calling thread has gone to sleep of itself so far.
long voluntary_switches() noexcept;

// activity_of reads what the kernel says a thread is doing.
enum class activity { computing, in_call, in_fault, unknown };
struct thread_activity {
    activity what = activity::unknown;
    long call = -1;   // the system call's number, if in_call
};
thread_activity activity_of(pid_t tid) noexcept;

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
