// mutex: mutual exclusion between goroutines, and threads that are none.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_ways.hpp>
#include <handoff/detail/plain_unlock.hpp>
#include <handoff/detail/thread_safety.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/error.hpp>

#include <chrono>
#include <cstdint>
#include <mutex>

namespace handoff {

// A goroutine that waits parks; its processor runs others. It may be unlocked on another thread, and by another
// goroutine, than it was locked. Not recursive. Satisfies Lockable and TimedLockable, so std::unique_lock, std::lock_guard
// and std::scoped_lock take it. Four bytes; may be destroyed as soon as nobody holds it or waits for it, by the last
// owner too, right after its unlock() has let it go.
//
// Whoever comes may take a free mutex, also past others that wait, since that is fastest; but one who has waited for
// 1 ms gets it handed over at the next unlock. lock() is no cancellation point. Any thread.
class HANDOFF_CAPABILITY("mutex") mutex {
public:
    constexpr mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;

    void lock() HANDOFF_ACQUIRE {
        // A bit that is set already stays as it is, and the lock may be taken before those that are parked or woken, as in
        // lock_slow(). acquire: with the release of unlock(). A compare-and-exchange for it would take contended locks
        // twice as long.
        if (detail::preempts() || (word_.fetch_or(locked, std::memory_order_acquire) & locked) != 0) [[unlikely]]
            lock_slow(detail::no_deadline);
    }

    bool try_lock() noexcept HANDOFF_TRY_ACQUIRE {
        detail::interleave_point();
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & locked) == 0)
            if (word_.compare_exchange_weak(seen, seen | locked, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }

    // Never early. Throw std::bad_alloc.
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> d) HANDOFF_TRY_ACQUIRE {
        return try_lock() || lock_slow(detail::deadline_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    bool try_lock_until(std::chrono::time_point<Clock, Duration> t) HANDOFF_TRY_ACQUIRE {
        return try_lock() || detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return lock_slow(deadline); });
    }

    // unlock: of a mutex that is not locked it is a bug that would let two in at once later on; the process is ended
    // with a message that says so.
    void unlock() noexcept HANDOFF_RELEASE {
        // In a simulation what has all bits takes neither way. acquire: mutex.cpp.
        std::uint32_t seen = detail::or_never(word_.load(std::memory_order_relaxed));
        if (seen == detail::plain.from.load(std::memory_order_acquire)) [[likely]] {
            word_.store(0, std::memory_order_release);   // for the next owner: what was done under the lock
            base::compiler_fence();                      // the processor's: a watcher's membarrier
            if (detail::plain.watching_for(this).load(std::memory_order_relaxed) != 0) [[unlikely]] detail::wake_watchers(this);
            return;
        }
        if ((seen & (locked | parked)) != locked ||
            !word_.compare_exchange_strong(seen, seen & ~locked, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
            unlock_slow();
    }

private:
    // locked: somebody has it. parked: somebody waits in the parking lot; set and cleared under its bucket's lock.
    // woken: one of those was woken to try again, so that nobody else need be; cleared by him. contended: an owner has seen
    // that somebody waited; never cleared.
    static constexpr std::uint32_t locked = detail::plain_unlocks::locked, parked = 2, woken = 4, contended = 8;

    HANDOFF_API bool lock_slow(std::int64_t deadline);
    HANDOFF_API void unlock_slow() noexcept;

    base::atomic<std::uint32_t> word_{0};
};

}  // namespace handoff
