// The parking lot: where goroutines and threads wait for locks, semaphores and the like, by address.
//
// After WebKit's ParkingLot (F. Pizlo, "Locking in WebKit", 2016). An object needs only one word. Its waiters stand in a
// queue of their own, first in, first out. Every change of an object's word that depends on the waiters is made under the
// lock of its bucket. Two things follow. The object's memory is not touched after the word says that the object is free, so
// its next owner may destroy it. And an object without waiters costs nothing.
//
// There may be many waiters for one object, and many objects with waiters; neither may slow down others. So the first waiter
// in the queue of an object represents the object, as in Go's semaphores: the buckets, which are static, refer only to the
// first waiters, and the others are linked to those. First waiters whose hashes begin alike form a digital search tree:
// below a node, those whose next bit is 0 are on the left, the others on the right. The hash is one-to-one, so two hashes
// always differ in some bit, the tree is never deeper than a hash has bits, and it needs no balancing. With addresses as
// they occur in practice its depth is the logarithm of their number. When a node leaves the tree, any node below it may take
// its place; we choose one without children.
//
// To find an object, to enter its queue, and to leave the queue from any position takes O(log objects) steps, however many
// waiters there are. A node lies on its waiter's stack, and others write to it only under the bucket's lock. Its owner ends
// its life once it is out of the queue: a waker has taken it out, or the owner does, under that lock.
//
// A lock is never held until all of many waiters are dealt with. Waiters that are woken all together (release_all) leave the
// tree in one step, as a ring that the releaser owns, and are told in rounds. A waiter that comes meanwhile, to the same
// object or to another one that was made at its address, stands in another queue and is not woken. A waiter in a ring may
// give up before its turn; it leaves the ring as it would leave a queue. Whether it is in a ring or in the queue follows
// from its `ring`, the number of its queue, which is never used again. The object is not touched while its ring is served.
// All of this happens under one lock, whose acquire and release order it.
//
// The memory is static, so the lot needs no runtime, and any number of runtimes can use it. A bucket's lock is taken only
// inside runtime sections (or by threads that have none), since entering a section may wait for a P.
#pragma once

#include "base/sizes.hpp"
#include "wait/cancel.hpp"
#include "wait/wait.hpp"

#include <cstdint>

namespace handoff::detail {

struct ring_link {
    ring_link *next, *prev;
};

// A waiter in the lot. All the fields below are used under the bucket's lock. Those that a waker reads or writes come first.
//
// Each node points ahead, to a node that was queued some places later, which a waker of many waiters prefetches. Each node
// lies on another stack, so following `next` would be a cache miss for each. The node that it points to may be gone by the
// time it is prefetched.
struct parked_node : waiter, ring_link {
    using waiter::waiter;

    const parked_node* ahead = nullptr;   // only to prefetch, never to read
    std::uint32_t token = 0;              // what the waker told the waiter
    bool queued = false;                  // in its object's queue, or in a ring
    std::uint32_t tag = 0;                // the kind of wait, for the waker
    const void* address = nullptr;
    std::int64_t since = 0;               // when the wait began
    std::uint64_t ring = 0;               // the number of its queue

    // Only the first node of a queue uses this: what it holds on behalf of the object.
    struct object {
        parked_node* child[2];
        parked_node* trailing;   // the first node that does not point ahead yet; null, or in the queue
        unsigned places;         // at least the distance from there to the last node; larger if nodes in between have left
    } stands_for{};
};

inline parked_node& node_of(ring_link* l) noexcept { return *static_cast<parked_node*>(l); }

// unlink removes n from the ring or queue that it is in, but not from the tree.
inline void unlink(parked_node& n) noexcept {
    n.prev->next = n.next;
    n.next->prev = n.prev;
    n.queued = false;
}

struct alignas(64) bucket {
    spin_lock lock;
    std::uint64_t rings = 0;             // the number of the newest queue
    parked_node* roots[4] = {};

    static constexpr unsigned places_ahead = 8;

    // place_of returns the place where the tree refers to the first waiter at an address; that place holds null if there is
    // none. Valid until a waiter at another address comes or leaves.
    parked_node** place_of(const void* address) noexcept;

    void append(parked_node& n) noexcept { insert(n, false); }
    void push_front(parked_node& n) noexcept { insert(n, true); }

