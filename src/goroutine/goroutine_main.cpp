// What runs at the bottom of every goroutine's stack: the task and the end of a goroutine, then those of the next one.
#include "goroutine/goroutine_main.hpp"

#include "goroutine/goroutine_local.hpp"
#include "goroutine/join.hpp"
#include "goroutine/unhandled.hpp"
#include "sched/due.hpp"
#include "sched/g_cache.hpp"
#include "sched/schedule.hpp"
#include "sched/without.hpp"

#include <utility>

namespace handoff::detail {

namespace {

// drop_own_outcome is drop_outcome as the last code of the goroutine g. That code may make new goroutine-local values, which
// the next goroutine in this G must not find.
inline void drop_own_outcome(G* g) noexcept {
    drop_outcome(g, *g->s->store);
    if (g->locals) [[unlikely]] destroy_locals(g->locals);
}

void run_task(G* g) noexcept {
    g->s->floats.begin();   // the last one on this thread may have left its own
    g->predict = g->s->predict.of_kind(g);
    g->quick_calls = 0;
    g->spent = false;
    try {
        g->ops->run(g->storage);
        g->has_result = true;
    } catch (const told_exception&) {
    } catch (...) {
        g->exception = caught_exception();
    }
    if (g->locals) destroy_locals(g->locals);
}

// untie unties g from the thread of m, on which it runs. True if g had locked it (lock_os_thread): then the thread ends with g.
bool untie(M* m, G* g) noexcept {
    g->syscall_depth = 0;   // it may have ended inside a bracket
    const bool had_locked = std::exchange(g->lock_depth, 0) != 0;
    if (m->locked_g != g) return false;
    m->locked_g = nullptr;
    g->locked.store(false, std::memory_order_relaxed);
    if (had_locked) m->ends_with_its_goroutine = true;
    return had_locked;
}

// enter_to_end begins the section in which g, the current goroutine, ends: with a P, unless it has none and can end without.
M* enter_to_end(G* g) noexcept {
    bool without = false;
    M* m = still_without(current_m(), without);
    if (!without || !may_end_without(m, g)) return enter(m);
    m->section.store(one_more(m->section), std::memory_order_relaxed);   // no P to retake, so no protocol
    return m;
}

bool has_p(const M* m) noexcept { return !is_without_p(m->taken.seen()); }

// end_goroutine publishes the end of g, the current goroutine, and frees it if it is no longer needed. Called in user code,
// returns in a runtime section, with a P or without.
M* end_goroutine(G* g) noexcept {
    bool ours = g->join_word.is_detached();
    if (ours) drop_own_outcome(g);
    M* m = enter_to_end(g);
    const bool tied = untie(m, g);
    g->state.end();
    if (!ours) {
        const std::uintptr_t was = g->join_word.end();
        if (was == join_word::detached) {
            // The handle was dropped just now, so g is this function's again. Its outcome is destroyed by code that runs as g.
            g->state.revive();
            if (tied) {
                g->lock_depth = 1;
                g->locked.store(true, std::memory_order_relaxed);
                m->locked_g = g;
                m->ends_with_its_goroutine = false;
            }
            leave(m);
            drop_own_outcome(g);
            m = enter(current_m());
            untie(m, g);
            g->state.end();
            ours = true;
        } else if (join_waiter* w = join_word::waiter_in(was)) {
            wake_joiner(has_p(m) ? m : nullptr, *w);
        }
    }
    if (!has_p(m)) [[unlikely]] {
        finish_without(m, g, ours);
        return m;
    }
    const own_p p(m);
    p->finished.add();
    if (ours) free_g(*m->s, p, g);
    return m;
}

void commit_free_stack(M* m, G*, void* arg) noexcept {
    auto* st = static_cast<context::stack*>(arg);
    if (context::left_for_good_is_lost) st->idle.sp = nullptr;
    if (const own_p p(m); p) return give_stack(*m->s, p, st);
    st->next = nullptr;
    if (st->own_mapping) m->s->stacks.give_sized(st);
    else m->s->stacks.give(st);
}

}  // namespace

// goroutine_main is the bottom of every stack. It runs the goroutine that the stack was taken for, then the next one, if that
// is fresh too, without a switch. Else it leaves the stack, and goes on here when the stack is taken again.
void goroutine_main(context::switcher* arrived) noexcept {
    M* m = finish_switch(arrived);
    for (;;) {
        G* g = m->curg.load(std::memory_order_relaxed);
        context::stack* st = g->stk;
        leave(m);
        run_task(g);
        m = end_goroutine(g);
        sched* s = m->s;
        G* next = nullptr;
        if (!has_p(m)) [[unlikely]] {
            if (G* g_without = st->own_mapping ? nullptr : next_without(m)) {
                start_without(m, g_without, st);
                continue;
            }
            rest_without(m);
        } else if (!m->locked_g && !m->ends_with_its_goroutine) {
            next = pick(m);
        }
        if (next && next->fresh() && !st->own_mapping && next->stack_pages.load(std::memory_order_relaxed) == 0 &&
            !next->locked.load(std::memory_order_relaxed) && !s->limit.is_reached(s->procs.wanted())) {
            next->stk = st;
            next->exec = st->idle;
            start_here(m, next);
            if (m->due) [[unlikely]] run_due(m);
            continue;
        }
        m->commit = commit_free_stack;
        m->commit_g = nullptr;
        m->commit_arg = st;
        m = switch_for_good(m, st->idle, next);
    }
}

}  // namespace handoff::detail
