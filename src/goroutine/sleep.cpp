#include "os/clock.hpp"
#include "wait/wait.hpp"

#include <handoff/goroutine.hpp>

#include <cerrno>
#include <ctime>

namespace handoff::detail {

void sleep_until_ns(std::int64_t when, const std::stop_token* stop) {
    const wait_limits limits{when, stop, true};
    check_cancelled(limits);
    M* m = enter_current();
    if (!m && !stop) {
        timespec t;
        t.tv_sec = static_cast<time_t>(when / 1'000'000'000);
        t.tv_nsec = static_cast<long>(when % 1'000'000'000);
        while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
        }
        return;
    }
    waiter w(m, true);
    const wait_end end = wait_armed(m, w, wait_reason::sleep, nullptr, limits);
    leave_current(m);
    throw_if_cancelled(end);
}

}  // namespace handoff::detail
