// System calls on files, as the sources of this layer make them: EINTR is retried, and what fails gives -errno.
#pragma once

#include "os/errno.hpp"

#include <handoff/io_error.hpp>
#include <handoff/syscall.hpp>

#include <cerrno>
#include <cstdint>
#include <string>
#include <sys/types.h>
#include <system_error>
#include <unistd.h>

namespace handoff::detail {

// call returns what f() returns, or -errno where that is negative. errno is read through os::get_errno: an earlier guard of
// the same function may have moved the goroutine to another thread.
template <class F>
std::int64_t call(F f) noexcept {
    for (;;) {
        const std::int64_t r = f();
        if (r >= 0) return r;
        if (const int e = os::get_errno(); e != EINTR) return -e;
    }
}

template <class F>
std::int64_t guarded(handoff_policy policy, F f) noexcept {
    const syscall_guard guard(policy);
    return call(f);
}

// error_of makes an error code of an outcome; none, if that is not negative.
inline std::error_code error_of(std::int64_t outcome) noexcept {
    if (outcome >= 0) return {};
    return {static_cast<int>(-outcome), std::generic_category()};
}

// open_descriptor opens `path`, in the directory at_fd if it is relative. `flags` are open(2)'s; O_CLOEXEC is added.
std::int64_t open_descriptor(int at_fd, const char* path, int flags, mode_t permissions) noexcept;

// close_descriptor closes it and returns 0 or -errno. The descriptor is gone in any case: Linux gives its number back before
// anything can fail, so EINTR must not be retried, which might close a descriptor that another thread has just opened.
std::int64_t close_descriptor(int fd) noexcept;

// has_nul: the system would take the part before the NUL for the whole path.
inline bool has_nul(const std::string& path) noexcept { return path.find('\0') != std::string::npos; }

// fail throws an io_error: "handoff: `operation` `thing`: ...".
[[noreturn]] void fail(const char* operation, const std::string& thing, std::error_code ec, std::size_t transferred = 0);

// directory_for_temporaries returns `asked_for`, or the usual one if that is empty.
std::string directory_for_temporaries(const std::string& asked_for);

}  // namespace handoff::detail
