// condition_variable: wait until another goroutine or thread says that something has changed.
#pragma once

#include <handoff/cancellation.hpp>
#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/thread_safety.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/error.hpp>
#include <handoff/mutex.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <stop_token>

namespace handoff {

// Works with any lock, as std::condition_variable_any does; std::unique_lock<handoff::mutex> is the usual one. Waiters are
// woken first come, first served. A notification goes to a waiter that is there already, never to one that comes later.
// There are no spurious wake-ups, with one exception: a wait until a time of another clock than the steady one ends by the
// steady clock, and returns no_timeout if the other clock is late. So use the forms with a predicate. wait() is a
// cancellation point: it throws `cancelled` with the lock held again. If locking it again throws, which none of the
// library's locks does, the process ends by std::terminate, as with the standard's. Four bytes; may be destroyed once all
// waiters have been notified. Any thread.
class condition_variable {
public:
    constexpr condition_variable() noexcept = default;
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    // notify_one wakes one waiter, notify_all wakes all of them; the latter is linear in the number of waiters.
    void notify_one() noexcept {
        // Relaxed: the condition was changed under the lock, which the waiter released only after it had counted itself.
        if (detail::never_if_closed(waiters_.load(std::memory_order_relaxed)) != 0) notify(false);
    }
    void notify_all() noexcept {
        if (detail::never_if_closed(waiters_.load(std::memory_order_relaxed)) != 0) notify(true);
    }

    template <class Lock>
    void wait(Lock& lock) {
        wait_with(lock, detail::no_deadline, nullptr);
    }
    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate holds) {
        while (!holds()) wait(lock);
    }
    // Returns what the predicate says. A requested stop ends the wait.
    template <class Lock, class Predicate>
    bool wait(Lock& lock, std::stop_token stop, Predicate holds) {
        while (!holds()) {
            if (stop.stop_requested()) return false;
            wait_with(lock, detail::no_deadline, &stop);
        }
        return true;
    }

    // The timed forms never return early. Those with a predicate return what it says in the end.
    template <class Lock, detail::clock_type Clock, class Duration>
    std::cv_status wait_until(Lock& lock, std::chrono::time_point<Clock, Duration> t) {
        const auto limit = detail::limit_at(t);
        return wait_with(lock, limit.deadline(), nullptr) || !limit.over() ? std::cv_status::no_timeout : std::cv_status::timeout;
    }
    template <class Lock, class Rep, class Period>
    std::cv_status wait_for(Lock& lock, std::chrono::duration<Rep, Period> d) {
        return wait_with(lock, detail::deadline_after(d), nullptr) ? std::cv_status::no_timeout : std::cv_status::timeout;
    }
    template <class Lock, detail::clock_type Clock, class Duration, class Predicate>
    bool wait_until(Lock& lock, std::chrono::time_point<Clock, Duration> t, Predicate holds) {
        return wait_while(lock, detail::limit_at(t), nullptr, holds);
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> d, Predicate holds) {
        return wait_while(lock, detail::limit_after(d), nullptr, holds);
    }
    template <class Lock, detail::clock_type Clock, class Duration, class Predicate>
    bool wait_until(Lock& lock, std::stop_token stop, std::chrono::time_point<Clock, Duration> t, Predicate holds) {
        return wait_while(lock, detail::limit_at(t), &stop, holds);
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, std::stop_token stop, std::chrono::duration<Rep, Period> d, Predicate holds) {
        return wait_while(lock, detail::limit_after(d), &stop, holds);
    }

private:
    enum class end { notified, timed_out, stopped, cancelled, no_memory };

    // park puts the caller into the queue, calls unlock(lock), and waits.
    HANDOFF_API end park(void* lock, void (*unlock)(void*), std::int64_t deadline, const std::stop_token* stop);
    HANDOFF_API void notify(bool all) noexcept;
    [[noreturn]] HANDOFF_API static void fail(end how);

    HANDOFF_API static void throw_if_simulation_failed();

    template <class Lock>
    HANDOFF_NO_TSA static void unlock_it(void* lock) {
        static_cast<Lock*>(lock)->unlock();
    }
    // As in the standard, no wait ends without the lock. So if locking it is a cancellation point and throws `cancelled`,
    // it is locked a second time, with cancellation blocked.
    template <class Lock>
    HANDOFF_NO_TSA static void lock_again(Lock& lock) {
        try {
            return lock.lock();
        } catch (const cancelled&) {
            throw_if_simulation_failed();
        } catch (...) {
            std::terminate();
        }
        const cancellation_blocker not_now;
        lock_or_terminate(lock);
    }
    template <class Lock>
    HANDOFF_NO_TSA static void lock_or_terminate(Lock& lock) noexcept {
        lock.lock();
    }

    template <class Lock>
    bool wait_with(Lock& lock, std::int64_t deadline, const std::stop_token* stop) {
        const end how = park(&lock, unlock_it<Lock>, deadline, stop);
        lock_again(lock);
        if (how == end::cancelled || how == end::no_memory) fail(how);
        return how == end::notified;
    }
    template <class Lock, class Limit, class Predicate>
    bool wait_while(Lock& lock, const Limit& limit, const std::stop_token* stop, Predicate& holds) {
        while (!holds()) {
            if (stop && stop->stop_requested()) return false;
            if (!wait_with(lock, limit.deadline(), stop) && limit.over()) return holds();
        }
        return true;
    }

    base::atomic<std::uint32_t> waiters_{0};   // number of waiters in the queue; changed under its bucket's lock
};

}  // namespace handoff
