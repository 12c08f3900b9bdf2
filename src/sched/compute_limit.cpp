#include "sched/compute_limit.hpp"

#include "os/clock.hpp"
#include "os/thread.hpp"

#include <algorithm>
#include <utility>

namespace handoff::detail {

namespace {

constexpr std::int64_t judged_every_ns = 10'000'000;
constexpr std::int64_t longest_wait_ns = 100'000'000;   // for a core that others want, too: a generous bound

// Where the kernel tells only how much processor time a thread has had: a thread that had this part of a fair share computes.
// Not a whole share, since other processes want cores, too.
constexpr std::int64_t part_of_fair_share = 8;

constexpr std::uint8_t credit_of_a_start = 1, credit_of_a_hog = 4, most_credit = 2 * credit_of_a_hog;

std::uint64_t bit_of(std::uint64_t kind) noexcept { return std::uint64_t{1} << (kind >> 58); }

}  // namespace

bool compute_limit::keeps_back(G* g, std::uint32_t procs, G*& also) noexcept {
    also = nullptr;
    const std::uint64_t kind = g->kind.load(std::memory_order_relaxed);
    // A hint. Most goroutines are of no kind that computes, and take no lock.
    if ((computing_kinds_.load(std::memory_order_relaxed) & bit_of(kind)) == 0) return false;
    base::lock_guard hold(lock_);
    // Check again under the lock, under which end() looks for goroutines to start.
    if (!is_reached(procs) || !is_computing(kind)) return false;
    std::uint8_t& credit = credit_[prediction::place_of(kind)];
    if (!std::exchange(g->let_through, false) && credit == 0) {
        keep(g);
        return true;
    }
    credit = std::min<std::uint8_t>(credit + credit_of_a_start, most_credit);
    // Let one more of the kind start, which was kept back before the kind had credit. The first in the queue may be of another
    // kind; it goes to the end, so that each gets its turn to be looked at.
    if (G* next = take()) {
        if (next->kind.load(std::memory_order_relaxed) == kind) also = next;
        else keep(next);
    }
    return false;
}

void compute_limit::keep(G* g) noexcept {
    kept_back_.push(g);
    kept_back_count_.store(kept_back() + 1, std::memory_order_relaxed);
}

G* compute_limit::take() noexcept {
    G* g = kept_back_.pop();
    if (g) kept_back_count_.store(kept_back() - 1, std::memory_order_relaxed);
    return g;
}

G* compute_limit::let_through() noexcept {
    base::lock_guard hold(lock_);
    G* g = take();
    if (g) g->let_through = true;
    return g;
}

// release takes all that are kept back, if the limit is not reached.
g_queue compute_limit::release(std::uint32_t procs) noexcept {
    g_queue all;
    if (is_reached(procs)) return all;
    while (G* g = take()) all.push(g);
    return all;
}

bool compute_limit::is_computing(std::uint64_t kind) const noexcept {
    return std::any_of(away_.begin(), away_.end(), [&](const M& m) { return m.computes && m.hog_kind == kind; });
}

// count updates what is read without the lock.
void compute_limit::count() noexcept {
    std::uint32_t n = 0;
    std::uint64_t kinds_of_them = 0;
    for (const M& m : away_) {
        if (!m.computes) continue;
        ++n;
        kinds_of_them |= bit_of(m.hog_kind);
    }
    computing_.store(n, std::memory_order_relaxed);
    computing_kinds_.store(kinds_of_them, std::memory_order_relaxed);
}

void compute_limit::begin(M* m, std::uint64_t kind) noexcept {
    base::lock_guard hold(lock_);
    m->hog_kind = kind;
    m->computes = true;
    const pid_t tid = m->tid.load(std::memory_order_relaxed);
    m->cpu_when_judged = os::thread_cpu_time(tid);
    m->core_when_judged = os::core_time_of(tid);
    m->judged = os::nanotime();
    away_.push_back(*m);
    count();
}

void compute_limit::found(const M* m) noexcept {
    base::lock_guard hold(lock_);
    std::uint8_t& credit = credit_[prediction::place_of(m->hog_kind)];
    credit -= std::min(credit, credit_of_a_hog);
}

g_queue compute_limit::end(M* m, std::uint32_t procs) noexcept {
    base::lock_guard hold(lock_);
    away_.erase(away_.iterator_to(*m));
    m->computes = false;
    count();
    return release(procs);
}

// judge_one sets M::computes: whether the goroutine of m computes.
void compute_limit::judge_one(M& m, std::int64_t now, std::uint32_t procs, os::activity_files& activities) noexcept {
    const pid_t tid = m.tid.load(std::memory_order_relaxed);
    const os::activity is = activities.of(tid).what;
    const bool awake = is == os::activity::computing || is == os::activity::unknown;
    const os::core_time core = os::core_time_of(tid);
    const std::int64_t cpu = os::thread_cpu_time(tid), time = now - m.judged;
    if (core.wanted >= 0 && m.core_when_judged.wanted >= 0) {
        const std::int64_t wanted = core.wanted - m.core_when_judged.wanted;
        const bool may_wait = core.turns == m.core_when_judged.turns || time < longest_wait_ns;
        if (awake && may_wait && wanted * 2 < time) return;   // judge it later, over the whole period
        m.computes = awake && wanted * 4 >= time;
    } else {
        // Its fair share: a whole core, or its part of the cores where all share them.
        const auto all = static_cast<std::int64_t>(away_.size() + procs);
        const std::int64_t fair = std::min(time, time * static_cast<std::int64_t>(cores_) / all);
        m.computes = awake && (cpu - m.cpu_when_judged) * part_of_fair_share >= fair;
    }
    m.cpu_when_judged = cpu;
    m.core_when_judged = core;
    m.judged = now;
}

g_queue compute_limit::judge(std::int64_t now, std::uint32_t procs, os::activity_files& activities) noexcept {
    if (now - judged_ < judged_every_ns) return {};
    judged_ = now;
    base::lock_guard hold(lock_);
    if (away_.empty()) return {};
    for (M& m : away_)
        if (now - m.judged >= judged_every_ns) judge_one(m, now, procs, activities);
    count();
    return release(procs);
}

}  // namespace handoff::detail
