// note: one thread sleeps until another wakes it, once. All direct use of futexes is in this class.
//
// word: 0 clear, 1 signalled, 2 the waiter sleeps (or is about to), or, with the two lowest bits set, the waiter waits for
// descriptors and can be woken through an eventfd, whose number is above. wake() sets 1 by an exchange, and enters the kernel
// only if it found one of the last two. The waiter consumes the signal, so the note is clear again after each successful wait.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::os {

inline constexpr std::int64_t never = INT64_MAX;

class note {
public:
    // wake signals the note. Any thread; not twice without a wait in between (the second signal would be lost). The memory
    // of the note may be gone before the call returns: from then on it uses only the address, as a key.
    void wake() noexcept {
        // release: the waiter sees what the waker did before; pairs with the acquires in wait_until.
        const std::uint32_t found = word_.exchange(signalled, std::memory_order_release);
        if (found >= asleep) wake_kernel(found);
    }

    // wait_until sleeps until wake(), or until the steady-clock time `deadline` (ns); true if it was woken. It polls the
    // word for `spin_ns` before it enters the kernel.
    bool wait_until(std::int64_t deadline, std::int64_t spin_ns = 0) noexcept;
    void wait(std::int64_t spin_ns = 0) noexcept { wait_until(never, spin_ns); }

    // For a waiter that waits for descriptors in place of sleeping. begin_poll: from now on wake() signals the eventfd (os/epoll.hpp).
    // Each true of it needs an end_poll; then the next wake() does no more than set the word. A wake() that came in between may
    // signal the eventfd after end_poll has returned. True of consume and end_poll, and false of begin_poll: the note was woken.
    bool begin_poll(int eventfd) noexcept;
    bool end_poll() noexcept;
    bool consume() noexcept;

private:
    static constexpr std::uint32_t clear = 0, signalled = 1, asleep = 2, polls = 3;
    void wake_kernel(std::uint32_t found) noexcept;

    base::atomic<std::uint32_t> word_{clear};
};

}  // namespace handoff::os
