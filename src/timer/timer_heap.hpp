// timer_heap: the timers of one processor, a 4-ary heap ordered by time.
//
// Its lock is taken to add a timer, to run what is due (by the owner, a thief, or the monitor), and to remove a timer from
// any thread. `first` can be read without it.
//
// A timer that is part of a wait lives on the waiter's stack. It is therefore settled under the heap's lock (`due`): once
// remove() has returned, nobody touches it any more. A timer that has more to do when it is due (`run`) is called without
// the lock, and must be kept alive by other means.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "os/note.hpp"

#include <cstdint>
#include <vector>

namespace handoff::detail {

struct G;
struct M;
class timer_heap;

// A timer belongs to whoever waits for it, and must not move while it is in a heap.
struct timer {
    std::int64_t when = 0;                        // steady clock, ns
    G* (*due)(timer*) noexcept = nullptr;         // under the lock; returns a goroutine to be readied, or null
    void (*run)(timer*, M*) noexcept = nullptr;   // instead: called without the lock, in a runtime section of
                                                  // that M; M null: the runtime ends
    void* arg = nullptr;
    timer* next_due = nullptr;                    // in a list of timers to run
    std::uint32_t slot = 0;                       // in the heap's table, for removal
    base::atomic<timer_heap*> heap{nullptr};      // the heap that it is in; written under that heap's lock;
                                                  // null: nobody touches it any more (release, acquire)
};

class timer_heap {
public:
    // The time of the first timer; os::never if there is none. Relaxed: it is a hint, and exact for the thread that changed
    // it last. The idle protocol reads it under the lock of idle_set, after the owner's writes.
    std::int64_t first() const noexcept { return first_.load(std::memory_order_relaxed); }
    unsigned size() const noexcept { return size_.load(std::memory_order_relaxed); }

    // add may throw std::bad_alloc; then nothing was added. Logarithmic.
    void add(timer* t) HANDOFF_EXCLUDES(lock_);

    // take_due removes the timers that are due at `now`, at most `most`. The goroutines to be readied are written to
    // `woken`, in order of time; it has room for `most`, and `count` is their number. Returns the list of timers to run.
    timer* take_due(std::int64_t now, unsigned most, G** woken, unsigned& count) noexcept HANDOFF_EXCLUDES(lock_);

    // remove takes t out again; false if it had left already because it was due.
    bool remove(timer* t) noexcept HANDOFF_EXCLUDES(lock_);

    // remove_anywhere takes t out of the heap that it is in, if any. Not while t may be added.
    static bool remove_anywhere(timer* t) noexcept;

    // move_all moves all timers to `other`. If there is no memory for them there, they are kept in a list, and access takes
    // linear time.
    void move_all(timer_heap& other) noexcept HANDOFF_NO_TSA;

    // move_due moves the timers that are due at `now` to `other`, which orders them by the value that key() returns for each
    // instead of by their time (move_all orders them by their time again). Without memory: as move_all.
    void move_due(std::int64_t now, timer_heap& other, std::int64_t (*key)(void* arg), void* arg) noexcept HANDOFF_NO_TSA;

private:
    // Timers change their places in the heap far more often than they are removed, and their memory, a hundred thousand
    // sleeping stacks, is in no cache. So the place of each timer is kept in a table of the heap's own.
    struct entry {
        std::int64_t when;   // the timer's own time, or the key that move_due gave it
        std::uint32_t slot;
    };
    struct place_of {
        timer* t;
        std::uint32_t index;   // in heap_; for a free slot: the next free slot
    };
    static constexpr std::uint32_t no_slot = UINT32_MAX;

    void sift_up(std::size_t i) noexcept HANDOFF_REQUIRES(lock_);
    void sift_down(std::size_t i) noexcept HANDOFF_REQUIRES(lock_);
    void erase(std::size_t i) noexcept HANDOFF_REQUIRES(lock_);
    void place(std::size_t i, entry e) noexcept HANDOFF_REQUIRES(lock_) {
        heap_[i] = e;
        slots_[e.slot].index = static_cast<std::uint32_t>(i);
    }
    void add_locked(timer* t, std::int64_t key) HANDOFF_REQUIRES(lock_);
    void take_over(timer* t, std::int64_t key) noexcept HANDOFF_REQUIRES(lock_);
    void unlink_loose(timer* t) noexcept HANDOFF_REQUIRES(lock_);
    timer* due_loose(std::int64_t now) const noexcept HANDOFF_REQUIRES(lock_);
    timer* pop_due(std::int64_t now) noexcept HANDOFF_REQUIRES(lock_);
    timer** settle(timer* const* due, unsigned n, timer** tail, G**& woken) noexcept HANDOFF_REQUIRES(lock_);
    void publish() noexcept HANDOFF_REQUIRES(lock_);

    base::mutex lock_;
    std::vector<entry> heap_ HANDOFF_GUARDED_BY(lock_);
    std::vector<place_of> slots_ HANDOFF_GUARDED_BY(lock_);
    std::uint32_t free_slot_ HANDOFF_GUARDED_BY(lock_) = no_slot;
    timer* loose_ HANDOFF_GUARDED_BY(lock_) = nullptr;   // unordered list by next_due: no memory for them; slot is no_slot
    base::atomic<std::int64_t> first_{os::never};
    base::atomic<unsigned> size_{0};
};

}  // namespace handoff::detail
