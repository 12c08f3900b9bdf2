// Hogs: goroutines that compute for longer than a time slice. The monitor lets them go on without a P, and keeps their number
// in bounds here.
//
// When `procs` of them compute, a new goroutine of the same kind as one of those is not started on the last P that is free:
// it would only take that out of use, too. It waits in `hogs` until another P is idle, fewer than `procs` compute (then all
// of them are let go), or over_limit_wait has passed. So a thousand hogs are a few threads, and what is no hog finds a P. (Not
// with a single P: it would stand idle while there is work.) Kinds are those of G::kind: 64 bits, so that nobody is taken for
// one of another. But what a program hands to one function of its own, as to an executor, is all of one kind, hogs and others.
// So a kind earns credit with each that is started at such a time, and loses more of it with each that is found to compute: one
// that has some is not kept back.
//
// Who computes is judged again and again. A look that shows a thread running may have met one that mostly sleeps; those whose
// P was taken as a computation's stay in `away_computing` until they enter the library, and each 10 ms one that sleeps is
// counted no longer, nor one that has wanted a core for less than a fourth of the last 100 ms. (One that does so no more is
// counted again.) Wanted, not had: where the machine is overloaded a hog gets nothing for tens of milliseconds. The kernel tells
// of a wait for a core when it is over, so that the time that is looked at has to be longer.
#include "sched/sched.hpp"

#include "os/clock.hpp"

#include <algorithm>

