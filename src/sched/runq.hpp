// run_queue: a processor's own run queue. Its owner pushes and pops; other processors steal.
//
// It is a ring of 256 with one producer and many consumers, and a slot `next` in front of it: the goroutine that was woken last
// and that no other processor has taken. The algorithm is that of Go's runqput, runqget and runqgrab.
//
// Every consumer moves head by CAS. The owner stores tail with release after it has written the slot. Thieves load tail with
// acquire, and copy slots before their CAS on head. If that succeeds, no slot in [head, head+n) can have been reused, since the
// owner pushes only while tail - head < capacity. The owner sets next, when it is null, by a plain store; anyone takes it by
// CAS. Only the owner makes it non-null, so its store can't overwrite anything.
//
// alone: where there is one processor no other steals, and a CAS per switch is a third of the cost of the switch. While `alone`
// is set the owner takes without CAS, and thieves keep away. Only the owner clears it, for good, between two of its own
// operations, once it sees that there are other processors. A thief that finds it cleared (acquire, pairing with the owner's
// release) comes after the last operation without CAS. Until then work may wait here that other processors could do. The owner
// checks at each pick, and a new owner when it takes over.
#pragma once

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "sched/g.hpp"

#include <cstdint>

namespace handoff::detail {

class run_queue {
public:
    static constexpr std::uint32_t capacity = base::sized(256, 4);

    // Owner only.

    bool alone() const noexcept { return alone_.load(std::memory_order_relaxed); }
    void set_alone() noexcept { alone_.store(true, std::memory_order_relaxed); }   // before it is shared with other threads
    void share() noexcept { alone_.store(false, std::memory_order_release); }

    // push appends g; false if the ring is full.
    bool push(G* g) noexcept {
        const std::uint32_t t = tail_.load(std::memory_order_relaxed);   // only the owner writes it
        const std::uint32_t h = head_.load(std::memory_order_acquire);   // pairs with the consumers' CAS: slots are free
        if (t - h >= capacity) [[unlikely]] return false;
        ring_[t % capacity].store(g, std::memory_order_relaxed);
        tail_.store(t + 1, std::memory_order_release);                   // publishes the slot to thieves
        return true;
    }

    // set_next puts g into `next`; false if that is taken.
    bool set_next(G* g) noexcept {
        if (next_.load(std::memory_order_relaxed) != nullptr) return false;
        next_.store(g, std::memory_order_release);   // pairs with the acquire in take_next and grab
        return true;
    }

    bool has_next() const noexcept { return next_.load(std::memory_order_relaxed) != nullptr; }

    G* take_next() noexcept {
        G* g = next_.load(std::memory_order_relaxed);
        if (alone()) {
            next_.store(nullptr, std::memory_order_relaxed);
            return g;
        }
        // acquire: pairs with set_next, in case a previous owner of this processor has set it.
        if (g && next_.compare_exchange_strong(g, nullptr, std::memory_order_acquire, std::memory_order_relaxed))
            return g;
        return nullptr;
    }

    G* pop() noexcept {
        std::uint32_t h = head_.load(std::memory_order_acquire);   // pairs with other consumers' CAS
        for (;;) {
            if (tail_.load(std::memory_order_relaxed) == h) return nullptr;
            G* g = ring_[h % capacity].load(std::memory_order_relaxed);
            if (alone()) {
                head_.store(h + 1, std::memory_order_relaxed);
                prefetch(ring_[(h + 2) % capacity].load(std::memory_order_relaxed));
                return g;
            }
            // release: the read of the slot happens before the slot is reused (push's acquire of head).
            if (!head_.compare_exchange_weak(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
            // Prefetch the goroutine after the next: where many wait, they have left the caches. A stale pointer does no harm.
            prefetch(ring_[(h + 2) % capacity].load(std::memory_order_relaxed));
            return g;
        }
    }

    // room: how many more goroutines push() takes at least; thieves may make more room.
    std::uint32_t room() const noexcept {
        return capacity - (tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire));
    }

    // take_half moves the older half of a full ring to out[0..capacity/2); false if thieves took some first.
    bool take_half(G** out) noexcept;

    // Any thread.

    // steal_from takes the older half of the victim's ring. It returns one goroutine, to run at once, and pushes the others
    // here (the caller owns this queue, which is empty); null if there was nothing. With `also_next` it may take the victim's
    // next. `moved`: how many it took.
    G* steal_from(run_queue& victim, bool also_next, unsigned& moved) noexcept;

    // steal_first_if takes the goroutine at the front of the ring if `wanted(g)`, for a thread without a queue of its own.
    // `wanted` may read only atomics of g: another thread may take it meanwhile. Then this returns null.
    template <class F>
    G* steal_first_if(F wanted) noexcept {
        if (alone_.load(std::memory_order_acquire)) return nullptr;      // pairs with share()
        std::uint32_t h = head_.load(std::memory_order_acquire);         // as in grab()
        if (tail_.load(std::memory_order_acquire) == h) return nullptr;
        G* g = ring_[h % capacity].load(std::memory_order_relaxed);
        if (!wanted(g)) return nullptr;
        return head_.compare_exchange_strong(h, h + 1, std::memory_order_acq_rel, std::memory_order_relaxed) ? g : nullptr;
    }

    // front is the goroutine at the front of the ring, or that was there a moment ago, or `next` if the ring is empty; null if
    // there is none.
    const G* front() const noexcept {
        const std::uint32_t h = head_.load(std::memory_order_acquire);
        if (tail_.load(std::memory_order_acquire) == h) return next_.load(std::memory_order_acquire);
        return ring_[h % capacity].load(std::memory_order_relaxed);
    }

    // empty returns true only if the queue was empty at some moment during the call.
    bool empty() const noexcept {
        for (;;) {
            const std::uint32_t h = head_.load(std::memory_order_acquire);
            const std::uint32_t t = tail_.load(std::memory_order_acquire);
            const G* n = next_.load(std::memory_order_acquire);
            // Look again if tail has moved: the owner may have moved a goroutine from next to the ring in between.
            if (tail_.load(std::memory_order_acquire) == t) return h == t && n == nullptr;
        }
    }

    unsigned size() const noexcept {
        const std::uint32_t h = head_.load(std::memory_order_acquire);
        const std::uint32_t n = tail_.load(std::memory_order_acquire) - h;
        return (n > capacity ? 0 : n) + (next_.load(std::memory_order_relaxed) ? 1 : 0);
    }

    // For the owner: cheap, and exact for its own pushes.
    bool owner_sees_work() const noexcept {
        return head_.load(std::memory_order_relaxed) != tail_.load(std::memory_order_relaxed) ||
               next_.load(std::memory_order_relaxed) != nullptr;
    }

private:
    static void prefetch(const G* g) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(g);   // a number: g may be null
        for (std::size_t i = 0; i < sizeof(G); i += 64) __builtin_prefetch(reinterpret_cast<const void*>(address + i));
    }
    std::uint32_t grab(G** out, bool also_next) noexcept;

    alignas(64) base::atomic<std::uint32_t> head_{0};
    alignas(64) base::atomic<std::uint32_t> tail_{0};
    base::atomic<G*> next_{nullptr};
    base::atomic<bool> alone_{false};
    base::atomic<G*> ring_[capacity]{};
};

}  // namespace handoff::detail
