// run_queue: a processor's own queue. Its owner pushes and pops, any other processor steals.
//
// A ring of 256 with one producer and many consumers, and `next` in front of it: the goroutine that was woken last and
// nobody else took. The algorithm is that of Go's runqput/runqget/runqgrab.
//
// head is moved by CAS by every consumer; tail is stored by the owner with release after the slot is written, and
// loaded with acquire by thieves, who copy slots before their CAS on head: if that succeeds, no slot in [head, head+n)
// can have been reused, since the owner pushes only while tail - head < capacity.
// next is set by the owner, when it is null, by a plain store; taken by anyone by CAS. Only the owner makes it
// non-null, so its store can't overwrite anything.
//
// alone: where there is one processor nobody steals, and a CAS a switch is a third of the switch's cost. While `alone` is
// set the owner takes without CAS, and thieves keep away. Only the owner clears it, between two of its own operations and
// for good, once it sees that there are other processors: a thief that finds it cleared (acquire, with the owner's
// release) comes after the last of them. Until then work waits here that others could do; the owner looks at each pick,
// and a new owner as it takes over.
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
    void set_alone() noexcept { alone_.store(true, std::memory_order_relaxed); }   // before anybody else knows of it
    void share() noexcept { alone_.store(false, std::memory_order_release); }

    // push appends g; false if the ring is full.
    bool push(G* g) noexcept {
        const std::uint32_t t = tail_.load(std::memory_order_relaxed);   // ours
        const std::uint32_t h = head_.load(std::memory_order_acquire);   // with the consumers' CAS: slots are free
        if (t - h >= capacity) [[unlikely]] return false;
        ring_[t % capacity].store(g, std::memory_order_relaxed);
        tail_.store(t + 1, std::memory_order_release);                   // publishes the slot to thieves
        return true;
    }

    // set_next puts g in front if that place is free.
    bool set_next(G* g) noexcept {
        if (next_.load(std::memory_order_relaxed) != nullptr) return false;
        next_.store(g, std::memory_order_release);   // with the acquire in take_next and steal
        return true;
    }

    bool has_next() const noexcept { return next_.load(std::memory_order_relaxed) != nullptr; }

    G* take_next() noexcept {
        G* g = next_.load(std::memory_order_relaxed);
        if (alone()) {
            next_.store(nullptr, std::memory_order_relaxed);
            return g;
        }
        // acquire: with set_next, when another owner of this processor had set it.
        if (g && next_.compare_exchange_strong(g, nullptr, std::memory_order_acquire, std::memory_order_relaxed))
            return g;
        return nullptr;
    }

    G* pop() noexcept {
        std::uint32_t h = head_.load(std::memory_order_acquire);   // with other consumers' CAS
        for (;;) {
            if (tail_.load(std::memory_order_relaxed) == h) return nullptr;
            G* g = ring_[h % capacity].load(std::memory_order_relaxed);
            if (alone()) {
                head_.store(h + 1, std::memory_order_relaxed);
                prefetch(ring_[(h + 2) % capacity].load(std::memory_order_relaxed));
                return g;
            }
            // release: our read of the slot comes before its reuse (push's acquire of head).
            if (!head_.compare_exchange_weak(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
            // The one after the next: where many wait they have left the caches. A stale pointer does no harm.
            prefetch(ring_[(h + 2) % capacity].load(std::memory_order_relaxed));
            return g;
        }
    }

    // room: how many more push() takes at least; thieves may make more.
    std::uint32_t room() const noexcept {
        return capacity - (tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire));
    }

    // take_half moves the older half of a full ring to out[0..capacity/2); false if thieves were faster.
    bool take_half(G** out) noexcept;

    // Any thread.

    // steal moves the older half of the victim's ring here (the caller owns this queue, which is empty) and returns one
    // more to run at once; null if there was nothing. `also_next` allows to take the victim's next.
    G* steal_from(run_queue& victim, bool also_next, unsigned& moved) noexcept;

    // steal_first_if takes the goroutine at the front of the ring, for a thread without a queue of its own, if `wanted(g)`, which
    // may read of it what is atomic: somebody else may take it meanwhile, and then this returns null.
    template <class F>
    G* steal_first_if(F wanted) noexcept {
        if (alone_.load(std::memory_order_acquire)) return nullptr;      // with share()
        std::uint32_t h = head_.load(std::memory_order_acquire);         // as in grab()
        if (tail_.load(std::memory_order_acquire) == h) return nullptr;
        G* g = ring_[h % capacity].load(std::memory_order_relaxed);
        if (!wanted(g)) return nullptr;
        return head_.compare_exchange_strong(h, h + 1, std::memory_order_acq_rel, std::memory_order_relaxed) ? g : nullptr;
    }

    // front is what stands at the front of the ring, or did a moment ago; null if nothing does.
    const G* front() const noexcept {
        const std::uint32_t h = head_.load(std::memory_order_acquire);
        if (tail_.load(std::memory_order_acquire) == h) return next_.load(std::memory_order_acquire);
        return ring_[h % capacity].load(std::memory_order_relaxed);
    }

    // empty never says so of a queue that was not empty all the while.
    bool empty() const noexcept {
        for (;;) {
            const std::uint32_t h = head_.load(std::memory_order_acquire);
            const std::uint32_t t = tail_.load(std::memory_order_acquire);
            const G* n = next_.load(std::memory_order_acquire);
            // The owner may have moved a goroutine between next and the ring in between.
            if (tail_.load(std::memory_order_acquire) == t) return h == t && n == nullptr;
        }
    }

    unsigned size() const noexcept {
        const std::uint32_t h = head_.load(std::memory_order_acquire);
        const std::uint32_t n = tail_.load(std::memory_order_acquire) - h;
        return (n > capacity ? 0 : n) + (next_.load(std::memory_order_relaxed) ? 1 : 0);
    }

    // What the owner sees: cheap, exact for its own pushes.
    bool owner_sees_work() const noexcept {
        return head_.load(std::memory_order_relaxed) != tail_.load(std::memory_order_relaxed) ||
               next_.load(std::memory_order_relaxed) != nullptr;
    }

private:
    static void prefetch(const G* g) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(g);   // as a number: it may be null
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
