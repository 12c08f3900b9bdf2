// The parking lot: where goroutines and threads wait for locks, semaphores and the like, by address.
//
// After WebKit's ParkingLot (F. Pizlo, "Locking in WebKit", 2016). An object needs no more than a word; those who wait for it
// stand in a queue of its own, first in, first out. Every change of an object's word that depends on who waits is made under
// the lock of its bucket. What follows: the object's memory is not touched after the word says that it is free, so whoever
// gets it next may destroy it; and an object without waiters costs nothing.
//
// Many wait for one object, and many objects are waited for; neither may cost others anything. So the first in an object's
// queue stands for the object, as in Go's semaphores: the buckets, which are static, refer to the first ones alone, and
// the others hang from them. The first ones whose hashes begin alike form a digital search tree: below a node go left those
// whose next bit is 0, right the others. The hash is one to one, so two of them differ somewhere, the tree is never deeper
// than a hash has bits, and needs no balancing; with addresses as they come it is as deep as the logarithm of their number.
// Who takes a node's place in it, as it leaves, may be any from below it, and is one without children.
//
// To find an object, to come to its queue, to leave it from anywhere: O(log objects), however many wait. A node lies on its
// waiter's stack and is written by others only under the bucket's lock. Only its owner takes it away, under that lock.
//
// Nobody holds a lock while all of many are dealt with. Those that are woken all together (release_all) leave the tree at
// once, as a ring that the releaser has, and are told in rounds: who comes meanwhile, to the same object or to another that
// was made at its address, stands in another queue, and is not woken. One of a ring may give up until its turn comes; it
// leaves it as it would leave a queue. Which of both it is in says `ring`: the number of its queue, never used again.
// Nobody touches the object for a ring. All of this is under one lock, whose acquire and release order it.
//
// Static memory, so it needs no runtime, and any number of runtimes can use it. Buckets are only entered inside runtime
// sections (or by threads that have none): entering a section may wait for a P.
#pragma once

#include "base/sizes.hpp"
#include "wait/cancel.hpp"
#include "wait/wait.hpp"

#include <cstdint>

namespace handoff::detail {

struct ring_link {
    ring_link *next, *prev;
};

// One that waits in the lot. All that follows is under the bucket's lock; what a waker reads or writes comes first.
//
// Each points ahead, to one that came some places later, for who wakes many to prefetch: nodes lie on as many stacks, and the
// way from each to the next would be waited for. What it points to may be gone when it is used.
struct parked_node : waiter, ring_link {
    using waiter::waiter;

    const parked_node* ahead = nullptr;   // to prefetch, never to read
    std::uint32_t token = 0;              // what the waker told it
    bool queued = false;                  // in its object's queue, or in a ring
    std::uint32_t tag = 0;                // what it waits as, for who wakes
    const void* address = nullptr;
    std::int64_t since = 0;               // when the wait began
    std::uint64_t ring = 0;

    // Of the first in a queue: what it is for its object.
    struct object {
        parked_node* child[2];
        parked_node* trailing;   // the first that does not point ahead yet; null, or in the queue
        unsigned places;         // from it to the last one, or more: others may have left
    } stands_for{};
};

inline parked_node& node_of(ring_link* l) noexcept { return *static_cast<parked_node*>(l); }

// unlink takes n out of the ring, or queue, that it is in, but not out of the tree.
inline void unlink(parked_node& n) noexcept {
    n.prev->next = n.next;
    n.next->prev = n.prev;
    n.queued = false;
}

struct alignas(64) bucket {
    spin_lock lock;
    std::uint64_t rings = 0;             // the last one's number
    parked_node* roots[4] = {};

    static constexpr unsigned places_ahead = 8;

    // place_of is where the tree refers to the first that waits at an address, or would: null there if nobody does.
    // Valid until somebody who waits at another address comes or leaves.
    parked_node** place_of(const void* address) noexcept;

    void append(parked_node& n) noexcept { insert(n, false); }
    void push_front(parked_node& n) noexcept { insert(n, true); }

    // remove takes n, which is queued, out of its queue; false if it stood in a ring.
    bool remove(parked_node& n) noexcept;

    // drop takes the object at a place out of the tree; its queue stays as it is.
    static void drop(parked_node** at) noexcept;
    // take_first takes the first of the queue at a place out of it.
    static void take_first(parked_node** at) noexcept;

private:
    void insert(parked_node& n, bool in_front) noexcept;
};

// 1 MiB of zeroes, touched as they are used: a line for each object, while they are few. 16,384 locks, some for each thread
// that could be in the lot at once on a large machine; 65,536 trees, so that of 300,000 objects each is found in two or three
// steps. Each step reads a node on another stack, which is in no cache. (With a quarter of them a contended lock and unlock
// took three times as long beside 300,000 objects.)
inline constexpr unsigned bucket_bits = 14, root_bits = 2;
extern bucket buckets[1u << bucket_bits];

// Fibonacci hashing (Knuth): the upper bits are well mixed. One to one, since the factor is odd.
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

// Those that were taken out of the tree together, by who is to wake them.
class parked_ring {
public:
    parked_ring() noexcept = default;
    parked_ring(const parked_ring&) = delete;
    parked_ring& operator=(const parked_ring&) = delete;

