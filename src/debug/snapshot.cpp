// stats(), snapshot(), dump() and the trace lines of HANDOFF_DEBUG.
//
// A snapshot reads single relaxed atomics of things that go on meanwhile: each entry is true of some moment during the
// call, and links may cross a change.
#include "os/clock.hpp"
#include "sched/sched.hpp"

#include <handoff/runtime.hpp>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <ostream>
#include <unistd.h>

namespace handoff {

std::uint64_t histogram::count() const noexcept {
    std::uint64_t n = 0;
    for (std::uint64_t b : buckets) n += b;
    return n;
}

std::chrono::nanoseconds histogram::quantile(double q) const noexcept {
    const std::uint64_t n = count();
    if (n == 0) return {};
    const double wanted = q * static_cast<double>(n);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        seen += buckets[i];
        if (static_cast<double>(seen) >= wanted) return std::chrono::nanoseconds(std::int64_t{1} << i);
    }
    return std::chrono::nanoseconds(std::int64_t{1} << (buckets.size() - 1));
}

const char* to_string(goroutine_state s) noexcept {
    switch (s) {
        case goroutine_state::runnable: return "runnable";
        case goroutine_state::running: return "running";
        case goroutine_state::syscall: return "syscall";
        case goroutine_state::waiting: return "waiting";
        case goroutine_state::without_processor: return "without processor";
    }
    return "?";
}

const char* to_string(thread_state s) noexcept {
    switch (s) {
        case thread_state::running: return "running";
        case thread_state::syscall: return "syscall";
        case thread_state::without_processor: return "without processor";
        case thread_state::scheduling: return "scheduling";
        case thread_state::idle: return "idle";
        case thread_state::monitor: return "monitor";
    }
    return "?";
}

const char* to_string(processor_state s) noexcept {
    switch (s) {
        case processor_state::idle: return "idle";
        case processor_state::running: return "running";
        case processor_state::syscall: return "syscall";
    }
    return "?";
}

}  // namespace handoff

