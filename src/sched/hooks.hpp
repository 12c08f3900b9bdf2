// What the scheduler calls in the layers above it. The table is declared here; src/runtime/hooks.cpp fills it in, so that no
// file of a lower layer includes one of a higher. Two more hooks are null in most programs, and cost nothing then: a
// simulation's (simulation_hooks.hpp), and the one that is told of each switch (switch_hook.hpp).
#pragma once

#include "context/context.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace handoff::detail {

struct G;
struct M;
struct event_batch;
struct sched;

struct sched_hooks {
    // The bottom of every goroutine's stack (goroutine/goroutine_main.cpp); does not return.
    void (*goroutine_main)(context::switcher* arrived) noexcept;

    // An unguarded stay of g outside of the library is over: counts it, and reports it to the program, whose callback is user
    // code. Called in user code, on g; it may change threads.
    void (*unguarded_call_ended)(sched& s, G* g, std::int64_t since, std::int64_t until, long call);

    // Every processor, thread and goroutine, for the report of a standstill. Throws std::bad_alloc.
    std::string (*describe_all)(sched& s);

    // Some descriptors of the poller have become ready: makes their waiters runnable, in the order of the events. m: the calling
    // thread's M, in a section; it need not have a P.
    void (*descriptors_ready)(M* m, const event_batch& events) noexcept;

    // The poller of that number is gone: who waits for a descriptor that was registered with it has to register it elsewhere.
    void (*poller_ended)(std::uint64_t poller) noexcept;

    // Prints the lines that HANDOFF_DEBUG=schedtrace asks for, when they are due. Called in the monitor's rounds.
    void (*trace)(sched& s, std::int64_t now) noexcept;

    // Describes whose stack overflowed, if the address is in its guard. Called in a signal handler.
    bool (*describe_overflow)(const void* address, const void* sp, char* text, std::size_t size);

    // Called when a runtime starts, before it has threads; `membarrier`: whether membarrier(2) is available.
    void (*runtime_starts)(bool membarrier) noexcept;

    // The runtime that go() uses outside of any goroutine; starts it. Throws as runtime's constructor does.
    sched* (*default_sched)();
};

extern const sched_hooks hooks;

}  // namespace handoff::detail