    // remove takes out n, which is queued; false if it was in a ring.
    bool remove(parked_node& n) noexcept;

    // drop removes the object at a place from the tree. Its queue stays as it is.
    static void drop(parked_node** at) noexcept;
    // take_first removes the first node from the queue at a place.
    static void take_first(parked_node** at) noexcept;

private:
    void insert(parked_node& n, bool in_front) noexcept;
};

// 1 MiB of zeroes. A bucket is a cache line, and its memory is touched only once it is used; while there are few objects,
// each has a bucket to itself. There are 16,384 locks: several for each thread that could be in the lot at once on a large
// machine. There are 65,536 trees, so that each of 300,000 objects is found in two or three steps. Each step reads a node on
// another stack, which is in no cache. (With a quarter of these numbers a contended lock and unlock took three times as long
// beside 300,000 objects.)
inline constexpr unsigned bucket_bits = 14, root_bits = 2;
extern bucket buckets[1u << bucket_bits];

// Fibonacci hashing (Knuth): the upper bits are well mixed. One-to-one, since the factor is odd.
inline std::uint64_t hash_of(const void* address) noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address)) * 0x9E3779B97F4A7C15u;
}
inline bucket& bucket_of(const void* address) noexcept { return buckets[hash_of(address) >> (64 - bucket_bits)]; }

inline parked_node** bucket::place_of(const void* address) noexcept {
    std::uint64_t path = hash_of(address) << bucket_bits;
    parked_node** at = &roots[path >> (64 - root_bits)];
    path <<= root_bits;
    for (; *at && (*at)->address != address; path <<= 1) at = &(*at)->stands_for.child[path >> 63];
    return at;
}

// Waiters that were taken out of the tree together; owned by the releaser that wakes them.
class parked_ring {
public:
    parked_ring() noexcept = default;
    parked_ring(const parked_ring&) = delete;
    parked_ring& operator=(const parked_ring&) = delete;

    // take makes this the ring of `first`, whose object was dropped from the tree, and of all nodes of its queue. Called
    // once.
    void take(parked_node& first, std::uint32_t token) noexcept;

    // wake wakes all waiters in the ring. The caller does not hold the lock; its M m is in a runtime section, or null.
    void wake(M* m, bucket& b) noexcept {
        if (taken_) [[unlikely]] wake_taken(m, b);
    }

private:
    void wake_taken(M* m, bucket& b) noexcept;

    bool taken_ = false;       // used by the releaser alone
    std::uint32_t token_ = 0;
    ring_link end_;            // under the lock: before the first node and behind the last one
};

// How many waiters a releaser takes out of the queue in one round, before it releases the lock and wakes them. A releaser
// that continues as long as there are waiters makes each round larger than the last. So it comes to an end even if the
// waiters that it wakes come back for more as fast as it serves them.
class release_round {
public:
    static constexpr std::uint64_t first = base::sized(64, 2), growth = base::sized(16, 1);

    std::uint64_t size() const noexcept { return size_; }
    void grow() noexcept { size_ += growth; }

private:
    std::uint64_t size_ = first;
};

// parked_waiters gives the holder of a bucket's lock access to the waiters at one address.
class parked_waiters {
public:
    parked_waiters(bucket& b, const void* address, parked_ring& ring) noexcept
        : at_(b.place_of(address)), address_(address), ring_(ring) {}

    // first returns the node that has waited longest; null if there is none.
    parked_node* first() const noexcept {
        parked_node* n = *at_;   // once the last of our nodes has left, this may be another object's node
        return n && n->address == address_ ? n : nullptr;
    }
    parked_node* after(const parked_node& n) const noexcept {
        parked_node& next = node_of(n.next);
        return &next == first() ? nullptr : &next;
    }
    bool empty() const noexcept { return first() == nullptr; }

