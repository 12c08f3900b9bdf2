// Semaphores. Permits are given to the waiters first, one each; only what is left is added to the word. As long as somebody
// waits the word has no permits, so newcomers can't barge in.
#include <handoff/semaphore.hpp>

#include "wait/parking_lot.hpp"

#include <handoff/error.hpp>

#include <algorithm>

namespace handoff::detail {

bool semaphore_base::take_slow(std::int64_t deadline, const std::stop_token* stop) {
    park_request r{this, wait_reason::semaphore};
    r.limits = {deadline, stop, true};
    const park_result end = park_current(r, [&] {
        std::uint64_t seen = word_.load(std::memory_order_relaxed);
        for (;;) {
            const bool free = seen >= one;
            if (word_.compare_exchange_weak(seen, free ? seen - one : parked, std::memory_order_acquire, std::memory_order_relaxed))
                return !free;
        }
    });
    return end.end != wait_end::timed_out;
}

void semaphore_base::give(std::uint64_t n, std::uint64_t most) {
    const auto fits = [&](std::uint64_t seen) { return n <= most && (seen >> 1) <= most - n; };
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while ((never_if_closed(seen) & parked) == 0) {
        if (!fits(seen)) throw usage_error("handoff: a semaphore is released beyond its maximum");
        // release: what the releaser did, for whoever acquires the permit.
        if (word_.compare_exchange_weak(seen, seen + n * one, std::memory_order_release, std::memory_order_relaxed)) return;
    }
    if (!fits(0)) throw usage_error("handoff: a semaphore is released beyond its maximum");
    bool accepted = true;
    release_round round;
    with_parked_in_rounds(this, [&](parked_waiters waiting, wake_list& won) {
        const std::uint64_t served = waiting.release_up_to(std::min(n, round.size()), 0, won);
        n -= served;
        if (n > 0 && served == round.size()) {
            round.grow();
            return true;
        }
        if (!waiting.empty()) return false;
        // Nobody waits any more. If this was so before this round, others may have changed the word on their fast paths.
        seen = word_.load(std::memory_order_relaxed);
        do {
            accepted = fits(seen);   // if not, this round served nobody: after a round that did, the rest fits
            if (!accepted) return false;
        } while (!word_.compare_exchange_weak(seen, (seen & ~parked) + n * one, std::memory_order_release, std::memory_order_relaxed));
        return false;
    });
    if (!accepted) throw usage_error("handoff: a semaphore is released beyond its maximum");
}

}  // namespace handoff::detail
