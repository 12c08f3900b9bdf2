// M: an OS thread that runs goroutines, and the runtime section, which says when it may touch its P.
//
// The problem. A goroutine may block in the kernel at any moment, guarded or not, and its P must then go on without
// it, while in the normal case leaving and entering the library must cost no atomic read-modify-write.
//
// The protocol. `section` is odd while the M is inside the library; `call` is odd while it is between entersyscall
// and exitsyscall. Both only grow, and are written by the M alone. Whoever retakes (the monitor) says so in `taken`:
//
//     M, leaving:    [call + 1;]  section + 1 (release)
//     M, entering:   section + 1 | call + 1;  (compiler fence);  if (taken != none) slow path
//     retaker:       CAS taken none -> asked;  membarrier;  if section is odd, or section or call has moved on since
//                    it was last seen: CAS taken asked -> none, give up;  else CAS taken asked -> taken_*: M::p is ours
//     M, slow path:  CAS taken asked -> none: keeps its P (and yields, if it was asked to).  Found taken_*: its P is gone;
//                    it goes on without one until it needs one (syscall.cpp)
//
// Why it is right. The barrier runs on every thread. An M that stored its section (or call) before its barrier is seen
// by the retaker, which gives up. One that stores it after the barrier loads `taken` later still, and sees at least
// `asked`; then both sides want to change the same word, and the CAS decides. So never do both believe that they have
// the P. While `taken` stays `asked` the M can't get past its slow path, so that section, call and p, read in between,
// are those of the goroutine that was meant, not of a later one (a CAS that succeeds proves it). release on leaving
// and acquire in the retaker's load of section order the old owner's writes to the P before the new owner's; the slow
// path's acq_rel CAS does the same for an attempt that was given up.
//
// A goroutine that enters and leaves all the time would answer each attempt before it can succeed. When its time slice
// is over it is therefore `asked_to_yield`, and the question is not withdrawn: the M answers where it may change threads, which
// is where it enters the library or begins a call, but not where a call ends; or an attempt that follows takes the P. (In a
// call at once, for which it need not be the one that was seen; in user code once it had time to answer.)
//
// Without membarrier, section and call are exchanged with seq_cst on entering, and the retaker's CAS and loads are
// seq_cst: then one order of all of them exists, with the same two cases.
//
// Rejected: a status word changed by CAS on both ends of each call, as in Go (two locked operations a call, and none
// of it covers a call without brackets); signals (EINTR for the program's own calls).
#pragma once

#include "base/atomic.hpp"
#include "context/context.hpp"
#include "os/note.hpp"
#include "os/thread.hpp"
#include "sched/g.hpp"

#include <handoff/detail/spin_lock.hpp>

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <pthread.h>

namespace handoff::detail {

struct P;
struct timer;

// Values of M::taken. From `taken_call` on the M has no P; the value says how it lost it.
enum class retake : std::uint32_t {
    none,
    asked,
    asked_to_yield,    // as asked, but it stays until it is answered, and who answers it lets the others run
    simulated,         // for good: a simulation wants to hear of each entry (sim/simulator.hpp); nobody takes its P
    taken_call,        // by the monitor, out of a guarded call
    taken_slice,       // by the monitor, since its goroutine's time slice was over
    taken_unguarded,   // by the monitor, out of an unguarded one
    taken_computing,   // by the monitor, from user code that computes
    given,             // by the M itself, before a call that will block
    away,              // in one of these ways, and what was to be said of it has been: the goroutine is back from its call, and
                       // goes on without a P until it enters the library (syscall.cpp)
};

constexpr bool is_without_p(retake r) noexcept { return r >= retake::taken_call; }

// What runs on an M's thread when it has been idle.
enum class m_role : std::uint8_t { worker, monitor };

using midle_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

using computing_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

// In place of the number of a system call: a page fault, and what the kernel did not tell.
inline constexpr long page_fault = -1, unknown_call = -2;

struct alignas(64) M : context::switcher {
    explicit M(sched* owner, int number) noexcept : s(owner), id(number) {}

    // The runtime section; see above. This line is the M's alone but for the monitor's rare looks.
    base::atomic<std::uint32_t> section{1};
    base::atomic<retake> taken{retake::none};
    base::atomic<std::uint32_t> call{0};
    base::atomic<P*> p{nullptr};           // valid while `taken` is none or asked; owner writes, monitor reads
    base::atomic<G*> curg{nullptr};        // owner writes, snapshots read
    sched* const s;
    base::counter calls;                   // that ended, and times that one was left for the library: call / 2
    base::counter calls_not_own;           // of these, those that did not end with the P still there; counted here first
    base::counter calls_without;           // of these, those after which the goroutine went on without one

    // The owner's, in runtime sections and on g0.
    spin_lock* held = nullptr;             // to be released by the side that is switched to
    void (*commit)(M*, G*, void*) = nullptr;   // or this is to run there
    G* commit_g = nullptr;
    void* commit_arg = nullptr;
    context::execution g0;                 // where the scheduler runs: the thread's own stack
    G* nextg = nullptr;                    // for g0 to run next
    timer* due = nullptr;                  // timer objects that are to run, once no lock of a parking goroutine is held
    G* locked_g = nullptr;                 // the goroutine that lock_os_thread tied to this thread
    bool spinning = false;                 // counted in sched::nmspinning
    std::int64_t call_began = 0;           // of a call that was handed off by its own goroutine
    bool call_predicted = false;           // it was handed off because such calls had blocked
    long sleeps_before = 0;                // os::voluntary_switches() at its start
    std::uint64_t put_on_before = 0;       // P::put_on() of the P that it gave away
    bool came_back = false;                // of the goroutine that commit_exit queues: it had gone on without a P after a call
    bool is_worker = false;                // counted in sched::workers
    long sleeps_at_start = 0;              // os::voluntary_switches() when it started its goroutine without a P
    long sleeps_at_yield = 0;              // likewise at the last yield of its goroutine without one
    const G* switched_to = nullptr;        // at the last switch, if held mutexes are checked
    bool exits = false;                    // its locked goroutine ended: the thread goes with it

