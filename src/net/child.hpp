// child: the process behind a process object.
//
// Its number is its own until it is waited for: the kernel gives it to no other process before that. So what may be wrong about
// a number is whether the child was waited for, and all that depends on it is done under the lock: the call that waits for it,
// and the signals that are sent. Who waits asks without waiting (WNOHANG), again whenever the pidfd becomes readable; the first
// that finds the end takes it for all.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "net/descriptor.hpp"

#include <handoff/net/process.hpp>

#include <sys/types.h>
#include <sys/wait.h>

namespace handoff::net {

// Whether pidfds are to be used; tests say no, as an old kernel does.
extern base::atomic<bool> has_pidfd;

namespace detail {

struct child {
    pid_t pid = -1;
    handoff::detail::descriptor_handle pidfd;   // of none, if it could not be had

    // open_pidfd gets it, if that can be.
    void open_pidfd() noexcept;

    // look looks whether it has ended. Returns as a system call does: EAGAIN if it has not, ECHILD if somebody else has waited
    // for it.
    int look() noexcept HANDOFF_EXCLUDES(lock_);
    // status is how it has ended, after look has returned 0.
    exit_status status() noexcept HANDOFF_EXCLUDES(lock_);
    // send sends it a signal. false: it has ended, and was waited for, or `ec` says why not.
    bool send(int signal, std::error_code& ec) noexcept HANDOFF_EXCLUDES(lock_);
    // end kills it, and waits for its end.
    void end() noexcept HANDOFF_EXCLUDES(lock_);

private:
    // wait_now is waitid(2) for this child.
    int wait_now(siginfo_t& end, int options) const noexcept;
    int look_locked() noexcept HANDOFF_REQUIRES(lock_);

    base::mutex lock_;
    bool has_ended_ HANDOFF_GUARDED_BY(lock_) = false;
    exit_status status_ HANDOFF_GUARDED_BY(lock_);
};

}  // namespace detail

}  // namespace handoff::net
