// compute_limit: how many goroutines compute without a P, and who has to wait for them.
//
// A goroutine that computes for longer than a time slice is called a hog here. The monitor lets it go on without a P, so that the
// P serves others; the number of hogs is kept in bounds.
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
//
// A lock of its own, which may be taken under the scheduler's. Goroutines that may be started now are handed to the caller, who
// queues them without it.
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

    // How many compute without a P. Relaxed: without the lock a hint.
    std::uint32_t computing() const noexcept { return computing_.load(std::memory_order_relaxed); }
    bool is_reached(std::uint32_t procs) const noexcept { return computing() >= procs; }
    // How many are kept back.
    std::uint32_t kept_back() const noexcept { return kept_back_count_.load(std::memory_order_relaxed); }

    // wait_over_limit is how long things wait when `without_p` goroutines compute without a P, which is enough: the longer,
    // the more there are.
    std::int64_t wait_over_limit(std::uint32_t without_p, std::uint32_t procs) const noexcept {
        return slice_ * (10 + 10 * (without_p / procs));
    }

    // keeps_back keeps the fresh g, if it is likely to be one hog too many. Else g may be started, and `also`, if not null, is
    // one of its kind that was kept back before, and is to be queued.
    bool keeps_back(G* g, std::uint32_t procs, G*& also) noexcept HANDOFF_EXCLUDES(lock_);
    // let_through takes the first that is kept back; null if there is none.
    G* let_through() noexcept HANDOFF_EXCLUDES(lock_);

    // begin and end: the P of m's goroutine is to be taken while that computes; it is back, or blocks, or the P was not to be had.
    // found: it was. What end and judge return is to be queued, and somebody woken for it.
    void begin(M* m, std::uint64_t kind) noexcept HANDOFF_EXCLUDES(lock_);
    void found(const M* m) noexcept HANDOFF_EXCLUDES(lock_);
    g_queue end(M* m, std::uint32_t procs) noexcept HANDOFF_EXCLUDES(lock_);

    // judge looks who of those whose P was taken computes still. For the monitor, in its rounds.
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
    g_queue kept_back_ HANDOFF_GUARDED_BY(lock_);   // fresh Gs that wait for others of their kind to end
    m_list away_ HANDOFF_GUARDED_BY(lock_);         // Ms whose P was taken while their goroutine computed
    std::array<std::uint8_t, 1 << prediction::kind_bits> credit_ HANDOFF_GUARDED_BY(lock_){};   // by kind
    std::int64_t judged_ = 0;                       // the monitor's: when it last looked
    base::atomic<std::uint32_t> kept_back_count_{0};
    base::atomic<std::uint32_t> computing_{0};
    base::atomic<std::uint64_t> computing_kinds_{0};   // a bit for each 64th of all kinds
};

}  // namespace handoff::detail
