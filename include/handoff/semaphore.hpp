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

class semaphore_base {
public:
    explicit constexpr semaphore_base(std::uint64_t permits) noexcept : word_(permits << 1) {}
    semaphore_base(const semaphore_base&) = delete;
    semaphore_base& operator=(const semaphore_base&) = delete;

    bool try_take() noexcept {
        interleave_point();
        return take_quickly(one);
    }
    // `least` is the least value of the word with which a permit can be taken: `one`, or (while the fast paths are closed)
    // one that it never reaches.
    bool take_quickly(std::uint64_t least = never_if_closed(one)) noexcept {
        std::uint64_t seen = word_.load(std::memory_order_relaxed);
        // acquire: pairs with give's release.
        while (seen >= least)
            if (word_.compare_exchange_weak(seen, seen - one, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }
    HANDOFF_API bool take_slow(std::int64_t deadline, const std::stop_token* stop);
    HANDOFF_API void give(std::uint64_t n, std::uint64_t most);

private:
    static constexpr std::uint64_t parked = 1, one = 2;

    // Twice the number of permits, plus `parked` if somebody waits (then there are no permits; that bit changes under the
    // lock of the waiters' bucket).
    base::atomic<std::uint64_t> word_;
};

}  // namespace detail

// Has the members of its std namesake. Waiters get permits first come, first served. acquire() and its timed forms are
// cancellation points. Eight bytes. Whoever has acquired the last permit that is ever released may destroy it. Any thread
// or goroutine may release, also one that has not acquired.
template <std::ptrdiff_t Max = std::numeric_limits<std::ptrdiff_t>::max()>
class counting_semaphore {
    static_assert(Max >= 0);

public:
    // Throws usage_error unless 0 <= permits <= max().
    explicit constexpr counting_semaphore(std::ptrdiff_t permits)
        : base_(static_cast<std::uint64_t>(detail::checked_count(permits, Max, "semaphore"))) {}

    static constexpr std::ptrdiff_t max() noexcept { return Max; }

    // release adds n permits; if many wait, they are woken in rounds, one after the other. Throws usage_error if n is
    // negative or there would be more than max() permits. Nothing has changed then, with one exception: if others release
    // at the same time and more than 64 waited, some of the waiters may have been given a permit. Linear in the waiters
    // that it wakes.
    void release(std::ptrdiff_t n = 1) { base_.give(static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(Max)); }

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

private:
    detail::semaphore_base base_;
};

using binary_semaphore = counting_semaphore<1>;

}  // namespace handoff