    // release takes n, the first node, out of the queue, tries to win it, and tells it `token`. False if its waiter had
    // given up already.
    bool release(parked_node& n, std::uint32_t token, wake_list& won) noexcept {
        bucket::take_first(at_);
        return tell(n, token, won);
    }
    // release_or_leave does the same, but leaves a waiter that has given up where it is.
    bool release_or_leave(parked_node& n, std::uint32_t token, wake_list& won) noexcept {
        if (!tell(n, token, won)) return false;
        bucket::take_first(at_);
        return true;
    }
    // release_first releases the first waiter that has not given up; null if there is none.
    parked_node* release_first(std::uint32_t token, wake_list& won) noexcept {
        while (parked_node* n = first())
            if (release(*n, token, won)) return n;
        return nullptr;
    }
    // release_up_to releases waiters with the tag of the first one, until it has won `most` of them or comes to one with
    // another tag, or to the end; returns how many it has won.
    std::uint64_t release_up_to(std::uint64_t most, std::uint32_t token, wake_list& won) noexcept;

    // release_all tells `token` to all present waiters; after this step the object has no waiter. If there are many, some
    // are told and woken later, after the lock was released and the first ones were woken.
    void release_all(std::uint32_t token, wake_list& won) noexcept;

    // tell is the half of a release that does not concern the queue. Its waiter waits for the lock before it goes on.
    static bool tell(parked_node& n, std::uint32_t token, wake_list& won) noexcept {
        if (n.ahead) base::prefetch_lines<3>(n.ahead);
        n.token = token;
        return won.claim(n, wait_end::woken);
    }

private:
    parked_node** const at_;
    const void* const address_;
    parked_ring& ring_;
};

struct park_result {
    wait_end end;
    std::uint32_t token;   // from the releaser, if end is `woken`
};

// Describes a wait in the parking lot.
struct park_request {
    const void* address;
    wait_reason why;
    wait_limits limits{};
    std::uint32_t tag = 0;      // parked_node::tag
    std::int64_t since = 0;     // when the whole wait began; 0: nobody asks for it
    bool in_front = false;      // at the head of the queue, since it has waited before
};

// finish_park queues the caller in b, which it unlocks, waits, and takes the node out again. m is in a runtime section, or
// null; on return it is the M on which the caller continues.
park_result finish_park(M*& m, bucket& b, const park_request& r, bool armed) noexcept;

// park_if calls `wanted()` under the bucket's lock, and waits at the address if that returns true; otherwise it returns
// `armed`. m is in a runtime section, or null; on return it is the M on which the caller continues.
template <class Wanted>
park_result park_if(M*& m, const park_request& r, Wanted wanted) noexcept {
    bucket& b = bucket_of(r.address);
    b.lock.lock();
    if (!wanted()) {
        b.lock.unlock();
        return {wait_end::armed, 0};
    }
    return finish_park(m, b, r, r.limits.needs_arming(m));
}

// park_current is park_if for the calling goroutine or thread, outside of runtime sections. It is a cancellation point if
// the limits say so. Returns `woken`, `timed_out`, or `armed` if the wait was not wanted; if anything else ended the wait,
// it throws.
template <class Wanted>
park_result park_current(const park_request& r, Wanted wanted) {
    check_cancelled(r.limits);
    M* m = enter_current();
    const park_result end = park_if(m, r, wanted);
    leave_current(m);
    throw_if_cancelled(end.end);
    return end;
}

// with_parked_in_rounds calls f(waiters, won) under the bucket's lock and then, without it, wakes the waiters that f has
// won; it repeats this as long as f returns true. For callers that may have many waiters to wake: these run meanwhile, and
// what f has read of them is still in the cache when they are woken. Any thread, not in a section.
//
// The waiter that was won last in a round is woken in the next one. As long as it still waits, the object can't be taken for
// unused and be destroyed, so the next round may use it.
template <class F>
void with_parked_in_rounds(const void* address, F f) noexcept {
    M* m = enter_current();
    bucket& b = bucket_of(address);
    wake_list won;
    parked_ring ring;
    for (bool again = true; again;) {
        b.lock.lock();
        again = f(parked_waiters(b, address, ring), won);
        b.lock.unlock();
        won.wake_but_last(m);
    }
    won.wake(m);
    ring.wake(m, b);
    leave_current(m);
}

// with_parked runs a single round.
template <class F>
void with_parked(const void* address, F f) noexcept {
    with_parked_in_rounds(address, [&f](parked_waiters waiting, wake_list& won) {
        f(waiting, won);
        return false;
    });
}

}  // namespace handoff::detail
