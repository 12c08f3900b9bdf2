#include <handoff/detail/time.hpp>

#include "os/clock.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/error.hpp>

namespace handoff::detail {

std::int64_t clock_now() noexcept { return os::nanotime(); }

void refuse_nan() { throw usage_error("handoff: a duration or a point in time that is not a number"); }

void refuse_other_clock() {
    if (in_simulation()) refuse_in_simulation("a clock other than the steady one");
}

}  // namespace handoff::detail
