#include "goroutine/join.hpp"

#include "goroutine/unhandled.hpp"
#include "os/backoff.hpp"
#include "sched/g_cache.hpp"
#include "sched/simulation_hooks.hpp"
#include "wait/wait.hpp"

#include <handoff/error.hpp>
#include <handoff/goroutine.hpp>

#include <system_error>
#include <utility>

namespace handoff::detail {

namespace {

// Reports what a goroutine threw and no join will ever see.
void report_unhandled(G* g, g_store& store) noexcept {
    report_exception(store.describe_briefly(g), std::exchange(g->exception, nullptr), store.on_unhandled_exception);
}

}  // namespace

void wake_joiner(M* m, join_waiter& j) noexcept {
    const bool in_select = j.in_select;   // read now: a join that is won may return at once, and j is gone
    wake_list won;
    // If it is not won, or belongs to a select, its owner takes the pointer back, and waits until it is told.
    if (!won.claim(j.w, wait_end::woken)) j.told.store(join_waiter::told_as::late, std::memory_order_release);
    else if (in_select) j.told.store(join_waiter::told_as::won, std::memory_order_release);
    won.wake(m);
}

bool stop_waiting(G* g, join_waiter& j) noexcept {
    if (g->join_word.give_up(j)) return false;
    // The goroutine has ended, and its end has the pointer to j: it tells within a few instructions.
    os::backoff a_moment;
    while (j.told.load(std::memory_order_acquire) == join_waiter::told_as::nothing) a_moment.pause();
    return true;
}

void drop_outcome(G* g, g_store& store) noexcept {
    if (g->exception) {
        if (g->ops->told_elsewhere) g->exception = nullptr;
        else report_unhandled(g, store);
    }
    if (g->ops->destroy) g->ops->destroy(g->storage, g->has_result);
}

bool ended(const G* g) noexcept {
    return g->join_word.has_ended();
}

goroutine_id id_of(const G* g) noexcept { return g->id.load(std::memory_order_relaxed); }

void* task_of(G* g) noexcept { return g->ops->on_heap ? *reinterpret_cast<void**>(g->storage) : g->storage; }

std::exception_ptr take_exception(G* g) noexcept {
    if (g->exception) await_turn_to_throw();
    return std::exchange(g->exception, nullptr);
}

void check_joinable(const G* g) {
    if (!g)
        throw std::system_error(std::make_error_code(std::errc::invalid_argument), "handoff: join of an empty join_handle");
    if (ended(g)) return;
    const M* m = current_m();
    if (m && m->curg.load(std::memory_order_relaxed) == g)
        throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                                "handoff: a goroutine joins itself");
    if (m && m->s->sim && g->s != m->s) refuse_in_simulation("waiting for a goroutine of another runtime");
    if (!m && in_forked_child()) throw usage_error("handoff: a forked child can only exec; join would never return");
}

bool join(G* g, std::int64_t deadline) {
    check_joinable(g);
    if (ended(g)) return true;
    if (deadline == at_once) return false;
    const wait_limits limits{deadline, nullptr, true};
    check_cancelled(limits);
    M* m = enter_current();
    waiter w(m, true);
    join_waiter j(w, false);
    if (!g->join_word.wait_with(j)) {
        leave_current(m);
        return true;   // ended meanwhile
    }
    const wait_end end = wait_armed(m, w, wait_reason::join, nullptr, limits);
    const bool is_over = end == wait_end::woken || stop_waiting(g, j);
    leave_current(m);
    if (!is_over) throw_if_cancelled(end);
    return is_over;
}

void release(G* g) noexcept {
    const join_word::release how = g->join_word.drop_handle();
    if (how == join_word::release::goroutine_frees) return;
    if (how == join_word::release::handle_frees_store) {
        g_store* left = g->store;
        drop_outcome(g, *left);
        if (left->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete left;
        return;
    }
    sched* s = g->s;
    drop_outcome(g, *s->store);
    M* m = current_m();
    if (m && m->s == s && enter_staying(m)) {   // no switch: go() must not switch, and its handle may be dropped at once
        free_g(*s, own_p(m), g);
        leave(m);
    } else {
        free_g_late(*s, g);
    }
}

}  // namespace handoff::detail
