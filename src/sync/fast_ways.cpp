#include "sync/fast_ways.hpp"

#include "base/mutex.hpp"
#include "sched/m.hpp"
#include "sched/sched.hpp"

#include <handoff/detail/fast_ways.hpp>

#include <atomic>

namespace handoff::detail {

constinit fast_ways fast;

namespace {

base::mutex fast_lock;
unsigned closed_by HANDOFF_GUARDED_BY(fast_lock) = 0;

void set_fast_ways(std::uint64_t closed) noexcept {
    std::atomic_ref(fast.closed).store(closed, std::memory_order_relaxed);
    std::atomic_ref(fast.open).store(~closed, std::memory_order_relaxed);
}

}  // namespace

void close_fast_ways() noexcept {
    base::lock_guard hold(fast_lock);
    if (closed_by++ == 0) set_fast_ways(~std::uint64_t{0});
}

void open_fast_ways() noexcept {
    base::lock_guard hold(fast_lock);
    if (--closed_by == 0) set_fast_ways(0);
}

// Of a simulation it may be preempted there, and of another runtime it gives way if it was asked to.
void interleave_point_slow() noexcept {
    M* m = current_m();
    if (!m || (!m->s->sim && m->taken.load(std::memory_order_relaxed) != retake::asked_to_yield)) return;
    leave(enter(m));
}

}  // namespace handoff::detail
