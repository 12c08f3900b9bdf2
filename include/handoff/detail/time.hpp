// Points in time as the library keeps them: nanoseconds of the steady clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace handoff::detail {

inline constexpr std::int64_t no_deadline = INT64_MAX;   // wait for as long as it takes
inline constexpr std::int64_t at_once = 0;               // do not wait

// deadline_after saturates: a duration beyond the clock's range is centuries away. At least 1, so never at_once.
template <class Rep, class Period>
std::int64_t deadline_after(std::chrono::duration<Rep, Period> d) {
    using namespace std::chrono;
    constexpr auto most = nanoseconds::max() / 2;
    const auto now = duration_cast<nanoseconds>(steady_clock::now().time_since_epoch());
    if (d <= d.zero()) return now.count();
    return (now + (duration<double>(d) < duration<double>(most) ? ceil<nanoseconds>(d) : most)).count();
}

template <class Clock, class Duration>
std::int64_t deadline_at(std::chrono::time_point<Clock, Duration> t) {
    using namespace std::chrono;
    if constexpr (std::is_same_v<Clock, steady_clock>) {
        const auto ns = ceil<nanoseconds>(t.time_since_epoch()).count();
        return ns > 0 ? ns : 1;
    } else {
        return deadline_after(t - Clock::now());
    }
}

}  // namespace handoff::detail
