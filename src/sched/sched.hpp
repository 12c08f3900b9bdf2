// sched: what the Ps and Ms of one runtime share, and the functions that move Gs, Ms and Ps between states.
//
// Files: schedule.cpp (which G runs next, park and ready), idle.cpp (idle Ps and Ms, wake-ups, threads), syscall.cpp
// (brackets and the way back), slice.cpp (whose time is over), retake.cpp and monitor.cpp (taking Ps from those who left),
// hogs.cpp (those who compute without a P), without.cpp (ends and beginnings without a P), spawn.cpp (birth and death of Gs),
// g_store.cpp (their memory), thread_stack.cpp (deep code), lifecycle.cpp (birth and death of the whole).
//
// No lost wake-up. Submitting work and running out of it are two sides of a Dekker pair:
//
//     submit:   put the G in a queue;           full fence;   look at npidle and nmspinning; start an M if need be
//     give up:  put the P in pidle;
//               nmspinning - 1 if it spun;      full fence;   look into every queue again; take a P back if there is
//
// One of the fences comes first. If it is the submitter's, the one who gives up sees the G. If it is the other's, the
// submitter sees an idle P and, if nobody spins, starts an M for it; if somebody spins, then that one has yet to come
// to its own fence. A spinner that finds work has one as well: as it stops spinning it looks into every queue again, and
// calls wakep() if there is anything, since submitters may have relied on it for more than the one G that it took. (If there
// is nothing it wakes nobody: that costs 5 us, for which the one G would wait.) The global queue is looked at under the lock
// on both sides.
//
// A submitter counts as a spinner while it looks for an idle P, and others may rely on that. If it finds none it stops to
// count before it opens the lock: any P that becomes idle does so later, and its M's look comes after the work of all
// those who relied. (After the lock, it could happen in between: that M looks, another submits and relies, and nobody is
// left to look.)
//
// A submitter on the only P needs no fence: there is no other P that could be idle.
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "base/sizes.hpp"
#include "context/stack.hpp"
#include "os/load.hpp"
#include "os/note.hpp"
#include "os/thread.hpp"
#include "os/thread_activity.hpp"
#include "sched/counters.hpp"
#include "sched/g.hpp"
#include "sched/g_store.hpp"
#include "sched/global_queue.hpp"
#include "sched/m.hpp"
#include "sched/p.hpp"
#include "sched/section.hpp"
#include "sched/wake_ahead.hpp"

#include <handoff/detail/spin_lock.hpp>
#include <handoff/options.hpp>
#include <handoff/stats.hpp>

#include <array>
#include <boost/intrusive/list.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace handoff::detail {

inline constexpr unsigned max_procs = base::sized(1024, 8);

// Wakes a note when it goes out of scope: declared before a lock_guard, it wakes outside the lock.
class deferred_wake {
public:
    deferred_wake() noexcept = default;
    deferred_wake(const deferred_wake&) = delete;
    deferred_wake& operator=(const deferred_wake&) = delete;
    ~deferred_wake() {
        if (n_) n_->wake();
    }
    void set(os::note& n) noexcept { n_ = &n; }

private:
    os::note* n_ = nullptr;
};

using midle_list = boost::intrusive::list<M, boost::intrusive::member_hook<M, midle_hook, &M::idle_link>,
                                          boost::intrusive::constant_time_size<true>>;
using computing_list = boost::intrusive::list<M, boost::intrusive::member_hook<M, computing_hook, &M::computing_link>,
                                              boost::intrusive::constant_time_size<true>>;
using pidle_list = boost::intrusive::list<P, boost::intrusive::member_hook<P, pidle_hook, &P::idle_link>,
                                          boost::intrusive::constant_time_size<false>>;

// How long an idle M waits for orders; until then it sleeps, but for the first `spin`. And what it does that woke by itself.
struct idle_wait {
    std::int64_t until, spin;
};
enum class idle_end : std::uint8_t { waits_on, works, exits };

// sched_link is how objects that may outlive their runtime find it. A mutex: memory is allocated under it, and locks taken.
struct sched_link {
    sched_link(sched* of, exception_handler h) : on_unhandled_exception(std::move(h)), s(of) {}
    const exception_handler on_unhandled_exception;   // options', for what outlives the runtime
    base::mutex lock;
    sched* s;   // under the lock: null once the runtime has ended
};

struct debug_options {
    std::chrono::milliseconds schedtrace{0};
    bool scheddetail = false;
    bool unguarded = false;
};

class simulation_hooks;

struct sched {
    explicit sched(options o);
    ~sched();

