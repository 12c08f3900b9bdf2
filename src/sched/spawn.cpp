// Birth and death of goroutines: Gs, their stacks, what runs on a stack, joining.
#include "base/sizes.hpp"
#include "debug/held_mutexes.hpp"
#include "os/clock.hpp"
#include "sched/sched.hpp"
#include "sim/simulator.hpp"
#include "sync/wait.hpp"

#include <handoff/error.hpp>

#include <cstring>
#include <system_error>
#include <thread>

namespace handoff::detail {

// On the stack of who waits; G::join_word points to it.
struct join_waiter {
    explicit join_waiter(M* m) noexcept : w(m, true) {}
    waiter w;
    base::atomic<bool> forgotten{false};   // the goroutine that ended has found that w had given up
};

namespace {

// How many free Gs and stacks a P keeps before it gives some to the others, and how many it takes or gives at once. A
// wave of short goroutines should come and go without the lock.
constexpr unsigned most_free_gs = base::sized(512, 4);
constexpr unsigned most_free_stacks = base::sized(64, 4);
constexpr unsigned batch = base::sized(32, 2);

constexpr goroutine_id ids_at_once = base::sized(1024, 4);   // the counter is the process's

goroutine_id reserve_ids(goroutine_id n) noexcept {
    static base::atomic<goroutine_id> next{1};
    return next.fetch_add(n, std::memory_order_relaxed);   // uniqueness is all
}

[[gnu::always_inline]] inline void fill(G* g, sched* s, const task_ops& ops, void* task, const spawn_site& site) noexcept {
    g->s = s;
    g->ops = &ops;
    if (ops.relocate) {
        ops.relocate(g->storage, task);
    } else {
        // In whole chunks, which the spawner's buffer has: cheaper than a copy of any length.
        for (unsigned i = 0; i < ops.size; i += task_inline_align)
            std::memcpy(g->storage + i, static_cast<const std::byte*>(task) + i, task_inline_align);
    }
    // Relaxed: the G is nobody else's before it is queued; a snapshot may see a mixture.
    g->join_word.store(join_running, std::memory_order_relaxed);
    g->site.store(site.where.file ? site.where.file : site.caller, std::memory_order_relaxed);
    g->site_line.store(site.where.line, std::memory_order_relaxed);
    // By type: the address of its operations, scattered.
    const auto type = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&ops) / 16);
    g->kind.store(static_cast<std::uint8_t>(type * 0x9E3779B1u >> 24), std::memory_order_relaxed);
    g->has_result = g->let_through = false;
    held_mutexes::forget(g);
    g->transition(g_state::idle, g_state::runnable);
}

std::uint32_t checked_stack_pages(std::size_t bytes) {
    if (bytes == 0) return 0;
    if (bytes < 16 * 1024 || bytes / context::page_size() >= UINT32_MAX)
        throw std::invalid_argument("handoff: spawn_options.stack_size=" + std::to_string(bytes) +
                                    " is not between 16 KiB and 2^32 pages");
    return static_cast<std::uint32_t>((bytes + context::page_size() - 1) / context::page_size());
}

// Throws before anything has changed.
inline void apply(sched* s, G* g, const spawn_options* opts) {
    g->stack_pages.store(0, std::memory_order_relaxed);
    if (!opts) return;
    g->stack_pages.store(checked_stack_pages(opts->stack_size), std::memory_order_relaxed);
    if (!opts->name.empty()) s->store->name(g, opts->name);
}

G* spawn_outside(sched* s, const task_ops& ops, void* task, const spawn_options* opts, const spawn_site& site) {
    G* g;
    {
        base::lock_guard hold(s->lock);
        g = s->store->take(1);
    }
    try {
        apply(s, g, opts);
    } catch (...) {
        base::lock_guard hold(s->lock);
        s->store->give(g);
        throw;
    }
    g->id.store(reserve_ids(1), std::memory_order_relaxed);
    fill(g, s, ops, task, site);
    {
        base::lock_guard hold(s->lock);
        ++s->spawned_outside;
        s->globq.push(g);
    }
    s->wakep_any();
    return g;
}

// wake_joiner is the last that a goroutine's end does with who waits for it.
void wake_joiner(M* m, std::uintptr_t word) noexcept {
    auto* j = reinterpret_cast<join_waiter*>(word);
    wake_list won;
    // If it has given up it is on its way to take its pointer back, and waits until we have done with it.
    if (!won.claim(j->w, wait_end::woken)) j->forgotten.store(true, std::memory_order_release);
    won.wake(m);
}

inline void destroy_task(G* g) noexcept {
    if (g->ops->destroy) g->ops->destroy(g->storage, g->has_result);
}

