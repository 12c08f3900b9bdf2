#include "os/note.hpp"

#include "base/check.hpp"
#include "os/clock.hpp"
#include "os/epoll.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace handoff::os {

namespace {

// futex_wait waits while `word` is `expected`, at most until `deadline`; it returns the errno value of the call, or 0, and
// leaves errno itself unchanged. FUTEX_WAIT_BITSET takes an absolute time of the steady clock.
int futex_wait(base::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline) noexcept {
    timespec t{};
    timespec* timeout = nullptr;
    if (deadline != never) {
        t.tv_sec = static_cast<time_t>(deadline / 1'000'000'000);
        t.tv_nsec = static_cast<long>(deadline % 1'000'000'000);
        timeout = &t;
    }
    const int before = errno;
    const long r = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE, expected,
                             timeout, nullptr, FUTEX_BITSET_MATCH_ANY);
    const int error = r == 0 ? 0 : errno;
    errno = before;
    return error;
}

}  // namespace

void note::wake_kernel(std::uint32_t found) noexcept {
    if (found != asleep) return wakeup_fd::signal(static_cast<int>(found >> 2));
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word_), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

bool note::consume() noexcept {
    // acquire: pairs with the release in wake().
    if (word_.load(std::memory_order_acquire) != signalled) return false;
    word_.store(clear, std::memory_order_relaxed);   // only the waiter writes until the next wait
    return true;
}

bool note::begin_poll(int eventfd) noexcept {
    std::uint32_t seen = clear;
    // As in wait_until.
    if (word_.compare_exchange_strong(seen, static_cast<std::uint32_t>(eventfd) << 2 | polls, std::memory_order_acquire,
                                      std::memory_order_acquire))
        return true;
    word_.store(clear, std::memory_order_relaxed);
    return false;
}

bool note::end_poll() noexcept {
    // acquire: pairs with the release in wake().
    return word_.exchange(clear, std::memory_order_acquire) == signalled;
}

bool note::wait_until(std::int64_t deadline, std::int64_t spin_ns) noexcept {
    if (consume()) return true;
    if (spin_ns > 0) {
        const std::int64_t end = std::min(nanotime() + spin_ns, deadline);
        do {
            for (int i = 0; i < 16; ++i) {
                if (consume()) return true;
                base::cpu_relax();
            }
        } while (nanotime() < end);
        if (end == deadline) return consume();   // the deadline has passed
    }
    std::uint32_t seen = clear;
    // This fails only if the signal has come; then the acquire pairs with the release in wake().
    if (!word_.compare_exchange_strong(seen, asleep, std::memory_order_acquire, std::memory_order_acquire)) {
        word_.store(clear, std::memory_order_relaxed);
        return true;
    }
    for (;;) {
        const int error = futex_wait(word_, asleep, deadline);
        if (consume()) return true;
        if (error == ETIMEDOUT) {
            seen = asleep;
            if (word_.compare_exchange_strong(seen, clear, std::memory_order_acquire, std::memory_order_acquire))
                return false;
            word_.store(clear, std::memory_order_relaxed);   // woken at the last moment
            return true;
        }
        // EINTR (a signal of the program), EAGAIN and spurious wake-ups: look again.
        if (error != 0 && error != EINTR && error != EAGAIN) base::fatal("futex wait failed with errno %d", error);
    }
}

}  // namespace handoff::os