    // --- lifecycle.cpp ---
    void start();                      // threads; throws std::system_error
    void stop_threads() noexcept;
    bool all_ended() const noexcept HANDOFF_REQUIRES(lock);
    void empty_p(P* p) noexcept HANDOFF_EXCLUDES(lock);
    void drain_and_stop() noexcept;    // waits for the goroutines, then joins the threads
    void set_procs(unsigned n);
    void empty_idle_surplus() noexcept HANDOFF_EXCLUDES(lock);
    void release_idle_ms() noexcept HANDOFF_EXCLUDES(lock);
    void retire_p(M* m) noexcept;      // m's P is surplus: empties it; m is left without

    // --- schedule.cpp: on an M, in a runtime section ---
    G* pick(M* m) noexcept;            // the next G of m's P, from its own queues; null if there is none
    G* find_runnable(M* m) noexcept;   // looks everywhere; null if m lost its P on the way
    void thread_loop(M* m) noexcept;   // g0
    void execute(M* m, G* g) noexcept; // g0 runs g
    M* switch_away(M* m, context::execution& from) noexcept;
    M* switch_for_good(M* m, context::execution& from, G* next) noexcept;
    void start_here(M* m, G* g) noexcept;
    M* switch_to_g0(M* m, context::execution& from) noexcept;
    M* wait_on_thread_stack(M* m, G* g) noexcept;
    void yield(M* m) noexcept;         // and leaves the section
    M* give_way(M* m) noexcept;
    M* yield_inline(M* m, bool spent) noexcept;
    G* pick_inline(M* m, P* p) noexcept;
    G* pick_rarely(M* m, P* p) noexcept;
    M* switch_inline(M* m, context::execution& from, G* next, context::leaving how) noexcept;
    void note_start(M* m, P* p, G* g) noexcept;
    void note_rarely(M* m, P* p, const G* g) noexcept;
    bool ready_to_run(M* m, P* p, G* g) noexcept;
    bool give_it_a_stack(M* m, G* g) noexcept;
    void put_local(M* m, G* g) noexcept;
    void put_in_ring(P* p, G* g) noexcept;
    void put_behind(P* p, G* next) noexcept HANDOFF_EXCLUDES(lock);
    void put_global(G* g) noexcept HANDOFF_EXCLUDES(lock);
    unsigned run_timers(M* m, P* p, std::int64_t now) noexcept;
    G* steal_work(M* m) noexcept;
    G* take_global(P* p, unsigned most, bool oldest_batch = false) noexcept HANDOFF_REQUIRES(lock);
    G* take_global_locked(P* p, unsigned most, bool oldest_batch = false) noexcept HANDOFF_EXCLUDES(lock);
    bool work_anywhere() const noexcept;

    // --- slice.cpp ---
    bool chain_lets_on(P* p) noexcept HANDOFF_EXCLUDES(lock);
    void end_slice(P* p) noexcept HANDOFF_EXCLUDES(lock);
    G* pick_after_slice(P* p) noexcept HANDOFF_EXCLUDES(lock);
    void put_spent(G* g) noexcept HANDOFF_EXCLUDES(lock);