    // take makes it the ring of `first`, whose object was dropped, and of all that hang from it. Once.
    void take(parked_node& first, std::uint32_t token) noexcept;

    // wake wakes all that are in it. Without the lock; m: in a runtime section, or null.
    void wake(M* m, bucket& b) noexcept {
        if (taken_) [[unlikely]] wake_taken(m, b);
    }

private:
    void wake_taken(M* m, bucket& b) noexcept;

    bool taken_ = false;       // by the releaser itself
    std::uint32_t token_ = 0;
    ring_link end_;            // under the lock: before the first, behind the last
};

// How many a releaser takes out of the queue before it lets go of the lock, and wakes them. Where it would go on as long as
// somebody waits each round is larger than the last, so that it comes to an end even if those that it wakes come back for
// more, as fast as it serves them.
class release_round {
public:
    static constexpr std::uint64_t first = base::sized(64, 2), growth = base::sized(16, 1);

    std::uint64_t size() const noexcept { return size_; }
    void grow() noexcept { size_ += growth; }

private:
    std::uint64_t size_ = first;
};

// parked_waiters is those who wait at one address, for who holds its bucket's lock.
class parked_waiters {
public:
    parked_waiters(bucket& b, const void* address, parked_ring& ring) noexcept
        : at_(b.place_of(address)), address_(address), ring_(ring) {}

    // first returns the node that has waited longest; null if there is none.
    parked_node* first() const noexcept {
        parked_node* n = *at_;   // after the last of ours it may be another object's
        return n && n->address == address_ ? n : nullptr;
    }
    parked_node* after(const parked_node& n) const noexcept {
        parked_node& next = node_of(n.next);
        return &next == first() ? nullptr : &next;
    }
    bool empty() const noexcept { return first() == nullptr; }

    // release takes n, the first, out of the queue, wins it, and tells it `token`. False if it has given up already.
    bool release(parked_node& n, std::uint32_t token, wake_list& won) noexcept {
        bucket::take_first(at_);
        return tell(n, token, won);
    }
    // release_first does that with the first that has not given up; null if there is none.
    parked_node* release_first(std::uint32_t token, wake_list& won) noexcept {
        while (parked_node* n = first())
            if (release(*n, token, won)) return n;
        return nullptr;
    }
    // release_up_to does that until it has won `most` of them, and returns how many it has.
    std::uint64_t release_up_to(std::uint64_t most, std::uint32_t token, wake_list& won) noexcept;

    // release_all tells `token` to all that wait now: with this step nobody waits any more. Many of them are woken later,
    // once the lock was released and the first ones are woken.
    void release_all(std::uint32_t token, wake_list& won) noexcept;

    // tell is the rest of a release, for one that is out of the queue.
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
    std::uint32_t token;   // of who released it, if end is `woken`
};

// What a wait in the parking lot is about.
struct park_request {
    const void* address;
    wait_reason why;
    wait_limits limits{};
    std::uint32_t tag = 0;      // parked_node::tag
    std::int64_t since = 0;     // when the whole wait began; 0: no matter
    bool in_front = false;      // it has waited before
};

// finish_park unlocks b, waits, and takes the node out again. m in a runtime section, or null; returns the M to go on
// with.
park_result finish_park(M*& m, bucket& b, const park_request& r, bool armed) noexcept;

// park_if waits at an address if `wanted()`, under the bucket's lock, says so; returns `armed` if it does not.
// m in a runtime section, or null; it is the M to go on with on return.
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

// park_current is park_if for the calling goroutine or thread, outside of runtime sections, as a cancellation point where
// the limits say so: returns `woken`, `timed_out`, or `armed` if it was not wanted; throws what ended the wait otherwise.
template <class Wanted>
park_result park_current(const park_request& r, Wanted wanted) {
    check_cancelled(r.limits);
    M* m = enter_current();
    const park_result end = park_if(m, r, wanted);
    leave_current(m);
    throw_if_cancelled(end.end);
    return end;
}

// with_parked_in_rounds calls f(waiters, won) under the lock of the bucket, and wakes who was won, again and again as long
// as f returns true. For who may have many to wake: these run meanwhile, and what the lock's side has read of them is still
// in the cache when they are woken. Any thread, not in a section.
//
// The one that was won last in a round is woken in the next. While it still waits nobody can think the object unused.
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

// with_parked is one such round.
template <class F>
void with_parked(const void* address, F f) noexcept {
    with_parked_in_rounds(address, [&f](parked_waiters waiting, wake_list& won) {
        f(waiting, won);
        return false;
    });
}

}  // namespace handoff::detail
