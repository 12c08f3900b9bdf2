// Errors that the library throws. Operating-system errors are std::system_error.
#pragma once

#include <handoff/detail/export.hpp>

#include <stdexcept>

namespace handoff {

// The base of the library's own exceptions.
class HANDOFF_API error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A function was called from a place where it can't work: this_goroutine::id() off a goroutine, unlock_os_thread()
// without a lock, the runtime used in a forked child.
class HANDOFF_API usage_error : public error {
public:
    using error::error;
};

}  // namespace handoff
