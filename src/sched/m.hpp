// M: an OS thread that runs goroutines. The protocol by which it enters and leaves the library, and may lose its P in between,
// is at the head of section.hpp.
#pragma once

#include "base/atomic.hpp"
#include "context/context.hpp"
#include "os/note.hpp"
#include "os/thread.hpp"
#include "sched/g.hpp"
#include "sched/held_p.hpp"
#include "sched/retake_word.hpp"
#include "timer/timer_heap.hpp"

#include <handoff/detail/spin_lock.hpp>

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <pthread.h>
#include <utility>

namespace handoff::detail {

struct P;

// The role for which an M is started or woken.
enum class m_role : std::uint8_t { worker, monitor };

using midle_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

using computing_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

// Used in place of the number of a system call: a page fault; the kernel did not tell.
inline constexpr long page_fault = -1, unknown_call = -2;

struct alignas(64) M : context::switcher {
    explicit M(sched* owner, int number) noexcept : s(owner), id(number) {}

    // The words of section.hpp's protocol. Only the M uses this cache line, except for the monitor's rare looks.
    base::atomic<std::uint32_t> section{1};
    retake_word taken;
    base::atomic<std::uint32_t> call{0};
    base::atomic<P*> p{nullptr};           // owner writes, monitor reads; the M has it unless is_without_p(taken)
    // Owner writes, the monitor and snapshots read. release and acquire: who reads it sees the G that was made in a new chunk.
    base::atomic<G*> curg{nullptr};
    sched* const s;
    base::counter calls;                   // calls that ended, or were suspended by entering the library: call / 2
    base::counter calls_not_own;           // of these, those that did not end with the P still there; counted before `calls`
    base::counter calls_without;           // of these, those after which the goroutine went on without a P

    // Used by the owner only, in runtime sections and on g0.
    spin_lock* held = nullptr;             // to be released on the context that is switched to (finish_switch)
    void (*commit)(M*, G*, void*) = nullptr;   // or, in place of that, to be called there
    G* commit_g = nullptr;
    void* commit_arg = nullptr;
    context::execution g0;                 // the context of the scheduler, on the thread's own stack
    G* nextg = nullptr;                    // g0 is to run it next
    timer* due = nullptr;                  // timer objects to be run once no lock of a parking goroutine is held (run_due)
    timer asks_poller;                     // in `due` if the poller is to be asked then: that takes such locks (schedule.cpp)
    G* locked_g = nullptr;                 // the goroutine that is tied to this thread (G::tied)
    bool spinning = false;                 // counted in idle_set
    std::int64_t call_began = 0;           // when a call began before which its goroutine handed the P off
    bool call_predicted = false;           // it was handed off because it was predicted to block
    long sleeps_before = 0;                // os::voluntary_switches() at its start
    std::uint64_t put_on_before = 0;       // P::put_on() of the P that it gave away
    bool came_back = false;                // for commit_exit: its goroutine had gone on without a P after a call
    bool is_worker = false;                // counted in sched::workers
    long sleeps_at_start = 0;              // os::voluntary_switches() when it started its goroutine without a P
    long sleeps_at_yield = 0;              // likewise at the last yield of its goroutine without a P
    const G* switched_to = nullptr;        // at the last switch; only if held mutexes are checked
    bool ends_with_its_goroutine = false;  // its locked goroutine has ended: the thread goes with it

    // An M sleeps on `park`. Its orders are written before park.wake() by the thread that wakes it, or by itself, and read
    // after park.wait().
    os::note park;
    struct {
        held_p p;                          // to run
        m_role role = m_role::worker;      // to take on
    } orders;

    // wake_as gives orders to an M that was taken from the idle set. Without a P, and as a worker, it looks again at what to
    // do.
    void wake_as(m_role role, held_p with, bool spins) noexcept {
        orders.p = std::move(with);
        spinning = spins;
        orders.role = role;
        park.wake();
    }

    midle_hook idle_link;                  // in idle_set, under its lock
    bool retires = false;                  // its thread exits, since there are too many; written under the pool's lock
    std::uint64_t own_told = 0;            // most that stats() has said of calls - calls_not_own; under the scheduler's lock

    // Under compute_limit's lock.
    computing_hook computing_link;
    bool computes = false;                 // counted as a hog there
    std::uint64_t hog_kind = 0;            // G::kind of its goroutine
    std::int64_t cpu_when_judged = 0, judged = 0;
    os::core_time core_when_judged;

    // Set by the monitor before it stores taken_unguarded, read by the owner after it has seen that.
    struct unguarded_stay {
        std::int64_t since = 0;
        std::int64_t until = 0;            // set by the owner; 0: it still lasts
        long call = unknown_call;
    } unguarded;

    const int id;
    base::atomic<int> tid{0};              // written once by the thread
    base::atomic<std::uint32_t> declined{0};   // how often it was asked to yield where it can't; owner writes, monitor reads
    pthread_t thread{};
    base::atomic<bool> is_monitor{false};  // for snapshots
    base::atomic<bool> is_idle{false};     // for snapshots
};

}  // namespace handoff::detail
