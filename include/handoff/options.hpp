// What a runtime and a goroutine can be told at their start.
#pragma once

#include <handoff/detail/export.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

namespace handoff {

using namespace std::chrono_literals;

using goroutine_id = std::uint64_t;

// A place in the source, as std::source_location (which clang 14 lacks), without function and column.
struct call_site {
    const char* file = nullptr;
    unsigned line = 0;
    static constexpr call_site current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) noexcept {
        return {file, line};
    }
};

// Names a goroutine in a report.
struct goroutine_name {
    goroutine_id id = 0;
    std::string name;      // spawn_options::name, may be empty
    std::string created;   // "file:line", or the address of the caller of go()
    HANDOFF_API std::string describe() const;   // `goroutine 7 "fetcher" (fetch.cc:31)`
};

// An unguarded call that kept its processor so long that the monitor took it away.
struct unguarded_call {
    goroutine_name who;
    std::string call;                    // "read", "fsync", "page fault", "unknown call"
    std::chrono::nanoseconds blocked{};  // from the monitor's first sight of it to the goroutine's next entry
};

struct options {
    // How many goroutines run at once. 0: HANDOFF_PROCS if set, else the CPUs that affinity and the cgroup's cpu.max
    // leave to the process.
    unsigned procs = 0;

    // Bytes of address space for each goroutine's stack; committed page by page as it is used. At least 16 KiB; rounded up to
    // whole pages. A guard of 64 KiB lies below: who runs into it ends the process, with the goroutine's name on stderr. A
    // function with a larger frame may step over it, unless it is compiled with -fstack-clash-protection.
    std::size_t stack_size = 256 * 1024;

    // The most OS threads, the monitor's included; at least 2. At the cap a processor waits, its work open to the others,
    // until a thread comes back from its call, which serves all who wait before it goes on. So there should be more than
    // goroutines that wait for others in a call, or are tied to their thread (lock_os_thread): those threads serve nobody.
    unsigned max_threads = 10'000;

    // How long a guarded call may keep its processor while other goroutines wait for one.
    std::chrono::nanoseconds syscall_grace{20us};

    // How long a guarded call may keep its processor while nobody waits for it.
    std::chrono::nanoseconds syscall_retake_after{20ms};

    // How long a goroutine may stay blocked without a guard while other goroutines wait for its processor, before that goes
    // on without it. The monitor asks the kernel what the thread does, at doubling intervals from then on; after a time in
    // which it has found nothing to take it looks later by a 32nd part of that time, at most by 1 ms.
    std::chrono::nanoseconds unguarded_grace{50us};

    // How long a goroutine may compute while others wait for its processor, and stay blocked without a guard while none
    // does, before its processor goes on without it. Also how long goroutines that wake each other go on ahead of others, and
    // how long one may poll before it waits behind them.
    std::chrono::nanoseconds retake_running_after{10ms};

    // Threads above `procs` that were idle for this long exit. (With them die children that they forked and that asked for
    // it by PR_SET_PDEATHSIG: docs/thread-locals.md.)
    std::chrono::nanoseconds idle_thread_timeout{10s};

    // The longest that a thread that ran out of work looks for more before it sleeps. How long it does follows how soon
    // threads have been called lately; only while a core is free. Whoever waits for a timer also spends a 16th of that
    // time at most on looking at the clock, so as to be in time. 0 turns both off.
    std::chrono::nanoseconds spin_before_sleep{100us};

    // Whether the runtime may install handlers for SIGSEGV and SIGBUS, which name the goroutine that has overflowed its stack, and
    // pass everything else on to those that were there before. The first runtime of the process that may installs them, the last
    // one restores what was there. They are never put over a handler that came later. false: this runtime installs none.
    bool fault_handlers = true;

    // If not 0: a report when for that long every goroutine of the runtime has waited for another, none computes or is in
    // a call, and no timer is set. Opt-in, since a thread outside the runtime may yet wake one. At least 1 ms.
    std::chrono::nanoseconds deadlock_after{0};

    // Called once for each such standstill, on a thread of the runtime that runs no goroutine, with the report: who waits
    // for what, since when, created where. It must not wait for goroutines of this runtime. Default: prints it to stderr.
    std::function<void(const std::string& report)> on_deadlock{};

    // Called when an exception leaves a goroutine that nobody joins, on that goroutine's stack (or by the last
    // handle, when it is dropped unjoined after the end). Default: a message with the goroutine's name, then
    // std::terminate. An exception that this function throws terminates the process.
    std::function<void(const goroutine_name&, std::exception_ptr)> on_unhandled_exception{};

    // Called when an unguarded call is over whose processor was taken away, on the goroutine that made it. It should
    // be quick. Default: nothing (HANDOFF_DEBUG=unguarded=1 prints a line for each).
    std::function<void(const unguarded_call&)> on_unguarded_call{};
};

// Options of one goroutine. `site` is filled in where the braces stand: go(spawn_options{.name = "x"}, f).
struct spawn_options {
    std::string name{};
    std::size_t stack_size = 0;   // bytes; 0: the runtime's
    // Which goroutines are alike: what is learnt of one (its calls block, it computes for long) is expected of the others. 0:
    // those with the same closure type that were started at the same place. For adaptors through which all goroutines of a
    // program are started: what tells their work apart, the address of a function for example.
    std::uintptr_t kind = 0;
    call_site site = call_site::current();
};

}  // namespace handoff
