#include "debug/held_mutexes.hpp"

#include "mutex_check/table.hpp"
#include "sched/sched.hpp"
#include "sched/switch_hook.hpp"

#include <cstdio>
#include <dlfcn.h>
#include <new>

namespace handoff::detail::held_mutexes {

namespace {

void describe(const void* where, char* text, std::size_t size) noexcept {
    const G* g = static_cast<const G*>(where);
    try {
        std::snprintf(text, size, "%s", g->store->describe(g).describe().c_str());
    } catch (const std::bad_alloc&) {
        std::snprintf(text, size, "goroutine %llu", static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed)));
    }
}

mutex_check::goroutine seen(const G* g) noexcept { return {g, g->id.load(std::memory_order_relaxed), describe}; }

void tell_left(const mutex_check::table* t, const G* g) noexcept {
    const mutex_check::goroutine who = seen(g);
    const bool parks = g->state.seen() == g_state::waiting;
    const bool tied = g->locked.load(std::memory_order_relaxed);
    t->leave(&who, parks && !tied ? name_of(g->reason.load(std::memory_order_relaxed)) : nullptr);
}

const mutex_check::table* find_table() noexcept {
#if HANDOFF_CHECK_HELD_MUTEXES
    return &HANDOFF_MUTEX_CHECK_TABLE;
#else
    void* found = ::dlsym(RTLD_DEFAULT, mutex_check::table_name);
    if (!found) ::dlerror();   // clears the error, which is nobody's concern
    return static_cast<const mutex_check::table*>(found);
#endif
}

// The table of the check. Relaxed, for the same reason as on_switch.
constinit base::atomic<const mutex_check::table*> watcher{nullptr};

void tell_check(M* m, const G* g) noexcept {
    const mutex_check::table* t = watcher.load(std::memory_order_relaxed);
    if (const G* left = m->switched_to) {
        // A goroutine that has ended has nothing to commit, and its G may be another goroutine by now.
        const bool ended = !m->held && !(m->commit && m->commit_g == left);
        if (ended) t->leave(nullptr, nullptr);
        else tell_left(t, left);
    }
    m->switched_to = g;
    if (!g) return t->arrive(nullptr);
    const mutex_check::goroutine who = seen(g);
    t->arrive(&who);
}

}  // namespace

void look_for_check() noexcept {
    static const mutex_check::table* const found = find_table();   // once: a preloaded library is there from the start
    if (!found) return;
    watcher.store(found, std::memory_order_relaxed);
    on_switch.store(tell_check, std::memory_order_relaxed);
}

}  // namespace handoff::detail::held_mutexes
