// Waiting: how a goroutine or a thread stops until another one lets it continue. Channels, select, the parking lot (and with
// it every lock), joins and sleeps all wait in this way.
//
// A `waiter` is one wait of one goroutine or thread. A `wait_node` is its place in the queue of one channel, a `parked_node`
// its place in the parking lot. All of them live on the stack of the waiting side. There are two kinds of waits.
//
// Plain: there is one queue, no deadline, and nothing that could cancel the wait. The node is queued under the queue's spin
// lock. That lock is held until the context is saved: it is released on the context that is switched to (park_holding()).
// Whoever takes the node out of the queue is the only possible waker, and it does wake the waiter. This needs no atomic
// operation besides those of the lock.
//
// Armed: several wakers may compete (queues, a timer, a cancellation), so `state` decides. The order is
//
//     waiter:  state = armed;  queue the nodes, add the timer, register;  park: CAS armed -> parked, on the other context
//     waker:   CAS armed | parked -> woken, timed_out, ...;  only the winner wakes, and only if it found `parked`
//
// A waker that found `armed` must not touch the waiter again: the waiter's own CAS fails, and the waiter continues by
// itself. The waiter then removes its nodes from all queues, its timer from the heap, and itself from its cancellation
// scope, each under the lock under which a waker would find it. After that no waker knows it any more. So a waker that
// writes into a node does it under the queue's lock; whether before or after it has won does not matter. A thread has no
// context to save. It is always woken through its note, and does not continue before that.
//
// A select may wait in the parking lot and for goroutines, too. There it has a waiter in each queue, whose `principal` is
// the waiter of the select: a waker wins that one.
//
// A wake-up establishes a happens-before: what the waker did before it happens before what the waiter does after it. In the
// armed case the CAS on `state` provides it; otherwise the run queue (release when a goroutine is queued, acquire when it is
// taken out) or the note does.
#pragma once

#include "base/prefetch.hpp"
#include "os/note.hpp"
#include "sched/pinned.hpp"
#include "sched/schedule.hpp"

#include <handoff/detail/wait_list.hpp>
#include <handoff/detail/spin_lock.hpp>
#include <handoff/detail/time.hpp>

#include <cstdint>
#include <stop_token>

namespace handoff::detail {

struct cancel_scope;

enum class wait_end : std::uint32_t { armed, parked, woken, timed_out, cancelled, no_memory };

struct waiter {
    // m: the calling thread's M; null if the thread has none.
    explicit constexpr waiter(M* m, bool is_armed) noexcept : g(m ? m->curg.load(std::memory_order_relaxed) : nullptr), armed(is_armed) {}
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    G* const g;                 // null: a thread, which sleeps on `note`
    os::note note;
    const bool armed;       // false: a plain wait
    base::atomic<wait_end> state{wait_end::armed};
    waiter* principal = nullptr;    // armed: the waiter for which this one stands in a queue; null: it stands for itself
    const void* fired = nullptr;    // the node or waiter through which a queue woke it; written under the lock of that queue
    waiter* next_to_wake = nullptr;
};

// A place in the queue of a channel. The parking lot has nodes of its own (parking_lot.hpp).
struct wait_node {
    wait_node* next = nullptr;
    wait_node* prev = nullptr;
    waiter* who = nullptr;
    void* slot = nullptr;            // where the value is, or where it is to be put
    std::uint32_t token = 0;         // what the waker told the waiter
    bool queued = false;             // in the queue; changed under the queue's lock
};

// Operations on a queue of wait_nodes, first in, first out. They run under the lock of the queue's owner; `empty` may be
// read without it, as a hint.
inline void push_back(wait_list& l, wait_node& n) noexcept {
    n.next = nullptr;
    n.prev = l.last;
    if (l.last) l.last->next = &n;
    else l.first.store(&n, std::memory_order_relaxed);
    l.last = &n;
    n.queued = true;
}
inline void pop_front(wait_list& l, wait_node& n) noexcept {
    l.first.store(n.next, std::memory_order_relaxed);
    if (n.next) n.next->prev = nullptr;
    else l.last = nullptr;
    n.queued = false;
}
inline void erase(wait_list& l, wait_node& n) noexcept {
    if (n.prev) n.prev->next = n.next;
    else l.first.store(n.next, std::memory_order_relaxed);
    if (n.next) n.next->prev = n.prev;
    else l.last = n.prev;
    n.queued = false;
}

// The waiters that a waker has won. It wakes them once it holds no lock. They stay where they are until then.
class wake_list {
public:
    // claim tries to win `queued`, or its principal, for the caller; false if another waker was faster. If it was won, wake()
    // wakes it.
    bool claim(waiter& queued, wait_end how) noexcept {
        waiter* w = &queued;
        if (w->armed) [[unlikely]] {
            if (w->principal) w = w->principal;
            const contest end = contend(*w, how);
            // A select that was won early may continue already, but not before it has had the lock that the caller holds.
            if (w != &queued && end != contest::lost) w->fired = &queued;
            if (end != contest::won) return end == contest::won_early;
        }
        w->next_to_wake = nullptr;
        if (w->g) base::prefetch_lines<3>(w->g);   // ready() needs it
        if (last_) last_->next_to_wake = w;
        else first_ = w;
        last_ = w;
        return true;
    }

