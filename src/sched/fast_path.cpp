#include "sched/fast_path.hpp"

#include "base/mutex.hpp"
#include "sched/sched.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/detail/fast_path.hpp>

#include <atomic>

namespace handoff::detail {

constinit fast_paths fast;

namespace {

base::mutex fast_lock;
unsigned closed_by HANDOFF_GUARDED_BY(fast_lock) = 0;

void set_fast_paths(std::uint64_t closed) noexcept {
    std::atomic_ref(fast.closed).store(closed, std::memory_order_relaxed);
    std::atomic_ref(fast.open).store(~closed, std::memory_order_relaxed);
}

}  // namespace

void close_fast_paths() noexcept {
    base::lock_guard hold(fast_lock);
    if (closed_by++ == 0) set_fast_paths(~std::uint64_t{0});
}

void open_fast_paths() noexcept {
    base::lock_guard hold(fast_lock);
    if (--closed_by == 0) set_fast_paths(0);
}

// A goroutine of a simulation may be preempted here; one of another runtime gives way, if it was asked to yield.
void interleave_point_slow() noexcept {
    M* m = current_m();
    if (!m || (!m->s->sim && m->taken.seen() != retake::asked_to_yield)) return;
    leave(enter(m));
}

void interleave_slow() {
    M* m = current_m();
    if (!m || !m->s->sim) return;
    leave(enter(m));   // there it may be preempted
    m->s->sim->throw_if_victim(m->curg.load(std::memory_order_relaxed));
}

}  // namespace handoff::detail
