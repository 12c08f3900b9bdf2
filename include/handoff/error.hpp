// Exceptions that the library throws. Errors of the operating system are thrown as std::system_error.
#pragma once

#include <handoff/detail/export.hpp>

#include <stdexcept>

namespace handoff {

// The base of the library's own exceptions.
class HANDOFF_API error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A function was called in a place or state in which it can't work: unlock_os_thread() without a lock, the runtime used in
// a forked child, close() of a closed channel, a wait group counted below zero.
class HANDOFF_API usage_error : public error {
public:
    using error::error;
};

// A value was sent on a closed channel.
class HANDOFF_API channel_closed : public error {
public:
    channel_closed() : error("handoff: send on a closed channel") {}
};

// The goroutine's task group was cancelled, or a stop was requested through the std::stop_token of a wait. Thrown by
// cancellation points (cancellation.hpp); do not swallow it.
class HANDOFF_API cancelled : public error {
public:
    cancelled() : error("handoff: cancelled") {}

protected:
    using error::error;
};

// A task group's deadline passed before its goroutines had ended. Thrown by task_group::wait.
class HANDOFF_API deadline_exceeded : public cancelled {
public:
    deadline_exceeded() : cancelled("handoff: deadline exceeded") {}
};

}  // namespace handoff
