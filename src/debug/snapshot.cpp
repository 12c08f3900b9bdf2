#include "debug/snapshot.hpp"

#include "base/check.hpp"
#include "debug/stats.hpp"
#include "os/clock.hpp"
#include "sched/sched.hpp"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <unistd.h>
#include <utility>

namespace handoff::detail {

namespace {

bool in_call(const M* m) noexcept { return m->call.load(std::memory_order_relaxed) % 2 != 0; }

bool lost_p(const M* m) noexcept { return is_without_p(m->taken.seen()); }

// What a snapshot copies from a goroutine while it holds the lock. It allocates no memory there.
struct seen {
    const G* g = nullptr;   // not to be dereferenced later
    goroutine_id id = 0;
    const void* site = nullptr;
    std::uint32_t site_line = 0;
    goroutine_info info;    // without its name
};

void look_at(const G& g, g_state state, goroutine_info& i) noexcept {
    i.locked_to_thread = g.locked.load(std::memory_order_relaxed);
    i.started = state != g_state::runnable || g.m.load(std::memory_order_relaxed) != nullptr;
    if (state == g_state::runnable) {
        i.state = goroutine_state::runnable;
    } else if (state == g_state::waiting) {
        i.state = goroutine_state::waiting;
        i.waits_for = name_of(g.reason.load(std::memory_order_relaxed));
        i.object = g.waits_on.load(std::memory_order_relaxed);
        i.since = std::chrono::steady_clock::time_point(
            std::chrono::nanoseconds(g.since.load(std::memory_order_relaxed)));
    } else {
        const M* m = g.m.load(std::memory_order_relaxed);
        i.state = !m           ? goroutine_state::running
                  : in_call(m) ? goroutine_state::syscall
                  : lost_p(m)  ? goroutine_state::without_processor
                               : goroutine_state::running;
        i.thread = m ? m->id : -1;
    }
}

seen look_at(const G& g, g_state state) noexcept {
    seen s;
    s.g = &g;
    s.id = g.id.load(std::memory_order_relaxed);
    s.site = g.site.load(std::memory_order_relaxed);
    s.site_line = g.site_line.load(std::memory_order_relaxed);
    look_at(g, state, s.info);
    return s;
}

goroutine_info with_name(g_store& store, seen& s) {
    char created[160];
    created_at(s.site, s.site_line, created, sizeof created);
    s.info.who = {s.id, store.name_of(s.g, s.id), created};
    return std::move(s.info);
}

thread_info info_of(const M& m) noexcept {
    thread_info i;
    i.id = m.id;
    i.tid = m.tid.load(std::memory_order_relaxed);
    const G* g = m.curg.load(std::memory_order_acquire);
    if (g) i.goroutine = g->id.load(std::memory_order_relaxed);
    const P* p = m.p.load(std::memory_order_relaxed);
    if (p && !lost_p(&m)) i.processor = static_cast<int>(p->id);
    if (m.is_monitor.load(std::memory_order_relaxed)) i.state = thread_state::monitor;
    else if (m.is_idle.load(std::memory_order_relaxed)) i.state = thread_state::idle;
    else if (!g) i.state = thread_state::scheduling;
    else if (in_call(&m)) i.state = thread_state::syscall;
    else i.state = lost_p(&m) ? thread_state::without_processor : thread_state::running;
    return i;
}

processor_info info_of(const P& p) noexcept {
    processor_info i;
    i.id = static_cast<int>(p.id);
    const M* m = p.m.load(std::memory_order_acquire);
    i.thread = m ? m->id : -1;
    i.state = !m ? processor_state::idle : in_call(m) ? processor_state::syscall : processor_state::running;
    i.queued = p.runq.size();
    i.timers = p.timers.size();
    return i;
}

}  // namespace

// Some goroutines at a time under the lock, for which others wait; strings and vectors grow without it.
scheduler_snapshot snapshot_of(sched& s) {
    scheduler_snapshot all;
    for (std::size_t at = 0;;) {
        std::array<seen, g_store::at_once> some;
        std::size_t n = 0;
        {
            base::lock_guard hold(s.idle.lock);
            if (at >= s.store->places()) break;
            at = s.store->visit(at, [&](const G& g) {
                const g_state state = g.state.seen();
                if (state != g_state::idle && state != g_state::dead) some[n++] = look_at(g, state);
            });
        }
        for (std::size_t i = 0; i < n; ++i) all.goroutines.push_back(with_name(*s.store, some[i]));
    }
    constexpr std::size_t at_once = 64;
    for (std::size_t at = 0, before = 1; at != before;) {
        std::array<thread_info, at_once> some;
        std::size_t n = 0;
        before = std::exchange(at, s.pool.visit(at, at_once, [&](const M& m) {
            if (m.tid.load(std::memory_order_relaxed) != 0) some[n++] = info_of(m);
        }));
        all.threads.insert(all.threads.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n));
    }
    s.procs.for_each([&](const P& p) {
        if (p.status.load(std::memory_order_relaxed) != p_status::dead) all.processors.push_back(info_of(p));
    });
    all.queued_globally = s.globq.size();
    return all;
}

