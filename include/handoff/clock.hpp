// clock: the time that sleeps, timers and timed waits go by.
#pragma once

#include <handoff/detail/time.hpp>

#include <chrono>

namespace handoff {

// The steady clock, by which all waits go; in a simulation (simulation.hpp) the virtual one. Its time points are those of
// std::chrono::steady_clock, so they can be mixed with them, and given to every function of the library that takes one.
//
// Such a function also takes the time points of any other clock of the standard's form, and is not early by that clock:
// docs/synchronisation.md tells what follows. It calls that clock's now() twice or more; what now() throws comes out.
struct clock {
    using duration = std::chrono::steady_clock::duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::steady_clock::time_point;
    static constexpr bool is_steady = true;
    static time_point now() noexcept { return time_point(std::chrono::nanoseconds(detail::clock_now())); }
};

}  // namespace handoff
