// The barrier. Its waiters wait at the address of the phase. The last participant that arrives changes the phase and wakes
// them. Before that change no other can arrive in the next phase, so until then the last one has the counts to itself.
#include <handoff/barrier.hpp>

#include "wait/parking_lot.hpp"

#include <handoff/detail/fast_path.hpp>
#include <handoff/error.hpp>

namespace handoff::detail {

std::uint64_t barrier_base::arrive(std::ptrdiff_t n, bool drop, void (*complete)(void*), void* arg) {
    interleave_point();
    // Relaxed: it can't change before this caller has arrived.
    const std::uint64_t phase = phase_.load(std::memory_order_relaxed);
    // Before it arrives, so that the last one sees it.
    if (drop) expected_.fetch_sub(1, std::memory_order_relaxed);
    std::ptrdiff_t left = left_.load(std::memory_order_relaxed);
    do {
        if (n <= 0 || n > left) {
            if (drop) expected_.fetch_add(1, std::memory_order_relaxed);
            throw usage_error("handoff: more arrive at a barrier than it expects");
        }
        // release: what this participant did before; acquire: what the others did, for the completion function and the
        // waiters.
    } while (!left_.compare_exchange_weak(left, left - n, std::memory_order_acq_rel, std::memory_order_relaxed));
    if (left != n) return phase;
    complete(arg);
    left_.store(expected_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    with_parked(&phase_, [&](parked_waiters waiting, wake_list& won) {
        phase_.store(phase + 1, std::memory_order_release);
        // From here on another participant may have returned, and destroyed the barrier.
        waiting.release_all(0, won);
    });
    return over;
}

void barrier_base::wait(std::uint64_t phase, const std::stop_token* stop) const {
    if (phase == over || phase_.load(std::memory_order_acquire) != phase) return;
    park_request r{&phase_, wait_reason::barrier};
    r.limits = {no_deadline, stop, true};
    park_current(r, [&] { return phase_.load(std::memory_order_acquire) == phase; });
}

}  // namespace handoff::detail
