// Cancellation of goroutines in task groups.
//
// Each goroutine of a group has a cancel_scope on its stack; its G points to it. An armed wait registers itself in the scope
// under the scope's lock, and removes itself before it ends. The canceller sets the flag and wins the wait under the same
// lock. So a wait that began before the cancellation is found, and one that begins after it sees the flag. Lock order:
// group, then scope.
#pragma once

#include "wait/wait.hpp"

#include <boost/intrusive/list.hpp>
#include <exception>

namespace handoff::detail {

struct group_state;

using scope_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

struct cancel_scope {
    explicit cancel_scope(group_state* of) noexcept : group(of) {}

    group_state* const group;              // null: the goroutine is in no group; only simulations have such scopes
    bool simulated = false;                // its goroutine belongs to a simulation
    spin_lock lock;
    base::atomic<bool> cancelled{false};   // set under the lock; its goroutine reads it without the lock, as a hint
    waiter* current = nullptr;             // under the lock: the armed wait of its goroutine
    waiter* uncancellable = nullptr;       // likewise, a wait that the group does not end; used in simulations
    unsigned blocked = 0;                  // nesting of cancellation_blockers; only its goroutine uses it
    scope_hook link;                       // in the group's list; under the group's lock
    cancel_scope* outer = nullptr;         // the goroutine's scope before this one
};

// The scope of m's current goroutine; null if there is none, or if it is blocked. While an exception unwinds the stack the
// scope counts as blocked, so waits in clean-up code are not cancelled: a second exception would end the process.
inline cancel_scope* unblocked_scope(M* m) noexcept {
    if (!m) return nullptr;
    cancel_scope* s = m->curg.load(std::memory_order_relaxed)->scope;
    return s && s->blocked == 0 && std::uncaught_exceptions() == 0 ? s : nullptr;
}

// Under a syscall guard, frames of a C library may be on the stack, and our exceptions must not pass through those. So
// cancellation is postponed until the guard ends.
inline bool holds_cancellation_back(const M* m) noexcept {
    return m->curg.load(std::memory_order_relaxed)->syscall_depth != 0;
}

inline bool wait_limits::may_be_cancelled(const M* m) const noexcept { return cancellable && !holds_cancellation_back(m); }

// scope is where the wait of m's current goroutine registers itself; null: nowhere. A simulation that has failed also ends
// waits that are not cancellable, so those register as well.
inline cancel_scope* wait_limits::scope(M* m) const noexcept {
    cancel_scope* s = unblocked_scope(m);
    return s && (may_be_cancelled(m) || s->simulated) ? s : nullptr;
}

inline bool wait_limits::needs_arming(M* m) const noexcept {
    return deadline != no_deadline || stop != nullptr || scope(m);
}

}  // namespace handoff::detail
