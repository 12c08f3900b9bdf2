#include "sched/g_cache.hpp"

#include "base/check.hpp"
#include "sched/hooks.hpp"

#include <cerrno>
#include <utility>

namespace handoff::detail {

namespace {

// The bottom of a stack: no more than a jump to what stands above this layer.
void enter_goroutine_main(context::switcher* arrived) noexcept { hooks.goroutine_main(arrived); }

}  // namespace

[[gnu::cold]] void refill_gs(sched& s, P& p) {
    base::lock_guard hold(s.lock);
    p.free_gs = s.store->take(cache_batch);
    for (G* g = p.free_gs; g; g = g->next) ++p.free_g_count;
}

void free_g_late(sched& s, G* g) noexcept {
    if (g->named) s.store->name(g, {});
    // The end of the runtime waits for `idle`, then for the lock.
    base::lock_guard hold(s.lock);
    give_g(s, g);
}

void give_g(sched& s, G* g) noexcept {
    g->stk = nullptr;
    g->next = nullptr;
    g->transition(g_state::dead, g_state::idle);
    s.store->give(g);
}

// Gives some of p's free Gs to the others.
[[gnu::cold]] void spill_gs(sched& s, P& p) noexcept {
    G* rest = p.free_gs;
    for (unsigned i = 1; i < cache_batch; ++i) rest = rest->next;
    G* given = std::exchange(rest->next, nullptr);
    std::swap(given, p.free_gs);
    p.free_g_count -= cache_batch;
    base::lock_guard hold(s.lock);
    s.store->give(given);
}

context::stack* take_stack(M* m, const G* g) noexcept {
    sched& s = *m->s;
    P* p = m->p.load(std::memory_order_relaxed);
    context::stack* st;
    const std::uint32_t pages = g->stack_pages.load(std::memory_order_relaxed);
    if (pages == 0) [[likely]] {
        if (!p->free_stacks) {
            p->free_stacks = s.stacks.take(cache_batch / 2);
            for (context::stack* f = p->free_stacks; f; f = f->next) {
                ++p->free_stack_count;
                f->prefetch_top();
            }
        }
        st = p->free_stacks;
        if (st) {
            p->free_stacks = st->next;
            --p->free_stack_count;
        }
    } else {
        st = s.stacks.take_sized(pages * context::page_size());
    }
    if (!st) {
        if (!s.warned_no_stack.exchange(true, std::memory_order_relaxed))
            base::warn("no memory for a goroutine's stack (mmap failed with errno %d); goroutines wait for one", errno);
        return nullptr;
    }
    st->used = true;
    if (!st->idle.sp) context::prepare<enter_goroutine_main>(st->idle, st->usable_lo(), st->usable_size());
    return st;
}

void give_stack(sched& s, P& p, context::stack* st) noexcept {
    if (st->own_mapping) {
        s.stacks.give_sized(st);
        return;
    }
    st->next = p.free_stacks;
    p.free_stacks = st;
    if (++p.free_stack_count <= most_free_stacks) return;
    // The hottest stay.
    context::stack* last = p.free_stacks;
    for (unsigned i = 1; i < most_free_stacks - cache_batch; ++i) last = last->next;
    context::stack* given = std::exchange(last->next, nullptr);
    p.free_stack_count = most_free_stacks - cache_batch;
    s.stacks.give(given);
}

}  // namespace handoff::detail
