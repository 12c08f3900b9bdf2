// Sleeping, and tying a goroutine to its thread.
#include "os/clock.hpp"
#include "sched/sched.hpp"

#include <handoff/error.hpp>

#include <cerrno>
#include <ctime>

namespace handoff::detail {

namespace {

void wake_sleeper(timer* t, void* m) noexcept { ready(static_cast<M*>(m), static_cast<G*>(t->arg)); }

void commit_sleep(M* m, G* g, void* arg) noexcept {
    auto* t = static_cast<timer*>(arg);
    try {
        m->p.load(std::memory_order_relaxed)->timers.add(t);
    } catch (const std::bad_alloc&) {
        t->heap.store(nullptr, std::memory_order_relaxed);
        t->when = 0;   // tells the sleeper that it did not sleep
        ready(m, g);
    }
}

}  // namespace

void sleep_until_ns(std::int64_t when) {
    M* m = current_m();
    if (!m) {
        timespec t;
        t.tv_sec = static_cast<time_t>(when / 1'000'000'000);
        t.tv_nsec = static_cast<long>(when % 1'000'000'000);
        while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
        }
        return;
    }
    m = enter(m);
    timer t;
    t.when = when;
    t.fire = wake_sleeper;
    t.arg = m->curg.load(std::memory_order_relaxed);
    leave(park(m, wait_reason::sleep, commit_sleep, &t));
    if (t.when == 0 && when != 0) throw std::bad_alloc();
}

}  // namespace handoff::detail

namespace handoff {

void lock_os_thread() {
    using namespace detail;
    M* m = current_m();
    if (!m) throw usage_error("handoff: lock_os_thread off a goroutine");
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
    const bool was_locked = g->lock_depth != 0;
    if (was_locked && --g->lock_depth == 0) {
        g->locked.store(false, std::memory_order_relaxed);
        m->locked_g = nullptr;
    }
    leave(m);
    if (!was_locked) throw usage_error("handoff: unlock_os_thread without lock_os_thread");
}

}  // namespace handoff
