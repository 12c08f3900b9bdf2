// timer_heap: the timers of one processor, a 4-ary heap by time.
//
// Its lock is taken by the owner to add, by whoever runs what is due (the owner, a thief, the monitor's hand), and to
// remove from any thread. `first` can be read without it.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "os/note.hpp"

#include <cstdint>
#include <vector>

namespace handoff::detail {

class timer_heap;

// A timer belongs to whoever waits for it, and must stay where it is while it is in a heap.
struct timer {
    std::int64_t when = 0;                        // steady clock, ns
    void (*fire)(timer*, void* m) = nullptr;      // called without the lock, in a runtime section of `m`
    void* arg = nullptr;
    timer* next_due = nullptr;                    // list of due ones
    std::uint32_t index = 0;                      // place in the heap, for removal
    base::atomic<timer_heap*> heap{nullptr};      // that it is in; written under that heap's lock
};

class timer_heap {
public:
    // The time of the first timer, os::never if there is none. Relaxed: a hint, exact for the thread that changed it
    // last; the idle protocol reads it under the scheduler's lock after the owner's writes.
    std::int64_t first() const noexcept { return first_.load(std::memory_order_relaxed); }
    unsigned size() const noexcept { return size_.load(std::memory_order_relaxed); }

    // add: may throw std::bad_alloc, and then nothing was added. Logarithmic.
    void add(timer* t) HANDOFF_EXCLUDES(lock_);

    // take_due removes those due at `now` and returns them as a list, in order of time. At most `most`.
    timer* take_due(std::int64_t now, unsigned most) noexcept HANDOFF_EXCLUDES(lock_);

    // remove takes t out again; false if it had left already, due.
    bool remove(timer* t) noexcept HANDOFF_EXCLUDES(lock_);

    // move_all moves every timer to `other`.
    void move_all(timer_heap& other) HANDOFF_EXCLUDES(lock_);

private:
    struct entry {
        std::int64_t when;
        timer* t;
    };
    void sift_up(std::size_t i) noexcept HANDOFF_REQUIRES(lock_);
    void sift_down(std::size_t i) noexcept HANDOFF_REQUIRES(lock_);
    void erase(std::size_t i) noexcept HANDOFF_REQUIRES(lock_);
    void place(std::size_t i, entry e) noexcept HANDOFF_REQUIRES(lock_) {
        heap_[i] = e;
        e.t->index = static_cast<std::uint32_t>(i);
    }
    void publish() noexcept HANDOFF_REQUIRES(lock_);

    base::mutex lock_;
    std::vector<entry> heap_ HANDOFF_GUARDED_BY(lock_);
    base::atomic<std::int64_t> first_{os::never};
    base::atomic<unsigned> size_{0};
};

}  // namespace handoff::detail
