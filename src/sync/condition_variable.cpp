// condition_variable. A waiter queues itself in the parking lot before it unlocks the lock, so a notification that
// follows finds it; that it has not parked yet does not matter to an armed wait. Who takes a node out of the queue counts
// it out, under the bucket's lock: once everybody is notified the object may be destroyed, and nobody touches it.
#include <handoff/condition_variable.hpp>

#include "sync/parking_lot.hpp"

namespace handoff {

using namespace detail;

condition_variable::end condition_variable::park(void* lock, void (*unlock)(void*), std::int64_t deadline,
                                                 const std::stop_token* stop) {
    const wait_limits limits{deadline, stop, true};
    check_cancelled({deadline, nullptr, true});
    waiters_.fetch_add(1, std::memory_order_relaxed);
    M* m = enter_current();
    waiter w(m, true);
    wait_node n;
    n.who = &w;
    n.address = this;
    bucket& b = bucket_of(this);
    b.lock.lock();
    b.append(n);
    b.lock.unlock();
    leave_current(m);
    struct dequeuer {
        condition_variable& cv;
        bucket& b;
        wait_node& n;
        ~dequeuer() {
            spin_guard hold(b.lock);
            if (!n.queued) return;   // by a notification, after which the object may be gone
            b.remove(n);
            cv.waiters_.fetch_sub(1, std::memory_order_relaxed);
        }
    };
    wait_end how;
    {
        dequeuer at_end{*this, b, n};
        unlock(lock);   // the program's; it may wait, come back on another thread, or throw
        m = enter_current();
        how = wait_armed(m, w, wait_reason::condition, this, limits);
    }
    leave_current(m);
    switch (how) {
        case wait_end::timed_out: return end::timed_out;
        case wait_end::no_memory: return end::no_memory;
        case wait_end::cancelled: return stop && stop->stop_requested() ? end::stopped : end::cancelled;
        default: return end::notified;
    }
}

void condition_variable::notify(bool all) noexcept {
    with_parked(this, [this, all](parked_waiters waiting, wake_list& won) {
        while (wait_node* n = waiting.first()) {
            const bool notified = waiting.release(*n, 0, won);
            waiters_.fetch_sub(1, std::memory_order_relaxed);
            if (notified && !all) return;
        }
    });
}

void condition_variable::fail(end how) {
    throw_if_cancelled(how == end::cancelled ? wait_end::cancelled : wait_end::no_memory);
    __builtin_unreachable();
}

}  // namespace handoff
