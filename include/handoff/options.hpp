// Options that a runtime or a goroutine is started with.
#pragma once

#include <handoff/detail/export.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

namespace handoff {

using goroutine_id = std::uint64_t;

// A place in the source: std::source_location, which clang 14 lacks, without function and column.
struct call_site {
    const char* file = nullptr;
    unsigned line = 0;
    static constexpr call_site current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) noexcept {
        return {file, line};
    }
};

// Names a goroutine in reports.
struct goroutine_name {
    goroutine_id id = 0;
    std::string name;      // spawn_options::name, may be empty
    std::string created;   // "file:line", or the address of the caller of go()
    HANDOFF_API std::string describe() const;   // `goroutine 7 "fetcher" (fetch.cc:31)`
};

// An unguarded call that lasted so long that the monitor took the goroutine's processor.
struct unguarded_call {
    goroutine_name who;
    std::string call;                    // "read", "fsync", "page fault", "unknown call"
    std::chrono::nanoseconds blocked{};  // from the monitor's first look at it until the goroutine next entered the library
};

struct options {
    // The number of processors: how many goroutines run at once. 0: HANDOFF_PROCS if set, otherwise the number of CPUs that
    // affinity and the cgroup's cpu.max leave to the process.
    unsigned procs = 0;

    // Bytes of address space for each goroutine's stack; memory is committed page by page as it is used. At least 16 KiB;
    // rounded up to whole pages. A guard of 64 KiB lies below each stack: running into it ends the process, with the
    // goroutine's name on stderr. A function with a larger frame may step over it, unless it is compiled with
    // -fstack-clash-protection.
    std::size_t stack_size = 256 * 1024;

    // The maximum number of OS threads, including the monitor; at least 2. At the maximum, a processor that needs a thread
    // stays idle, and its goroutines are left to the other processors, until a thread comes back from its call. That thread
    // first runs the goroutines that wait already, then its own. So allow more threads than there are goroutines that wait
    // for other goroutines in a call, or are tied to their thread (lock_os_thread): the threads of those run nothing else.
    unsigned max_threads = 10'000;

    // How long a guarded call may keep its processor while other goroutines wait for one.
    std::chrono::nanoseconds syscall_grace = std::chrono::microseconds(20);

    // How long a guarded call may keep its processor while no goroutine waits for it.
    std::chrono::nanoseconds syscall_retake_after = std::chrono::milliseconds(20);

    // How long a goroutine may stay blocked without a guard while other goroutines wait for its processor. After that the
    // processor goes on without it. From this time on, the monitor asks the kernel at doubling intervals what the thread
    // does. If the monitor has found nothing to take for a while, it looks later, by a 32nd part of that while, but by at
    // most 1 ms.
    std::chrono::nanoseconds unguarded_grace = std::chrono::microseconds(50);

    // The time slice: how long a goroutine may compute while others wait for its processor, or stay blocked without a guard
    // while no other waits, before its processor goes on without it. It is also how long goroutines that wake each other
    // run ahead of the others, and how long a goroutine may poll before it has to wait behind the others.
    std::chrono::nanoseconds retake_running_after = std::chrono::milliseconds(10);

    // Threads above `procs` exit after they have been idle for this long. (A child that such a thread has forked dies with
    // it if the child asked for that by PR_SET_PDEATHSIG: docs/thread-locals.md.)
    std::chrono::nanoseconds idle_thread_timeout = std::chrono::seconds(10);

    // The longest time that a thread without work spins, looking for new work, before it sleeps. How long it really spins
    // follows how soon threads have been needed lately, and it spins only while a core is free. A thread that waits for a
    // timer also spends up to a 16th of its waiting time on watching the clock, to wake in time. 0 turns both off.
    std::chrono::nanoseconds spin_before_sleep = std::chrono::microseconds(100);

    // Whether the runtime may install handlers for SIGSEGV and SIGBUS. They name the goroutine that has overflowed its
    // stack, and pass every other fault on to the handlers that were there before. The first runtime of the process that
    // may do so installs them; the last one restores what was there. They are never put over a handler that was installed
    // later. false: this runtime installs none.
    bool fault_handlers = true;

    // If not 0: report a deadlock when for this long every goroutine of the runtime has waited for another one, none has
    // computed or been in a call, and no timer was set. Off by default, since a thread outside the runtime may still wake a
    // goroutine. At least 1 ms.
    std::chrono::nanoseconds deadlock_after{0};

    // Called with the report, once for each such deadlock, on a thread of the runtime that runs no goroutine. The report
    // says what each goroutine waits for, since when, and where it was created. The function must not wait for goroutines
    // of this runtime. Default: prints the report to stderr.
    std::function<void(const std::string& report)> on_deadlock{};

    // Called when an exception leaves a goroutine that nobody joins, on that goroutine's stack. (If the last handle is
    // dropped unjoined after the goroutine has ended: where it is dropped.) Default: a message with the goroutine's name,
    // then std::terminate. If this function throws, the process is terminated.
    std::function<void(const goroutine_name&, std::exception_ptr)> on_unhandled_exception{};

    // Called after an unguarded call whose processor was taken away, on the goroutine that made the call. It should be
    // quick. Default: nothing (HANDOFF_DEBUG=unguarded=1 prints a line for the first of
    // each place and call, and for each tenth, hundredth and so on).
    std::function<void(const unguarded_call&)> on_unguarded_call{};

    // Called on each thread of the runtime, whichever plays the monitor included: on_thread_start before its first goroutine,
    // on_thread_exit after its last, and before the destructors of its thread_locals; also on a thread that exits after
    // idle_thread_timeout or with a goroutine that was tied to it. Several threads may be in them at once. A thread is named
    // before: `handoff/3` is the one whose thread_info::id is 3; on_thread_start may name it otherwise.
    //
    // They run on the thread's own stack. To the library it is a thread that runs no goroutine, and may use all that such a
    // thread may; but neither of the two may wait for goroutines of this runtime, and on_thread_exit may not start any. The
    // runtime's constructor may not have returned yet when on_thread_start is called; its destructor waits for each
    // on_thread_exit. on_thread_start should be quick: a processor may wait for it. If one of them throws, the process ends,
    // with a message that names the option. Default: nothing.
    std::function<void()> on_thread_start{};
    std::function<void()> on_thread_exit{};
};

// Options of one goroutine. `site` is the place of the braces: go(spawn_options{.name = "x"}, f).
struct spawn_options {
    std::string name{};
    std::size_t stack_size = 0;   // bytes; 0: the runtime's stack_size
    // Marks goroutines that do the same work: what is learnt of one (its calls block, it computes for long) is expected of
    // the others. 0: goroutines with the same closure type that were started at the same place. For adaptors through which
    // all goroutines of a program are started: give a value that tells their work apart, for example the address of a
    // function.
    std::uintptr_t kind = 0;
    call_site site = call_site::current();
};

}  // namespace handoff