// What a goroutine threw and nobody will ever see.
void report_unhandled(G* g, g_store& store) noexcept {
    report_exception(store.describe_briefly(g), std::exchange(g->exception, nullptr), store.on_unhandled_exception);
}

inline void drop_outcome(G* g, g_store& store) noexcept {
    if (g->exception) report_unhandled(g, store);
    destroy_task(g);
}

}  // namespace

void report_exception(const goroutine_name& who, std::exception_ptr e, const exception_handler& handler) noexcept {
    if (handler) {
        handler(who, std::move(e));   // noexcept: what it throws terminates
        return;
    }
    std::string name;
    try {
        name = who.describe();
    } catch (const std::bad_alloc&) {
        name = "a goroutine";   // fits into the string itself
    }
    try {
        std::rethrow_exception(e);
    } catch (const std::exception& x) {
        base::warn("%s ended by an unhandled exception: %s", name.c_str(), x.what());
    } catch (...) {
        base::warn("%s ended by an unhandled exception: %s", name.c_str(), "an exception that is no std::exception");
    }
    std::terminate();
}

namespace {

void run_task(G* g) noexcept {
    g->predict = g->s->kinds[g->kind.load(std::memory_order_relaxed)].load(std::memory_order_relaxed);
    g->quick_calls = 0;
    try {
        g->ops->run(g->storage);
        g->has_result = true;
    } catch (...) {
        g->exception = std::current_exception();
    }
    if (g->locals) destroy_locals(g->locals);
}

// untie ends g's hold on the thread of m, on which it runs; true if it had one.
bool untie(M* m, G* g) noexcept {
    g->syscall_depth = 0;   // it may have ended inside a bracket
    g->lock_depth = 0;
    if (m->locked_g != g) return false;
    m->locked_g = nullptr;
    g->locked.store(false, std::memory_order_relaxed);
    return true;
}

// end_goroutine publishes the end of g, the current goroutine, and frees it if nobody needs it any more. Called in
// user code, returns in a runtime section.
M* end_goroutine(G* g) noexcept {
    // acquire: with release() by the handle, which was its last access.
    bool ours = g->join_word.load(std::memory_order_acquire) == join_detached;
    if (ours) drop_outcome(g, *g->s->store);
    M* m = enter(current_m());
    bool tied = untie(m, g);
    g->transition(g_state::running, g_state::dead);
    if (!ours) {
        // release: the result for the joiner, who may free g at once; acquire: the waiter, or the handle's last access.
        const std::uintptr_t word = g->join_word.exchange(join_ended, std::memory_order_acq_rel);
        if (word == join_detached) {
            // Dropped just now, so g is ours again; its outcome is destroyed as a goroutine's code.
            g->transition(g_state::dead, g_state::running);
            if (tied) {
                g->locked.store(true, std::memory_order_relaxed);
                m->locked_g = g;
            }
            leave(m);
            drop_outcome(g, *g->s->store);
            m = enter(current_m());
            tied = untie(m, g);
            g->transition(g_state::running, g_state::dead);
            ours = true;
        } else if (word != join_running) {
            wake_joiner(m, word);
        }
    }
    if (tied) m->exits = true;
    P* p = m->p.load(std::memory_order_relaxed);
    p->finished.add();
    if (ours) m->s->free_g(p, g);
    return m;
}

void commit_free_stack(M* m, G*, void* arg) noexcept {
    auto* st = static_cast<context::stack*>(arg);
    if (context::left_for_good_is_lost) st->idle.sp = nullptr;
    m->s->give_stack(m->p.load(std::memory_order_relaxed), st);
}

}  // namespace

void g_store::add_chunk() {
    free_.make_room((chunks_.size() + 1) * chunk_size);
    chunks_.push_back(std::make_unique<chunk>());
    for (G& g : chunks_.back()->gs) {
        g.store = this;
        free_.give(&g);
    }
}

G* g_store::take(unsigned count) {
    if (free_.empty()) add_chunk();
    return free_.take(count);
}

void g_store::give(G* list) noexcept {
    free_.give(list);
}

[[gnu::cold]] void sched::refill_gs(P* p) {
    base::lock_guard hold(lock);
    p->free_gs = store->take(batch);
    for (G* g = p->free_gs; g; g = g->next) ++p->free_g_count;
}

inline G* sched::new_g(P* p) {
    if (!p->free_gs) [[unlikely]] refill_gs(p);
    G* g = p->free_gs;
    p->free_gs = g->next;
    --p->free_g_count;
    return g;
}

