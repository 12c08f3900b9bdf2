// Birth and death of goroutines: Gs, their stacks, what runs on a stack, joining.
#include "base/sizes.hpp"
#include "os/backoff.hpp"
#include "os/clock.hpp"
#include "sched/sched.hpp"
#include "sim/simulator.hpp"
#include "sync/wait.hpp"

#include <handoff/error.hpp>

#include <cstring>
#include <system_error>

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

// The rest of a section.
class section {
public:
    explicit section(M* m) noexcept : m_(m) {}
    ~section() { leave(m_); }
    section(const section&) = delete;
    section& operator=(const section&) = delete;

private:
    M* const m_;
};

// kind_of says which goroutines are alike: 64 bits that different ones share as good as never. Scattered, so that the upper
// ones do where a hint is enough.
inline std::uint64_t kind_of(const task_ops& ops, std::uintptr_t asked, const void* site, std::uint32_t line) noexcept {
    // Addresses differ in their lower half; an odd multiple keeps different ones different.
    const std::uint64_t what = asked != 0 ? asked
                                          : reinterpret_cast<std::uintptr_t>(&ops) ^ reinterpret_cast<std::uintptr_t>(site) << 20 ^
                                                std::uint64_t{line} << 48;
    return what * 0x9E3779B97F4A7C15u;
}

// move_in moves the task into g, which is nobody else's yet. Not in a section unless ops.quiet: that may be the program's code.
[[gnu::always_inline]] inline void move_in(G* g, const task_ops& ops, void* task) noexcept {
    if (ops.relocate) {
        ops.relocate(g->storage, task);
    } else {
        // In whole chunks, which the spawner's buffer has: cheaper than a copy of any length.
        for (unsigned i = 0; i < ops.size; i += task_inline_align)
            std::memcpy(g->storage + i, static_cast<const std::byte*>(task) + i, task_inline_align);
    }
}

[[gnu::always_inline]] inline void fill(G* g, sched* s, const task_ops& ops, const spawn_site& site,
                                        const spawn_options* o) noexcept {
    const std::uintptr_t asked_kind = o ? o->kind : 0;
    g->s = s;
    g->ops = &ops;
    // Relaxed: the G is nobody else's before it is queued; a snapshot may see a mixture.
    g->join_word.store(join_running, std::memory_order_relaxed);
    g->site.store(site.where.file ? site.where.file : site.caller, std::memory_order_relaxed);
    g->site_line.store(site.where.line, std::memory_order_relaxed);
    g->kind.store(kind_of(ops, asked_kind, g->site.load(std::memory_order_relaxed), site.where.line), std::memory_order_relaxed);
    g->has_result = g->let_through = false;
    g->transition(g_state::idle, g_state::runnable);
}

std::uint32_t checked_stack_pages(std::size_t bytes) {
    if (bytes == 0) return 0;
    if (bytes < 16 * 1024 || bytes > (std::size_t{1} << 40))
        throw std::invalid_argument("handoff: spawn_options.stack_size=" + std::to_string(bytes) +
                                    " is not between 16 KiB and 1 TiB");
    return static_cast<std::uint32_t>((bytes + context::page_size() - 1) / context::page_size());
}

// g has its id. Throws before anything else has changed.
inline void apply(sched* s, G* g, const spawn_options* opts) {
    g->stack_pages.store(0, std::memory_order_relaxed);
    if (!opts) return;
    g->stack_pages.store(checked_stack_pages(opts->stack_size), std::memory_order_relaxed);
    if (!opts->name.empty()) s->store->name(g, opts->name);
}

// launch_outside queues g, which is filled, for whoever comes first.
void launch_outside(sched* s, G* g) noexcept {
    {
        base::lock_guard hold(s->lock);
        ++s->spawned_outside;
        s->globq.push(g);
    }
    s->wakep_any();
}

