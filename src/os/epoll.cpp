#include "os/epoll.hpp"

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "os/clock.hpp"
#include "os/note.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace handoff::os {

namespace {

#ifndef SYS_epoll_pwait2
constexpr long epoll_pwait2_number = 441;   // the same on every architecture
#else
constexpr long epoll_pwait2_number = SYS_epoll_pwait2;
#endif

// Linux has epoll_pwait2 since 5.11. A filter of system calls that does not know it says EPERM in place of ENOSYS.
base::atomic<bool> has_pwait2{true};   // relaxed: who reads it too early tries once more

constexpr unsigned most_fds = 128;

timespec time_until(std::int64_t deadline) noexcept {
    const std::int64_t left = std::max<std::int64_t>(deadline - nanotime(), 0);
    return {static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
}

}  // namespace

epoll::~epoll() {
    if (fd_ >= 0) ::close(fd_);
}

int epoll::open() noexcept {
    fd_ = ::epoll_create1(EPOLL_CLOEXEC);
    return fd_ >= 0 ? 0 : errno;
}

static int control(int epoll_fd, int what, int fd, std::uint32_t events, std::uint64_t data) noexcept {
    epoll_event e{};
    e.events = events;
    e.data.u64 = data;
    return ::epoll_ctl(epoll_fd, what, fd, &e) == 0 ? 0 : errno;
}

int epoll::add(int fd, std::uint32_t events, std::uint64_t data) noexcept {
    const int error = add_new(fd, events, data);
    return error == EEXIST ? control(fd_, EPOLL_CTL_MOD, fd, events, data) : error;
}

int epoll::add_new(int fd, std::uint32_t events, std::uint64_t data) noexcept {
    return control(fd_, EPOLL_CTL_ADD, fd, events, data);
}

int epoll::poll(epoll_event* events, int most) noexcept {
    const int before = errno;
    const int n = ::epoll_wait(fd_, events, most, 0);
    if (n < 0 && errno != EINTR) base::fatal("epoll_wait failed with errno %d", errno);
    errno = before;
    return std::max(n, 0);
}

int epoll::wait(epoll_event* events, int most, std::int64_t deadline) noexcept {
    const int before = errno;
    int n = -1;
    while (n < 0) {
        if (has_pwait2.load(std::memory_order_relaxed)) {
            const timespec left = deadline == never ? timespec{} : time_until(deadline);
            n = static_cast<int>(::syscall(epoll_pwait2_number, fd_, events, most, deadline == never ? nullptr : &left, nullptr, 0));
            if (n >= 0 || errno == EINTR) continue;
            if (errno != ENOSYS && errno != EPERM) base::fatal("epoll_pwait2 failed with errno %d", errno);
            has_pwait2.store(false, std::memory_order_relaxed);
        }
        // epoll_wait counts in milliseconds, so another call waits.
        n = wait_for_any(&fd_, 1, deadline) ? poll(events, most) : 0;
    }
    errno = before;
    return n;
}

wakeup_fd::~wakeup_fd() {
    if (fd_ >= 0) ::close(fd_);
}

int wakeup_fd::open() noexcept {
    fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd_ >= 0 ? 0 : errno;
}

void wakeup_fd::signal(int fd) noexcept {
    const int before = errno;
    const std::uint64_t one = 1;
    // It fails only where the count would overflow; then the descriptor is readable.
    while (::write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
    errno = before;
}

void wakeup_fd::drain() noexcept {
    const int before = errno;
    std::uint64_t count;
    while (::read(fd_, &count, sizeof count) < 0 && errno == EINTR) {}
    errno = before;
}

bool wait_for_any(const int* fds, unsigned n, std::int64_t deadline) noexcept {
    const int before = errno;
    HANDOFF_CHECK(n <= most_fds);
    pollfd all[most_fds];
    for (unsigned i = 0; i < n; ++i) all[i] = {fds[i], POLLIN, 0};
    int ready = -1;
    while (ready < 0) {
        const timespec left = deadline == never ? timespec{} : time_until(deadline);
        ready = ::ppoll(all, n, deadline == never ? nullptr : &left, nullptr);
        if (ready < 0 && errno != EINTR && errno != ENOMEM) base::fatal("ppoll failed with errno %d", errno);
    }
    errno = before;
    return ready != 0;
}

}  // namespace handoff::os
