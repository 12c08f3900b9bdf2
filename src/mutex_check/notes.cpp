// The notes of who holds what. While a goroutine runs, its notes are kept in the thread. While it does not run, and holds
// something, they are in a table for all threads.
#include "mutex_check/notes.hpp"

#if HANDOFF_CHECK_HELD_MUTEXES

#include "base/check.hpp"
#include "mutex_check/table.hpp"

#include <handoff/detail/export.hpp>

#include <algorithm>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

namespace handoff::mutex_check {

namespace {

struct on_thread {
    held_set holds;
    int id;               // 0: not known yet
    bool has_goroutine;   // otherwise nothing is noted: plain threads may hold anything
    bool busy;            // in this code: what the unwinder and the runtime lock meanwhile is not noted
};

constinit thread_local on_thread this_thread __attribute__((tls_model("initial-exec"))) = {};

// Opaque to the compiler: the runtime calls leave and arrive on both sides of a switch.
HANDOFF_OPAQUE on_thread& here() noexcept {
    __asm__ volatile("");
    return this_thread;
}

int thread_id(on_thread& t) noexcept {
    if (t.id == 0) t.id = static_cast<int>(::syscall(SYS_gettid));
    return t.id;
}

// ---- Where it was locked -------------------------------------------------------------------------------------------

struct walk {
    const void* from;   // the frames before this one are our own
    call_path path;
    unsigned n;
};

_Unwind_Reason_Code visit(_Unwind_Context* context, void* arg) noexcept {
    walk& w = *static_cast<walk*>(arg);
    const void* at = reinterpret_cast<const void*>(_Unwind_GetIP(context));
    if (!at) return _URC_END_OF_STACK;
    if (w.n != 0 || at == w.from) w.path.at[w.n++] = at;
    return w.n == call_path::most ? _URC_END_OF_STACK : _URC_NO_REASON;
}

call_path path_from(const void* by) noexcept {
    walk w{by, {}, 0};
    _Unwind_Backtrace(visit, &w);
    w.path.at[0] = by;   // also if the unwinder did not get there
    return w.path;
}

// ---- Goroutines that do not run ------------------------------------------------------------------------------------

// A place belongs to whoever has set `key`, until the same one sets it to 0 (release; pairs with the acquire of the next
// one). That is the goroutine, on one thread after the other, and the scheduler orders its accesses.
struct kept {
    base::atomic<std::uint64_t> key{0};
    held_set holds{};
};

// A goroutine that holds something, and finds no free place among these, loses its notes.
constexpr unsigned most_kept = 1024, places_each = 32;
constinit kept all_kept[most_kept];
// Relaxed: a goroutine sees its own increment, by the scheduler's order, and looks only for its own notes.
constinit base::atomic<unsigned> kept_now{0};

// The key depends on the number, too: later another goroutine may have the same address.
std::uint64_t key_of(const goroutine& g) noexcept {
    const std::uint64_t k = g.id * 0x9E3779B97F4A7C15u ^ reinterpret_cast<std::uintptr_t>(g.where);
    return k != 0 ? k : 1;
}

kept& place_of(std::uint64_t key, unsigned i) noexcept { return all_kept[((key >> 32) + i) % most_kept]; }

void copy(held_set& to, const held_set& from) noexcept {
    std::copy_n(from.what, from.n, to.what);
    to.n = from.n;
}

void keep(const goroutine& g, const held_set& holds) noexcept {
    const std::uint64_t key = key_of(g);
    for (unsigned i = 0; i < places_each; ++i) {
        kept& k = place_of(key, i);
        std::uint64_t free = 0;
        if (!k.key.compare_exchange_strong(free, key, std::memory_order_acquire, std::memory_order_relaxed)) continue;
        copy(k.holds, holds);
        kept_now.fetch_add(1, std::memory_order_relaxed);
        return;
    }
}

void take_back(const goroutine& g, held_set& holds) noexcept {
    const std::uint64_t key = key_of(g);
    for (unsigned i = 0; i < places_each; ++i) {
        kept& k = place_of(key, i);
        if (k.key.load(std::memory_order_relaxed) != key) continue;
        copy(holds, k.holds);
        kept_now.fetch_sub(1, std::memory_order_relaxed);
        k.key.store(0, std::memory_order_release);
        return;
    }
}

// ---- Reports -------------------------------------------------------------------------------------------------------

[[gnu::cold]] void tell(report r, const goroutine& g, const held& h, const char* parks_for, int thread) noexcept {
    if (!first_time(r, h)) return;
    char who[256], where[512];
    g.describe(g.where, who, sizeof who);
    place(h, where, sizeof where);
    if (r == report::parks)
        base::warn("%s parks for %s while it holds the pthread %s %p, locked at %s", who, parks_for, name_of(h.kind), h.lock,
                   where);
    else
        base::warn("%s has moved from thread %d to thread %d while it holds the pthread %s %p, which only the first may "
                   "unlock, locked at %s",
                   who, h.thread, thread, name_of(h.kind), h.lock, where);
}

void leave(const goroutine* g, const char* parks_for) noexcept {
    on_thread& t = here();
    t.has_goroutine = false;
    if (t.holds.n == 0) return;
    t.busy = true;
    for (unsigned i = 0; g && parks_for && i < t.holds.n; ++i) tell(report::parks, *g, t.holds.what[i], parks_for, 0);
    t.busy = false;
    if (g) keep(*g, t.holds);
    t.holds.n = 0;   // what a goroutine leaves locked when it ends belongs to nobody
}

void arrive(const goroutine* g) noexcept {
    on_thread& t = here();
    t.has_goroutine = g != nullptr;
    if (!g || kept_now.load(std::memory_order_relaxed) == 0) return;
    take_back(*g, t.holds);
    t.busy = true;
    for (unsigned i = 0; i < t.holds.n; ++i) {
        held& h = t.holds.what[i];
        if (h.thread == thread_id(t) || h.told_moved) continue;
        h.told_moved = true;
        tell(report::moved, *g, h, nullptr, thread_id(t));
    }
    t.busy = false;
}

}  // namespace

void note_locked(const void* lock, lock_kind kind, const void* by) noexcept {
    on_thread& t = here();
    if (!t.has_goroutine || t.busy || t.holds.n == held_set::most) return;
    t.busy = true;
    t.holds.what[t.holds.n++] = {lock, path_from(by), thread_id(t), kind, false};
    t.busy = false;
}

void note_unlocked(const void* lock) noexcept {
    on_thread& t = here();
    if (t.busy) return;
    for (unsigned i = t.holds.n; i-- > 0;) {
        if (t.holds.what[i].lock != lock) continue;
        t.holds.what[i] = t.holds.what[--t.holds.n];
        return;
    }
}

void note_relocked(const void* lock) noexcept {
    on_thread& t = here();
    for (unsigned i = 0; i < t.holds.n; ++i) {
        held& h = t.holds.what[i];
        if (h.lock != lock) continue;
        h.thread = thread_id(t);
        h.told_moved = false;
    }
}

}  // namespace handoff::mutex_check

extern "C" HANDOFF_API const handoff::mutex_check::table HANDOFF_MUTEX_CHECK_TABLE = {handoff::mutex_check::leave,
                                                                                     handoff::mutex_check::arrive};

#endif
