// shared_mutex: many readers or one writer.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/thread_safety.hpp>
#include <handoff/detail/time.hpp>

#include <chrono>
#include <cstdint>
#include <shared_mutex>

namespace handoff {

// Satisfies SharedTimedLockable: std::shared_lock and std::unique_lock take it. Waiters are served first come, first
// served; readers next to each other in the queue are served together. Once a writer waits, later readers queue behind it,
// so neither side starves. (A goroutine must therefore not take a second shared lock while it holds one: it may end up
// behind a writer that waits for it.) The lock is handed over to a waiter; newcomers can't barge in. Not recursive; no
// upgrade. Four bytes. No cancellation points. Any thread.
class HANDOFF_CAPABILITY("shared_mutex") shared_mutex {
public:
    constexpr shared_mutex() noexcept = default;
    shared_mutex(const shared_mutex&) = delete;
    shared_mutex& operator=(const shared_mutex&) = delete;

    void lock() HANDOFF_ACQUIRE {
        if (!take(detail::never_if_closed(0u))) [[unlikely]] lock_slow(exclusive, detail::no_deadline);
    }
    // May fail although nobody holds the lock, if a reader comes at the same moment.
    bool try_lock() noexcept HANDOFF_TRY_ACQUIRE {
        detail::interleave_point();
        return take(0);
    }
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> d) HANDOFF_TRY_ACQUIRE {
        return try_lock() || lock_slow(exclusive, detail::deadline_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    bool try_lock_until(std::chrono::time_point<Clock, Duration> t) HANDOFF_TRY_ACQUIRE {
        return try_lock() || detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return lock_slow(exclusive, deadline); });
    }
    // unlock and unlock_shared end the process with a message if the mutex is not locked in that mode.
    void unlock() noexcept HANDOFF_RELEASE {
        std::uint32_t mine = detail::never_if_closed(writer);
        if (!word_.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
            unlock_slow();
    }

    void lock_shared() HANDOFF_ACQUIRE_SHARED {
        if (detail::fast_paths_are_closed()) [[unlikely]] {
            lock_slow(shared, detail::no_deadline);
            return;
        }
        // The reader counts itself first and tests afterwards, so that readers on several processors do not make each other
        // retry.
        const std::uint32_t before = word_.fetch_add(reader, std::memory_order_acquire);
        if ((before & (writer | parked)) != 0) [[unlikely]] lock_shared_slow();
    }
    bool try_lock_shared() noexcept HANDOFF_TRY_ACQUIRE_SHARED {
        detail::interleave_point();
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & (writer | parked)) == 0)
            if (word_.compare_exchange_weak(seen, seen + reader, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }
    template <class Rep, class Period>
    bool try_lock_shared_for(std::chrono::duration<Rep, Period> d) HANDOFF_TRY_ACQUIRE_SHARED {
        return try_lock_shared() || lock_slow(shared, detail::deadline_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    bool try_lock_shared_until(std::chrono::time_point<Clock, Duration> t) HANDOFF_TRY_ACQUIRE_SHARED {
        return try_lock_shared() || detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return lock_slow(shared, deadline); });
    }
    void unlock_shared() noexcept HANDOFF_RELEASE_SHARED {
        detail::interleave_point();
        // The lock is released before it is known whether somebody waits for it. The mutex may be gone by then, see
        // shared_mutex.cpp.
        const std::uint32_t before = word_.fetch_sub(reader, std::memory_order_release);
        if (before == (reader | parked) || before < reader) [[unlikely]] unlock_shared_slow(this, before);
    }

private:
    // writer: a writer holds it. parked: somebody waits; set and cleared under the lock of the waiters' bucket. reader: the
    // unit in which readers are counted: those that hold it, and those that counted themselves while writer or parked was
    // set and have not taken that back yet.
    static constexpr std::uint32_t writer = 1, parked = 2, reader = 4;
    static constexpr std::uint32_t exclusive = 3, shared = 4;   // tags of waiters in the parking lot: no other lock's

    // `free` is the value that the word must have: 0, or (while the fast paths are closed) one that it never has.
    bool take(std::uint32_t free) noexcept {
        // acquire: pairs with the releases of both unlocks.
        return word_.compare_exchange_strong(free, writer, std::memory_order_acquire, std::memory_order_relaxed);
    }

    HANDOFF_API bool lock_slow(std::uint32_t tag, std::int64_t deadline);
    HANDOFF_API void lock_shared_slow();
    HANDOFF_API void unlock_slow() noexcept;
    HANDOFF_API static void unlock_shared_slow(shared_mutex* m, std::uint32_t before) noexcept;
    template <class Waiting, class Won, class Round>
    bool let_in_if_free(Waiting& waiting, Won& won, Round& round) noexcept;
    template <class Waiting, class Won, class Round>
    bool let_in(Waiting& waiting, Won& won, Round& round) noexcept;

    base::atomic<std::uint32_t> word_{0};
};

}  // namespace handoff
