// How the library represents points in time: as nanoseconds of the steady clock. And how a wait until a point in time of
// any clock is based on them: all timed waits use deadline_after, limit_after and limit_at.
#pragma once

#include <handoff/detail/export.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ratio>
#include <type_traits>

namespace handoff {

struct clock;

namespace detail {

inline constexpr std::int64_t no_deadline = INT64_MAX;        // wait without limit
inline constexpr std::int64_t last_deadline = INT64_MAX - 1;  // 292 years; stands for everything later than this
inline constexpr std::int64_t at_once = 0;                    // do not wait

// clock_now returns the time of handoff::clock, in nanoseconds.
HANDOFF_API std::int64_t clock_now() noexcept;

// refuse_other_clock throws usage_error in a simulation, which has no clock but its own.
HANDOFF_API void refuse_other_clock();

// refuse_nan throws usage_error.
[[noreturn]] HANDOFF_API void refuse_nan();

// What the standard calls a clock. Only a clock's points in time can be waited for (those of std::chrono::local_t can't).
template <class C>
concept clock_type = std::chrono::is_clock_v<C>;

// Integer counts are computed with twice their width. Two points in time that can be told apart may be further apart than
// their own type can express; differences of unsigned counts may be negative; and hours may have to be expressed as
// nanoseconds.
__extension__ using wide = __int128;

template <class Rep>
inline constexpr bool is_integer = std::is_integral_v<Rep> && sizeof(Rep) <= sizeof(std::int64_t);

// in_nanoseconds returns `count` units of `Period` in nanoseconds, rounded up, and limited to 292 years in either
// direction.
template <class Period>
constexpr std::chrono::nanoseconds in_nanoseconds(wide count) noexcept {
    using unit = std::ratio_divide<Period, std::nano>;
    constexpr wide limit = wide{INT64_MAX} * unit::den / unit::num;   // in units, rounded down
    if (count > limit) return std::chrono::nanoseconds::max();
    if (count < -limit) return -std::chrono::nanoseconds::max();
    const wide n = count * unit::num;
    return std::chrono::nanoseconds(static_cast<std::int64_t>(n / unit::den + (n % unit::den > 0)));
}

// in_range does the same for any duration. Throws usage_error for one that is not a number.
template <class Rep, class Period>
constexpr std::chrono::nanoseconds in_range(std::chrono::duration<Rep, Period> d) {
    using namespace std::chrono;
    if constexpr (is_integer<Rep>) {
        return in_nanoseconds<Period>(d.count());
    } else {
        const duration<std::common_type_t<Rep, double>, std::nano> ns(d);
        if (ns != ns) refuse_nan();
        if (ns.count() >= 0x1p63) return nanoseconds::max();
        if (ns.count() <= -0x1p63) return -nanoseconds::max();
        return ceil<nanoseconds>(ns);
    }
}

// time_between returns the time from `now` to t, both since the same epoch. It is positive if, and only if, t is later. It
// subtracts before it rounds.
template <class Rep, class Period, class NowRep, class NowPeriod>
constexpr std::chrono::nanoseconds time_between(std::chrono::duration<NowRep, NowPeriod> now, std::chrono::duration<Rep, Period> t) {
    if constexpr (is_integer<Rep> && is_integer<NowRep>) {
        using unit = typename std::common_type_t<std::chrono::duration<Rep, Period>, std::chrono::duration<NowRep, NowPeriod>>::period;
        const wide to = wide{t.count()} * std::ratio_divide<Period, unit>::num;   // below 2^127
        const wide from = wide{now.count()} * std::ratio_divide<NowPeriod, unit>::num;
        wide way;
        if (__builtin_sub_overflow(to, from, &way)) return to > from ? std::chrono::nanoseconds::max() : -std::chrono::nanoseconds::max();
        return in_nanoseconds<unit>(way);
    } else {
        // A type that holds either count exactly, or as exactly as it is given.
        using real = std::common_type_t<Rep, NowRep, long double>;
        return in_range(std::chrono::duration<real, Period>(t) - std::chrono::duration<real, NowPeriod>(now));
    }
}

// deadline_in returns the steady clock's time after d. The result is never at_once or no_deadline.
inline std::int64_t deadline_in(std::chrono::nanoseconds d) noexcept {
    const std::int64_t now = std::max<std::int64_t>(clock_now(), 1), wait = std::max<std::int64_t>(d.count(), 0);
    return wait < last_deadline - now ? now + wait : last_deadline;
}

template <class Rep, class Period>
std::int64_t deadline_after(std::chrono::duration<Rep, Period> d) {
    return deadline_in(in_range(d));
}

// A timed wait gets a limit. It waits until deadline() at most, and again if the time is not over() then.
class steady_limit {
public:
    explicit constexpr steady_limit(std::int64_t deadline) noexcept : deadline_(deadline) {}
    constexpr std::int64_t deadline() const noexcept { return deadline_; }
    constexpr bool over() const noexcept { return true; }

private:
    std::int64_t deadline_;
};

// A limit by another clock. That clock may be slower than the steady one, or be set back, so it is read again each time.
template <class Clock, class Duration>
class clock_limit {
public:
    explicit clock_limit(const std::chrono::time_point<Clock, Duration>& t) : t_(t) { refuse_other_clock(); }
    std::int64_t deadline() const { return deadline_in(left()); }
    bool over() const { return left().count() <= 0; }

private:
    std::chrono::nanoseconds left() const { return time_between(Clock::now().time_since_epoch(), t_.time_since_epoch()); }

    std::chrono::time_point<Clock, Duration> t_;
};

template <class Clock>
inline constexpr bool is_steady_clock = std::is_same_v<Clock, std::chrono::steady_clock> || std::is_same_v<Clock, clock>;

template <class Rep, class Period>
steady_limit limit_after(std::chrono::duration<Rep, Period> d) {
    return steady_limit(deadline_after(d));
}

template <clock_type Clock, class Duration>
auto limit_at(const std::chrono::time_point<Clock, Duration>& t) {
    if constexpr (is_steady_clock<Clock>)
        return steady_limit(std::clamp<std::int64_t>(in_range(t.time_since_epoch()).count(), 1, last_deadline));
    else return clock_limit<Clock, Duration>(t);
}

// wait_within calls f(deadline), which waits until `deadline` at most and returns whether it got what it waits for. It
// repeats this until f returns true or the time is over.
template <class Limit, class F>
bool wait_within(const Limit& limit, F f) {
    do {
        if (f(limit.deadline())) return true;
    } while (!limit.over());
    return false;
}

}  // namespace detail
}  // namespace handoff
