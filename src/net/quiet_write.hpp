// quiet_write: writes to a pipe, and raises no SIGPIPE.
//
// There is no flag for that as sockets have it (MSG_NOSIGNAL) before Linux 6.18. Since then pwritev2 takes RWF_NOSIGNAL, which
// costs nothing. On an older kernel, or behind a filter of system calls, the signal is blocked on the thread for the time of the
// call. A write raises it for the thread that writes, so it can't come to another one, and who has found EPIPE takes it back:
// unless it was pending before, which it may be only where the thread had blocked it. These two calls more made a write of a byte
// 1.2 to 1.5 times as long (3.5 us and 4.9, on a virtual machine whose system calls are slow).
//
// Rejected: to block it on the runtime's threads once for all. Programs that a goroutine starts, by system() or a library, would
// inherit that, and ones that rely on the signal (yes | head) would not end. Nor would it hold for other threads.
#pragma once

#include "base/atomic.hpp"

#include <sys/types.h>
#include <sys/uio.h>

namespace handoff::net {

// Whether the kernel knows the flag, so far as was seen. Relaxed: who sees it late tries once more. Tests set it.
extern handoff::base::atomic<bool> has_rwf_nosignal;

// The result is writev's, as is errno.
ssize_t quiet_write(int fd, const iovec* v, int n) noexcept;

}  // namespace handoff::net
