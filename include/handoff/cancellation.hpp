// Cancellation: how a goroutine of a task group learns that it should end.
//
// A cancelled goroutine is not stopped; its next cancellation point throws `cancelled`, which unwinds it like any
// exception. Cancellation points are the functions that wait for others or for time: sleeps, sending to, receiving from and
// selecting among channels, join, waits of condition variables, semaphores, wait groups, latches and barriers. One that is
// waiting when the cancellation comes ends at once; one that need not wait may go through. Locking a mutex is none, nor is
// a system call under a guard. While an exception unwinds the stack nothing is cancelled, nor under a
// cancellation_blocker, so that clean-up code can wait.
#pragma once

#include <handoff/detail/export.hpp>

#include <stop_token>

namespace handoff {

namespace this_goroutine {

// cancelled says whether the current goroutine's task group is; false off a group, and off a goroutine. A blocker does
// not change it.
HANDOFF_API bool cancelled() noexcept;

// check_cancelled is a cancellation point that does not wait.
HANDOFF_API void check_cancelled();

// stop_token is the token of the current goroutine's task group, for code that knows std::stop_token; without a group one
// that never stops. Callbacks on it run where the group is cancelled, and must not wait.
HANDOFF_API std::stop_token stop_token();

}  // namespace this_goroutine

// cancellation_blocker keeps the current goroutine's cancellation points from throwing while it lives. Blockers nest. On a
// goroutine of no group, and on a thread, it does nothing. To be destroyed by the goroutine that made it.
class cancellation_blocker {
public:
    HANDOFF_API cancellation_blocker() noexcept;
    HANDOFF_API ~cancellation_blocker();
    cancellation_blocker(const cancellation_blocker&) = delete;
    cancellation_blocker& operator=(const cancellation_blocker&) = delete;
};

}  // namespace handoff
