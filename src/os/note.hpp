// note: one thread sleeps until another wakes it, once. All direct use of futexes is in this class.
//
// word: 0 clear, 1 signalled, 2 the waiter sleeps (or is about to). wake() sets 1 by an exchange, and enters the kernel only
// if it found 2. The waiter consumes the signal, so the note is clear again after each successful wait.
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
        if (word_.exchange(signalled, std::memory_order_release) == asleep) wake_kernel();
    }

    // wait_until sleeps until wake(), or until the steady-clock time `deadline` (ns); true if it was woken. It polls the
    // word for `spin_ns` before it enters the kernel.
    bool wait_until(std::int64_t deadline, std::int64_t spin_ns = 0) noexcept;
    void wait(std::int64_t spin_ns = 0) noexcept { wait_until(never, spin_ns); }

private:
    static constexpr std::uint32_t clear = 0, signalled = 1, asleep = 2;
    void wake_kernel() noexcept;
    bool consume() noexcept;

    base::atomic<std::uint32_t> word_{clear};
};

}  // namespace handoff::os
