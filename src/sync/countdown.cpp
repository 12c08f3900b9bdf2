// The counter of wait_group and latch.
#include <handoff/wait_group.hpp>

#include "wait/parking_lot.hpp"

#include <handoff/error.hpp>

#include <string>

namespace handoff::detail {

void bad_count(const char* what) { throw usage_error(std::string("handoff: ") + what); }

void count_out_of_range(std::ptrdiff_t n, std::ptrdiff_t most, const char* of) {
    bad_count((std::string("the count of a ") + of + " is " + std::to_string(n) + ", not between 0 and " + std::to_string(most)).c_str());
}

// add_more adds n > 0, in any context.
bool countdown::add_more(std::int64_t n) noexcept {
    std::int64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (n > most || (seen >> 1) + n > most) return false;
    } while (!word_.compare_exchange_weak(seen, seen + n * one, std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
}

bool countdown::add_slow(std::int64_t n) noexcept {
    if (n > 0) {   // wakes nobody, so it needs no section and does not switch; in a simulation it is a step
        if (M* m = current_m(); m && m->s->sim) leave(enter(m));
        return add_more(n);
    }
    bool fits = true;
    with_parked(this, [&](parked_waiters waiting, wake_list& won) {
        std::int64_t seen = word_.load(std::memory_order_relaxed);
        std::int64_t next;
        do {
            fits = n <= most && (seen >> 1) + n >= 0 && (seen >> 1) + n <= most;
            if (!fits) return;
            next = (seen >> 1) + n == 0 ? 0 : seen + n * one;   // at zero nobody waits any more
        } while (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed));
        // From here on a waiter may have returned, and destroyed the object.
        if (next == 0) waiting.release_all(0, won);
    });
    return fits;
}

bool countdown::begin_wait() const noexcept {
    std::int64_t seen = word_.load(std::memory_order_acquire);
    do {
        if (seen >> 1 == 0) return false;
    } while (!word_.compare_exchange_weak(seen, seen | parked, std::memory_order_acquire, std::memory_order_acquire));
    return true;
}

bool countdown::wait(countdown_kind who, std::int64_t deadline, const std::stop_token* stop) const {
    park_request r{this, who == countdown_kind::latch ? wait_reason::latch : wait_reason::wait_group};
    r.limits = {deadline, stop, true};
    const park_result end = park_current(r, [&] { return begin_wait(); });
    return end.end != wait_end::timed_out;
}

}  // namespace handoff::detail
