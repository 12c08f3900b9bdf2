#include "net/child.hpp"

#include "net/operation.hpp"
#include "net/socket.hpp"
#include "os/errno.hpp"

#include <handoff/syscall.hpp>

#include <cerrno>
#include <csignal>
#include <sys/syscall.h>
#include <unistd.h>

namespace handoff::net {

using namespace handoff::detail;

base::atomic<bool> has_pidfd{true};

namespace detail {

namespace {

// The C library has these calls since glibc 2.36, and the numbers are the same on all architectures.
constexpr long pidfd_send_signal_call = 424, pidfd_open_call = 434;
constexpr idtype_t by_pidfd = static_cast<idtype_t>(3);   // P_PIDFD

}  // namespace

void child::open_pidfd() noexcept {
    if (!has_pidfd.load(std::memory_order_relaxed)) return;
    const int fd = static_cast<int>(::syscall(pidfd_open_call, pid, 0));
    std::error_code none;
    if (fd >= 0) pidfd = own(fd, carries::messages, none);
}

int child::wait_now(siginfo_t& end, int options) const noexcept {
    const int fd = pidfd.number();
    end.si_pid = 0;
    for (;;) {
        const int r = fd >= 0 ? ::waitid(by_pidfd, static_cast<id_t>(fd), &end, options)
                              : ::waitid(P_PID, static_cast<id_t>(pid), &end, options);
        if (r == 0 || os::get_errno() != EINTR) return r;
    }
}

int child::look_locked() noexcept {
    if (has_ended_) return 0;
    siginfo_t end{};
    if (wait_now(end, WEXITED | WNOHANG) != 0) return -1;
    if (end.si_pid == 0) {
        os::set_errno(EAGAIN);
        return -1;
    }
    const bool exited = end.si_code == CLD_EXITED;
    status_ = exited ? exit_status(end.si_status, 0, false) : exit_status(0, end.si_status, end.si_code == CLD_DUMPED);
    has_ended_ = true;
    return 0;
}

int child::look() noexcept {
    const base::lock_guard hold(lock_);
    return look_locked();
}

exit_status child::status() noexcept {
    const base::lock_guard hold(lock_);
    return status_;
}

bool child::send(int signal, std::error_code& ec) noexcept {
    const base::lock_guard hold(lock_);
    ec.clear();
    if (has_ended_) return false;
    long r;
    if (const int fd = pidfd.number(); fd >= 0) {
        r = ::syscall(pidfd_send_signal_call, fd, signal, nullptr, 0);
    } else {
        siginfo_t end{};
        r = wait_now(end, WEXITED | WNOHANG | WNOWAIT);   // somebody else may have waited for it: then the number is not its own
        if (r == 0) r = ::kill(pid, signal);
        else os::set_errno(ESRCH);
    }
    if (r != 0 && os::get_errno() != ESRCH) ec.assign(os::get_errno(), std::generic_category());
    return r == 0;
}

void child::end() noexcept {
    std::error_code ec;
    if (!send(SIGKILL, ec)) return;   // it was waited for, or may not be killed
    handoff::syscall_guard guard;
    siginfo_t end{};
    wait_now(end, WEXITED);
}

}  // namespace detail

}  // namespace handoff::net
