#include "sched/runq.hpp"

namespace handoff::detail {

bool run_queue::take_half(G** out) noexcept {
    std::uint32_t h = head_.load(std::memory_order_acquire);
    const std::uint32_t n = (tail_.load(std::memory_order_relaxed) - h) / 2;
    if (n < capacity / 2) return false;
    for (std::uint32_t i = 0; i < n; ++i) out[i] = ring_[(h + i) % capacity].load(std::memory_order_relaxed);
    return head_.compare_exchange_strong(h, h + n, std::memory_order_acq_rel, std::memory_order_relaxed);
}

// grab takes the older half of the ring, at least one, into out[0..capacity/2).
std::uint32_t run_queue::grab(G** out, bool also_next) noexcept {
    if (alone_.load(std::memory_order_acquire)) return 0;   // pairs with share()
    for (;;) {
        std::uint32_t h = head_.load(std::memory_order_acquire);         // pairs with other consumers' CAS
        const std::uint32_t t = tail_.load(std::memory_order_acquire);   // pairs with push: the slots
        std::uint32_t n = t - h;
        n -= n / 2;
        if (n == 0) {
            if (!also_next) return 0;
            G* g = next_.load(std::memory_order_relaxed);
            if (!g) return 0;
            // Its waker is likely to block soon, and to run it then: give it a moment.
            for (int i = 0; i < 64; ++i) base::cpu_relax();
            if (!next_.compare_exchange_strong(g, nullptr, std::memory_order_acquire, std::memory_order_relaxed))
                continue;
            out[0] = g;
            return 1;
        }
        if (n > capacity / 2) continue;   // head and tail were read at different moments
        for (std::uint32_t i = 0; i < n; ++i) out[i] = ring_[(h + i) % capacity].load(std::memory_order_relaxed);
        if (head_.compare_exchange_strong(h, h + n, std::memory_order_acq_rel, std::memory_order_relaxed)) return n;
    }
}

G* run_queue::steal_from(run_queue& victim, bool also_next, unsigned& moved) noexcept {
    G* batch[capacity / 2];
    const std::uint32_t n = victim.grab(batch, also_next);
    moved = n;
    if (n == 0) return nullptr;
    // This queue is empty, so all of them fit.
    for (std::uint32_t i = 0; i + 1 < n; ++i) push(batch[i]);
    return batch[n - 1];
}

}  // namespace handoff::detail
