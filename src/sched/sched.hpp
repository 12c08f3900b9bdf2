// sched: what the Ps and Ms of one runtime share. It puts together these parts, each of which has its own invariants:
//
//     idle_set        idle Ps and Ms, spinners, which thread wakes for timers; the argument against lost wake-ups
//     processors      the set of Ps
//     thread_pool     threads: made, ended, joined
//     compute_limit   goroutines that compute without a P
//     prediction      whether calls of a kind block
//     monitor         watches the Ms that are away from the library, and takes their Ps
//     poller          asks the kernel which descriptors have become ready
//     global_queue, g_store, stack_pool
//
// Functions move Gs, Ms and Ps between their states: schedule.hpp (which G runs next, park and ready), slice.hpp (time slices),
// handover.hpp (a held P gets a thread; idle threads), section.hpp (entering and leaving the library), retake.hpp (taking Ps
// from Ms that are away), without.hpp (ends and beginnings without a P), g_cache.hpp (free Gs and stacks of a P). In this file:
// how the whole is started and stopped.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "context/float_mode.hpp"
#include "context/stack.hpp"
#include "os/load.hpp"
#include "os/note.hpp"
#include "sched/compute_limit.hpp"
#include "sched/counters.hpp"
#include "sched/g.hpp"
#include "sched/g_store.hpp"
#include "sched/global_queue.hpp"
#include "sched/idle_set.hpp"
#include "sched/m.hpp"
#include "sched/monitor.hpp"
#include "sched/p.hpp"
#include "sched/poller.hpp"
#include "sched/prediction.hpp"
#include "sched/processors.hpp"
#include "sched/section.hpp"
#include "sched/thread_pool.hpp"

#include <handoff/options.hpp>
#include <handoff/stats.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace handoff::detail {

class simulation_hooks;

// sched_link is how objects that may outlive their runtime find it. Its lock is a mutex, no spin lock: memory is allocated, and
// other locks are taken, under it.
struct sched_link {
    sched_link(sched* of, exception_handler h) : on_unhandled_exception(std::move(h)), s(of) {}
    const exception_handler on_unhandled_exception;   // that of the options, for what outlives the runtime
    base::mutex lock;
    sched* s;   // under the lock: null once the runtime has ended
};

struct debug_options {
    std::chrono::milliseconds schedtrace{0};
    bool scheddetail = false;
    bool unguarded = false;
};

// A thread that waits until all goroutines have ended. check_drained takes all of them out of lifetime::waiting at once, and
// wakes the first; each wakes the next.
struct end_waiter {
    os::note ended;
    end_waiter* next = nullptr;
};

// How a runtime ends. All but `outsiders` under the scheduler's lock.
struct lifetime {
    bool stopping = false;                 // threads have to exit
    bool closed = false;                   // goroutines are started only by its own
    std::uint32_t launching = 0;           // goroutines that are being spawned without a P: not yet in spawned_outside
    std::uint64_t spawned_outside = 0;     // goroutines that were spawned without a P
    std::uint64_t finished_without = 0;    // goroutines that ended without a P
    end_waiter* waiting = nullptr;
    alignas(64) base::atomic<std::uint32_t> outsiders{0};   // threads that use this runtime without being its own
};

// The unguarded calls that were found, by the place where their goroutines were spawned, and by the call.
struct unguarded_calls {
    base::mutex lock;
    std::map<std::pair<std::string, std::string>, unguarded_site> sites HANDOFF_GUARDED_BY(lock);
};

struct sched {
    explicit sched(options o);
    ~sched();

    // Immutable after construction.
    const options opts;
    const debug_options debug;
    const context::float_mode floats;   // in which goroutines start
    const unsigned cores;
    const std::int64_t started;
    const std::shared_ptr<sched_link> link;
    simulation_hooks* sim = nullptr;    // set before its only M and P run anything; null: an ordinary runtime

    // Cache lines of their own for members that are written at different times: apart from what every M reads now and then
    // (above), apart from the lock.
    alignas(64) idle_set idle;
    global_queue globq;                 // changed under idle.lock
    g_queue stackless HANDOFF_GUARDED_BY(idle.lock);   // fresh Gs for which no stack could be had
    alignas(64) processors procs;
    prediction predict;
    detail::poller poller;
    base::atomic<std::uint32_t> workers{0};            // Ms that start goroutines without a P (without.cpp)
    alignas(64) base::atomic<std::int64_t> coarse_now{0};   // the monitor's clock
    alignas(64) lifetime life;
    counters count;
    thread_pool pool;
    compute_limit limit;
    detail::monitor monitor;
    const os::load_file load;
    context::stack_pool stacks;
    unguarded_calls unguarded;
    // The last: it has no owner but this pointer while the others are made, some of which may throw. Its contents are guarded by
    // idle.lock until the threads are gone.
    g_store* const store;
};

// start makes the Ps and the first threads. Throws std::system_error, and std::bad_alloc.
void start(sched& s);

// drain_and_stop waits for the goroutines, then ends the threads.
void drain_and_stop(sched& s) noexcept;

// close refuses goroutines from outside from now on. A spawn from there either has begun before, and is waited for, or throws:
// it looks at `closed` and counts itself in `launching` in one critical section (spawn.cpp).
void close(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// await_end blocks the calling thread, which is not one of s, until all goroutines have ended, or until `deadline`. True: there
// was a moment at which none was left.
bool await_end(sched& s, std::int64_t deadline) noexcept HANDOFF_EXCLUDES(s.idle.lock);

// set_procs makes Ps, or marks surplus ones. Throws std::invalid_argument and std::bad_alloc.
void set_procs(sched& s, unsigned n);
void empty_idle_surplus(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void retire_p(M* m) noexcept;   // m's P is surplus: takes it from m, and empties it

// check_drained wakes the threads that wait for the end of all goroutines, if they have ended. When the last one ends, its P
// runs out of work. Each P that becomes idle passes through here, so the lock orders its counters before the check.
void check_drained(sched& s, deferred_wake& wake) noexcept HANDOFF_REQUIRES(s.idle.lock);
bool all_ended(const sched& s) noexcept HANDOFF_REQUIRES(s.idle.lock);

// The runtime that default_runtime() has started; null before. Stored with release, loaded with acquire.
extern base::atomic<sched*> of_default_runtime;

// sched_of_maker is the runtime for an object that is made without naming one: the calling goroutine's; outside of a goroutine
// the default one, if the program has asked for that. Else it throws usage_error, which says that `what` needs a runtime: a
// second runtime beside the program's own, with all its threads, must not be created unasked.
sched* sched_of_maker(const char* what);

bool in_forked_child() noexcept;

}  // namespace handoff::detail