// spawn_outside is spawn without a P of s: by other threads, and by goroutines that have none and must not switch.
G* spawn_outside(sched* s, const task_ops& ops, void* task, const spawn_options* opts, const spawn_site& site) {
    G* g;
    {
        base::lock_guard hold(s->lock);
        g = s->store->take(1);
    }
    g->id.store(reserve_ids(1), std::memory_order_relaxed);
    try {
        apply(s, g, opts);
    } catch (...) {
        base::lock_guard hold(s->lock);
        s->store->give(g);
        throw;
    }
    move_in(g, ops, task);
    fill(g, s, ops, site, opts);
    launch_outside(s, g);
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

// drop_own_outcome is drop_outcome as the last code of the goroutine g, which may make new locals: the next goroutine in this
// G must not find them.
inline void drop_own_outcome(G* g) noexcept {
    drop_outcome(g, *g->s->store);
    if (g->locals) [[unlikely]] destroy_locals(g->locals);
}

}  // namespace

std::exception_ptr caught_exception() noexcept {
    if (std::exception_ptr e = std::current_exception()) return e;
    std::string name = "a goroutine";
    if (M* m = current_m()) {
        try {
            name = m->s->store->describe_briefly(m->curg.load(std::memory_order_relaxed)).describe();
        } catch (const std::bad_alloc&) {
        }
    }
    base::fatal("%s has called pthread_exit, or its thread was cancelled (pthread_cancel), but a goroutine ends by returning, and its "
                "thread runs others",
                name.c_str());
}

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
    g->s->floats.begin();   // the last one on this thread may have left its own
    g->predict = g->s->learnt_by_kind(g);
    g->quick_calls = 0;
    g->spent = false;
    try {
        g->ops->run(g->storage);
        g->has_result = true;
    } catch (...) {
        g->exception = caught_exception();
    }
    if (g->locals) destroy_locals(g->locals);
}

// untie ends g's hold on the thread of m, on which it runs; true if it had locked it: then the thread goes with g.
bool untie(M* m, G* g) noexcept {
    g->syscall_depth = 0;   // it may have ended inside a bracket
    const bool had_locked = std::exchange(g->lock_depth, 0) != 0;
    if (m->locked_g != g) return false;
    m->locked_g = nullptr;
    g->locked.store(false, std::memory_order_relaxed);
    if (had_locked) m->exits = true;
    return had_locked;
}

// enter_to_end begins the section in which g, the current goroutine, ends: with a P, unless it has none and can do without.
M* enter_to_end(G* g) noexcept {
    bool without = false;
    M* m = still_without(current_m(), without);
    if (!without || !m->s->may_end_without(m, g)) return enter(m);
    m->section.store(one_more(m->section), std::memory_order_relaxed);   // nobody retakes what is not there
    return m;
}

bool has_p(const M* m) noexcept { return !is_without_p(m->taken.load(std::memory_order_relaxed)); }

// end_goroutine publishes the end of g, the current goroutine, and frees it if nobody needs it any more. Called in
// user code, returns in a runtime section, with a P or without.
M* end_goroutine(G* g) noexcept {
    // acquire: with release() by the handle, which was its last access.
    bool ours = g->join_word.load(std::memory_order_acquire) == join_detached;
    if (ours) drop_own_outcome(g);
    M* m = enter_to_end(g);
    const bool tied = untie(m, g);
    g->transition(g_state::running, g_state::dead);
    if (!ours) {
        // release: the result for the joiner, who may free g at once; acquire: the waiter, or the handle's last access.
        const std::uintptr_t word = g->join_word.exchange(join_ended, std::memory_order_acq_rel);
        if (word == join_detached) {
            // Dropped just now, so g is ours again; its outcome is destroyed as a goroutine's code.
            g->transition(g_state::dead, g_state::running);
            if (tied) {
                g->lock_depth = 1;
                g->locked.store(true, std::memory_order_relaxed);
                m->locked_g = g;
                m->exits = false;
            }
            leave(m);
            drop_own_outcome(g);
            m = enter(current_m());
            untie(m, g);
            g->transition(g_state::running, g_state::dead);
            ours = true;
        } else if (word != join_running) {
            wake_joiner(has_p(m) ? m : nullptr, word);
        }
    }
    if (!has_p(m)) [[unlikely]] {
        m->s->finish_without(m, g, ours);
        return m;
    }
    P* p = m->p.load(std::memory_order_relaxed);
    p->finished.add();
    if (ours) m->s->free_g(p, g);
    return m;
}

