#include "timer/timer_heap.hpp"

#include "base/check.hpp"
#include "base/prefetch.hpp"
#include "base/sizes.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace handoff::detail {

namespace {
constexpr std::size_t arity = 4;   // less deep than a binary heap, and four entries share a cache line
constexpr unsigned settled_at_once = base::sized(64, 2);   // how many timers take_due settles in one go
}

void timer_heap::publish() noexcept {
    std::int64_t first = heap_.empty() ? os::never : heap_[0].when;
    std::size_t n = heap_.size();
    for (const timer* t = loose_; t; t = t->next_due) {
        first = std::min(first, t->when);
        ++n;
    }
    first_.store(first, std::memory_order_relaxed);
    size_.store(static_cast<unsigned>(n), std::memory_order_relaxed);
}

void timer_heap::sift_up(std::size_t i) noexcept {
    const entry e = heap_[i];
    while (i > 0) {
        const std::size_t parent = (i - 1) / arity;
        if (heap_[parent].when <= e.when) break;
        place(i, heap_[parent]);
        i = parent;
    }
    place(i, e);
}

void timer_heap::sift_down(std::size_t i) noexcept {
    const entry e = heap_[i];
    for (;;) {
        const std::size_t begin = i * arity + 1;
        if (begin >= heap_.size()) break;
        const std::size_t end = std::min(begin + arity, heap_.size());
        std::size_t least = begin;
        for (std::size_t c = begin + 1; c < end; ++c)
            if (heap_[c].when < heap_[least].when) least = c;
        if (heap_[least].when >= e.when) break;
        place(i, heap_[least]);
        i = least;
    }
    place(i, e);
}

void timer_heap::erase(std::size_t i) noexcept {
    const std::uint32_t freed = heap_[i].slot;
    slots_[freed].index = std::exchange(free_slot_, freed);
    const entry last = heap_.back();
    heap_.pop_back();
    if (i != heap_.size()) {
        place(i, last);
        sift_down(i);
        sift_up(slots_[last.slot].index);
    }
    if (timer* t = loose_) [[unlikely]] {
        loose_ = t->next_due;
        add_locked(t, t->when);   // into the place that has become free
    }
}

void timer_heap::add_locked(timer* t, std::int64_t key) {
    heap_.push_back({key, 0});
    if (free_slot_ == no_slot) {
        try {
            slots_.push_back({nullptr, no_slot});
        } catch (...) {
            heap_.pop_back();
            throw;
        }
        free_slot_ = static_cast<std::uint32_t>(slots_.size() - 1);
    }
    t->slot = free_slot_;
    free_slot_ = std::exchange(slots_[t->slot], {t, 0}).index;
    heap_.back().slot = t->slot;
    t->heap.store(this, std::memory_order_relaxed);
    sift_up(heap_.size() - 1);
}

// take_over adds a timer that has nowhere else to go.
void timer_heap::take_over(timer* t, std::int64_t key) noexcept {
    try {
        add_locked(t, key);
    } catch (const std::bad_alloc&) {
        t->slot = no_slot;
        t->next_due = loose_;
        loose_ = t;
        t->heap.store(this, std::memory_order_relaxed);
    }
}

void timer_heap::unlink_loose(timer* t) noexcept {
    timer** at = &loose_;
    while (*at != t) at = &(*at)->next_due;
    *at = t->next_due;
}

timer* timer_heap::due_loose(std::int64_t now) const noexcept {
    timer* t = loose_;
    while (t && t->when > now) t = t->next_due;
    return t;
}

void timer_heap::add(timer* t) {
    base::lock_guard hold(lock_);
    add_locked(t, t->when);
    publish();
}

// pop_due takes the first timer out of the heap if it is due. It leaves t->heap unchanged.
timer* timer_heap::pop_due(std::int64_t now) noexcept {
    if (!heap_.empty() && heap_[0].when <= now) {
        timer* t = slots_[heap_[0].slot].t;
        erase(0);
        return t;
    }
    timer* t = due_loose(now);
    if (t) unlink_loose(t);
    return t;
}

// settle does what is due for timers that are out of the heap, in their order. Most likely they, and the waits to which they
// belong, are in no cache, and each lies on a page of its own whose address translation has to be fetched from memory as
// well. A prefetch waits for that translation, so the prefetches are issued back to back: then the processor does several
// translations at a time. (When each was issued as its timer was popped, between the steps of the heap, they took three
// times as long.)
timer** timer_heap::settle(timer* const* due, unsigned n, timer** tail, G**& woken) noexcept {
    for (unsigned i = 0; i < n; ++i) base::prefetch_lines<1>(due[i]);
    for (unsigned i = 0; i < n; ++i)
        if (due[i]->due) base::prefetch_lines<2>(due[i]->arg);
    for (unsigned i = 0; i < n; ++i) {
        timer* t = due[i];
        if (!t->due) {
            *tail = t;
            tail = &t->next_due;
        } else if (G* g = t->due(t)) {
            base::prefetch_lines<3>(g);   // ready() needs it
            *woken++ = g;
        }
        t->heap.store(nullptr, std::memory_order_release);   // our last access to it; pairs with remove_anywhere
    }
    return tail;
}

timer* timer_heap::take_due(std::int64_t now, unsigned most, G** woken, unsigned& count) noexcept {
    G** end = woken;
    base::lock_guard hold(lock_);
    timer* head = nullptr;
    timer** tail = &head;
    timer* due[settled_at_once];
    unsigned n;
    do {
        n = 0;
        while (n < settled_at_once && most > 0) {
            timer* t = pop_due(now);
            if (!t) break;
            due[n++] = t;
            --most;
        }
        tail = settle(due, n, tail, end);
    } while (n == settled_at_once);
    *tail = nullptr;
    count = static_cast<unsigned>(end - woken);
    publish();
    return head;
}

bool timer_heap::remove(timer* t) noexcept {
    base::lock_guard hold(lock_);
    if (t->heap.load(std::memory_order_relaxed) != this) return false;
    if (t->slot == no_slot) unlink_loose(t);
    else erase(slots_[t->slot].index);
    t->heap.store(nullptr, std::memory_order_relaxed);
    publish();
    return true;
}

bool timer_heap::remove_anywhere(timer* t) noexcept {
    // It may move to another heap (move_all) until we hold the lock of the heap that it is in.
    while (timer_heap* h = t->heap.load(std::memory_order_acquire))   // pairs with take_due: t is settled
        if (h->remove(t)) return true;
    return false;
}

void timer_heap::move_all(timer_heap& other) noexcept {
    // Both locks at once, in the order of their addresses: so a timer is in one of the two heaps at any moment.
    base::lock_guard first(this < &other ? lock_ : other.lock_);
    base::lock_guard second(this < &other ? other.lock_ : lock_);
    for (const entry& e : heap_) {
        timer* t = slots_[e.slot].t;
        other.take_over(t, t->when);
    }
    while (timer* t = loose_) {
        loose_ = t->next_due;
        other.take_over(t, t->when);
    }
    heap_.clear();
    slots_.clear();
    free_slot_ = no_slot;
    publish();
    other.publish();
}

void timer_heap::move_due(std::int64_t now, timer_heap& other, std::int64_t (*key)(void* arg), void* arg) noexcept {
    base::lock_guard first(this < &other ? lock_ : other.lock_);   // both locks at once, as in move_all
    base::lock_guard second(this < &other ? other.lock_ : lock_);
    while (timer* t = pop_due(now)) other.take_over(t, key(arg));
    publish();
    other.publish();
}

}  // namespace handoff::detail