    // Set by whoever wakes it, before park.wake(), read after park.wait().
    os::note park;
    P* nextp = nullptr;
    m_role role = m_role::worker;

    // wake_as gives orders to an M that was taken from midle. Without a P or a part it looks again what to do.
    void wake_as(m_role r, P* with, bool spins) noexcept {
        nextp = with;
        spinning = spins;
        role = r;
        park.wake();
    }

    // Guarded by sched::lock.
    midle_hook idle_link;
    bool leaves = false;                   // counted in sched::leaving
    std::uint64_t own_told = 0;            // the most that stats() has said of calls - calls_not_own

    computing_hook computing_link;         // in sched::away_computing
    bool computes = false;                 // counted in sched::computing
    std::uint64_t hog_kind = 0;            // of its goroutine
    std::int64_t cpu_when_judged = 0, judged = 0;
    os::core_time core_when_judged;

    // Set by the monitor before it stores taken_unguarded, read by the owner after it saw that.
    struct unguarded_stay {
        std::int64_t since = 0;
        std::int64_t until = 0;            // the owner's; 0: it lasts
        long call = unknown_call;
    } unguarded;

    const int id;
    base::atomic<int> tid{0};              // written once by the thread
    base::atomic<std::uint32_t> declined{0};   // times that it was asked to yield where it can't; owner writes, monitor reads
    pthread_t thread{};
    base::atomic<bool> is_monitor{false};  // for snapshots
    base::atomic<bool> is_idle{false};     // for snapshots
};

// current_m is the calling thread's M, null on any other thread. Opaque: after a switch the answer may be another.
M* current_m() noexcept;
void set_current_m(M* m) noexcept;

// still_without says whether m, whose goroutine is in user code, has no P. What is to be said of how it went is said then; that
// may be user code, which the goroutine may leave with a P. Returns the M that it runs on.
M* still_without_slowly(M* m, bool& without) noexcept;

inline M* still_without(M* m, bool& without) noexcept {
    if (m->taken.load(std::memory_order_relaxed) != retake::none) [[unlikely]] return still_without_slowly(m, without);
    without = false;   // the section that follows looks again
    return m;
}

// enter begins a runtime section on `m`, the calling thread's M, whose goroutine called the library, and returns the
// M on which the goroutine runs then: it may have lost its P and waited for another. Every enter is followed by leave
// on the M that the goroutine has at that time.
M* enter_slow(M* m) noexcept;

// enter_staying is enter for who must not switch: if m has no P, and none is idle, it returns false, in no section. m stays
// the M either way, and nothing else has run on it.
bool enter_staying_slowly(M* m) noexcept;

// True if entering needs no fence, since retakers have membarrier. Relaxed: constant from the first runtime on.
extern base::atomic<bool> membarrier_in_use;

// Sections and calls are written by the owner alone: no read-modify-write.
inline std::uint32_t one_more(const base::atomic<std::uint32_t>& count) noexcept {
    return count.load(std::memory_order_relaxed) + 1;
}

// begin_call and end_call give the next value of `call`. It is computed from a counter that changes once a pair: a
// chain of one store and load instead of two, which is what a pair in a loop costs. count_call changes it, once it is known
// how the call has ended, and after calls_not_own: so who reads `calls` first never takes one that lost its P for another.
inline std::uint32_t begin_call(const M* m) noexcept { return static_cast<std::uint32_t>(2 * m->calls.get() + 1); }
inline std::uint64_t calls_with_this(const M* m) noexcept { return m->calls.get() + 1; }
inline std::uint32_t end_call(std::uint64_t with_this) noexcept { return static_cast<std::uint32_t>(2 * with_this); }
inline void count_call(M* m) noexcept { m->calls.show(calls_with_this(m)); }

// suspend_call: the goroutine of m enters the library out of a guarded call (a callback). The call counts as over until it
// leaves again, and the goroutine is tied to its thread until the outermost bracket ends (syscall.cpp).
void suspend_call(M* m) noexcept;

// enter_quickly begins the section; false if enter_slow has to follow.
[[gnu::always_inline]] inline bool enter_quickly(M* m) noexcept {
    if (m->call.load(std::memory_order_relaxed) % 2 != 0) [[unlikely]] suspend_call(m);
    if (membarrier_in_use.load(std::memory_order_relaxed)) [[likely]] {
        m->section.store(one_more(m->section), std::memory_order_relaxed);   // partner: the retaker's membarrier
        base::compiler_fence();
        return m->taken.load(std::memory_order_relaxed) == retake::none;
    }
    m->section.exchange(one_more(m->section), std::memory_order_seq_cst);   // partner: the retaker's seq_cst CAS
    return m->taken.load(std::memory_order_seq_cst) == retake::none;
}

inline M* enter(M* m) noexcept {
    if (enter_quickly(m)) [[likely]] return m;
    return enter_slow(m);
}

[[gnu::always_inline]] inline bool enter_staying(M* m) noexcept {
    if (enter_quickly(m)) [[likely]] return true;
    return enter_staying_slowly(m);
}

inline void leave(M* m) noexcept {
    if (m->curg.load(std::memory_order_relaxed)->syscall_depth != 0) [[unlikely]]
        m->call.store(begin_call(m), std::memory_order_relaxed);
    m->section.store(one_more(m->section), std::memory_order_release);   // partner: the retaker's acquire load
}

}  // namespace handoff::detail