void commit_free_stack(M* m, G*, void* arg) noexcept {
    auto* st = static_cast<context::stack*>(arg);
    if (context::left_for_good_is_lost) st->idle.sp = nullptr;
    if (P* p = m->p.load(std::memory_order_relaxed)) return m->s->give_stack(p, st);
    st->next = nullptr;
    if (st->own_mapping) m->s->stacks.give_sized(st);
    else m->s->stacks.give(st);
}

}  // namespace

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
    // The end of the runtime waits for `idle`, then for the lock.
    base::lock_guard hold(lock);
    give_g(g);
}

void sched::give_g(G* g) noexcept {
    g->stk = nullptr;
    g->next = nullptr;
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
        G* next = nullptr;
        if (!has_p(m)) [[unlikely]] {
            if (G* g_without = st->own_mapping ? nullptr : s->next_without(m)) {
                s->start_without(m, g_without, st);
                continue;
            }
            s->rest_without(m);
        } else if (!m->locked_g && !m->exits) {
            next = s->pick(m);
        }
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

// prepare_here takes a G for spawn_here. Throws as spawn does.
inline G* sched::prepare_here(P* p, const spawn_options* o) {
    G* g = new_g(p);
    if (p->next_id == p->end_id) {
        p->next_id = reserve_ids(ids_at_once);
        p->end_id = p->next_id + ids_at_once;
    }
    g->id.store(p->next_id++, std::memory_order_relaxed);
    try {
        apply(this, g, o);
    } catch (...) {
        base::lock_guard hold(lock);
        g->next = nullptr;
        store->give(g);
        throw;
    }
    return g;
}

// launch_here queues g, which is filled, on m's P.
inline void sched::launch_here(M* m, P* p, G* g) noexcept {
    p->spawned.add();
    put_local(m, g);
    wakep();
}

// spawn_here is spawn in m's runtime section, of a task that is quiet, or by run() of a simulation, which runs nothing yet. A
// detached goroutine has no handle.
inline G* sched::spawn_here(M* m, const task_ops& ops, void* task, const spawn_options* o, const spawn_site& site,
                            bool detached) {
    P* p = m->p.load(std::memory_order_relaxed);
    G* g = prepare_here(p, o);
    move_in(g, ops, task);
    fill(g, this, ops, site, o);
    if (detached) g->join_word.store(join_detached, std::memory_order_relaxed);
    launch_here(m, p, g);
    return g;
}

// spawn_moving is spawn, not in a section, of a task whose move may be the program's code: that runs between two sections.
[[gnu::noinline]] G* sched::spawn_moving(M* m, const task_ops& ops, void* task, const spawn_options* o, const spawn_site& site) {
    if (!enter_staying(m)) return spawn_outside(this, ops, task, o, site);
    G* g;
    {
        const section here(m);
        g = prepare_here(m->p.load(std::memory_order_relaxed), o);
    }
    move_in(g, ops, task);
    fill(g, this, ops, site, o);
    m = current_m();   // the move may have switched
    if (!enter_staying(m)) {
        launch_outside(this, g);
        return g;
    }
    const section here(m);
    launch_here(m, m->p.load(std::memory_order_relaxed), g);
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
    if (!ops.quiet) return m->s->spawn_moving(m, ops, task, opts, site);
    if (!enter_staying(m)) [[unlikely]] return spawn_outside(m->s, ops, task, opts, site);
    const section here(m);
    return m->s->spawn_here(m, ops, task, opts, site, false);
}

bool ended(const G* g) noexcept {
    const std::uintptr_t word = g->join_word.load(std::memory_order_acquire);
    return word == join_ended || word == join_orphaned;
}

goroutine_id id_of(const G* g) noexcept { return g->id.load(std::memory_order_relaxed); }

void* task_of(G* g) noexcept { return g->ops->on_heap ? *reinterpret_cast<void**>(g->storage) : g->storage; }

std::exception_ptr take_exception(G* g) noexcept {
    if (g->exception) await_turn_to_throw();
    return std::exchange(g->exception, nullptr);
}

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
        os::backoff a_moment;
        while (is_over && !j.forgotten.load(std::memory_order_acquire)) a_moment.pause();
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
    if (m && m->s == s && enter_staying(m)) {   // as all of go(), whose handle may be dropped at once, it does not switch
        s->free_g(m->p.load(std::memory_order_relaxed), g);
        leave(m);
    } else {
        s->free_g_late(g);
    }
}

}  // namespace handoff::detail