namespace handoff::detail {

namespace {

bool in_call(const M* m) noexcept { return m->call.load(std::memory_order_relaxed) % 2 != 0; }

bool lost_p(const M* m) noexcept { return is_without_p(m->taken.load(std::memory_order_relaxed)); }

// What a snapshot copies of a goroutine while it has the lock. No memory is asked for there.
struct seen {
    const G* g = nullptr;   // not to be read later
    goroutine_id id = 0;
    const void* site = nullptr;
    std::uint32_t site_line = 0;
    goroutine_info info;    // but for its name
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
    const G* g = m.curg.load(std::memory_order_relaxed);
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

// Some at a time under the lock, which others wait for; strings and vectors grow without it.
scheduler_snapshot sched::snapshot() {
    scheduler_snapshot all;
    for (std::size_t at = 0;;) {
        std::array<seen, g_store::at_once> some;
        std::size_t n = 0;
        {
            base::lock_guard hold(lock);
            if (at >= store->places()) break;
            at = store->visit(at, [&](const G& g) {
                const g_state state = g.state.load(std::memory_order_relaxed);
                if (state != g_state::idle && state != g_state::dead) some[n++] = look_at(g, state);
            });
        }
        for (std::size_t i = 0; i < n; ++i) all.goroutines.push_back(with_name(*store, some[i]));
    }
    for (std::size_t at = 0;;) {
        std::array<thread_info, 64> some;
        std::size_t n = 0;
        {
            base::lock_guard hold(lock);
            if (at >= allm.size()) break;
            for (const std::size_t end = std::min(at + some.size(), allm.size()); at < end; ++at)
                if (allm[at]->tid.load(std::memory_order_relaxed) != 0) some[n++] = info_of(*allm[at]);
        }
        all.threads.insert(all.threads.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n));
    }
    for_each_p([&](const P& p) {
        if (p.status.load(std::memory_order_relaxed) != p_status::dead) all.processors.push_back(info_of(p));
    });
    all.queued_globally = globq.size();
    return all;
}

struct stats sched::stats() {
    struct stats t;
    std::uint64_t finished = 0;
    {
        base::lock_guard hold(lock);
        t.spawned = spawned_outside;
        finished = t.ended_without = finished_without;
        for_each_p([&](const P& p) { finished += p.finished.get(); });   // before all births
        for_each_p([&](const P& p) {
            t.spawned += p.spawned.get();
            t.switches += p.put_on();
            t.steals += p.steals.get();
            t.stolen += p.stolen.get();
            p.latency_sysmon.add_to(t.handoff_latency_sysmon);
            p.latency_immediate.add_to(t.handoff_latency_immediate);
            p.latency_unguarded.add_to(t.handoff_latency_unguarded);
        });
        for (const auto& m : allm) {
            // `calls` first: never too many (count_call). Too few, if other calls end between the two looks: what has been
            // said once stands.
            const std::uint64_t ended = m->calls.seen(), others = m->calls_not_own.get();
            if (ended > others) m->own_told = std::max(m->own_told, ended - others);
            t.exits_own += m->own_told;
            t.exits_without += m->calls_without.get();
        }
        t.threads = nm;
        t.threads_most = most_nm;
        t.threads_idle = static_cast<unsigned>(midle.size());
    }
    t.procs = nprocs.load(std::memory_order_relaxed);
    t.goroutines = t.spawned > finished ? t.spawned - finished : 0;
    t.handoffs_sysmon = handoffs_sysmon.get();
    t.handoffs_immediate = handoffs_immediate.get();
    t.handoffs_unguarded = handoffs_unguarded.get();
    t.handoffs_computing = handoffs_computing.get();
    t.retakes_given_up = retakes_given_up.get();
    t.computing_without_processor = computing.load(std::memory_order_relaxed);
    t.exits_old_idle = exits_old_idle.get();
    t.exits_any_idle = exits_any_idle.get();
    t.exits_queued = exits_queued.get();
    t.regains = regains.get();
    t.started_without = started_without.get();
    t.switches += t.started_without;
    t.threads_created = threads_created.get();
    t.threads_retired = threads_retired.get();
    t.thread_cap_hits = thread_cap_hits.get();
    t.thread_create_failures = thread_create_failures.get();
    t.thread_create_errno = thread_create_errno.load(std::memory_order_relaxed);
    t.stacks_mapped = stacks.mapped();
    t.stacks_without_guard = stacks.unguarded();
    t.stack_failures = stack_failures.get();
    base::lock_guard hold(unguarded_lock);
    for (const auto& [key, site] : unguarded) t.unguarded.push_back(site);
    return t;
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

std::string text_of(const scheduler_snapshot& all, std::int64_t now) {
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

std::string sched::describe_goroutines() {
    scheduler_snapshot all = snapshot();
    all.processors.clear();
    all.threads.clear();
    for (goroutine_info& g : all.goroutines) g.thread = -1;
    std::sort(all.goroutines.begin(), all.goroutines.end(), [](const auto& a, const auto& b) { return a.who.id < b.who.id; });
    return text_of(all, os::nanotime());
}

std::string sched::describe_all() { return text_of(snapshot(), os::nanotime()); }

// trace prints the line that HANDOFF_DEBUG=schedtrace asks for, when its time has come.
void sched::trace(std::int64_t now) noexcept {
    if (now < watch.next_trace) return;
    watch.next_trace = now + std::chrono::nanoseconds(debug.schedtrace).count();
    try {
        print_trace(now);
    } catch (const std::bad_alloc&) {
        base::warn("no memory for a trace line");
    }
}

void sched::print_trace(std::int64_t now) {
    const struct stats t = stats();
    std::string text;
    append(text,
           "handoff: %lld ms: procs=%u idle=%u threads=%u idle_threads=%u spinning=%u goroutines=%llu queued=%u "
           "handoffs=%llu/%llu/%llu/%llu switches=%llu [",
           static_cast<long long>((now - started) / 1'000'000), t.procs, npidle.load(std::memory_order_relaxed), t.threads,
           t.threads_idle, nmspinning.load(std::memory_order_relaxed), static_cast<unsigned long long>(t.goroutines),
           globq.size(), static_cast<unsigned long long>(t.handoffs_sysmon),
           static_cast<unsigned long long>(t.handoffs_immediate), static_cast<unsigned long long>(t.handoffs_unguarded),
           static_cast<unsigned long long>(t.handoffs_computing), static_cast<unsigned long long>(t.switches));
    const char* space = "";
    for_each_p([&](const P& p) {
        if (p.status.load(std::memory_order_relaxed) == p_status::dead) return;
        append(text, "%s%u", space, p.runq.size());
        space = " ";
    });
    text += "]\n";
    if (debug.scheddetail) text += text_of(snapshot(), now);
    [[maybe_unused]] auto written = ::write(2, text.data(), text.size());
}

}  // namespace handoff::detail

namespace handoff {

void runtime::dump(std::ostream& out) const {
    const scheduler_snapshot all = snapshot();
    out << all.processors.size() << " processors, " << all.threads.size() << " threads, " << all.goroutines.size()
        << " goroutines, " << all.queued_globally << " queued globally\n"
        << detail::text_of(all, os::nanotime());
}

}  // namespace handoff
