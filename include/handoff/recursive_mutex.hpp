// recursive_mutex: a mutex that its owner may lock again.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/thread_safety.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/mutex.hpp>

#include <chrono>
#include <cstdint>

namespace handoff {

// Has the members of std::recursive_mutex and std::recursive_timed_mutex. It belongs to the goroutine that has locked it, on
// whatever thread that goes on, or to a thread that runs none. (A std::recursive_mutex belongs to the thread: it lets another
// goroutine of that thread in, and refuses its owner on another one.) It is free again after as many unlocks as locks.
// Satisfies Lockable and TimedLockable. Its owner must not end before it has unlocked it.
//
// condition_variable works with it, but unlocks one level, as any lock: who waits must have locked it once.
//
// Made of a mutex, so waiters fare as there: a newcomer may barge in, after 1 ms a waiter is handed it. Locks are no
// cancellation points. 16 bytes. It may be destroyed as soon as nobody holds it or waits for it; its last owner may do so
// right after its own unlock(). Clang's -Wthread-safety does not know it, since it has no word for locking twice. Any thread.
class recursive_mutex {
public:
    constexpr recursive_mutex() noexcept = default;
    recursive_mutex(const recursive_mutex&) = delete;
    recursive_mutex& operator=(const recursive_mutex&) = delete;

    // max_depth is how many times the owner may have locked it.
    static constexpr std::uint32_t max_depth() noexcept { return (std::uint32_t{1} << 24) - 1; }

    // lock, try_lock_for and try_lock_until throw usage_error if the owner has locked it max_depth() times; nothing has
    // changed then. try_lock returns false.
    HANDOFF_NO_TSA void lock() {
        const void* const me = self();
        if (is_owner(me)) return deepen();
        mutex_.lock();
        begin(me);
    }
    HANDOFF_NO_TSA bool try_lock() noexcept {
        const void* const me = self();
        if (is_owner(me)) return depth_ != max_depth() && (++depth_, true);
        if (!mutex_.try_lock()) return false;
        begin(me);
        return true;
    }

    // try_lock_for and try_lock_until never give up early. They throw std::bad_alloc.
    template <class Rep, class Period>
    HANDOFF_NO_TSA bool try_lock_for(std::chrono::duration<Rep, Period> d) {
        return lock_if([&] { return mutex_.try_lock_for(d); });
    }
    template <detail::clock_type Clock, class Duration>
    HANDOFF_NO_TSA bool try_lock_until(std::chrono::time_point<Clock, Duration> t) {
        return lock_if([&] { return mutex_.try_lock_until(t); });
    }

    // If another than the owner unlocks it, or if nobody has it, the process ends with a message that says so.
    HANDOFF_NO_TSA void unlock() noexcept {
        if (!is_owner(self())) [[unlikely]] not_owner();
        if (--depth_ != 0) return;
        owner_.store(nullptr, std::memory_order_relaxed);
        mutex_.unlock();
    }

private:
    // self says who the caller is: no other goroutine or thread that lives has the same address. In a simulation, a place
    // to switch.
    HANDOFF_API static const void* self() noexcept;
    [[noreturn]] HANDOFF_API void not_owner() const noexcept;
    [[noreturn]] HANDOFF_API static void too_deep();

    // Relaxed: only the caller itself writes its own address, and it sees what it has written, on whatever thread.
    bool is_owner(const void* me) const noexcept { return owner_.load(std::memory_order_relaxed) == me; }
    void deepen() {
        if (depth_ == max_depth()) too_deep();
        ++depth_;
    }
    void begin(const void* me) noexcept {
        owner_.store(me, std::memory_order_relaxed);
        depth_ = 1;
    }
    template <class TryLock>
    bool lock_if(TryLock try_lock_it) {
        const void* const me = self();
        if (is_owner(me)) return deepen(), true;
        if (!try_lock_it()) return false;
        begin(me);
        return true;
    }

    mutex mutex_;
    std::uint32_t depth_ = 0;                       // under mutex_
    base::atomic<const void*> owner_{nullptr};      // written under mutex_; null while nobody has it
};

using recursive_timed_mutex = recursive_mutex;

}  // namespace handoff
