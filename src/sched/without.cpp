// Ends and beginnings of goroutines on a thread without a P: what a pool's worker does.
//
// A goroutine that comes back from a call without a P (goroutine/syscall.cpp) and ends would have to get one for that alone: wait for it
// in the global queue, and have another thread woken to run it to its end. And the next goroutine that makes a call would
// have its P handed off, to yet another thread. Where each makes one call that is two wake-ups and two switches of threads a
// call; a pool of threads has one. So it ends without a P, under the scheduler's lock instead, and its thread starts the next
// goroutine by itself, if that is fresh, and of a kind whose calls have been found to block: it would give its P away at once.
// That one begins in the state `away`, as one that is back from a call: it takes a P when it enters the library.
//
// The thread has no P to keep others from, so nobody waits for it; and a goroutine taken out of a queue is one that a P need
// not run. If there is none of that kind the thread goes to sleep. (Any other work has an M that is awake or has been woken
// for it, as ever: whoever queues it sees to that.)
//
// Not where threads are short (`starved`): there this one has to serve the Ps that have none.
#include "os/clock.hpp"
#include "sched/g_cache.hpp"
#include "sched/sched.hpp"
#include "sched/switch_hook.hpp"

#include <algorithm>

namespace handoff::detail {

namespace {

constexpr unsigned enough_workers = 16;

constexpr std::uint8_t blocks = 2;   // G::predict from which on calls are handed off at once

}  // namespace

// may_end_without: neither tied, nor in a call, which only settle() ends.
bool sched::may_end_without(const M* m, const G* g) const noexcept {
    return !sim && !m->locked_g && g->syscall_depth == 0 && starved.load(std::memory_order_relaxed) == 0;
}

// finish_without counts the end of g, and frees it if nobody needs it.
void sched::finish_without(M* m, G* g, bool frees) noexcept {
    // One that was started for its calls, and made none that blocked, is not of such a kind.
    if (m->is_worker && os::voluntary_switches() == m->sleeps_at_start) learn_of_kind(g, false);
    if (frees && g->named) store->name(g, {});
    deferred_wake wake;   // we are joined before the runtime goes
    base::lock_guard hold(lock);
    if (frees) give_g(*this, g);
    ++finished_without;
    check_drained(wake);
}

// may_start_without: g is in nobody's hands but the caller's.
bool sched::may_start_without(const G* g) const noexcept {
    return g->fresh() && g->stack_pages.load(std::memory_order_relaxed) == 0 && !g->locked.load(std::memory_order_relaxed);
}

// will_block: calls of g's kind have been found to block. Reads only what is atomic.
bool sched::will_block(const G* g) const noexcept { return learnt_by_kind(g) >= blocks; }

// next_without takes a goroutine that m, without a P, may start; null if there is none at hand.
G* sched::next_without(M* m) noexcept {
    if (starved.load(std::memory_order_relaxed) != 0) return nullptr;
    if (!globq.empty()) {
        base::lock_guard hold(lock);
        G* g = globq.front();
        if (g && may_start_without(g) && will_block(g)) {
            globq.take(&g, 1);
            return g;
        }
    }
    const std::uint32_t n = nallp.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < n; ++i) {
        P& p = *allp[(static_cast<std::uint32_t>(m->id) + i) % n].load(std::memory_order_acquire);
        G* g = p.runq.steal_first_if([this](const G* front) { return will_block(front); });
        if (!g) continue;
        if (may_start_without(g)) return g;
        put_global(g);
        wakep_any();
    }
    return nullptr;
}

// start_without makes the fresh g, on whose stack-to-be the caller stands, m's current goroutine.
void sched::start_without(M* m, G* g, context::stack* st) noexcept {
    g->stk = st;
    g->exec = st->idle;
    g->transition(g_state::runnable, g_state::running);
    g->m.store(m, std::memory_order_relaxed);
    count.started_without.add();
    m->sleeps_at_start = os::voluntary_switches();
    if (!std::exchange(m->is_worker, true)) workers.fetch_add(1, std::memory_order_relaxed);
    m->curg.store(g, std::memory_order_relaxed);
    // Else the next switch would take it for the one before, whose G may be another's by now.
    if (switches_are_watched()) [[unlikely]] tell_switch(m, g);
}

// rest_without: m has nothing to do, and goes to sleep as one that never had a P. As in settle().
void sched::rest_without(M* m) noexcept {
    end_of_work(m);
    m->p.store(nullptr, std::memory_order_relaxed);
    m->taken.store(retake::none, std::memory_order_release);
}

// can_wait_for_workers says whether all that p could run is for threads without a P, and some of those are about.
bool sched::can_wait_for_workers(P* p) noexcept {
    if (workers.load(std::memory_order_relaxed) < enough_workers || p->runq.alone()) return false;
    const G* g = p->runq.front();
    if (g && !will_block(g)) return false;
    base::lock_guard hold(lock);
    g = globq.front();
    return !g || (will_block(g) && may_start_without(g));
}

}  // namespace handoff::detail