    // --- idle.cpp ---
    void wakep() noexcept {            // after put_local of an M with a P
        if (nallp.load(std::memory_order_relaxed) != 1) wakep_any();   // else the caller has the only one
    }
    void wakep_any() noexcept;         // after put_global by anyone
    void share_if_not_alone(P* p) noexcept {   // p's owner; runq.hpp
        if (p->runq.alone() && nallp.load(std::memory_order_relaxed) != 1) [[unlikely]] p->runq.share();
    }
    void acquirep(M* m, P* p) noexcept;
    void acquire_nextp(M* m) noexcept HANDOFF_EXCLUDES(lock);
    P* releasep(M* m) noexcept;
    P* take_idle_p(P* preferred, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void put_idle_p(P* p, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void startm(P* p, bool spinning) noexcept HANDOFF_EXCLUDES(lock);
    void put_by(P* p, bool spinning, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    bool makes_threads(const M* m) const noexcept;
    void leave_to_monitor(P* p, bool spinning) noexcept HANDOFF_EXCLUDES(lock);
    void start_left_ps() noexcept HANDOFF_EXCLUDES(lock);
    bool newm(P* p, bool spinning, m_role role) noexcept HANDOFF_EXCLUDES(lock);
    void handoffp(P* p) noexcept HANDOFF_EXCLUDES(lock);
    bool stopm(M* m) noexcept HANDOFF_EXCLUDES(lock);   // false: the thread should exit
    idle_wait next_wait(const M* m, std::int64_t retire_at) noexcept HANDOFF_REQUIRES(lock);
    idle_end woke_up(M* m, std::int64_t now, std::int64_t& retire_at, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void learn_spin_time(std::int64_t waited) noexcept;
    void stop_locked_m(M* m) noexcept;
    void start_locked_m(M* m, G* g) noexcept;
    M* take_idle_m(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    M* unlink_idle_m(M& m, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    std::int64_t first_idle_timer() const noexcept HANDOFF_REQUIRES(lock);
    void cover_timer(std::int64_t when, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void add_timer_outside(timer* t) HANDOFF_EXCLUDES(lock);   // by threads that are none of ours; throws std::bad_alloc
    bool reap() noexcept HANDOFF_EXCLUDES(lock);        // joins threads that are gone; false if some exit still
    void join_all() noexcept HANDOFF_EXCLUDES(lock);    // waits for those that exit
    bool ours_leave_a_core() const noexcept;
    bool a_core_is_free() const noexcept;
    void thread_exits(M* m) noexcept HANDOFF_EXCLUDES(lock);
    void check_drained(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);

    // --- hogs.cpp ---
    std::int64_t over_limit_wait(std::uint32_t without_p) const noexcept;
    bool too_many_hogs() const noexcept {
        return computing.load(std::memory_order_relaxed) >= nprocs.load(std::memory_order_relaxed);
    }
    bool defer_hog(G* g) noexcept HANDOFF_EXCLUDES(lock);
    void put_hog(G* g) noexcept HANDOFF_REQUIRES(lock);
    G* take_hog() noexcept HANDOFF_REQUIRES(lock);
    void start_hog() noexcept HANDOFF_EXCLUDES(lock);
    void release_hogs() noexcept HANDOFF_REQUIRES(lock);
    bool is_computing(std::uint64_t kind) const noexcept HANDOFF_REQUIRES(lock);
    void count_computing() noexcept HANDOFF_REQUIRES(lock);
    void begin_computing(M* m, std::uint64_t kind) noexcept HANDOFF_EXCLUDES(lock);
    void found_computing(const M* m) noexcept HANDOFF_EXCLUDES(lock);
    void end_of_computing(M* m) noexcept HANDOFF_EXCLUDES(lock);
    void judge_computing(std::int64_t now) noexcept HANDOFF_EXCLUDES(lock);
    void judge(M& m, std::int64_t now) noexcept HANDOFF_REQUIRES(lock);

    // --- monitor.cpp ---
    P* monitor(M* m) noexcept;         // plays the monitor's part; returns a P that m shall run now, or null: stop
    bool pass_monitor_role() noexcept;
    void fire_timers(M* m, P* p) noexcept HANDOFF_EXCLUDES(lock);
    void monitor_wakes_up() noexcept;
    bool monitor_sleeps(std::int64_t now, std::int64_t next_look, P*& due) noexcept HANDOFF_EXCLUDES(lock);
    P* take_idle_p_with_timer(std::int64_t first) noexcept HANDOFF_REQUIRES(lock);
    bool give_memory_back() noexcept HANDOFF_EXCLUDES(lock);
    bool give_gs_back() noexcept HANDOFF_EXCLUDES(lock);   // g_store.cpp
    void retry_starved() noexcept HANDOFF_EXCLUDES(lock);
    bool all_wait() const noexcept HANDOFF_REQUIRES(lock);
    void report_stall() noexcept HANDOFF_EXCLUDES(lock);

    // --- without.cpp: on an M without a P ---
    bool may_end_without(const M* m, const G* g) const noexcept;
    void finish_without(M* m, G* g, bool frees) noexcept HANDOFF_EXCLUDES(lock);
    G* next_without(M* m) noexcept HANDOFF_EXCLUDES(lock);
    bool may_start_without(const G* g) const noexcept;
    bool will_block(const G* g) const noexcept;
    void start_without(M* m, G* g, context::stack* st) noexcept;
    void rest_without(M* m) noexcept;
    void end_of_work(M* m) noexcept {
        if (std::exchange(m->is_worker, false)) workers.fetch_sub(1, std::memory_order_relaxed);
    }
    bool can_wait_for_workers(P* p) noexcept HANDOFF_EXCLUDES(lock);

    // Immutable after construction.
    const options opts;
    const debug_options debug;
    const os::thread_defaults threads;
    const context::float_mode floats;  // in which goroutines start
    const unsigned cores;
    const std::int64_t started;
    simulation_hooks* sim = nullptr;          // set before its only M and P run anything; null: an ordinary runtime

    // Lines of their own for what is written at different times: what every M reads now and then (above), the lock.
    alignas(64) base::mutex lock;
    global_queue globq;                           // changed under the lock
    g_queue hogs HANDOFF_GUARDED_BY(lock);        // fresh Gs that wait for others of their kind to end (monitor.cpp)
    g_queue stackless HANDOFF_GUARDED_BY(lock);   // fresh Gs that no stack could be had for
    midle_list midle HANDOFF_GUARDED_BY(lock);
    pidle_list pidle HANDOFF_GUARDED_BY(lock);
    computing_list away_computing HANDOFF_GUARDED_BY(lock);   // Ms whose P was taken while their goroutine computed (hogs.cpp)
    std::vector<std::unique_ptr<M>> allm HANDOFF_GUARDED_BY(lock);
    std::vector<M*> exited HANDOFF_GUARDED_BY(lock);    // threads to be joined; they may run the program's destructors still
    std::vector<M*> free_ms HANDOFF_GUARDED_BY(lock);   // joined
    static constexpr unsigned kind_bits = 10;           // of a kind's 64, the upper ones
    std::array<std::uint8_t, 1 << kind_bits> hog_credit HANDOFF_GUARDED_BY(lock){};   // by kind (hogs.cpp)
    unsigned nm HANDOFF_GUARDED_BY(lock) = 0;           // threads alive or being made
    unsigned most_nm HANDOFF_GUARDED_BY(lock) = 0;
    unsigned leaving HANDOFF_GUARDED_BY(lock) = 0;      // of nm, those on their way out
    unsigned live_procs HANDOFF_GUARDED_BY(lock) = 0;   // Ps that are not dead
    bool stopping HANDOFF_GUARDED_BY(lock) = false;
    bool draining HANDOFF_GUARDED_BY(lock) = false;
    M* timekeeper HANDOFF_GUARDED_BY(lock) = nullptr;   // the idle M that sleeps until `timekeeper_until`
    std::int64_t timekeeper_until HANDOFF_GUARDED_BY(lock) = os::never;
    wake_ahead ahead HANDOFF_GUARDED_BY(lock);          // of the timekeeper
    bool monitor_deep HANDOFF_GUARDED_BY(lock) = false; // the monitor sleeps until it is woken
    std::int64_t monitor_until HANDOFF_GUARDED_BY(lock) = 0;
    std::uint64_t spawned_outside HANDOFF_GUARDED_BY(lock) = 0;
    std::uint64_t finished_without HANDOFF_GUARDED_BY(lock) = 0;   // goroutines that ended without a P
    const std::shared_ptr<sched_link> link;
    g_store* const store;   // what it holds is guarded by the lock, until the threads are gone

    // Written under the lock, read anywhere. Relaxed where a stale value only delays a wake-up that the Dekker pair
    // above makes good.
    alignas(64) base::atomic<std::uint32_t> npidle{0};
    base::atomic<std::uint32_t> nmspinning{0};
    alignas(64) base::atomic<std::uint32_t> nprocs{0};   // wanted
    base::atomic<std::uint32_t> nallp{0};                // ever made; allp[0..nallp) are set
    std::array<base::atomic<P*>, max_procs> allp{};      // release store, acquire load
    std::array<base::atomic<std::uint8_t>, 1 << kind_bits> kinds{};   // G::predict to start with, by kind; a hint (goroutine/syscall.cpp)
    base::atomic<std::uint32_t> nhogs{0};
    base::atomic<std::uint32_t> computing{0};            // goroutines that compute without a P
    base::atomic<std::uint64_t> computing_kinds{0};      // of these; a bit for each 64th of all kinds
    base::atomic<std::uint32_t> workers{0};              // Ms that start goroutines without a P
    base::atomic<std::uint32_t> starved{0};              // Ps that an M could not be made for, since last looked
    base::atomic<P*> left_ps{nullptr};                   // idle, in no other list: the monitor starts an M for each (idle.cpp)
    base::atomic<std::int64_t> spin_time{0};             // of an idle M
    alignas(64) base::atomic<std::int64_t> coarse_now{0};       // the monitor's clock
    alignas(64) base::atomic<std::uint32_t> outsiders{0};       // threads that work on this runtime without being its own

    os::note monitor_note;
    os::activity_files activities;         // the monitor's
    const os::load_file load;
    os::note drained;
    context::stack_pool stacks;

    counters count;
    base::atomic<bool> warned_no_stack{false};

    // The monitor's own; the part changes hands with a wake-up or a thread's start in between.
    struct {
        std::int64_t pause = 0;            // the present one
        std::int64_t busy_since = 0;       // of the last find, or of the last wake-up from deep sleep
        std::int64_t last_find = 0;
        std::int64_t polling_since = 0;    // 0: it has slept since
        std::int64_t hog_started = 0;      // when a hog was last let through
        std::int64_t load_looked_at = 0;
        bool machine_has_room = true;      // at that time
        std::int64_t judged = 0;           // when those that compute were last looked at
        bool all_busy = false;             // at the last look: no P is idle, and some goroutine is in user code
        bool fast_paths_closed = false;     // by us (monitor.cpp, Fast paths)
        std::int64_t short_of_threads_until = 0;   // when to look again at timers that no thread could be had for
        std::int64_t next_trace = 0;
        unsigned spent_running = 0;        // Ps on which the spent had their turn, at the last look
        std::int64_t reap_pause = 10'000'000;      // how long it sleeps at most while threads exit
        std::int64_t stalled_since = 0;    // when all goroutines were first seen to wait for each other; 0: they don't
        bool stall_reported = false;
        bool surplus = false;              // there were more Ps than wanted, at the last look
    } watch;

    base::mutex unguarded_lock;
    std::map<std::pair<std::string, std::string>, unguarded_site> unguarded HANDOFF_GUARDED_BY(unguarded_lock);

    static std::size_t place_of_kind(std::uint64_t kind) noexcept { return kind >> (64 - kind_bits); }
    static std::size_t place_of_kind(const G* g) noexcept { return place_of_kind(g->kind.load(std::memory_order_relaxed)); }
    // What goroutines of g's kind have taught, and teach (syscall.cpp, Prediction).
    std::uint8_t learnt_by_kind(const G* g) const noexcept {
        return kinds[place_of_kind(g)].load(std::memory_order_relaxed);
    }
    void learn_of_kind(const G* g, bool blocked) noexcept {
        if (!g) return;
        auto& kind = kinds[place_of_kind(g)];
        // A hint: another's may get lost.
        kind.store(predict_after(kind.load(std::memory_order_relaxed), blocked), std::memory_order_relaxed);
    }

    template <class F>
    void for_each_p(F f) const {
        const std::uint32_t n = nallp.load(std::memory_order_acquire);
        for (std::uint32_t i = 0; i < n; ++i) f(*allp[i].load(std::memory_order_acquire));
    }
};

// retake.cpp: what the monitor wants to take, and how it went.
struct retake_candidate {
    M* m = nullptr;
    P* p = nullptr;
    std::uint32_t call = 0, section = 0;   // as seen, the latter even; they must not have moved. `call`: when taken
    bool slice_is_over = false;         // then they may have moved; as taken_slice
    retake asked = retake::none;
    retake as = retake::none;           // taken_call, taken_unguarded or taken_computing
    std::int64_t since = 0;             // first sight, and the call's number, for the owner of an unguarded one
    long call_number = -1;
    bool taken = false;
};
void retake_ps(sched& s, retake_candidate* candidates, unsigned count) noexcept;

// park takes the current goroutine off its processor and runs the next one. `commit(m, g, arg)` is called on the
// context that is switched to, once g's is saved: only there may g be shown to those who could ready it. Returns on
// the M that runs the goroutine then. In a runtime section.
M* park(M* m, wait_reason why, void (*commit)(M*, G*, void*), void* arg) noexcept;

// park_holding is park for who holds a spin lock under which it can be found; the lock is released in place of a commit.
M* park_holding(M* m, wait_reason why, spin_lock& held) noexcept;

// ready makes a waiting goroutine runnable. `m`: the calling thread's M in a runtime section, or null.
void ready_outside(G* g) noexcept;
inline void ready(M* m, G* g) noexcept {
    g->transition(g_state::waiting, g_state::runnable);
    sched* s = g->s;
    P* p = m && m->s == s ? m->p.load(std::memory_order_relaxed) : nullptr;
    if (!p) [[unlikely]] return ready_outside(g);
    if (!p->runq.set_next(g)) s->put_in_ring(p, g);
    s->wakep();
}

M* finish_switch(context::switcher* s) noexcept;
void run_due(M* m) noexcept;
// sched_of_maker is the runtime of what is made without naming one: the calling goroutine's; off a goroutine the default one,
// if the program has asked for that. Else it throws usage_error, which says that `what` needs one: a second runtime beside
// the program's own, with all its threads, is not to come into being unasked.
sched* sched_of_maker(const char* what);

// What default_runtime() has started; null before. release, acquire.
extern base::atomic<sched*> of_default_runtime;

bool in_forked_child() noexcept;

}  // namespace handoff::detail
