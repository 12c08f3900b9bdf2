// clock: the clock that sleeps, timers and timed waits use.
#pragma once

#include <handoff/detail/time.hpp>

#include <chrono>

namespace handoff {

// The steady clock, which all waits use; in a simulation (simulation.hpp) the virtual clock. Its time points are those of
// std::chrono::steady_clock, so the two can be mixed, and passed to every function of the library that takes a time point.
//
// Such a function also takes time points of any other clock that has the form that the standard asks for. It is not early
// by that clock; docs/synchronisation.md says what follows from that. It calls that clock's now() two or more times; an
// exception from now() passes through.
struct clock {
    using duration = std::chrono::steady_clock::duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::steady_clock::time_point;
    static constexpr bool is_steady = true;
    static time_point now() noexcept { return time_point(std::chrono::nanoseconds(detail::clock_now())); }
};

}  // namespace handoff
