#include "os/backoff.hpp"

#include <ctime>
#include <sched.h>

namespace handoff::os {

void backoff::give_up_core() noexcept {
    if (rounds_ < yields) {
        ++rounds_;
        ::sched_yield();
        return;
    }
    const timespec a_moment{0, sleep_ns};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &a_moment, nullptr);
}

}  // namespace handoff::os