namespace handoff::detail {

namespace {

constexpr std::int64_t judged_every_ns = 10'000'000;
constexpr std::int64_t longest_wait_ns = 100'000'000;   // for a core, by far, while others want it

// Where the kernel tells no more than the time that a thread has had, which part of a fair share is enough: other processes want
// theirs, too.
constexpr std::int64_t part_of_fair_share = 8;

constexpr std::uint8_t credit_of_a_start = 1, credit_of_a_hog = 4, most_credit = 2 * credit_of_a_hog;

std::uint64_t bit_of(std::uint64_t kind) noexcept { return std::uint64_t{1} << (kind >> 58); }

}  // namespace

// over_limit_wait is how long things wait when `without_p` goroutines compute without a P, which is enough: the longer,
// the more there are.
std::int64_t sched::over_limit_wait(std::uint32_t without_p) const noexcept {
    return opts.retake_running_after.count() * (10 + 10 * (without_p / nprocs.load(std::memory_order_relaxed)));
}

// defer_hog keeps the fresh g from being started, if it is likely to be one hog too many.
bool sched::defer_hog(G* g) noexcept {
    const std::uint64_t kind = g->kind.load(std::memory_order_relaxed);
    // A hint; most are of no kind that computes, and take no lock.
    if ((computing_kinds.load(std::memory_order_relaxed) & bit_of(kind)) == 0) return false;
    if (npidle.load(std::memory_order_relaxed) != 0 || nprocs.load(std::memory_order_relaxed) == 1) return false;
    bool lets_go = false;
    {
        base::lock_guard hold(lock);
        // Again under the lock, where end_of_computing looks for those to start.
        if (computing.load(std::memory_order_relaxed) < nprocs.load(std::memory_order_relaxed) || !is_computing(kind)) return false;
        std::uint8_t& credit = hog_credit[place_of_kind(kind)];
        if (!std::exchange(g->let_through, false) && credit == 0) {
            put_hog(g);
            return true;
        }
        credit = std::min<std::uint8_t>(credit + credit_of_a_start, most_credit);
        // One more of the kind, that was kept back before it had any. The first may be another's: so all are come to.
        if (G* next = take_hog()) {
            lets_go = next->kind.load(std::memory_order_relaxed) == kind;
            if (lets_go) globq.push(next);
            else put_hog(next);
        }
    }
    if (lets_go) wakep_any();
    return false;
}

void sched::put_hog(G* g) noexcept {
    hogs.push(g);
    nhogs.store(nhogs.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// take_hog takes the first of the deferred ones; null if there is none.
G* sched::take_hog() noexcept {
    G* g = hogs.pop();
    if (g) nhogs.store(nhogs.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    return g;
}

// start_hog lets the first of the deferred ones through.
void sched::start_hog() noexcept {
    {
        base::lock_guard hold(lock);
        G* g = take_hog();
        if (!g) return;
        g->let_through = true;
        globq.push(g);
    }
    wakep_any();
}

// release_hogs lets all of them go, if there is room for those that compute. Somebody has to be woken for them.
void sched::release_hogs() noexcept {
    if (too_many_hogs()) return;
    while (G* g = take_hog()) globq.push(g);
}

bool sched::is_computing(std::uint64_t kind) const noexcept {
    return std::any_of(away_computing.begin(), away_computing.end(),
                       [&](const M& m) { return m.computes && m.hog_kind == kind; });
}

// count_computing brings what is read without the lock up to date.
void sched::count_computing() noexcept {
    std::uint32_t n = 0;
    std::uint64_t kinds_of_them = 0;
    for (const M& m : away_computing) {
        if (!m.computes) continue;
        ++n;
        kinds_of_them |= bit_of(m.hog_kind);
    }
    computing.store(n, std::memory_order_relaxed);
    computing_kinds.store(kinds_of_them, std::memory_order_relaxed);
}

// begin_computing and end_of_computing: the P of m's goroutine was taken while it computed; it is back, or blocks.
void sched::begin_computing(M* m, std::uint64_t kind) noexcept {
    base::lock_guard hold(lock);
    m->hog_kind = kind;
    m->computes = true;
    const pid_t tid = m->tid.load(std::memory_order_relaxed);
    m->cpu_when_judged = os::thread_cpu_time(tid);
    m->core_when_judged = os::core_time_of(tid);
    m->judged = os::nanotime();
    away_computing.push_back(*m);
    count_computing();
}

// found_computing: the P of m, for which begin_computing was called, was taken.
void sched::found_computing(const M* m) noexcept {
    base::lock_guard hold(lock);
    std::uint8_t& credit = hog_credit[place_of_kind(m->hog_kind)];
    credit -= std::min(credit, credit_of_a_hog);
}

void sched::end_of_computing(M* m) noexcept {
    bool lets_go;
    {
        base::lock_guard hold(lock);
        away_computing.erase(away_computing.iterator_to(*m));
        m->computes = false;
        count_computing();
        lets_go = !hogs.empty();
        release_hogs();
    }
    if (lets_go) wakep_any();
}

// judge says whether the goroutine of m, which is in away_computing, computes.
void sched::judge(M& m, std::int64_t now) noexcept {
    const pid_t tid = m.tid.load(std::memory_order_relaxed);
    const os::activity is = activities.of(tid).what;
    const bool awake = is == os::activity::computing || is == os::activity::unknown;
    const os::core_time core = os::core_time_of(tid);
    const std::int64_t cpu = os::thread_cpu_time(tid), time = now - m.judged;
    if (core.wanted >= 0 && m.core_when_judged.wanted >= 0) {
        const std::int64_t wanted = core.wanted - m.core_when_judged.wanted;
        const bool may_wait = core.turns == m.core_when_judged.turns || time < longest_wait_ns;
        if (awake && may_wait && wanted * 2 < time) return;   // it is judged later, for all the time since
        m.computes = awake && wanted * 4 >= time;
    } else {
        // Of a core that it has for itself, or of as many as all of them share.
        const auto all = static_cast<std::int64_t>(away_computing.size() + nprocs.load(std::memory_order_relaxed));
        const std::int64_t fair = std::min(time, time * static_cast<std::int64_t>(cores) / all);
        m.computes = awake && (cpu - m.cpu_when_judged) * part_of_fair_share >= fair;
    }
    m.cpu_when_judged = cpu;
    m.core_when_judged = core;
    m.judged = now;
}

// judge_computing looks who of those whose P was taken computes still. For the monitor, in its rounds.
void sched::judge_computing(std::int64_t now) noexcept {
    if (now - watch.judged < judged_every_ns) return;
    watch.judged = now;
    bool lets_go = false;
    {
        base::lock_guard hold(lock);
        if (away_computing.empty()) return;
        for (M& m : away_computing)
            if (now - m.judged >= judged_every_ns) judge(m, now);
        count_computing();
        lets_go = !hogs.empty();
        release_hogs();
    }
    if (lets_go) wakep_any();
}

}  // namespace handoff::detail
