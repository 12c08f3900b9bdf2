#include <handoff/detail/spin_lock.hpp>

#include "os/backoff.hpp"
#include "sched/pinned.hpp"

namespace handoff::detail {

void spin_lock::lock_slow() noexcept {
    // The holder runs, or has lost its core, or is the calling thread itself (which refuse_in_move detects).
    os::backoff wait;
    for (unsigned looks = 1;; ++looks, wait.pause()) {
        if (word_.load(std::memory_order_relaxed) == 0 && word_.exchange(1, std::memory_order_acquire) == 0) return;
        if (looks == 8 * os::backoff::spins_a_round) refuse_in_move();
    }
}

}  // namespace handoff::detail
