// A goroutine that parks or ends switches straight to the next one of its P. Only if the P's own queues are empty, or a tied
// thread is involved, does the switch go through g0, the context in which find_runnable searches further.
#include "sched/schedule.hpp"

#include "base/sizes.hpp"
#include "os/clock.hpp"
#include "os/thread.hpp"
#include "sched/due.hpp"
#include "sched/g_cache.hpp"
#include "sched/simulation_hooks.hpp"
#include "sched/slice.hpp"
#include "sched/switch_hook.hpp"

#include <numeric>

namespace handoff::detail {

namespace {

// How often a P looks further than its own `next` and ring: each 61st pick. A prime, as in Go, so that no loop of the program
// stays in step with it. In between, goroutines that wake each other through `next` run before the ring, for a time slice at
// most.
constexpr std::uint32_t global_every = base::sized(61, 5);

// And how often while goroutines that come back from calls wait in the global queue: where the others yield to each other, the
// P's own queue never runs dry.
constexpr std::uint32_t global_every_if_used = base::sized(7, 3);

// Up to how many goroutines such a look fills the ring.
constexpr std::uint32_t topped_up_to = base::sized(64, 2);

void commit_yield(M* m, G* g, void*) noexcept {
    if (!m->p.load(std::memory_order_relaxed)->runq.push(g)) put_global(*m->s, g);
    // Another P may have looked for work while g was in no queue, and may have gone idle since.
    wakep(*m->s);
}

void commit_spent(M* m, G* g, void*) noexcept {
    put_spent(*m->s, g);
    wakep(*m->s);
}

}  // namespace

// finish_switch does, on the context that was switched to, what the context that was left could not do itself.
static inline M* finish_switch_inline(context::switcher* s) noexcept {
    M* m = static_cast<M*>(s);
    if (spin_lock* held = m->held) {
        m->held = nullptr;
        held->unlock();
    } else if (auto commit = m->commit) {
        m->commit = nullptr;
        commit(m, m->commit_g, m->commit_arg);
    }
    if (m->due) [[unlikely]] run_due(m);
    return m;
}

M* finish_switch(context::switcher* s) noexcept { return finish_switch_inline(s); }

void put_local(M* m, G* g) noexcept {
    sched& s = *m->s;
    const own_p p(m);
    if (!p->runq.set_next(g)) put_in_ring(s, p, g);
}

void put_in_ring(sched& s, own_p p, G* g) noexcept {
    while (!p->runq.push(g)) {
        G* batch[global_queue::batch_size];
        if (!p->runq.take_half(batch)) continue;   // thieves made room
        static_assert(global_queue::batch_size == run_queue::capacity / 2 + 1);
        batch[run_queue::capacity / 2] = g;
        base::lock_guard hold(s.idle.lock);
        s.globq.push_batch(batch, global_queue::batch_size);
        return;
    }
}

void put_behind(sched& s, own_p p, G* next) noexcept {
    put_in_ring(s, p, next);
    wakep(s);
}

void put_global(sched& s, G* g) noexcept {
    base::lock_guard hold(s.idle.lock);
    s.globq.push(g);
}

void submit(sched& s, G* g) noexcept {
    put_global(s, g);
    wakep_any(s);
}

void let_go(sched& s, g_queue released) noexcept {
    const bool none = released.empty();
    if (!none) {
        base::lock_guard hold(s.idle.lock);
        while (G* g = released.pop()) s.globq.push(g);
    }
    if (!none || s.limit.kept_back() != 0) wakep_any(s);
}

// take_global takes p's share of the global queue, at most `most`. It returns one goroutine, and queues the others in p's ring.
static G* take_global(sched& s, own_p p, unsigned most, bool oldest_batch = false) noexcept HANDOFF_REQUIRES(s.idle.lock) {
    const std::uint32_t size = s.globq.size();
    if (size == 0) return nullptr;
    if (!s.globq.has_unspent()) p->begin_turn_of_spent();
    const std::uint32_t share = size / std::max(s.procs.wanted(), 1u) + 1;
    // One of them runs at once, so take one more than the ring has room for: none has to be put back.
    G* taken[run_queue::capacity / 2];
    const std::uint32_t n =
        s.globq.take(taken, std::min({share, most, p->runq.room() + 1, run_queue::capacity / 2}), oldest_batch);
    for (std::uint32_t i = 1; i < n; ++i) HANDOFF_CHECK(p->runq.push(taken[i]));
    return taken[0];
}

static G* take_global_locked(sched& s, own_p p, unsigned most, bool oldest_batch = false) noexcept HANDOFF_EXCLUDES(s.idle.lock) {
    base::lock_guard hold(s.idle.lock);
    return take_global(s, p, most, oldest_batch);
}

// pick_rarely is every 61st pick, and any pick that has to look at the clock.
static G* pick_rarely(M* m, own_p p) noexcept {
    sched& s = *m->s;
    const bool look_further = p->until_global == 0;
    if (look_further && s.sim) [[unlikely]] return s.sim->pick();   // at each pick: it keeps until_global at 1
    if (look_further)
        p->until_global = s.globq.has_singles() ? global_every_if_used : global_every;
    if (p->id >= s.procs.wanted()) return nullptr;
    if (look_further && unwatched(s) && os::nanotime() - s.poller.asked_at() >= poller::ask_every_ns)
        poll_soon(m);
    // Behind a long queue, timers that are due might as well wait in their heap, until the queue is shorter or this pick looks
    // further. A goroutine that is woken then runs soon, while what its timer's end has brought into the caches is still there,
    // and in order of time. (Taken as soon as they were due, a hundred thousand went from the ring to the global queue, and
    // came back cold.)
    const std::uint32_t queued = run_queue::capacity - p->runq.room();
    if (p->timers.first() != os::never && (look_further || queued < topped_up_to)) {
        const std::int64_t now = os::nanotime();
        if (p->timers.first() <= now) run_timers(m, *p, now);
    }
    if (!look_further) {
        if (G* g = p->runq.take_next()) return g;
        p->begin_slice();
        return p->runq.pop();
    }
    if (p->timers_first || p->spent_next) [[unlikely]]
        if (G* g = pick_after_slice(s, p)) return g;
    if (s.globq.has_unspent()) {
        // What a fuller ring took would only be in the way of goroutines that are spawned next.
        const std::uint32_t with_woken = run_queue::capacity - p->runq.room();
        if (G* g = take_global_locked(s, p, with_woken < topped_up_to ? topped_up_to - with_woken : 1, ++p->looks % 4 == 0)) {
            // Between goroutines that wake each other it begins no slice: their slice has to end at some time.
            if (!p->runq.has_next()) p->begin_slice();
            return g;
        }
    }
    if (!chain_lets_on(s, p))
        if (G* next = p->runq.take_next()) return next;
    G* g = p->runq.pop();
    if (!g) return p->runq.take_next();
    p->begin_slice();
    return g;
}

static inline G* pick_inline(M* m, own_p p) noexcept {
    sched& s = *m->s;
    const std::uint64_t tick = p->schedtick.load(std::memory_order_relaxed) + 1;
    share_if_not_alone(s, p);
    if (--p->until_global == 0 || p->timers.first() != os::never) [[unlikely]] {
        p->schedtick.store(tick, std::memory_order_relaxed);
        return pick_rarely(m, p);
    }
    if (G* g = p->runq.take_next()) {
        p->schedtick.store(tick, std::memory_order_relaxed);   // in its waker's slice
        return g;
    }
    p->schedtick.store(tick + P::new_slice, std::memory_order_relaxed);
    return p->runq.pop();
}

G* pick(M* m) noexcept { return pick_inline(m, own_p(m)); }

// steal_work visits each P once a pass, from a random one on, in a stride that is coprime to their number. Only the last pass
// takes timers and `next`.
static G* steal_work(M* m) noexcept {
    sched& s = *m->s;
    const own_p p(m);
    const std::uint32_t n = s.procs.count();
    if (n == 1) return nullptr;
    std::uint32_t stride = 1 + p->random() % n;
    while (std::gcd(stride, n) != 1) ++stride;
    for (int pass = 0; pass < 4; ++pass) {
        const bool last = pass == 3;
        std::uint32_t at = p->random() % n;
        for (std::uint32_t i = 0; i < n; ++i, at = (at + stride) % n) {
            P* victim = &s.procs[at];
            if (victim == &*p) continue;
            if (last && victim->timers.first() != os::never) {
                const std::int64_t now = os::nanotime();
                if (victim->timers.first() <= now && run_timers(m, *victim, now) != 0) {
                    run_due(m);
                    if (G* g = pick(m)) return g;
                }
            }
            if (victim->runq.empty()) continue;
            unsigned moved = 0;
            if (G* g = p->runq.steal_from(victim->runq, last, moved)) {
                p->steals.add();
                p->stolen.add(moved);
                return g;
            }
        }
    }
    return nullptr;
}

static G* find_runnable(M* m) noexcept {
    sched& s = *m->s;
    for (;;) {
        const own_p p(m);
        if (p->id >= s.procs.wanted()) [[unlikely]] {
            retire_p(m);
            return nullptr;
        }
        if (G* g = pick(m)) return g;
        if (s.globq.has_unspent())
            if (G* g = take_global_locked(s, p, run_queue::capacity / 2)) return g;
        if (unwatched(s) && poll_descriptors(m, p)) continue;
        const std::uint32_t idle = s.idle.ps(), procs = s.procs.wanted();
        if (!m->spinning && 2 * s.idle.spinning() < procs - std::min(idle, procs)) s.idle.begin_spinning(m);
        if (m->spinning)
            if (G* g = steal_work(m)) return g;
        if (m->due) {   // found in passing; with a goroutine to run, the switch to it would run them
            run_due(m);
            continue;
        }
        {
            deferred_wake wake;
            base::lock_guard hold(s.idle.lock);
            if (G* g = take_global(s, p, run_queue::capacity / 2)) return g;
            if (s.idle.ps() != 0 && s.limit.kept_back() != 0)   // another P stays free
                if (G* g = s.limit.let_through()) return g;
            put_idle_p(s, take_off(m), wake);
        }
        // The other half of the Dekker pair at the head of idle_set.hpp.
        s.idle.end_spinning(m);
        base::full_fence();
        if (!work_anywhere(s)) return nullptr;
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        held_p again = take_idle_p(s, &*p, wake);
        if (!again) return nullptr;
        put_on(m, std::move(again));
        s.idle.begin_spinning(m);
    }
}

// note_rarely records how long p was without a goroutine, if it changed hands, and tells the check of held mutexes, if that is
// on.
static void note_rarely(M* m, own_p p, const G* g) noexcept {
    if (p->handoff != handoff_cause::watched) {
        const std::int64_t took = os::nanotime() - p->handoff_began;
        (p->handoff == handoff_cause::sysmon      ? p->latency_sysmon
         : p->handoff == handoff_cause::immediate ? p->latency_immediate
                                                 : p->latency_unguarded)
            .record(took);
    }
    p->handoff = handoff_cause::none;
    if (!switches_are_watched()) return;
    tell_switch(m, g);
    p->handoff = handoff_cause::watched;
}

// note_start: g is about to run on m.
static inline void note_start(M* m, own_p p, G* g) noexcept {
    g->state.run();
    g->m.store(m, std::memory_order_relaxed);
    if (p->handoff != handoff_cause::none) [[unlikely]] note_rarely(m, p, g);
}

// wait_as_one_too_many keeps the fresh g back if it is likely to compute, and enough goroutines do (compute_limit.hpp). Not
// with a single P, which would stand idle while there is work.
static bool wait_as_one_too_many(sched& s, G* g) noexcept {
    if (s.idle.ps() != 0 || s.procs.wanted() == 1) return false;
    G* also;
    if (s.limit.keeps_back(g, s.procs.wanted(), also)) return true;
    if (also) submit(s, also);
    return false;
}

static bool give_it_a_stack(M* m, G* g) noexcept {
    sched& s = *m->s;
    if (s.limit.is_reached(s.procs.wanted()) && wait_as_one_too_many(s, g)) return false;
    if (context::stack* st = take_stack(m, g)) {
        g->stk = st;
        g->exec = st->idle;
        return true;
    }
    s.count.stack_failures.add();
    base::lock_guard hold(s.idle.lock);
    s.stackless.push(g);
    return false;
}

// ready_to_run prepares g, just taken from a queue, for m's switch to it. False if g can't run now: it got no stack, or was
// kept back.
static inline bool ready_to_run(M* m, own_p p, G* g) noexcept {
    if (g->fresh() && !give_it_a_stack(m, g)) [[unlikely]] return false;
    note_start(m, p, g);
    return true;
}

void start_here(M* m, G* g) noexcept {
    note_start(m, own_p(m), g);
    m->curg.store(g, std::memory_order_release);
}

void execute(M* m, G* g) noexcept {
    sched& s = *m->s;
    if (s.idle.end_spinning(m)) wake_if_work(s);   // submitters may have relied on this M
    if (g->locked.load(std::memory_order_relaxed) && m->locked_g != g) {
        run_due(m);   // while m has its P
        start_locked_m(m, g);
        return;
    }
    if (!ready_to_run(m, own_p(m), g)) return;
    m->curg.store(g, std::memory_order_release);
    context::switcher* back = context::jump(m->g0, g->exec, m);
    if (switches_are_watched()) [[unlikely]] tell_switch(m, nullptr);   // before others can find the goroutine that was left
    finish_switch(back);
    m->curg.store(nullptr, std::memory_order_relaxed);
}

// wait_on_thread_stack takes the place of the switch to g0 and back, for a g that is tied to m's thread and runs on that
// thread's own stack, on which g0 would go on. It does itself what g0 would do in execute and thread_loop. The argument is at
// the head of goroutine/thread_stack.cpp.
static M* wait_on_thread_stack(M* m, G* g) noexcept {
    m->curg.store(nullptr, std::memory_order_relaxed);
    if (switches_are_watched()) [[unlikely]] tell_switch(m, nullptr);
    finish_switch_inline(m);
    stop_locked_m(m);
    note_start(m, own_p(m), g);
    m->curg.store(g, std::memory_order_release);
    return m;
}

// switch_inline switches from `from` to `next`, or to g0 if next is null or can't run here. It returns when `from` is resumed.
// An M with a tied goroutine passes no `next`: its P must go to another M first.
static inline M* switch_inline(M* m, context::execution& from, G* next, context::leaving how) noexcept {
    if (next) {
        if (next->locked.load(std::memory_order_relaxed)) [[unlikely]] {
            m->nextg = next;
            next = nullptr;
        } else if (!ready_to_run(m, own_p(m), next)) [[unlikely]] {
            next = nullptr;
        }
    }
    if (!next)
        if (G* tied = m->locked_g; tied && tied->deep) [[unlikely]] return wait_on_thread_stack(m, tied);
    m->curg.store(next, std::memory_order_release);
    return finish_switch_inline(context::jump(from, next ? next->exec : m->g0, m, how));
}

M* switch_for_good(M* m, context::execution& from, G* next) noexcept {
    return switch_inline(m, from, next, context::leaving::for_good);
}

static M* switch_away(M* m, context::execution& from) noexcept {
    return switch_inline(m, from, m->locked_g ? nullptr : pick_inline(m, own_p(m)),
                         context::leaving::to_return);
}

M* switch_to_g0(M* m, context::execution& from) noexcept {
    return switch_inline(m, from, nullptr, context::leaving::to_return);
}

void thread_loop(M* m) noexcept {
    sched& s = *m->s;
    for (;;) {
        const P* p = m->p.load(std::memory_order_relaxed);
        if (m->orders.role == m_role::monitor) {
            held_p retaken = s.monitor.play(m);
            m->orders.role = m_role::worker;
            if (!retaken) return;
            put_on(m, std::move(retaken));
        } else if (m->ends_with_its_goroutine) {
            if (p) handoffp(s, take_off(m));
            s.count.threads_retired.add();
            return;
        } else if (m->locked_g) {
            stop_locked_m(m);
            execute(m, m->locked_g);
        } else if (!p) {
            if (!stopm(m)) return;
        } else if (G* g = m->nextg ? std::exchange(m->nextg, nullptr) : find_runnable(m)) {
            execute(m, g);
        }
    }
}

namespace {

inline void begin_wait(M* m, G* g, wait_reason why) noexcept {
    g->reason.store(why, std::memory_order_relaxed);
    g->since.store(m->s->coarse_now.load(std::memory_order_relaxed), std::memory_order_relaxed);
    g->state.park();
}

}  // namespace

M* park(M* m, wait_reason why, void (*commit)(M*, G*, void*), void* arg) noexcept {
    G* g = m->curg.load(std::memory_order_relaxed);
    begin_wait(m, g, why);
    m->commit = commit;
    m->commit_g = g;
    m->commit_arg = arg;
    return switch_away(m, g->exec);
}

M* park_holding(M* m, wait_reason why, spin_lock& held) noexcept {
    G* g = m->curg.load(std::memory_order_relaxed);
    begin_wait(m, g, why);
    m->held = &held;
    return switch_away(m, g->exec);
}

void ready_outside(G* g) noexcept {
    sched* s = g->s;
    // g may end its runtime as soon as it is in the queue. The calling thread is none of that runtime's, so the runtime has to
    // be told to wait for it.
    s->life.outsiders.fetch_add(1, std::memory_order_relaxed);
    submit(*s, g);
    s->life.outsiders.fetch_sub(1, std::memory_order_release);   // pairs with the acquire in drain_and_stop
}

// yield_inline puts the current goroutine behind the others of its P, if there are any; if it is `spent`, among the spent.
static inline M* yield_inline(M* m, bool spent) noexcept {
    sched& s = *m->s;
    const own_p p(m);
    G* next = nullptr;
    bool leaves;   // it leaves even without a `next`, for g0
    if (m->locked_g) [[unlikely]] {
        if (m->locked_g->pinned != 0) return m;   // it stays on its thread; the retaker asks again
        leaves = p->runq.owner_sees_work() || !s.globq.empty() ||
                 p->timers.first() != os::never;
    } else {
        next = pick_inline(m, p);
        // Goroutines that came back from calls wait there, and would wait for as long as one that is alone on this P yields to
        // itself.
        if (!next && !s.globq.empty() && !s.sim) next = take_global_locked(s, p, run_queue::capacity / 2);
        leaves = p->id >= s.procs.wanted();
    }
    if (next || leaves) {
        G* g = m->curg.load(std::memory_order_relaxed);
        g->state.give_way();
        m->commit = spent ? commit_spent : commit_yield;
        m->commit_g = g;
        m = switch_inline(m, g->exec, next, context::leaving::to_return);
    } else if (m->due) [[unlikely]] {
        run_due(m);
    }
    return m;
}

void yield(M* m) noexcept { leave(yield_inline(m, false)); }

M* give_way(M* m) noexcept {
    sched& s = *m->s;
    const own_p p(m);
    const bool spent = p->spent_at.load(std::memory_order_relaxed) == p->schedtick.load(std::memory_order_relaxed);
    end_slice(s, p);
    return yield_inline(m, spent);
}

}  // namespace handoff::detail
