// Ends and beginnings of goroutines on a thread without a P: what a worker of a thread pool does.
//
// The problem. A goroutine comes back from a call without a P (goroutine/syscall.cpp), and ends. For that alone it would have
// to get a P: wait in the global queue, and have another thread woken to run it to its end. And the next goroutine that makes a
// call would have its P handed off, to yet another thread. Where each goroutine makes one call, that is two wake-ups and two
// switches of threads a call; a thread pool has one.
//
// So the goroutine ends without a P, under the scheduler's lock instead. Its thread then starts the next goroutine by itself,
// if that is fresh, and of a kind (G::kind) whose calls have been found to block: such a goroutine would give its P away at
// once. It begins in the state `away`, like one that is back from a call: it takes a P when it enters the library.
//
// The thread keeps no P from others, so no goroutine waits for it; and a goroutine that it takes out of a queue is one less for
// a P to run. If there is no goroutine of such a kind, the thread goes to sleep. (For any other work an M is awake or has been
// woken, as always: whoever queues the work sees to that.)
//
// Not where threads are short (idle_set::starved): there this thread has to serve the Ps that have none.
#include "sched/without.hpp"

#include "os/clock.hpp"
#include "sched/g_cache.hpp"
#include "sched/schedule.hpp"
#include "sched/switch_hook.hpp"

#include <algorithm>

namespace handoff::detail {

namespace {

constexpr unsigned enough_workers = 16;

}  // namespace

// g must neither be tied to its thread, nor be in a call: a P that was lost in a call that has not ended is settle()'s to
// account for.
bool may_end_without(const M* m, const G* g) noexcept {
    sched& s = *m->s;
    return !s.sim && !m->locked_g && g->syscall_depth == 0 && !s.idle.is_starved();
}

void finish_without(M* m, G* g, bool frees) noexcept {
    sched& s = *m->s;
    // g was started here because calls of its kind block, but the thread has not slept: this counts against the prediction.
    if (m->is_worker && os::voluntary_switches() == m->sleeps_at_start) s.predict.learn(g, false);
    if (frees && g->named) s.store->name(g, {});
    deferred_wake wake;   // this thread is joined before the runtime is destroyed
    base::lock_guard hold(s.idle.lock);
    if (frees) give_g(s, g);
    ++s.life.finished_without;
    check_drained(s, wake);
}

// may_start_without: true if g, which only the caller holds, may start without a P.
static bool may_start_without(const G* g) noexcept {
    return g->fresh() && g->stack_pages.load(std::memory_order_relaxed) == 0 && !g->locked.load(std::memory_order_relaxed);
}

G* next_without(M* m) noexcept {
    sched& s = *m->s;
    if (s.idle.is_starved()) return nullptr;
    if (!s.globq.empty()) {
        base::lock_guard hold(s.idle.lock);
        G* g = s.globq.front();
        if (g && may_start_without(g) && s.predict.will_block(g)) {
            s.globq.take(&g, 1);
            return g;
        }
    }
    const std::uint32_t n = s.procs.count();
    for (std::uint32_t i = 0; i < n; ++i) {
        P& p = s.procs[(static_cast<std::uint32_t>(m->id) + i) % n];
        G* g = p.runq.steal_first_if([&s](const G* front) { return s.predict.will_block(front); });
        if (!g) continue;
        if (may_start_without(g)) return g;
        submit(s, g);
    }
    return nullptr;
}

void start_without(M* m, G* g, context::stack* st) noexcept {
    sched& s = *m->s;
    g->stk = st;
    g->exec = st->idle;
    g->state.run();
    g->m.store(m, std::memory_order_relaxed);
    s.count.started_without.add();
    m->sleeps_at_start = os::voluntary_switches();
    if (!std::exchange(m->is_worker, true)) s.workers.fetch_add(1, std::memory_order_relaxed);
    m->curg.store(g, std::memory_order_release);
    // Otherwise the next switch would take g for the goroutine before it, whose G may have been reused by then.
    if (switches_are_watched()) [[unlikely]] tell_switch(m, g);
}

// Steps as in settle().
void rest_without(M* m) noexcept {
    end_of_work(m);
    m->p.store(nullptr, std::memory_order_relaxed);
    m->taken.settle();
}

bool can_wait_for_workers(sched& s, const P& p) noexcept {
    if (s.workers.load(std::memory_order_relaxed) < enough_workers || p.runq.alone()) return false;
    const G* g = p.runq.front();
    if (g && !s.predict.will_block(g)) return false;
    base::lock_guard hold(s.idle.lock);
    g = s.globq.front();
    return !g || (s.predict.will_block(g) && may_start_without(g));
}

}  // namespace handoff::detail
