#include "sched/g_cache.hpp"

#include "base/check.hpp"
#include "sched/hooks.hpp"

#include <cerrno>
#include <new>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace handoff::detail {

namespace {

// The bottom of a stack: only a call of goroutine_main, which is in a layer above this one.
void enter_goroutine_main(context::switcher* arrived) noexcept { hooks.goroutine_main(arrived); }

}  // namespace

[[gnu::cold]] void refill_gs(sched& s, own_p p) {
    base::lock_guard hold(s.idle.lock);
    p->free_gs = s.store->take(cache_batch);
    for (G* g = p->free_gs; g; g = g->next) ++p->free_g_count;
}

void free_g_late(sched& s, G* g) noexcept {
    if (g->named) s.store->name(g, {});
    // The end of the runtime waits until the G is idle, and then for the lock (drain_and_stop).
    base::lock_guard hold(s.idle.lock);
    give_g(s, g);
}

void give_g(sched& s, G* g) noexcept {
    g->stk = nullptr;
    g->next = nullptr;
    g->state.free();
    s.store->give(g);
}

// spill_gs gives some of p's free Gs back to the store, for other Ps.
[[gnu::cold]] void spill_gs(sched& s, own_p p) noexcept {
    G* rest = p->free_gs;
    for (unsigned i = 1; i < cache_batch; ++i) rest = rest->next;
    G* given = std::exchange(rest->next, nullptr);
    std::swap(given, p->free_gs);
    p->free_g_count -= cache_batch;
    base::lock_guard hold(s.idle.lock);
    s.store->give(given);
}

context::stack* take_stack(M* m, const G* g) noexcept {
    sched& s = *m->s;
    const own_p p(m);
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
        if (!s.count.warned_no_stack.exchange(true, std::memory_order_relaxed))
            base::warn("no memory for a goroutine's stack (mmap failed with errno %d); goroutines wait for one", errno);
        return nullptr;
    }
    st->used = true;
    if (!st->idle.sp) context::prepare<enter_goroutine_main>(st->idle, st->usable_lo(), st->usable_size());
    return st;
}

void give_stack(sched& s, own_p p, context::stack* st) noexcept {
    if (st->own_mapping) {
        s.stacks.give_sized(st);
        return;
    }
    st->next = p->free_stacks;
    p->free_stacks = st;
    if (++p->free_stack_count <= most_free_stacks) return;
    // Those used last stay: they are the hottest in the caches.
    context::stack* last = p->free_stacks;
    for (unsigned i = 1; i < most_free_stacks - cache_batch; ++i) last = last->next;
    context::stack* given = std::exchange(last->next, nullptr);
    p->free_stack_count = most_free_stacks - cache_batch;
    s.stacks.give(given);
}

// ---- Memory that goes back to the kernel when the runtime is idle ----

namespace {

void drop_pages(G* gs) noexcept {
    if (g_store::chunk_bytes % context::page_size() == 0) ::madvise(gs, g_store::chunk_bytes, MADV_DONTNEED);
}

// Puts the chunks to rest whose Gs are all in `lent`, and gives the other Gs back to the store, even if memory is short.
void look_for_whole_chunks(sched& s, std::vector<G*>& lent) noexcept {
    std::vector<std::uint32_t> whole;
    try {
        whole = g_store::drop_whole_chunks(lent);
    } catch (const std::bad_alloc&) {   // it is tried again another time
    }
    {
        base::lock_guard hold(s.idle.lock);
        s.store->put_to_rest(whole);
    }
    for (bool more = true; more;) {
        base::lock_guard hold(s.idle.lock);
        more = s.store->take_back(lent);
    }
    base::lock_guard hold(s.idle.lock);
    s.store->looked();
}

// gather_free_gs gives the free Gs that Ps have in stock back to the store, if all Ps are idle and a look is worth it. It
// returns how many free Gs the store has then; 0: no look. `idle`: whether all Ps are idle.
std::size_t gather_free_gs(sched& s, bool& idle) noexcept {
    base::lock_guard hold(s.idle.lock);
    idle = s.idle.all_ps();
    if (!idle) return 0;
    std::size_t with_ps = 0;
    s.idle.for_each_p([&](const P& p) { with_ps += p.free_g_count; });
    if (!s.store->is_worth_a_look(with_ps)) return 0;
    s.idle.for_each_p([&](P& p) {
        s.store->give(std::exchange(p.free_gs, nullptr));
        p.free_g_count = 0;
    });
    return s.store->free_count();
}

}  // namespace

bool give_gs_back(sched& s) noexcept {
    bool idle;
    const std::size_t n = gather_free_gs(s, idle);
    if (!idle) return false;
    if (n != 0) {
        try {
            std::vector<G*> lent;
            lent.reserve(n);
            for (bool more = true; more;) {
                base::lock_guard hold(s.idle.lock);
                more = s.store->lend(lent);
            }
            look_for_whole_chunks(s, lent);
        } catch (const std::bad_alloc&) {   // another time
        }
    }
    constexpr unsigned chunks_at_once = 64;   // a millisecond's work
    for (unsigned i = 0; i < chunks_at_once; ++i) {
        std::uint32_t which = 0;
        G* gs;
        {
            base::lock_guard hold(s.idle.lock);
            gs = s.store->take_resting(which);
        }
        if (!gs) return false;
        drop_pages(gs);
        base::lock_guard hold(s.idle.lock);
        s.store->put_back_bare(which);
    }
    return true;
}

}  // namespace handoff::detail
