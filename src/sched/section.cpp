#include "sched/section.hpp"

#include "os/clock.hpp"
#include "os/errno.hpp"
#include "sched/hooks.hpp"
#include "sched/pinned.hpp"
#include "sched/schedule.hpp"
#include "sched/simulation_hooks.hpp"
#include "sched/without.hpp"

#include <utility>

namespace handoff::detail {

namespace {

// count_exit counts a goroutine that is back from a call and has taken p, which was idle; its old P was `old`.
void count_exit(sched& s, const P& p, const void* old) noexcept {
    (&p == old ? s.count.exits_old_idle : s.count.exits_any_idle).add();
}

// commit_exit runs on g0, once the context of g is saved. It looks for an idle P a last time, and else queues g in the global
// queue. Every P that is not idle looks there before its M gives up, under the same lock, so no M needs to be woken.
void commit_exit(M* m, G* g, void* old) noexcept {
    sched* s = m->s;
    const bool spent = std::exchange(g->spent, false);
    deferred_wake wake;
    base::lock_guard hold(s->idle.lock);
    if (held_p idle = take_idle_p(*s, static_cast<P*>(old), wake)) {
        P* p = &*idle;
        if (m->came_back) count_exit(*s, *p, old);
        put_on(m, std::move(idle));
        if (!m->locked_g) {
            // Where threads are short, this thread serves all waiting goroutines before g goes on. Otherwise g's next call
            // would give the P away with no thread to run it, and so on for ever.
            if (s->idle.is_starved()) s->globq.push(g);
            else m->nextg = g;
            return;
        }
        // A tied goroutine is started by the P that finds it in a queue; this P does so at once.
        if (!p->runq.set_next(g) && !p->runq.push(g)) {
            s->globq.push(g);
        }
        return;
    }
    if (m->came_back) s->count.exits_queued.add();
    if (spent) s->globq.push_spent(g);
    else s->globq.push(g);
}

// regain gets a P for the current goroutine: its old one if that is idle, else any idle one; else the goroutine waits in the
// global queue. `came_back`: it had gone on without a P after a call. Returns the M that it runs on then.
M* regain(M* m, P* old, bool came_back) noexcept {
    sched* s = m->s;
    if (!came_back) s->count.regains.add();
    if (s->idle.ps() != 0 && !s->idle.is_starved()) {
        held_p p;
        {
            deferred_wake wake;
            base::lock_guard hold(s->idle.lock);
            p = take_idle_p(*s, old, wake);
        }
        if (p) {
            if (came_back) count_exit(*s, *p, old);
            put_on(m, std::move(p));
            m->curg.load(std::memory_order_relaxed)->spent = false;   // it need not wait
            return m;
        }
    }
    G* g = m->curg.load(std::memory_order_relaxed);
    g->state.give_way();
    m->came_back = came_back;
    m->commit = commit_exit;
    m->commit_g = g;
    m->commit_arg = old;
    return switch_to_g0(m, g->exec);
}

}  // namespace

void say_unguarded(M* m, G* g, std::int64_t since, std::int64_t until, long call) noexcept {
    hooks.unguarded_call_ended(*m->s, g, since, until != 0 ? until : os::nanotime(), call);
}

void slice_was_over(M* m, G* g, retake how) noexcept {
    if (how == retake::taken_computing) let_go(*m->s, m->s->limit.end(m, m->s->procs.wanted()));
    else if (how != retake::taken_slice) return;
    g->spent = true;
}

namespace {

// settle gets a P for m's goroutine after m has found its own gone; `how` is what m found. In a runtime section, without a P.
M* settle(M* m, retake how) noexcept {
    G* g = m->curg.load(std::memory_order_relaxed);
    slice_was_over(m, g, how);
    // m->unguarded may be read only after taken_unguarded.
    const auto stay = how == retake::taken_unguarded ? m->unguarded : M::unguarded_stay{};
    end_of_work(m);
    P* old = m->p.load(std::memory_order_relaxed);
    m->p.store(nullptr, std::memory_order_relaxed);
    // A late attempt of the retaker finds this M in a section. Its barrier comes before this store; without membarrier, this
    // M's exchange on entering and the load of `taken` that followed do.
    m->taken.settle();
    m = regain(m, old, how == retake::away);
    if (how == retake::taken_unguarded) {
        leave(m);
        say_unguarded(m, g, stay.since, stay.until, stay.call);
        m = enter(current_m());
    }
    return m;
}

}  // namespace

HANDOFF_OPAQUE void suspend_call(M* m) noexcept {
    refuse_in_move();
    leave_call(m);   // the store of section that follows publishes it
    G* g = m->curg.load(std::memory_order_relaxed);
    if (m->s->sim || (g->syscall_depth & G::tied_by_call) != 0) return;   // a simulation has one thread
    g->syscall_depth |= G::tied_by_call;
    g->locked.store(true, std::memory_order_relaxed);
    m->locked_g = g;
}

HANDOFF_OPAQUE M* enter_slow(M* m) noexcept {
    const int e = os::get_errno();
    const retake how = m->taken.answer();
    if (how == retake::asked_to_yield) m = give_way(m);
    else if (how == retake::simulated) m->s->sim->point(m);
    else if (how != retake::none) m = settle(m, how);
    os::set_errno(e);
    return m;
}

namespace {

// regain_at_once gets m, which has no P, an idle one, if there is one. In a section.
bool regain_at_once(M* m, retake how) noexcept {
    sched* s = m->s;
    // The report of an unguarded stay calls user code, which may switch: it has to wait.
    if (how == retake::taken_unguarded) {
        if (m->unguarded.until == 0) m->unguarded.until = os::nanotime();
        return false;
    }
    if (s->idle.ps() == 0 || s->idle.is_starved()) return false;
    if (how == retake::taken_computing) {
        let_go(*s, s->limit.end(m, s->procs.wanted()));
        m->taken.go_on_without();
    }
    P* old = m->p.load(std::memory_order_relaxed);
    {
        deferred_wake wake;
        base::lock_guard hold(s->idle.lock);
        held_p p = take_idle_p(*s, old, wake);
        if (!p) return false;
        m->taken.settle();   // as in settle
        if (how != retake::away) s->count.regains.add();
        else count_exit(*s, *p, old);
        put_on(m, std::move(p));
    }
    end_of_work(m);
    return true;
}

}  // namespace

HANDOFF_OPAQUE bool enter_staying_slowly(M* m) noexcept {
    const int e = os::get_errno();
    const retake how = m->taken.answer();
    bool has_p = true;
    // Relaxed: a hint for the monitor, which asked. It takes this P in user code, unless the M gives it up before.
    if (how == retake::asked_to_yield) m->declined.store(one_more(m->declined), std::memory_order_relaxed);
    else if (how == retake::simulated) m->s->sim->point(m);
    else if (is_without_p(how)) has_p = regain_at_once(m, how);
    if (!has_p) leave(m);
    os::set_errno(e);
    return has_p;
}

M* still_without_slowly(M* m, bool& without) noexcept {
    const retake how = m->taken.learn();   // with the retaker's CAS
    without = is_without_p(how);
    if (how == retake::taken_computing) {
        slice_was_over(m, m->curg.load(std::memory_order_relaxed), how);
        m->taken.go_on_without();
    } else if (how == retake::taken_unguarded) {
        const M::unguarded_stay stay = m->unguarded;
        m->taken.go_on_without();
        say_unguarded(m, m->curg.load(std::memory_order_relaxed), stay.since, stay.until, stay.call);
        m = current_m();
        without = is_without_p(m->taken.seen());
    }
    return m;
}

}  // namespace handoff::detail