    bool empty() const noexcept { return first_ == nullptr; }

    // wake wakes all of them. m: the calling thread's M if it is in a runtime section, otherwise null.
    void wake(M* m) noexcept {
        while (first_) wake_first(m);
        last_ = nullptr;
    }
    // wake_but_last wakes all but the one that was won last; that one stays in the list.
    void wake_but_last(M* m) noexcept {
        while (first_ != last_) wake_first(m);
    }

    // wake_in_order wakes all of them, so that the goroutines run in the order in which they were won.
    void wake_in_order(M* m) noexcept {
        while (waiter* w = first_) {
            first_ = w->next_to_wake;
            if (w->g) ready_in_ring(m, w->g);
            else w->note.wake();
        }
        last_ = nullptr;
        if (m && m->p.load(std::memory_order_relaxed)) wakep(*m->s);
    }

private:
    void wake_first(M* m) noexcept {
        waiter* w = first_;
        first_ = w->next_to_wake;
        if (w->g) ready(m, w->g);
        else w->note.wake();
    }

    enum class contest { lost, won, won_early };   // won_early: the waiter has not parked yet, and will see the result itself

    static contest contend(waiter& w, wait_end how) noexcept;

    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
};

// What may end an armed wait besides its queues.
struct wait_limits {
    std::int64_t deadline = no_deadline;
    const std::stop_token* stop = nullptr;
    bool cancellable = true;   // by the goroutine's cancellation scope

    // needs_arming says whether such a wait of m's current goroutine (m null: of a thread) has to be armed. Defined in
    // cancel.hpp, as are the next two.
    bool needs_arming(M* m) const noexcept;
    cancel_scope* scope(M* m) const noexcept;
    bool may_be_cancelled(const M* m) const noexcept;   // by its scope, at this moment
};

// wait_plain parks the goroutine, or blocks the thread, until it is woken. It unlocks `held` once a waker may find the
// waiter. m is in a runtime section, or null; returns the M on which the caller continues.
inline M* wait_plain(M* m, waiter& w, wait_reason why, const void* object, spin_lock& held) noexcept {
    if (m) {
        w.g->waits_on.store(object, std::memory_order_relaxed);
        return park_holding(m, why, held);
    }
    refuse_in_move();
    held.unlock();
    w.note.wait();
    return nullptr;
}

// wait_armed waits until a waker has won the waiter, whose nodes are queued already and may be found. On return the timer,
// the stop token and the cancellation scope no longer refer to the waiter; the caller removes its nodes. m as above.
wait_end wait_armed(M*& m, waiter& w, wait_reason why, const void* object, const wait_limits& limits) noexcept;

// enter_current enters the runtime if the caller is a goroutine; leave_current leaves it again.
inline M* enter_current() noexcept {
    M* m = current_m();
    return m ? enter(m) : nullptr;
}
inline void leave_current(M* m) noexcept {
    if (m) leave(m);
}

// check_cancelled throws `cancelled` if the calling goroutine's scope is cancelled, or a stop was requested of the token.
// Outside of runtime sections.
void check_cancelled(const wait_limits& limits);

// throw_if_cancelled throws the exception that belongs to the end of a wait, if there is one: `cancelled` or std::bad_alloc.
// Outside of runtime sections.
void throw_if_cancelled(wait_end how);

// may_spin says whether it makes sense to spin while another goroutine or thread makes progress: it may be running.
bool may_spin() noexcept;

}  // namespace handoff::detail
