// Sleeping, and tying a goroutine to its thread.
#include "os/clock.hpp"
#include "sched/pinned.hpp"
#include "sched/sched.hpp"
#include "sim/simulator.hpp"
#include "sync/wait.hpp"

#include <handoff/error.hpp>

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

namespace handoff {

void lock_os_thread() {
    using namespace detail;
    M* m = current_m();
    if (!m) throw usage_error("handoff: lock_os_thread off a goroutine");
    if (m->s->sim) refuse_in_simulation("lock_os_thread: all its goroutines run on one thread");
    m = enter(m);
    G* g = m->curg.load(std::memory_order_relaxed);
    ++g->lock_depth;
    g->locked.store(true, std::memory_order_relaxed);
    m->locked_g = g;
    leave(m);
}

void unlock_os_thread() {
    using namespace detail;
    M* m = current_m();
    if (!m) throw usage_error("handoff: unlock_os_thread off a goroutine");
    m = enter(m);
    G* g = m->curg.load(std::memory_order_relaxed);
    const bool was_locked = g->lock_depth > (g->deep ? 1u : 0u);   // one is call_on_thread_stack's
    if (was_locked && --g->lock_depth == 0) untie_if_free(m, g);
    leave(m);
    if (!was_locked) throw usage_error("handoff: unlock_os_thread without lock_os_thread");
}

}  // namespace handoff
