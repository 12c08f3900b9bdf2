#include "goroutine/spawn.hpp"

#include "base/sizes.hpp"
#include "sched/g_cache.hpp"
#include "sched/hooks.hpp"
#include "sched/schedule.hpp"
#include "sched/section.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/error.hpp>

#include <cstring>
#include <stdexcept>
#include <string>

namespace handoff::detail {

namespace {

constexpr goroutine_id ids_at_once = base::sized(1024, 4);   // the counter is the process's

goroutine_id reserve_ids(goroutine_id n) noexcept {
    static base::atomic<goroutine_id> next{1};
    return next.fetch_add(n, std::memory_order_relaxed);   // relaxed: the value need only be unique
}

// Ends a runtime section that has been entered, when it goes out of scope.
class section {
public:
    explicit section(M* m) noexcept : m_(m) {}
    ~section() { leave(m_); }
    section(const section&) = delete;
    section& operator=(const section&) = delete;

private:
    M* const m_;
};

// kind_of says which goroutines are alike: 64 bits that are practically never the same for different kinds. They are scattered,
// so that the upper bits do where a hint is enough.
inline std::uint64_t kind_of(const task_ops& ops, std::uintptr_t asked, const void* site, std::uint32_t line) noexcept {
    // Addresses differ in their lower half; an odd multiple keeps different ones different.
    const std::uint64_t what = asked != 0 ? asked
                                          : reinterpret_cast<std::uintptr_t>(&ops) ^ reinterpret_cast<std::uintptr_t>(site) << 20 ^
                                                std::uint64_t{line} << 48;
    return what * 0x9E3779B97F4A7C15u;
}

// move_in moves the task into g, which no other thread has yet. Not in a section unless ops.quiet: the move may be the
// program's code.
[[gnu::always_inline]] inline void move_in(G* g, const task_ops& ops, void* task) noexcept {
    if (ops.relocate) {
        ops.relocate(g->storage, task);
    } else {
        // In whole chunks, for which the spawner's buffer is large enough: cheaper than a copy of arbitrary length.
        for (unsigned i = 0; i < ops.size; i += task_inline_align)
            std::memcpy(g->storage + i, static_cast<const std::byte*>(task) + i, task_inline_align);
    }
}

[[gnu::always_inline]] inline void fill(G* g, sched* s, const task_ops& ops, const spawn_site& site,
                                        const spawn_options* o) noexcept {
    const std::uintptr_t asked_kind = o ? o->kind : 0;
    g->s = s;
    g->ops = &ops;
    g->join_word.begin(true);
    // Relaxed: no other thread has the G before it is queued; a snapshot may see old and new values mixed.
    g->site.store(site.where.file ? site.where.file : site.caller, std::memory_order_relaxed);
    g->site_line.store(site.where.line, std::memory_order_relaxed);
    g->kind.store(kind_of(ops, asked_kind, g->site.load(std::memory_order_relaxed), site.where.line), std::memory_order_relaxed);
    g->has_result = g->let_through = false;
    g->state.launch();
}

std::uint32_t checked_stack_pages(std::size_t bytes) {
    if (bytes == 0) return 0;
    if (bytes < 16 * 1024 || bytes > (std::size_t{1} << 40))
        throw std::invalid_argument("handoff: spawn_options.stack_size=" + std::to_string(bytes) +
                                    " is not between 16 KiB and 1 TiB");
    return static_cast<std::uint32_t>((bytes + context::page_size() - 1) / context::page_size());
}

// g must have its id. Throws before anything else has changed.
inline void apply(sched* s, G* g, const spawn_options* opts) {
    g->stack_pages.store(0, std::memory_order_relaxed);
    if (!opts) return;
    g->stack_pages.store(checked_stack_pages(opts->stack_size), std::memory_order_relaxed);
    if (!opts->name.empty()) s->store->name(g, opts->name);
}

// launch_outside queues g, which is filled in, in the global queue. `begun`: begin_outside has counted it.
void launch_outside(sched* s, G* g, bool begun) noexcept {
    {
        base::lock_guard hold(s->idle.lock);
        if (begun) --s->life.launching;
        ++s->life.spawned_outside;
        s->globq.push(g);
    }
    wakep_any(*s);
}

// begin_outside takes a G for spawn_outside, and counts it: from then on the end of all goroutines includes it. `from_outside`:
// by a thread that runs no goroutine of s.
G* begin_outside(sched* s, bool from_outside) {
    base::lock_guard hold(s->idle.lock);
    if (from_outside && s->life.closed)
        throw usage_error("handoff: go() from outside of a runtime that is shutting down");
    G* g = s->store->take(1);
    ++s->life.launching;
    return g;
}

void abandon_outside(sched* s, G* g) noexcept {
    deferred_wake wake;
    base::lock_guard hold(s->idle.lock);
    s->store->give(g);
    --s->life.launching;
    check_drained(*s, wake);
}

// spawn_outside is spawn without a P of s: by other threads, and by goroutines that have no P and must not switch.
G* spawn_outside(sched* s, const task_ops& ops, void* task, const spawn_options* opts, const spawn_site& site,
                 bool from_outside) {
    G* g = begin_outside(s, from_outside);
    g->id.store(reserve_ids(1), std::memory_order_relaxed);
    try {
        apply(s, g, opts);
    } catch (...) {
        abandon_outside(s, g);
        throw;
    }
    fill(g, s, ops, site, opts);   // first: a snapshot finds it while the program's code moves the task
    move_in(g, ops, task);
    launch_outside(s, g, true);
    return g;
}

// prepare_here takes a G for spawn_here. Throws as spawn does.
inline G* prepare_here(sched* s, own_p p, const spawn_options* o) {
    G* g = new_g(*s, p);
    if (p->next_id == p->end_id) {
        p->next_id = reserve_ids(ids_at_once);
        p->end_id = p->next_id + ids_at_once;
    }
    g->id.store(p->next_id++, std::memory_order_relaxed);
    try {
        apply(s, g, o);
    } catch (...) {
        base::lock_guard hold(s->idle.lock);
        g->next = nullptr;
        s->store->give(g);
        throw;
    }
    return g;
}

// launch_here queues g, which is filled in, on m's P.
inline void launch_here(M* m, own_p p, G* g) noexcept {
    p->spawned.add();
    put_local(m, g);
    wakep(*m->s);
}

// spawn_here is spawn in m's runtime section, of a task that is quiet; or spawn by run() of a simulation, which runs nothing
// yet. A detached goroutine has no handle.
inline G* spawn_here(M* m, const task_ops& ops, void* task, const spawn_options* o, const spawn_site& site, bool detached) {
    const own_p p(m);
    G* g = prepare_here(m->s, p, o);
    move_in(g, ops, task);
    fill(g, m->s, ops, site, o);
    if (detached) g->join_word.begin(false);
    launch_here(m, p, g);
    return g;
}

// spawn_moving is spawn, called outside a section, of a task whose move may be the program's code. The move runs between two
// sections.
[[gnu::noinline]] G* spawn_moving(M* m, const task_ops& ops, void* task, const spawn_options* o, const spawn_site& site) {
    sched* s = m->s;
    if (!enter_staying(m)) return spawn_outside(s, ops, task, o, site, false);
    G* g;
    {
        const section here(m);
        g = prepare_here(s, own_p(m), o);
    }
    move_in(g, ops, task);
    fill(g, s, ops, site, o);
    m = current_m();   // the move may have switched
    if (!enter_staying(m)) {
        launch_outside(s, g, false);
        return g;
    }
    const section here(m);
    launch_here(m, own_p(m), g);
    return g;
}

}  // namespace

void spawn_detached(M* m, const task_ops& ops, void* task, const spawn_site& site) {
    spawn_here(m, ops, task, nullptr, site, true);
}

G* spawn(sched* s, const task_ops& ops, void* task, const spawn_options* opts, const spawn_site& site) {
    M* m = current_m();
    if (!m) {
        if (in_forked_child()) throw usage_error("handoff: a forked child can only exec; it has no threads to run goroutines");
        if (s && s->sim) return spawn_here(s->sim->m(), ops, task, opts, site, false);   // by run()
        return spawn_outside(s ? s : hooks.default_sched(), ops, task, opts, site, true);
    }
    if (s && s != m->s) {
        if (s->sim) return spawn_here(s->sim->m(), ops, task, opts, site, false);   // by run(), on a goroutine
        if (m->s->sim) refuse_in_simulation("starting a goroutine in another runtime");
        return spawn_outside(s, ops, task, opts, site, true);
    }
    if (!ops.quiet) return spawn_moving(m, ops, task, opts, site);
    if (!enter_staying(m)) [[unlikely]] return spawn_outside(m->s, ops, task, opts, site, false);
    const section here(m);
    return spawn_here(m, ops, task, opts, site, false);
}

}  // namespace handoff::detail