namespace {

void append(std::string& text, const char* format, ...) __attribute__((format(printf, 2, 3)));
void append(std::string& text, const char* format, ...) {
    char line[400];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof line, format, args);
    va_end(args);
    text += line;
}

std::string text_at(const scheduler_snapshot& all, std::int64_t now) {
    std::string text;
    for (const processor_info& p : all.processors)
        append(text, "  P%d: %s thread=%d queued=%u timers=%u\n", p.id, to_string(p.state), p.thread, p.queued, p.timers);
    for (const thread_info& m : all.threads)
        append(text, "  M%d: %s tid=%d processor=%d goroutine=%llu\n", m.id, to_string(m.state), m.tid, m.processor,
               static_cast<unsigned long long>(m.goroutine));
    for (const goroutine_info& g : all.goroutines) {
        text += "  " + g.who.describe();
        append(text, ": %s", to_string(g.state));
        if (g.state == goroutine_state::waiting) {
            const std::int64_t waited = now - g.since.time_since_epoch().count();
            append(text, " for %s", g.waits_for);
            if (g.object) append(text, " %p", g.object);
            append(text, " since %.0f ms", static_cast<double>(waited > 0 ? waited : 0) / 1e6);
        }
        if (g.thread >= 0) append(text, " thread=%d", g.thread);
        if (g.locked_to_thread) text += " locked";
        if (!g.started) text += " fresh";
        text += '\n';
    }
    return text;
}

}  // namespace

std::string text_of(const scheduler_snapshot& all) { return text_at(all, os::nanotime()); }

std::string describe_goroutines(sched& s) {
    scheduler_snapshot all = snapshot_of(s);
    all.processors.clear();
    all.threads.clear();
    for (goroutine_info& g : all.goroutines) g.thread = -1;
    std::sort(all.goroutines.begin(), all.goroutines.end(), [](const auto& a, const auto& b) { return a.who.id < b.who.id; });
    return text_of(all);
}

std::string describe_all(sched& s) { return text_of(snapshot_of(s)); }

namespace {

void print_trace(sched& s, std::int64_t now) {
    const struct stats t = stats_of(s);
    std::string text;
    append(text,
           "handoff: %lld ms: procs=%u idle=%u threads=%u idle_threads=%u spinning=%u goroutines=%llu queued=%u "
           "handoffs=%llu/%llu/%llu/%llu switches=%llu [",
           static_cast<long long>((now - s.started) / 1'000'000), t.procs, s.idle.ps(), t.threads,
           t.threads_idle, s.idle.spinning(), static_cast<unsigned long long>(t.goroutines),
           s.globq.size(), static_cast<unsigned long long>(t.handoffs_sysmon),
           static_cast<unsigned long long>(t.handoffs_immediate), static_cast<unsigned long long>(t.handoffs_unguarded),
           static_cast<unsigned long long>(t.handoffs_computing), static_cast<unsigned long long>(t.switches));
    const char* space = "";
    s.procs.for_each([&](const P& p) {
        if (p.status.load(std::memory_order_relaxed) == p_status::dead) return;
        append(text, "%s%u", space, p.runq.size());
        space = " ";
    });
    text += "]\n";
    if (s.debug.scheddetail) text += text_at(snapshot_of(s), now);
    [[maybe_unused]] auto written = ::write(2, text.data(), text.size());
}

}  // namespace

void trace(sched& s, std::int64_t now) noexcept {
    if (now < s.monitor.notes.next_trace) return;
    s.monitor.notes.next_trace = now + std::chrono::nanoseconds(s.debug.schedtrace).count();
    try {
        print_trace(s, now);
    } catch (const std::bad_alloc&) {
        base::warn_nth(s.count.traces_lost.add(), "no memory for a trace line");
    }
}

}  // namespace handoff::detail
