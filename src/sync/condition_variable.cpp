// condition_variable. A waiter queues itself in the parking lot before it unlocks the lock, so a notification that follows
// finds it. It need not have parked yet, since its wait is armed. Whoever takes a node out of the queue subtracts it from
// `waiters_` under the bucket's lock. So once all waiters are notified the object may be destroyed, and nobody touches it.
// At each release of that lock `waiters_` is the length of the queue. The waiters that notify_all has taken out, but has not
// told yet, are no longer in that queue, so a notify_one reaches a waiter that came later.
#include <handoff/condition_variable.hpp>

#include "sched/simulation_hooks.hpp"
#include "wait/parking_lot.hpp"

namespace handoff {

using namespace detail;

condition_variable::end condition_variable::park(void* lock, void (*unlock)(void*), std::int64_t deadline,
                                                 const std::stop_token* stop) {
    const wait_limits limits{deadline, stop, true};
    check_cancelled({deadline, nullptr, true});
    M* m = enter_current();
    parked_node n(m, true);
    n.address = this;
    bucket& b = bucket_of(this);
    b.lock.lock();
    waiters_.fetch_add(1, std::memory_order_relaxed);
    b.append(n);
    b.lock.unlock();
    leave_current(m);
    struct dequeuer {
        condition_variable& cv;
        bucket& b;
        parked_node& n;
        ~dequeuer() {
            spin_guard hold(b.lock);
            // Not if it was notified: after that the object may be gone.
            if (n.queued && b.remove(n)) cv.waiters_.fetch_sub(1, std::memory_order_relaxed);
        }
    };
    wait_end how;
    {
        dequeuer at_end{*this, b, n};
        unlock(lock);   // calls the program's function, which may wait, return on another thread, or throw
        m = enter_current();
        how = wait_armed(m, n, wait_reason::condition, this, limits);
    }
    leave_current(m);
    if (how == wait_end::cancelled) await_turn_to_throw();   // before it has the lock again
    switch (how) {
        case wait_end::timed_out: return end::timed_out;
        case wait_end::no_memory: return end::no_memory;
        case wait_end::cancelled: return stop && stop->stop_requested() ? end::stopped : end::cancelled;
        default: return end::notified;
    }
}

void condition_variable::notify(bool all) noexcept {
    with_parked(this, [this, all](parked_waiters waiting, wake_list& won) {
        if (all) {
            waiters_.store(0, std::memory_order_relaxed);
            waiting.release_all(0, won);
            return;
        }
        while (parked_node* n = waiting.first()) {
            const bool notified = waiting.release(*n, 0, won);
            waiters_.fetch_sub(1, std::memory_order_relaxed);
            if (notified) return;
        }
    });
}

void condition_variable::throw_if_simulation_failed() {
    if (const M* m = current_m(); m && m->s->sim) m->s->sim->throw_if_failed();
}

void condition_variable::fail(end how) {
    throw_if_cancelled(how == end::cancelled ? wait_end::cancelled : wait_end::no_memory);
    __builtin_unreachable();
}

}  // namespace handoff
