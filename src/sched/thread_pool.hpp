// thread_pool: the threads of a runtime, and the Ms that they are: making, ending, joining, the cap.
//
// Who makes threads. A thread inherits from the one that makes it: CPUs, niceness, policy, namespaces, capabilities, filters of
// calls. Tied goroutines change these of their threads, and foreign threads have their own; the Ms with neither, the monitor's
// among them, are made by each other, and the first of them by the thread that starts the runtime. So they alone make
// threads. Another one that finds no idle M leaves its P to the monitor (idle_set::leave_to_monitor), which starts it at once.
// Meanwhile nobody else can take that P, as while a thread begins. (Go has a thread for this alone.)
//
// Joining. When a thread has done with the runtime its thread_local destructors are still to run, which may take long, or wait
// for a goroutine. So it is joined once it is gone (os::join_if_gone), by whoever looks for that anyway; the end of the runtime
// waits for all. The monitor goes to its deep sleep while some exit, but for pauses that double.
//
// A lock of its own, which may be taken under the scheduler's. An M is never freed before its runtime ends.
#pragma once

#include "base/mutex.hpp"
#include "os/thread.hpp"
#include "sched/counters.hpp"
#include "sched/held_p.hpp"
#include "sched/m.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace handoff::detail {

class thread_pool {
public:
    thread_pool(unsigned most, counters& c) noexcept
        : inherited(os::thread_defaults::of_this_thread()), most_(most), count_(c) {}

    const os::thread_defaults inherited;   // what all threads begin with

    // start makes a thread that runs `body`, with an M that has p (none: none), and a role. False, and p stays, if max_threads
    // or the system forbids it.
    bool start(sched* s, void (*body)(void* m), held_p& p, bool spinning, m_role role) noexcept HANDOFF_EXCLUDES(lock_);

    // add_m makes an M for a thread that is there already, as a simulation's. Throws std::bad_alloc.
    M* add_m(sched* s) HANDOFF_EXCLUDES(lock_);

    // ends is the last that m's thread does with the pool. Its destructors, which follow, are a foreign thread's code.
    void ends(M* m) noexcept HANDOFF_EXCLUDES(lock_);

    // More threads than `wanted`, not counting those that retire; retires says whether m is to be one of these, if so.
    bool has_more_than(unsigned wanted) const noexcept HANDOFF_EXCLUDES(lock_);
    bool retires(M* m, unsigned wanted) noexcept HANDOFF_EXCLUDES(lock_);

    // join_gone joins threads that are gone; false if some exit still. join_all waits for those that exit.
    bool join_gone() noexcept HANDOFF_EXCLUDES(lock_);
    void join_all() noexcept HANDOFF_EXCLUDES(lock_);
    bool some_exit() const noexcept HANDOFF_EXCLUDES(lock_);
    bool all_ended() const noexcept HANDOFF_EXCLUDES(lock_);   // those that have to be joined still have, too

    unsigned threads() const noexcept HANDOFF_EXCLUDES(lock_);   // alive or being made
    unsigned most_threads() const noexcept HANDOFF_EXCLUDES(lock_);

    // for_each_m calls f for Ms from `at` on, `most` at a time under the lock, and returns the place after them; no more if that is
    // as it was.
    template <class F>
    std::size_t visit(std::size_t at, std::size_t most, F f) const HANDOFF_EXCLUDES(lock_) {
        base::lock_guard hold(lock_);
        for (; most > 0 && at < all_.size(); --most, ++at) f(*all_[at]);
        return at;
    }
    template <class F>
    void for_each(F f) const HANDOFF_EXCLUDES(lock_) {
        visit(0, ~std::size_t{0}, f);
    }

private:
    M* take_m(sched* s) HANDOFF_REQUIRES(lock_);

    const unsigned most_;
    counters& count_;
    mutable base::mutex lock_;
    std::vector<std::unique_ptr<M>> all_ HANDOFF_GUARDED_BY(lock_);
    std::vector<M*> exiting_ HANDOFF_GUARDED_BY(lock_);   // to be joined; they may run the program's destructors still
    std::vector<M*> free_ HANDOFF_GUARDED_BY(lock_);      // joined
    unsigned threads_ HANDOFF_GUARDED_BY(lock_) = 0;
    unsigned most_threads_ HANDOFF_GUARDED_BY(lock_) = 0;
    unsigned retiring_ HANDOFF_GUARDED_BY(lock_) = 0;     // of threads_, those on their way out
};

}  // namespace handoff::detail