// free_g_late is free_g on a thread without a P.
void sched::free_g_late(G* g) noexcept {
    if (g->named) store->name(g, {});
    g->stk = nullptr;
    g->next = nullptr;
    // The end of the runtime waits for `idle`, then for the lock.
    base::lock_guard hold(lock);
    g->transition(g_state::dead, g_state::idle);
    store->give(g);
}

// Gives some of p's free Gs to the others.
[[gnu::cold]] void sched::spill_gs(P* p) noexcept {
    G* rest = p->free_gs;
    for (unsigned i = 1; i < batch; ++i) rest = rest->next;
    G* given = std::exchange(rest->next, nullptr);
    std::swap(given, p->free_gs);
    p->free_g_count -= batch;
    base::lock_guard hold(lock);
    store->give(given);
}

// free_g takes back a G that nobody refers to; its task and exception are gone.
inline void sched::free_g(P* p, G* g) noexcept {
    if (g->named) [[unlikely]] store->name(g, {});
    g->stk = nullptr;
    g->transition(g_state::dead, g_state::idle);
    g->next = p->free_gs;
    p->free_gs = g;
    if (++p->free_g_count > most_free_gs) [[unlikely]] spill_gs(p);
}

void g_store::name(G* g, const std::string& name) {
    base::lock_guard hold(names_lock);
    if (name.empty()) names.erase(g);
    else names.insert_or_assign(g, name);
    g->named = !name.empty();
}

