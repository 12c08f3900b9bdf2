// What a runtime reports about itself: counters, and a snapshot of its goroutines, threads and processors.
#pragma once

#include <handoff/detail/export.hpp>
#include <handoff/options.hpp>

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace handoff {

// Durations, counted by powers of two: bucket i counts those of at least 2^(i-1) ns and less than 2^i ns.
struct histogram {
    std::array<std::uint64_t, 48> buckets{};

    HANDOFF_API std::uint64_t count() const noexcept;
    // An upper bound of the q-quantile (0 < q <= 1), accurate to a factor of two; zero if the histogram is empty.
    HANDOFF_API std::chrono::nanoseconds quantile(double q) const noexcept;
    static constexpr unsigned bucket_of(std::uint64_t ns) noexcept {
        const unsigned b = static_cast<unsigned>(std::bit_width(ns));
        return b < 48 ? b : 47;
    }
};

// Unguarded calls whose processor was taken away, grouped by place of spawn and call.
struct unguarded_site {
    std::string created;   // where the goroutine was spawned
    std::string call;      // "read", "fsync", …
    std::uint64_t count = 0;
    std::chrono::nanoseconds total{};
    std::chrono::nanoseconds longest{};
};

// The 64-bit members only grow, except `goroutines` and `computing_without_processor`.
struct stats {
    unsigned procs = 0;
    std::uint64_t spawned = 0;             // goroutines started since the runtime started
    std::uint64_t goroutines = 0;          // goroutines that have not ended
    std::uint64_t switches = 0;            // times that a goroutine was put on a processor
    std::uint64_t steals = 0;              // successful steals
    std::uint64_t stolen = 0;              // goroutines that moved to another processor by stealing

    std::uint64_t handoffs_sysmon = 0;     // processors taken from guarded calls by the monitor
    std::uint64_t handoffs_immediate = 0;  // processors given up by the caller before its call
    std::uint64_t handoffs_unguarded = 0;  // processors taken from goroutines blocked without a guard
    std::uint64_t handoffs_computing = 0;  // processors taken from goroutines that compute
    std::uint64_t retakes_given_up = 0;    // attempts to take a processor that failed since its goroutine came back
    std::uint64_t computing_without_processor = 0;   // goroutines, right now

    std::uint64_t exits_own = 0;           // guarded calls that ended with the processor still there
    std::uint64_t exits_without = 0;       // guarded calls after which the goroutine continued without a processor
    std::uint64_t exits_old_idle = 0;      //   of these: it needed one later, and took its old one, which was idle
    std::uint64_t exits_any_idle = 0;      //   … took another idle one
    std::uint64_t exits_queued = 0;        //   … waited for one in the global queue
    std::uint64_t ended_without = 0;       // goroutines that had no processor at their end, and needed none for it
    std::uint64_t started_without = 0;     // goroutines started on a thread without a processor, since their kind blocks
    std::uint64_t regains = 0;             // other times that a goroutine took a processor again: after losing it without
                                           // a guard, or to use the library within a guarded call

    unsigned threads = 0;                  // alive or being created, including the monitor
    unsigned threads_most = 0;             // highest number at one time so far
    unsigned threads_idle = 0;
    std::uint64_t threads_created = 0;
    std::uint64_t threads_retired = 0;     // exited after idle_thread_timeout, or with a locked goroutine
    std::uint64_t thread_cap_hits = 0;     // times that a processor had to wait for a thread because of max_threads
    std::uint64_t thread_create_failures = 0;
    int thread_create_errno = 0;           // of the last failure

    std::uint64_t stacks_mapped = 0;       // stacks created so far, in use or cached
    std::uint64_t stacks_without_guard = 0;
    std::uint64_t stack_failures = 0;      // goroutines that had to wait because no stack could be mapped

    // From the start of the call to the first step of the next goroutine on that processor. The start is not known exactly:
    // for `sysmon` it is the monitor's last look before the one that saw the call, for `unguarded` the monitor's first look
    // at the call.
    histogram handoff_latency_sysmon;
    histogram handoff_latency_immediate;
    histogram handoff_latency_unguarded;

    std::vector<unguarded_site> unguarded;
};

// without_processor: its processor was taken or given up, and it continues in user code: after a guarded call, in an
// unguarded one, or computing.
enum class goroutine_state { runnable, running, syscall, waiting, without_processor };
enum class thread_state { running, syscall, without_processor, scheduling, idle, monitor };
enum class processor_state { idle, running, syscall };

struct goroutine_info {
    goroutine_name who;
    goroutine_state state{};
    const void* object = nullptr;                          // what it waits for, if that is an object: a channel, a mutex, …
    const char* waits_for = "";                            // "join", "sleep", …; empty unless waiting
    std::chrono::steady_clock::time_point since{};         // start of the wait, accurate to a monitor's round (10 ms)
    int thread = -1;                                       // thread_info::id of the thread that runs it, or -1
    bool locked_to_thread = false;
    bool started = false;                                  // has run, and has a stack
};

struct thread_info {
    int id = 0;
    int tid = 0;                           // the kernel's thread id
    thread_state state{};
    int processor = -1;                    // processor_info::id of the processor that it holds, or -1
    goroutine_id goroutine = 0;            // that it runs; 0: none
};

struct processor_info {
    int id = 0;
    processor_state state{};
    int thread = -1;                       // thread_info::id of the thread that holds it, or -1
    unsigned queued = 0;                   // goroutines in its own queue
    unsigned timers = 0;
};

struct scheduler_snapshot {
    std::vector<goroutine_info> goroutines;
    std::vector<thread_info> threads;
    std::vector<processor_info> processors;
    std::uint64_t queued_globally = 0;
};

HANDOFF_API const char* to_string(goroutine_state) noexcept;
HANDOFF_API const char* to_string(thread_state) noexcept;
HANDOFF_API const char* to_string(processor_state) noexcept;

}  // namespace handoff
