// What a goroutine can do with itself: yield, get its id, tie itself to its thread.
#include "os/thread.hpp"
#include "sched/pinned.hpp"
#include "sched/schedule.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/error.hpp>
#include <handoff/goroutine.hpp>

#include <sched.h>
#include <utility>

namespace handoff::this_goroutine {

namespace {

// yields_nothing: true if m's goroutine has no P to give up, and goes on without one. It does so as long as it blocks between
// its yields, like one that walks through a mapped file and blocks in page faults. Otherwise it would wait in the queue each
// time, and take a P that others need for computing. Called in a section, which it leaves if it returns true.
bool yields_nothing(detail::M* m) noexcept {
    using namespace detail;
    const retake how = m->taken.seen();
    if (!is_without_p(how) || how == retake::taken_computing || m->s->idle.is_starved()) return false;
    const long sleeps = os::voluntary_switches();
    if (std::exchange(m->sleeps_at_yield, sleeps) == sleeps) return false;
    leave(m);
    bool without = false;
    still_without(m, without);
    return true;
}

// yield_slowly: the section was begun, and enter_slow is still to be called.
[[gnu::cold, gnu::noinline]] void yield_slowly(detail::M* m) {
    if (m->s->sim) return m->s->sim->yield(m);
    if (yields_nothing(m)) return;
    m = detail::enter_slow(m);
    yield(m);
}

}  // namespace

void yield() {
    using namespace detail;
    M* m = current_m();
    if (!m) {
        sched_yield();
        return;
    }
    if (!enter_quickly(m)) [[unlikely]] return yield_slowly(m);
    yield(m);
}

goroutine_id id() noexcept {
    detail::M* m = detail::current_m();
    return m ? m->curg.load(std::memory_order_relaxed)->id.load(std::memory_order_relaxed) : 0;
}

}  // namespace handoff::this_goroutine

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
    const bool was_locked = g->lock_depth > (g->deep ? 1u : 0u);   // one level is call_on_thread_stack's
    if (was_locked && --g->lock_depth == 0) untie_if_free(m, g);
    leave(m);
    if (!was_locked) throw usage_error("handoff: unlock_os_thread without lock_os_thread");
}

}  // namespace handoff