// take_stack returns a stack for g, ready to be jumped to; null if memory is short.
context::stack* sched::take_stack(M* m, G* g) noexcept {
    P* p = m->p.load(std::memory_order_relaxed);
    context::stack* st;
    const std::uint32_t pages = g->stack_pages.load(std::memory_order_relaxed);
    if (pages == 0) [[likely]] {
        if (!p->free_stacks) {
            p->free_stacks = stacks.take(batch / 2);
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
        st = stacks.take_sized(pages * context::page_size());
    }
    if (!st) {
        if (!warned_no_stack.exchange(true, std::memory_order_relaxed))
            base::warn("no memory for a goroutine's stack (mmap failed with errno %d); goroutines wait for one", errno);
        return nullptr;
    }
    st->used = true;
    if (!st->idle.sp) context::prepare<goroutine_main>(st->idle, st->usable_lo(), st->usable_size());
    return st;
}

void sched::give_stack(P* p, context::stack* st) noexcept {
    if (st->own_mapping) {
        stacks.give_sized(st);
        return;
    }
    st->next = p->free_stacks;
    p->free_stacks = st;
    if (++p->free_stack_count <= most_free_stacks) return;
    // The hottest stay.
    context::stack* last = p->free_stacks;
    for (unsigned i = 1; i < most_free_stacks - batch; ++i) last = last->next;
    context::stack* given = std::exchange(last->next, nullptr);
    p->free_stack_count = most_free_stacks - batch;
    stacks.give(given);
}

// goroutine_main is the bottom of every stack: it runs the goroutine that the stack was taken for, then the next one
// if that is fresh too, without a switch; else it leaves the stack, to go on here when it is taken again.
void goroutine_main(context::switcher* arrived) noexcept {
    M* m = finish_switch(arrived);
    for (;;) {
        G* g = m->curg.load(std::memory_order_relaxed);
        context::stack* st = g->stk;
        leave(m);
        run_task(g);
        m = end_goroutine(g);
        sched* s = m->s;
        G* next = m->locked_g || m->exits ? nullptr : s->pick(m);
        if (next && next->fresh() && !st->own_mapping && next->stack_pages.load(std::memory_order_relaxed) == 0 &&
            !next->locked.load(std::memory_order_relaxed) && !s->too_many_hogs()) {
            next->stk = st;
            next->exec = st->idle;
            s->start_here(m, next);
            if (m->due) [[unlikely]] run_due(m);
            continue;
        }
        m->commit = commit_free_stack;
        m->commit_g = nullptr;
        m->commit_arg = st;
        m = s->switch_for_good(m, st->idle, next);
    }
}

// spawn_here is spawn in m's runtime section. A detached goroutine has no handle. Throws as spawn does.
inline G* sched::spawn_here(M* m, const task_ops& ops, void* task, const spawn_options* o, const spawn_site& site,
                            bool detached) {
    P* p = m->p.load(std::memory_order_relaxed);
    G* g = new_g(p);
    try {
        apply(this, g, o);
    } catch (...) {
        base::lock_guard hold(lock);
        g->next = nullptr;
        store->give(g);
        throw;
    }
    if (p->next_id == p->end_id) {
        p->next_id = reserve_ids(ids_at_once);
        p->end_id = p->next_id + ids_at_once;
    }
    g->id.store(p->next_id++, std::memory_order_relaxed);
    fill(g, this, ops, task, site);
    if (detached) g->join_word.store(join_detached, std::memory_order_relaxed);
    p->spawned.add();
    put_local(m, g);
    wakep();
    return g;
}

void sched::spawn_detached(M* m, const task_ops& ops, void* task, const spawn_site& site) {
    spawn_here(m, ops, task, nullptr, site, true);
}

G* spawn(sched* s, const task_ops& ops, void* task, const spawn_options* opts, const spawn_site& site) {
    M* m = current_m();
    if (!m) {
        if (in_forked_child()) throw usage_error("handoff: a forked child can only exec; it has no threads to run goroutines");
        if (s && s->sim) return s->spawn_here(s->sim->m(), ops, task, opts, site, false);   // by run()
        return spawn_outside(s ? s : default_sched(), ops, task, opts, site);
    }
    if (s && s != m->s) {
        if (s->sim) return s->spawn_here(s->sim->m(), ops, task, opts, site, false);   // by run(), on a goroutine
        if (m->s->sim) refuse_in_simulation("starting a goroutine in another runtime");
        return spawn_outside(s, ops, task, opts, site);
    }
    m = enter(m);
    struct section {
        M* m;
        ~section() { leave(m); }
    } here{m};
    return m->s->spawn_here(m, ops, task, opts, site, false);
}

bool ended(const G* g) noexcept {
    const std::uintptr_t word = g->join_word.load(std::memory_order_acquire);
    return word == join_ended || word == join_orphaned;
}

goroutine_id id_of(const G* g) noexcept { return g->id.load(std::memory_order_relaxed); }

void* task_of(G* g) noexcept { return g->ops->on_heap ? *reinterpret_cast<void**>(g->storage) : g->storage; }

std::exception_ptr take_exception(G* g) noexcept { return std::exchange(g->exception, nullptr); }

bool join(G* g, std::int64_t deadline) {
    if (!g)
        throw std::system_error(std::make_error_code(std::errc::invalid_argument), "handoff: join of an empty join_handle");
    if (ended(g)) return true;
    if (deadline == at_once) return false;
    const wait_limits limits{deadline, nullptr, true};
    check_cancelled(limits);
    M* m = current_m();
    if (m && m->curg.load(std::memory_order_relaxed) == g)
        throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                                "handoff: a goroutine joins itself");
    if (m && m->s->sim && g->s != m->s) refuse_in_simulation("waiting for a goroutine of another runtime");
    if (!m && in_forked_child()) throw usage_error("handoff: a forked child can only exec; join would never return");
    m = enter_current();
    join_waiter j(m);
    std::uintptr_t word = join_running;
    // release: the waiter; acquire, on failure: the result. Partner: the exchange in end_goroutine.
    if (!g->join_word.compare_exchange_strong(word, reinterpret_cast<std::uintptr_t>(&j), std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
        leave_current(m);
        return true;   // ended meanwhile
    }
    const wait_end end = wait_armed(m, j.w, wait_reason::join, nullptr, limits);
    bool is_over = end == wait_end::woken;
    if (!is_over) {
        word = reinterpret_cast<std::uintptr_t>(&j);
        is_over = !g->join_word.compare_exchange_strong(word, join_running, std::memory_order_acq_rel, std::memory_order_acquire);
        // It ended just now, and has our pointer: a matter of instructions.
        while (is_over && !j.forgotten.load(std::memory_order_acquire)) std::this_thread::yield();
    }
    leave_current(m);
    if (!is_over) throw_if_cancelled(end);
    return is_over;
}

void release(G* g) noexcept {
    std::uintptr_t word = join_running;
    // release: our last access; with end_goroutine's acquire.
    if (g->join_word.compare_exchange_strong(word, join_detached, std::memory_order_acq_rel, std::memory_order_acquire))
        return;
    // Ended. From here on the runtime, if it is still there, waits until g is free.
    if (word == join_ended)
        g->join_word.compare_exchange_strong(word, join_detached, std::memory_order_acq_rel, std::memory_order_acquire);
    if (word == join_orphaned) {
        g_store* left = g->store;
        drop_outcome(g, *left);
        if (left->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete left;
        return;
    }
    sched* s = g->s;
    drop_outcome(g, *s->store);
    M* m = current_m();
    if (m && m->s == s) {
        m = enter(m);
        s->free_g(m->p.load(std::memory_order_relaxed), g);
        leave(m);
    } else {
        s->free_g_late(g);
    }
}

}  // namespace handoff::detail
