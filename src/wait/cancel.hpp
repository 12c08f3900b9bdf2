// Cancellation of goroutines in task groups.
//
// Each goroutine of a group has a cancel_scope, on its stack, that its G points to. An armed wait shows itself there
// under the scope's lock, and takes itself out again before it ends; who cancels sets the flag and wins the wait under
// the same lock. So a wait that began before the cancellation is found, and one that begins after it sees the flag.
// Lock order: group, then scope.
#pragma once

#include "wait/wait.hpp"

#include <boost/intrusive/list.hpp>
#include <exception>

namespace handoff::detail {

struct group_state;

using scope_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

struct cancel_scope {
    explicit cancel_scope(group_state* of) noexcept : group(of) {}

    group_state* const group;              // null: that of a goroutine of no group, which only simulations have
    bool simulated = false;                // of a goroutine of a simulation
    spin_lock lock;
    base::atomic<bool> cancelled{false};   // set under the lock; the owner reads it without, as a hint
    waiter* current = nullptr;             // under the lock: the owner's armed wait
    waiter* uncancellable = nullptr;       // likewise, one that the group does not end; in simulations
    unsigned blocked = 0;                  // owner: nesting of cancellation_blockers
    scope_hook link;                       // in the group's list, under the group's lock
};

// The scope of m's current goroutine; null if there is none, or it is blocked. While an exception unwinds the stack clean-up
// code waits as if nothing had happened: another one would end the process.
inline cancel_scope* unblocked_scope(M* m) noexcept {
    if (!m) return nullptr;
    cancel_scope* s = m->curg.load(std::memory_order_relaxed)->scope;
    return s && s->blocked == 0 && std::uncaught_exceptions() == 0 ? s : nullptr;
}

// Under a guard the frames of a C library may be on the stack, which no exception of ours may pass: cancellation waits for
// the guard's end.
inline bool holds_cancellation_back(const M* m) noexcept {
    return m->curg.load(std::memory_order_relaxed)->syscall_depth != 0;
}

inline bool wait_limits::may_be_cancelled(const M* m) const noexcept { return cancellable && !holds_cancellation_back(m); }

// scope is where the wait of m's current goroutine shows itself; null: nowhere. A simulation that has failed ends the waits
// that are not cancellable, too.
inline cancel_scope* wait_limits::scope(M* m) const noexcept {
    cancel_scope* s = unblocked_scope(m);
    return s && (may_be_cancelled(m) || s->simulated) ? s : nullptr;
}

inline bool wait_limits::needs_arming(M* m) const noexcept {
    return deadline != no_deadline || stop != nullptr || scope(m);
}

}  // namespace handoff::detail
