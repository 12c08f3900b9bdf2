// thread_pool: the threads of a runtime, and the Ms that belong to them: making, ending, joining, the cap on their number.
//
// Which threads make threads. A thread inherits from its creator: CPU affinity, niceness, scheduling policy, namespaces,
// capabilities, system call filters. A tied goroutine may change these for its thread, and foreign threads have their own. So
// only the runtime's own threads without a tied goroutine make threads, the monitor's among them: they are made by each other,
// and the first of them by the thread that starts the runtime. Any other thread that finds no idle M leaves its P to the
// monitor (idle_set::leave_to_monitor), which starts a thread for it at once. Meanwhile no other M can take that P, just as
// while a thread starts. (Go has a thread for this alone.)
//
// Joining. When a thread is done with the runtime, options::on_thread_exit and its thread_local destructors are still to run.
// They may take long, or wait for a goroutine. So a thread is joined once it is gone (os::join_if_gone), by whatever looks for
// that anyway; the end of the runtime waits for all. While some threads exit, the monitor goes to its deep sleep as well, but
// wakes after pauses that double.
//
// It has a lock of its own, which may be taken under the scheduler's. An M is never freed before its runtime ends.
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

    const os::thread_defaults inherited;   // the attributes that all threads start with

    // start makes a thread that runs `body`, with an M that gets p (which may be none) and a role. Returns false, and leaves p,
    // if max_threads or the system forbids it.
    bool start(sched* s, void (*body)(void* m), held_p& p, bool spinning, m_role role) noexcept HANDOFF_EXCLUDES(lock_);

    // add_m makes an M for a thread that exists already, as that of a simulation. Throws std::bad_alloc.
    M* add_m(sched* s) HANDOFF_EXCLUDES(lock_);

    // ends is the last use that m's thread makes of the pool. What follows, on_thread_exit and its destructors, runs as code of a
    // foreign thread.
    void ends(M* m) noexcept HANDOFF_EXCLUDES(lock_);

    // has_more_than: there are more than `wanted` threads, not counting those that retire. retires: if so, m is to retire, too,
    // and it returns true.
    bool has_more_than(unsigned wanted) const noexcept HANDOFF_EXCLUDES(lock_);
    bool retires(M* m, unsigned wanted) noexcept HANDOFF_EXCLUDES(lock_);

    // join_gone joins threads that are gone; false if some still exit. join_all waits for those.
    bool join_gone() noexcept HANDOFF_EXCLUDES(lock_);
    void join_all() noexcept HANDOFF_EXCLUDES(lock_);
    bool some_exit() const noexcept HANDOFF_EXCLUDES(lock_);
    bool all_ended() const noexcept HANDOFF_EXCLUDES(lock_);   // including those that are still to be joined

    unsigned threads() const noexcept HANDOFF_EXCLUDES(lock_);   // alive or being made
    unsigned most_threads() const noexcept HANDOFF_EXCLUDES(lock_);

    // visit calls f for at most `most` Ms from place `at` on, under the lock, and returns the place after them. If that equals
    // `at`, there are no more. for_each visits all.
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
    std::vector<M*> exiting_ HANDOFF_GUARDED_BY(lock_);   // to be joined; they may still run the program's destructors
    std::vector<M*> free_ HANDOFF_GUARDED_BY(lock_);      // joined
    unsigned threads_ HANDOFF_GUARDED_BY(lock_) = 0;
    unsigned most_threads_ HANDOFF_GUARDED_BY(lock_) = 0;
    unsigned retiring_ HANDOFF_GUARDED_BY(lock_) = 0;     // how many of threads_ are about to exit
};

}  // namespace handoff::detail
