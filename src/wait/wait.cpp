#include "wait/wait.hpp"

#include "os/clock.hpp"
#include "os/cpus.hpp"
#include "sched/simulation_hooks.hpp"
#include "wait/cancel.hpp"

#include <handoff/error.hpp>

#include <new>
#include <optional>
#include <utility>

namespace handoff::detail {

namespace {

void commit_armed(M* m, G* g, void* arg) noexcept {
    auto& w = *static_cast<waiter*>(arg);
    wait_end armed = wait_end::armed;
    // release: whoever wins the waiter from now on sees the saved context of g. acquire, on failure: what the winner did
    // before.
    if (!w.state.compare_exchange_strong(armed, wait_end::parked, std::memory_order_release, std::memory_order_acquire))
        ready(m, g);
}

// The timer of an armed wait is due. Called under the heap's lock. Returns the goroutine to be readied, or null.
G* due_waiter(timer* t) noexcept {
    auto& w = *static_cast<waiter*>(t->arg);
    wait_end seen = w.state.load(std::memory_order_relaxed);
    do {
        if (seen > wait_end::parked) return nullptr;
        // As in wake_list::contend.
    } while (!w.state.compare_exchange_weak(seen, wait_end::timed_out, std::memory_order_acq_rel, std::memory_order_relaxed));
    return seen == wait_end::parked ? w.g : nullptr;
}

// Runs on the thread that requests the stop. That may be any thread, so it must not enter a runtime section
// (sched/pinned.hpp).
struct stop_waiter {
    waiter* w;
    void operator()() const noexcept {
        wake_list won;
        won.claim(*w, wait_end::cancelled);
        won.wake(nullptr);
    }
};

// A goroutine or thread ends its own wait before it has begun to wait.
void end_early(waiter& w, wait_end how) noexcept {
    wait_end armed = wait_end::armed;
    w.state.compare_exchange_strong(armed, how, std::memory_order_relaxed, std::memory_order_relaxed);
}

bool show_to_scope(cancel_scope& scope, waiter& w, bool cancellable) noexcept {
    spin_guard hold(scope.lock);
    if (!cancellable) {
        scope.uncancellable = &w;
        return true;
    }
    if (scope.cancelled.load(std::memory_order_relaxed)) return false;
    scope.current = &w;
    return true;
}

void park_armed(M*& m, waiter& w, wait_reason why, const void* object, const wait_limits& limits) noexcept {
    timer t;
    if (limits.deadline != no_deadline) {
        t.when = limits.deadline;
        t.due = due_waiter;
        t.arg = &w;
        try {
            m->p.load(std::memory_order_relaxed)->timers.add(&t);
        } catch (const std::bad_alloc&) {
            end_early(w, wait_end::no_memory);
        }
    }
    cancel_scope* scope = limits.scope(m);
    if (scope && !show_to_scope(*scope, w, limits.may_be_cancelled(m))) end_early(w, wait_end::cancelled);
    // acquire: pairs with the CAS of a waker that has won it.
    if (w.state.load(std::memory_order_acquire) == wait_end::armed) {
        w.g->waits_on.store(object, std::memory_order_relaxed);
        m = park(m, why, commit_armed, &w);
    }
    if (scope) {
        spin_guard hold(scope->lock);
        scope->current = scope->uncancellable = nullptr;
    }
    timer_heap::remove_anywhere(&t);
}

void block_thread(waiter& w, std::int64_t deadline) noexcept {
    refuse_in_move();
    if (w.note.wait_until(deadline)) return;
    wait_end armed = wait_end::armed;
    if (!w.state.compare_exchange_strong(armed, wait_end::timed_out, std::memory_order_acquire, std::memory_order_acquire))
        w.note.wait();   // it was won at the last moment: the wake-up is on its way
}

}  // namespace

wake_list::contest wake_list::contend(waiter& w, wait_end how) noexcept {
    const bool parks = w.g != nullptr;   // read now: a waiter that has not parked yet may be gone once we have won it
    wait_end seen = w.state.load(std::memory_order_relaxed);
    do {
        if (seen > wait_end::parked) return contest::lost;
        // acquire: pairs with the CAS armed -> parked in the commit, so the context is saved. release: what the waker did
        // before, for the waiter.
    } while (!w.state.compare_exchange_weak(seen, how, std::memory_order_acq_rel, std::memory_order_relaxed));
    return parks && seen == wait_end::armed ? contest::won_early : contest::won;
}

bool may_spin() noexcept {
    static const bool several_cores = os::affinity_cpus() > 1;
    if (!several_cores) return false;
    const M* m = current_m();
    if (!m) return true;
    // Another processor is running, and no goroutine waits for ours.
    const P* p = m->p.load(std::memory_order_relaxed);
    return m->s->idle.ps() + 1 < m->s->procs.wanted() &&
           p && !p->runq.owner_sees_work();
}

wait_end wait_armed(M*& m, waiter& w, wait_reason why, const void* object, const wait_limits& limits) noexcept {
    std::optional<std::stop_callback<stop_waiter>> on_stop;
    if (limits.stop) on_stop.emplace(*limits.stop, stop_waiter{&w});   // calls it at once if a stop was requested already
    if (m) park_armed(m, w, why, object, limits);
    else block_thread(w, limits.deadline);
    on_stop.reset();   // waits for a callback that is running on another thread
    return w.state.load(std::memory_order_acquire);   // pairs with the CAS of the winner
}

namespace {

[[noreturn]] void throw_cancelled() {
    await_turn_to_throw();
    if (const M* m = current_m(); m && m->s->sim) m->s->sim->throw_if_failed();
    throw cancelled();
}

}  // namespace

void check_cancelled(const wait_limits& limits) {
    if (limits.stop && limits.stop->stop_requested()) throw_cancelled();
    if (!limits.cancellable) return;
    M* m = current_m();
    if (!m || holds_cancellation_back(m)) return;
    const cancel_scope* scope = unblocked_scope(m);
    if (scope && scope->cancelled.load(std::memory_order_relaxed)) throw_cancelled();
}

void throw_if_cancelled(wait_end how) {
    if (how == wait_end::cancelled) throw_cancelled();
    if (how == wait_end::no_memory) throw std::bad_alloc();
}

}  // namespace handoff::detail
