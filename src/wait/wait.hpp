// Waiting: what a goroutine or a thread does until another lets it go on. Channels, select, the parking lot (and with it
// every lock), joins and sleeps wait this way.
//
// A `waiter` is one wait of one goroutine or thread; a `wait_node` is its place in one channel's queue, a `parked_node` that in
// the parking lot. All live on the waiting side's stack. There are two kinds of waits.
//
// Plain: one queue, no deadline, nothing that could cancel. The node is queued under the queue's spin lock, which is
// kept until the context is saved (park's commit unlocks it). Whoever takes the node out of the queue is the only one
// who could wake its waiter, and does: no atomic operation beside the lock's.
//
// Armed: several may want to wake it (queues, a timer, a cancellation), so `state` decides. The order is
//
//     waiter:  state = armed;  queue nodes, add timer, register;  park: CAS armed -> parked, on the other context
//     waker:   CAS armed | parked -> woken, timed_out, ...;  the winner alone wakes, and only if it found `parked`
//
// A waker that found `armed` must not touch the waiter again: the waiter's own CAS fails, and it goes on by itself. The
// waiter then takes its nodes out of all queues, its timer out of the heap, and itself out of its cancellation scope,
// each under the lock under which its waker would find it: after that nobody knows it any more. What a waker writes into
// a node it therefore writes under the queue's lock, before or after it has won. A thread has no context to save; it is
// woken through its note in any case, and does not go on before.
//
// Being woken orders what the waker did before what the woken does, either way: by the CAS on `state`, by the run queue
// (release when a goroutine is queued, acquire when it is taken), or by the note.
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
    // m: the calling thread's M, null on a thread that is none.
    explicit waiter(M* m, bool is_armed) noexcept : g(m ? m->curg.load(std::memory_order_relaxed) : nullptr), armed(is_armed) {}
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    G* const g;                 // null: a thread, that sleeps on `note`
    os::note note;
    const bool armed;       // armed, not plain
    base::atomic<wait_end> state{wait_end::armed};
    wait_node* fired = nullptr; // the node that a queue woke it for; under that queue's lock
    waiter* next_to_wake = nullptr;
};

// In a channel's queue; for the parking lot's see there.
struct wait_node {
    wait_node* next = nullptr;
    wait_node* prev = nullptr;
    waiter* who = nullptr;
    void* slot = nullptr;            // where the value is, or goes
    std::uint32_t token = 0;         // what the waker told it
    bool queued = false;             // under the queue's lock
};

// A queue of wait_nodes, first in, first out. Under its owner's lock; `empty` is a hint without it.
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

// Those that a waker has won, to be woken once it holds no lock. They stay where they are until then.
class wake_list {
public:
    // claim wins w for the caller, or says that another was faster. In the former case w is woken by wake().
    bool claim(waiter& w, wait_end how) noexcept {
        if (w.armed) [[unlikely]] {
            const contest end = contend(w, how);
            if (end != contest::won) return end == contest::won_early;
        }
        w.next_to_wake = nullptr;
        if (w.g) base::prefetch_lines<3>(w.g);   // ready() will need it
        if (last_) last_->next_to_wake = &w;
        else first_ = &w;
        last_ = &w;
        return true;
    }

    bool empty() const noexcept { return first_ == nullptr; }

    // wake lets them go on. m: the calling thread's M if it is in a runtime section, else null.
    void wake(M* m) noexcept {
        while (first_) wake_first(m);
        last_ = nullptr;
    }
    // wake_but_last keeps the one that was won last.
    void wake_but_last(M* m) noexcept {
        while (first_ != last_) wake_first(m);
    }

private:
    void wake_first(M* m) noexcept {
        waiter* w = first_;
        first_ = w->next_to_wake;
        if (w->g) ready(m, w->g);
        else w->note.wake();
    }

    enum class contest { lost, won, won_early };   // won_early: it has not parked yet, and sees for itself

    static contest contend(waiter& w, wait_end how) noexcept;

    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
};

// What may end an armed wait beside its queues.
struct wait_limits {
    std::int64_t deadline = no_deadline;
    const std::stop_token* stop = nullptr;
    bool cancellable = true;   // by the goroutine's cancellation scope

    // needs_arming says whether a wait of m's current goroutine (or of a thread) has to be armed. In cancel.hpp.
    bool needs_arming(M* m) const noexcept;
    cancel_scope* scope(M* m) const noexcept;
    bool may_be_cancelled(const M* m) const noexcept;   // by its scope, now
};

// wait_plain parks the goroutine, or blocks the thread, until it is woken, and unlocks `held` once it may be found.
// m in a runtime section, or null; returns the M to go on with.
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

// wait_armed waits until somebody won the waiter; its nodes are queued already and may be found. On return timer, stop
// token and cancellation scope have forgotten it; the caller takes its nodes out. m as above.
wait_end wait_armed(M*& m, waiter& w, wait_reason why, const void* object, const wait_limits& limits) noexcept;

// enter_current enters the runtime if the caller is a goroutine; leave_current leaves it again.
inline M* enter_current() noexcept {
    M* m = current_m();
    return m ? enter(m) : nullptr;
}
inline void leave_current(M* m) noexcept {
    if (m) leave(m);
}

// check_cancelled throws `cancelled` if the calling goroutine's scope is, or the token was triggered. Outside of
// runtime sections.
void check_cancelled(const wait_limits& limits);

// throw_if_cancelled turns what ended a wait into an exception where it is one. Outside of runtime sections.
void throw_if_cancelled(wait_end how);

// may_spin says whether it makes sense to wait for somebody else to get on: he may be running.
bool may_spin() noexcept;

}  // namespace handoff::detail
