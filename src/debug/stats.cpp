#include "debug/stats.hpp"

#include "sched/sched.hpp"

#include <algorithm>

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

struct stats stats_of(sched& s) {
    struct stats t;
    std::uint64_t finished = 0;
    {
        base::lock_guard hold(s.idle.lock);
        t.spawned = s.life.spawned_outside;
        finished = t.ended_without = s.life.finished_without;
        s.procs.for_each([&](const P& p) { finished += p.finished.get(); });   // before all counts of spawned goroutines
        s.procs.for_each([&](const P& p) {
            t.spawned += p.spawned.get();
            t.switches += p.put_on();
            t.steals += p.steals.get();
            t.stolen += p.stolen.get();
            p.latency_sysmon.add_to(t.handoff_latency_sysmon);
            p.latency_immediate.add_to(t.handoff_latency_immediate);
            p.latency_unguarded.add_to(t.handoff_latency_unguarded);
        });
        s.pool.for_each([&](M& m) {
            // `calls` is read first, so the difference is never too large (count_call). It may be too small if other calls
            // end between the two reads; then the number that was reported before stays.
            const std::uint64_t ended = m.calls.seen(), others = m.calls_not_own.get();
            if (ended > others) m.own_told = std::max(m.own_told, ended - others);
            t.exits_own += m.own_told;
            t.exits_without += m.calls_without.get();
        });
        t.threads = s.pool.threads();
        t.threads_most = s.pool.most_threads();
        t.threads_idle = static_cast<unsigned>(s.idle.ms());
    }
    t.procs = s.procs.wanted();
    t.goroutines = t.spawned > finished ? t.spawned - finished : 0;
    t.handoffs_sysmon = s.count.handoffs_sysmon.get();
    t.handoffs_immediate = s.count.handoffs_immediate.get();
    t.handoffs_unguarded = s.count.handoffs_unguarded.get();
    t.handoffs_computing = s.count.handoffs_computing.get();
    t.retakes_given_up = s.count.retakes_given_up.get();
    t.computing_without_processor = s.limit.computing();
    t.exits_old_idle = s.count.exits_old_idle.get();
    t.exits_any_idle = s.count.exits_any_idle.get();
    t.exits_queued = s.count.exits_queued.get();
    t.regains = s.count.regains.get();
    t.started_without = s.count.started_without.get();
    t.switches += t.started_without;
    t.threads_created = s.count.threads_created.get();
    t.threads_retired = s.count.threads_retired.get();
    t.thread_cap_hits = s.count.thread_cap_hits.get();
    t.thread_create_failures = s.count.thread_create_failures.get();
    t.thread_create_errno = s.count.thread_create_errno.load(std::memory_order_relaxed);
    t.stacks_mapped = s.stacks.mapped();
    t.stacks_without_guard = s.stacks.unguarded();
    t.stack_failures = s.count.stack_failures.get();
    base::lock_guard hold(s.unguarded.lock);
    for (const auto& [key, site] : s.unguarded.sites) t.unguarded.push_back(site);
    return t;
}

}  // namespace handoff::detail
