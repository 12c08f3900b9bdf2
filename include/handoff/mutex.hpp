// mutex: mutual exclusion between goroutines and threads.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/plain_unlock.hpp>
#include <handoff/detail/thread_safety.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/error.hpp>

#include <chrono>
#include <cstdint>
#include <mutex>

namespace handoff {

// A goroutine that waits for the mutex parks; its processor runs others. The goroutine and the thread that unlock it may be
// others than those that locked it. Not recursive. Satisfies Lockable and TimedLockable, so std::unique_lock,
// std::lock_guard and std::scoped_lock take it. Four bytes. It may be destroyed as soon as nobody holds it or waits for it;
// its last owner may do so right after its own unlock().
//
// A newcomer may barge in: it takes a free mutex even if others wait, since that is fastest. After 1 ms a waiter is handed
// the mutex at the next unlock. lock() is no cancellation point. Any thread.
class HANDOFF_CAPABILITY("mutex") mutex {
public:
    constexpr mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;

    void lock() HANDOFF_ACQUIRE {
        // Setting the bit changes nothing if it was set already. If it was not, the lock is ours, also ahead of waiters
        // that are parked or woken, as in lock_slow(). acquire: pairs with the release of unlock(). A compare-and-exchange
        // here would make contended locks take twice as long.
        if (detail::fast_paths_are_closed() || (word_.fetch_or(locked, std::memory_order_acquire) & locked) != 0) [[unlikely]]
            lock_slow(detail::no_deadline);
    }

    bool try_lock() noexcept HANDOFF_TRY_ACQUIRE {
        detail::interleave_point();
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & locked) == 0)
            if (word_.compare_exchange_weak(seen, seen | locked, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }

    // try_lock_for and try_lock_until never give up early. They throw std::bad_alloc.
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> d) HANDOFF_TRY_ACQUIRE {
        return try_lock() || lock_slow(detail::deadline_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    bool try_lock_until(std::chrono::time_point<Clock, Duration> t) HANDOFF_TRY_ACQUIRE {
        return try_lock() || detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return lock_slow(deadline); });
    }

    // Unlocking a mutex that is not locked is a bug that would later let two owners in at once. It ends the process with a
    // message that says so.
    void unlock() noexcept HANDOFF_RELEASE {
        // While the fast paths are closed (fast_path.hpp), `seen` has all bits set, so that neither of the two ways below
        // is taken. acquire: mutex.cpp.
        std::uint32_t seen = detail::never_if_closed(word_.load(std::memory_order_relaxed));
        if (seen == detail::plain.from.load(std::memory_order_acquire)) [[likely]] {
            word_.store(0, std::memory_order_release);   // what was done under the lock happens before the next owner's use
            base::compiler_fence();                      // the processor's fence is a watcher's membarrier
            if (detail::plain.watching_for(this).load(std::memory_order_relaxed) != 0) [[unlikely]] detail::wake_watchers(this);
            return;
        }
        if ((seen & (locked | parked)) != locked ||
            !word_.compare_exchange_strong(seen, seen & ~locked, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
            unlock_slow();
    }

private:
    // locked: the mutex has an owner. parked: a waiter is in the parking lot; set and cleared under the lock of its bucket.
    // woken: one of the waiters was woken to try again, so no other needs to be; that waiter clears it. contended: an owner
    // has seen a waiter; never cleared.
    static constexpr std::uint32_t locked = detail::plain_unlocks::locked, parked = 2, woken = 4, contended = 8;

    HANDOFF_API bool lock_slow(std::int64_t deadline);
    HANDOFF_API void unlock_slow() noexcept;

    base::atomic<std::uint32_t> word_{0};
};

}  // namespace handoff
