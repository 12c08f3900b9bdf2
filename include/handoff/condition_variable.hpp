// condition_variable: wait until another says that something has changed.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_ways.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/mutex.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <stop_token>

namespace handoff {

// With any lock, as std::condition_variable_any; std::unique_lock<handoff::mutex> is the usual one. Those that wait are
// woken in the order of coming; a notification goes to somebody who waits already, never to one who comes later. No
// spurious wake-ups, but use the forms with a predicate all the same. wait() is a cancellation point: `cancelled` is
// thrown with the lock held again. Four bytes; may be destroyed once all that
// wait are notified. Any thread.
class condition_variable {
public:
    constexpr condition_variable() noexcept = default;
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    // Linear in those that wait, for notify_all.
    void notify_one() noexcept {
        // Relaxed: who changed the condition did so under the lock, after the waiter counted itself.
        if (detail::or_never(waiters_.load(std::memory_order_relaxed)) != 0) notify(false);
    }
    void notify_all() noexcept {
        if (detail::or_never(waiters_.load(std::memory_order_relaxed)) != 0) notify(true);
    }

    template <class Lock>
    void wait(Lock& lock) {
        wait_with(lock, detail::no_deadline, nullptr);
    }
    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate holds) {
        while (!holds()) wait(lock);
    }
    // Returns what the predicate says; a requested stop ends the wait.
    template <class Lock, class Predicate>
    bool wait(Lock& lock, std::stop_token stop, Predicate holds) {
        while (!holds()) {
            if (stop.stop_requested()) return false;
            wait_with(lock, detail::no_deadline, &stop);
        }
        return true;
    }

    // Never early. The forms with a predicate return what it says in the end.
    template <class Lock, class Clock, class Duration>
    std::cv_status wait_until(Lock& lock, std::chrono::time_point<Clock, Duration> t) {
        return wait_with(lock, detail::deadline_at(t), nullptr) ? std::cv_status::no_timeout : std::cv_status::timeout;
    }
    template <class Lock, class Rep, class Period>
    std::cv_status wait_for(Lock& lock, std::chrono::duration<Rep, Period> d) {
        return wait_with(lock, detail::deadline_after(d), nullptr) ? std::cv_status::no_timeout : std::cv_status::timeout;
    }
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(Lock& lock, std::chrono::time_point<Clock, Duration> t, Predicate holds) {
        return wait_while(lock, detail::deadline_at(t), nullptr, holds);
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> d, Predicate holds) {
        return wait_while(lock, detail::deadline_after(d), nullptr, holds);
    }
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(Lock& lock, std::stop_token stop, std::chrono::time_point<Clock, Duration> t, Predicate holds) {
        return wait_while(lock, detail::deadline_at(t), &stop, holds);
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, std::stop_token stop, std::chrono::duration<Rep, Period> d, Predicate holds) {
        return wait_while(lock, detail::deadline_after(d), &stop, holds);
    }

private:
    enum class end { notified, timed_out, stopped, cancelled, no_memory };

    // park queues itself, calls unlock(lock), and waits.
    HANDOFF_API end park(void* lock, void (*unlock)(void*), std::int64_t deadline, const std::stop_token* stop);
    HANDOFF_API void notify(bool all) noexcept;
    [[noreturn]] HANDOFF_API static void fail(end how);

    template <class Lock>
    bool wait_with(Lock& lock, std::int64_t deadline, const std::stop_token* stop) {
        const end how = park(&lock, [](void* l) { static_cast<Lock*>(l)->unlock(); }, deadline, stop);
        lock.lock();
        if (how == end::cancelled || how == end::no_memory) fail(how);
        return how == end::notified;
    }
    template <class Lock, class Predicate>
    bool wait_while(Lock& lock, std::int64_t deadline, const std::stop_token* stop, Predicate& holds) {
        while (!holds()) {
            if (stop && stop->stop_requested()) return false;
            if (!wait_with(lock, deadline, stop)) return holds();
        }
        return true;
    }

    base::atomic<std::uint32_t> waiters_{0};   // queued, or about to be
};

}  // namespace handoff
