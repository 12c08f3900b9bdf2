#include "net/quiet_write.hpp"

#include "net/sys.hpp"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <pthread.h>

namespace handoff::net {

namespace sys = handoff::detail::sys;

base::atomic<bool> has_rwf_nosignal{true};

namespace {

constexpr int rwf_nosignal = 0x100;   // the headers may be older than the kernel

// Blocks SIGPIPE on this thread for as long as it lives. errno is as it was.
class sigpipe_blocked {
public:
    sigpipe_blocked() noexcept {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        sigset_t before;
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before);
        was_blocked_ = sigismember(&before, SIGPIPE) == 1;
        if (!was_blocked_) return;
        const int error = errno;
        sigset_t pending;
        was_pending_ = ::sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
        errno = error;
    }
    ~sigpipe_blocked() {
        if (!was_blocked_) ::pthread_sigmask(SIG_UNBLOCK, &pipe_, nullptr);
    }
    sigpipe_blocked(const sigpipe_blocked&) = delete;
    sigpipe_blocked& operator=(const sigpipe_blocked&) = delete;

    // take_back: a call has raised it.
    void take_back() const noexcept {
        if (was_pending_) return;
        const int error = errno;
        const timespec at_once{};
        while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {}
        errno = error;
    }

private:
    sigset_t pipe_;
    bool was_blocked_ = false, was_pending_ = false;
};

// A filter of system calls that does not know the call says EPERM in place of ENOSYS; a write to a pipe never does.
bool is_unknown(int error) noexcept { return error == EOPNOTSUPP || error == ENOSYS || error == EPERM; }

}  // namespace

ssize_t quiet_write(int fd, const iovec* v, int n) noexcept {
    if (has_rwf_nosignal.load(std::memory_order_relaxed)) {
        const ssize_t written = sys::pwritev2(fd, v, n, -1, rwf_nosignal);
        if (written >= 0 || !is_unknown(errno)) return written;
        has_rwf_nosignal.store(false, std::memory_order_relaxed);
    }
    const sigpipe_blocked block;
    const ssize_t written = sys::writev(fd, v, n);
    if (written < 0 && errno == EPIPE) block.take_back();
    return written;
}

}  // namespace handoff::net
