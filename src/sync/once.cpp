#include <handoff/once.hpp>

#include "wait/parking_lot.hpp"

namespace handoff {

using namespace detail;

bool once_flag::begin() {
    park_request r{this, wait_reason::once};
    r.limits.cancellable = false;
    interleave_point();
    for (;;) {
        std::uint32_t seen = fresh;
        if (state_.compare_exchange_strong(seen, running, std::memory_order_acquire, std::memory_order_acquire)) return true;
        if (seen == done) return false;
        park_current(r, [&] {
            seen = running;
            return state_.compare_exchange_strong(seen, contended, std::memory_order_relaxed) || seen == contended;
        });
    }
}

void once_flag::end(std::uint32_t state) noexcept {
    interleave_point();
    std::uint32_t seen = running;
    // release: what the function did, for callers that read the state.
    if (state_.compare_exchange_strong(seen, state, std::memory_order_release, std::memory_order_relaxed)) return;
    with_parked(this, [&](parked_waiters waiting, wake_list& won) {
        state_.store(state, std::memory_order_release);
        waiting.release_all(0, won);
    });
}

}  // namespace handoff
