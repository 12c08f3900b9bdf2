// compute_limit: how many goroutines compute without a P, and which goroutines have to wait because of that.
//
// A goroutine that computes for longer than a time slice is called a hog here. The monitor takes its P, which then serves
// others, and the hog goes on without. This class keeps the number of hogs in bounds.
//
// When `procs` hogs compute, a fresh goroutine of the same kind as one of them is not started on the last free P: it would only
// take that out of use, too. It is kept back (`kept_back_`) until another P is idle, or fewer than `procs` hogs compute (then
// all that are kept back may start), or wait_over_limit() has passed. So a thousand hogs are a few threads, and goroutines that
// are no hogs find a P. (This does not apply to a runtime with a single P: it would stand idle while there is work.)
//
// Kinds are those of G::kind: 64 bits, so that goroutines of different kinds are not confused. But what a program hands to one
// function of its own, as to an executor, is all of one kind, hogs and others. So a kind earns credit with each goroutine that
// is started while the limit is reached, and loses more of it with each that is found to compute. A kind that has credit is not
// kept back.
//
// Whether a goroutine computes is judged again and again. A look that shows its thread running may have met one that sleeps
// most of the time. The Ms whose P was taken because their goroutine computed stay in `away_` until the goroutine enters the
// library. They are judged every 10 ms. A thread that sleeps is no longer counted, nor is one that has wanted a core for less
// than a fourth of the last 100 ms. (If that changes, it is counted again.) What counts is the time for which it wanted a core,
// not the time that it had one: on an overloaded machine a hog gets nothing for tens of milliseconds. The kernel reports the
// time that a thread waited for a core only when that wait is over, so the period that is looked at has to be longer than such
// waits.
//
// It has a lock of its own, which may be taken under the scheduler's. Goroutines that may be started now are returned to the
// caller, which queues them after the lock was released.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "os/thread_activity.hpp"
#include "sched/g.hpp"
#include "sched/m.hpp"
#include "sched/prediction.hpp"

#include <boost/intrusive/list.hpp>
#include <array>
#include <chrono>
#include <cstdint>

namespace handoff::detail {

class compute_limit {
public:
    compute_limit(std::chrono::nanoseconds slice, unsigned cores) noexcept : slice_(slice.count()), cores_(cores) {}

    // How many goroutines compute without a P. Relaxed: without the lock a hint.
    std::uint32_t computing() const noexcept { return computing_.load(std::memory_order_relaxed); }
    bool is_reached(std::uint32_t procs) const noexcept { return computing() >= procs; }
    // How many goroutines are kept back.
    std::uint32_t kept_back() const noexcept { return kept_back_count_.load(std::memory_order_relaxed); }

    // wait_over_limit is how long a further hog has to wait (to be started, or for its P to be taken) while `without_p`
    // goroutines compute without a P, which reaches the limit. The more there are, the longer it is.
    std::int64_t wait_over_limit(std::uint32_t without_p, std::uint32_t procs) const noexcept {
        return slice_ * (10 + 10 * (without_p / procs));
    }

    // keeps_back keeps the fresh g and returns true, if g is likely to be one hog too many. Else g may be started. `also`, if
    // not null, is then a goroutine of its kind that was kept back before, and that the caller is to queue.
    bool keeps_back(G* g, std::uint32_t procs, G*& also) noexcept HANDOFF_EXCLUDES(lock_);
    // let_through takes the first goroutine that is kept back; null if there is none.
    G* let_through() noexcept HANDOFF_EXCLUDES(lock_);

    // begin: the P of m's goroutine is about to be taken because the goroutine computes. found: the P was taken. end: the
    // goroutine enters the library or begins a call, or the P could not be taken. The caller queues what end and judge return,
    // and wakes an M for it.
    void begin(M* m, std::uint64_t kind) noexcept HANDOFF_EXCLUDES(lock_);
    void found(const M* m) noexcept HANDOFF_EXCLUDES(lock_);
    g_queue end(M* m, std::uint32_t procs) noexcept HANDOFF_EXCLUDES(lock_);

    // judge finds out which of the goroutines whose P was taken still compute. For the monitor, in its rounds.
    g_queue judge(std::int64_t now, std::uint32_t procs, os::activity_files& activities) noexcept HANDOFF_EXCLUDES(lock_);

private:
    using m_list = boost::intrusive::list<M, boost::intrusive::member_hook<M, computing_hook, &M::computing_link>,
                                          boost::intrusive::constant_time_size<true>>;

    void keep(G* g) noexcept HANDOFF_REQUIRES(lock_);
    G* take() noexcept HANDOFF_REQUIRES(lock_);
    g_queue release(std::uint32_t procs) noexcept HANDOFF_REQUIRES(lock_);
    bool is_computing(std::uint64_t kind) const noexcept HANDOFF_REQUIRES(lock_);
    void count() noexcept HANDOFF_REQUIRES(lock_);
    void judge_one(M& m, std::int64_t now, std::uint32_t procs, os::activity_files& activities) noexcept HANDOFF_REQUIRES(lock_);

    const std::int64_t slice_;
    const unsigned cores_;
    base::mutex lock_;
    g_queue kept_back_ HANDOFF_GUARDED_BY(lock_);   // fresh Gs
    m_list away_ HANDOFF_GUARDED_BY(lock_);         // Ms whose P was taken while their goroutine computed
    std::array<std::uint8_t, 1 << prediction::kind_bits> credit_ HANDOFF_GUARDED_BY(lock_){};   // by kind
    std::int64_t judged_ = 0;                       // the monitor's: when it last judged
    // A cache line of their own: they are read for each fresh goroutine.
    alignas(64) base::atomic<std::uint32_t> kept_back_count_{0};
    base::atomic<std::uint32_t> computing_{0};
    base::atomic<std::uint64_t> computing_kinds_{0};   // which kinds compute: a bit for each 64th of all
};

}  // namespace handoff::detail
