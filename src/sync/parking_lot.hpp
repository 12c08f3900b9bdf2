// The parking lot: the one queue in which goroutines and threads wait for locks, semaphores and the like, by address.
//
// After WebKit's ParkingLot (F. Pizlo, "Locking in WebKit", 2016). An object needs no more than a word; those who wait
// for it stand in one of a fixed number of buckets, first in, first out. Every change of an object's word that depends on
// who waits is made under the lock of its bucket. What follows: the object's memory is not touched after the word says
// that it is free, so whoever gets it next may destroy it; and an object without waiters costs nothing.
//
// Static memory, so it needs no runtime, and any number of runtimes can use it. Buckets are only entered inside runtime
// sections (or by threads that have none): entering a section may wait for a P.
#pragma once

#include "sync/cancel.hpp"
#include "sync/wait.hpp"

#include <utility>

namespace handoff::detail {

// Where the parking lot's waiters stand. All is under the lock.
//
// Each node points ahead, to one that came some places later, for who walks the queue to prefetch: nodes lie on as many
// stacks, and the way from each to the next would be waited for. What it points to may be gone when it is used.
struct alignas(64) bucket {
    spin_lock lock;
    wait_list waiting;

    static constexpr unsigned places_ahead = 8;
    wait_node* trailing = nullptr;   // the first that does not point ahead yet; in the queue
    unsigned places = 0;             // from it to the last one, or more: others may have left

    void append(wait_node& n) noexcept {
        push_back(waiting, n);
        if (!trailing) {
            trailing = &n;
            places = 0;
        } else if (++places >= places_ahead) {
            trailing->ahead = &n;
            trailing = trailing->next;   // not null: n at least stands behind it
            --places;
        }
    }
    void remove(wait_node& n) noexcept {
        if (trailing == &n) trailing = n.next;
        erase(waiting, n);
    }
};

bucket& bucket_of(const void* address) noexcept;

// parked_waiters is those who wait at one address, for who holds its bucket's lock.
class parked_waiters {
public:
    parked_waiters(bucket& b, const void* address) noexcept : b_(b), address_(address) {}

    // first returns the node that has waited longest; null if there is none.
    wait_node* first() const noexcept { return find(b_.waiting.first.load(std::memory_order_relaxed)); }
    wait_node* after(const wait_node& n) const noexcept { return find(n.next); }
    bool empty() const noexcept { return first() == nullptr; }

    // release wins n's waiter and tells it `token`. False if it has given up already; it is out of the queue either way.
    bool release(wait_node& n, std::uint32_t token, wake_list& won) noexcept {
        // What the waker reads of it, and the lines of its stack next to that.
        if (n.ahead) base::prefetch_lines<3>(reinterpret_cast<const char*>(n.ahead) - 64);
        b_.remove(n);
        n.token = token;
        return won.claim(*n.who, wait_end::woken);
    }
    // release_first does that with the first that has not given up; null if there is none.
    wait_node* release_first(std::uint32_t token, wake_list& won) noexcept {
        while (wait_node* n = first())
            if (release(*n, token, won)) return n;
        return nullptr;
    }

private:
    wait_node* find(wait_node* n) const noexcept {
        while (n && n->address != address_) n = n->next;
        return n;
    }

    bucket& b_;
    const void* const address_;
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
    std::uint32_t kind = 0;     // wait_node::kind
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
    for (bool again = true; again;) {
        b.lock.lock();
        again = f(parked_waiters(b, address), won);
        b.lock.unlock();
        won.wake_but_last(m);
    }
    won.wake(m);
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
