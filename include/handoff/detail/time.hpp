// Points in time as the library keeps them: nanoseconds of the steady clock.
#pragma once

#include <handoff/detail/export.hpp>

#include <chrono>
#include <cstdint>
#include <type_traits>

namespace handoff::detail {

inline constexpr std::int64_t no_deadline = INT64_MAX;   // wait for as long as it takes
inline constexpr std::int64_t at_once = 0;               // do not wait

// clock_now is the time of handoff::clock, in nanoseconds.
HANDOFF_API std::int64_t clock_now() noexcept;

// refuse_other_clock throws usage_error in a simulation, which has no clock but its own.
HANDOFF_API void refuse_other_clock();

// in_range rounds up to nanoseconds, and takes what is centuries away, either way, to be that far.
template <class Rep, class Period>
std::chrono::nanoseconds in_range(std::chrono::duration<Rep, Period> d) {
    using namespace std::chrono;
    constexpr auto most = nanoseconds::max() / 4;
    if (duration<double>(d) >= duration<double>(most)) return most;
    if (duration<double>(d) <= duration<double>(-most)) return -most;
    return ceil<nanoseconds>(d);
}

// deadline_after and deadline_at give at least 1, so never at_once.
template <class Rep, class Period>
std::int64_t deadline_after(std::chrono::duration<Rep, Period> d) {
    const std::chrono::nanoseconds now(clock_now());
    const auto wait = in_range(d);
    return std::chrono::nanoseconds(wait.count() > 0 ? now + wait : now).count();
}

template <class Clock, class Duration>
std::int64_t deadline_at(std::chrono::time_point<Clock, Duration> t) {
    using namespace std::chrono;
    if constexpr (std::is_same_v<Clock, steady_clock>) {
        const auto ns = in_range(t.time_since_epoch()).count();
        return ns > 0 ? ns : 1;
    } else {
        refuse_other_clock();
        return deadline_after(in_range(t.time_since_epoch()) - in_range(Clock::now().time_since_epoch()));
    }
}

}  // namespace handoff::detail
