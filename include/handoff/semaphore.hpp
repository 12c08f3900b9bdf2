// counting_semaphore: a number of permits.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/count.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stop_token>

namespace handoff {

namespace detail {

struct case_access;

class semaphore_base {
public:
    explicit constexpr semaphore_base(std::uint64_t permits) noexcept : word_(permits << 1) {}
    semaphore_base(const semaphore_base&) = delete;
    semaphore_base& operator=(const semaphore_base&) = delete;

    bool try_take() noexcept { return try_take_several(1); }
    bool take_quickly() noexcept { return take_several_quickly(1, never_if_closed(one)); }
    HANDOFF_API bool take_slow(std::int64_t deadline, const std::stop_token* stop);

    // The same for n permits, of which there may be as many: 1 <= n < 2^63.
    bool try_take_several(std::uint64_t n) noexcept {
        interleave_point();
        return take_several_quickly(n, n * one);
    }
    bool take_several(std::uint64_t n, std::int64_t deadline, const std::stop_token* stop) {
        return take_several_quickly(n, never_if_closed(n * one)) || (n == 1 ? take_slow(deadline, stop) : collect(n, deadline, stop));
    }

    HANDOFF_API void give(std::uint64_t n, std::uint64_t most);

    // For select. has_permit is a hint. begin_wait says whether there is no permit, and lets give() look for waiters then.
    // Under the lock of the waiters' bucket.
    bool has_permit() const noexcept { return word_.load(std::memory_order_relaxed) >= one; }
    HANDOFF_API bool begin_wait() noexcept;

private:
    struct collector;
    template <class Waiting, class Won, class Round>
    static bool serve(std::uint64_t& n, Waiting& waiting, Won& won, Round& round) noexcept;
    template <class Waiting, class Won, class Round>
    bool pass_on(collector& c, Waiting& waiting, Won& won, Round& round) noexcept;
    [[gnu::noinline]] void give_slow(std::uint64_t n, std::uint64_t most);
    HANDOFF_API bool collect(std::uint64_t n, std::int64_t deadline, const std::stop_token* stop);

    // `least` is the least value of the word with which n permits can be taken: that many, or (while the fast paths are closed)
    // one that it never reaches.
    bool take_several_quickly(std::uint64_t n, std::uint64_t least) noexcept {
        std::uint64_t seen = word_.load(std::memory_order_relaxed);
        // acquire: pairs with give's release.
        while (seen >= least)
            if (word_.compare_exchange_weak(seen, seen - n * one, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }

    static constexpr std::uint64_t parked = 1, one = 2;

    // Twice the number of permits, plus `parked` if somebody waits (then there are no permits; that bit changes under the
    // lock of the waiters' bucket).
    base::atomic<std::uint64_t> word_;
};

[[noreturn]] HANDOFF_API void bad_permits(std::ptrdiff_t n, std::ptrdiff_t most);

}  // namespace detail

// Has the members of its std namesake, and forms that acquire n permits at once. Waiters get permits first come, first served.
// One that waits for n collects them: while it is the first, it keeps what is released until it has n, and those behind it
// wait. So it does not starve beside others that want fewer. If it gives up, what it has collected goes to those behind it
// or, if there are none, back to the semaphore. acquire() and its timed forms are cancellation points. Eight bytes. Whoever has
// acquired the last permit that is ever released may destroy it. Any thread or goroutine may release, also one that has not
// acquired.
template <std::ptrdiff_t Max = std::numeric_limits<std::ptrdiff_t>::max()>
class counting_semaphore {
    static_assert(Max >= 0);

public:
    // Throws usage_error unless 0 <= permits <= max().
    explicit constexpr counting_semaphore(std::ptrdiff_t permits)
        : base_(static_cast<std::uint64_t>(detail::checked_count(permits, Max, "semaphore"))) {}

    static constexpr std::ptrdiff_t max() noexcept { return Max; }

    // release adds n permits; if many wait, they are woken in rounds, one after the other. Throws usage_error if n is
    // negative or there would be more than max() permits, those included that the first waiter has collected. Nothing has
    // changed then, with one exception: if others release at the same time and more than 64 waited, some of the waiters may
    // have been given a permit. Linear in the waiters that it wakes.
    void release(std::ptrdiff_t n = 1) { base_.give(static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(Max)); }

    // A requested stop ends a wait by the exception `cancelled`. The timed forms return false if the time was over first; they
    // never give up early.
    void acquire() {
        if (!base_.take_quickly()) base_.take_slow(detail::no_deadline, nullptr);
    }
    void acquire(const std::stop_token& stop) {
        if (!base_.take_quickly()) base_.take_slow(detail::no_deadline, &stop);
    }
    bool try_acquire() noexcept { return base_.try_take(); }
    template <class Rep, class Period>
    bool try_acquire_for(std::chrono::duration<Rep, Period> d) {
        return base_.take_quickly() || base_.take_slow(detail::deadline_after(d), nullptr);
    }
    template <detail::clock_type Clock, class Duration>
    bool try_acquire_until(std::chrono::time_point<Clock, Duration> t) {
        return base_.take_quickly() ||
               detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return base_.take_slow(deadline, nullptr); });
    }
    template <class Rep, class Period>
    bool try_acquire_for(std::chrono::duration<Rep, Period> d, const std::stop_token& stop) {
        return base_.take_several(1, detail::deadline_after(d), &stop);
    }
    template <detail::clock_type Clock, class Duration>
    bool try_acquire_until(std::chrono::time_point<Clock, Duration> t, const std::stop_token& stop) {
        return take_until(1, t, &stop);
    }

    // The same for n permits: all of them or none. They throw usage_error, and have done nothing then, unless
    // 1 <= n <= max().
    void acquire(std::ptrdiff_t n) { base_.take_several(checked(n), detail::no_deadline, nullptr); }
    void acquire(std::ptrdiff_t n, const std::stop_token& stop) { base_.take_several(checked(n), detail::no_deadline, &stop); }
    bool try_acquire(std::ptrdiff_t n) { return base_.try_take_several(checked(n)); }
    template <class Rep, class Period>
    bool try_acquire_for(std::ptrdiff_t n, std::chrono::duration<Rep, Period> d) {
        return base_.take_several(checked(n), detail::deadline_after(d), nullptr);
    }
    template <class Rep, class Period>
    bool try_acquire_for(std::ptrdiff_t n, std::chrono::duration<Rep, Period> d, const std::stop_token& stop) {
        return base_.take_several(checked(n), detail::deadline_after(d), &stop);
    }
    template <detail::clock_type Clock, class Duration>
    bool try_acquire_until(std::ptrdiff_t n, std::chrono::time_point<Clock, Duration> t) {
        return take_until(checked(n), t, nullptr);
    }
    template <detail::clock_type Clock, class Duration>
    bool try_acquire_until(std::ptrdiff_t n, std::chrono::time_point<Clock, Duration> t, const std::stop_token& stop) {
        return take_until(checked(n), t, &stop);
    }

private:
    static std::uint64_t checked(std::ptrdiff_t n) {
        if (n <= 0 || n > Max) [[unlikely]] detail::bad_permits(n, Max);
        return static_cast<std::uint64_t>(n);
    }
    template <class Clock, class Duration>
    bool take_until(std::uint64_t n, const std::chrono::time_point<Clock, Duration>& t, const std::stop_token* stop) {
        return detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return base_.take_several(n, deadline, stop); });
    }

    friend detail::case_access;
    detail::semaphore_base base_;
};

using binary_semaphore = counting_semaphore<1>;

}  // namespace handoff
