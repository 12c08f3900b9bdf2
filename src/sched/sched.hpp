// sched: what the Ps and Ms of one runtime share, and the functions that move Gs, Ms and Ps between states.
//
// Files: schedule.cpp (which G runs next, park and ready), idle.cpp (idle Ps and Ms, wake-ups, threads), syscall.cpp
// (brackets and the way back), retake.cpp and monitor.cpp (taking Ps from those who left), spawn.cpp (birth and death
// of Gs), lifecycle.cpp (birth and death of the whole).
//
// No lost wake-up. Submitting work and running out of it are two sides of a Dekker pair:
//
//     submit:   put the G in a queue;           full fence;   look at npidle and nmspinning; start an M if need be
//     give up:  put the P in pidle;
//               nmspinning - 1 if it spun;      full fence;   look into every queue again; take a P back if there is
//
// One of the fences comes first. If it is the submitter's, the one who gives up sees the G. If it is the other's, the
// submitter sees an idle P and, if nobody spins, starts an M for it; if somebody spins, then that one has yet to come
// to its own fence. A spinner that finds work calls wakep() as it stops spinning, since submitters may have relied on
// it for more than the one G that it took. The global queue is looked at under the lock on both sides.
//
// A submitter counts as a spinner while it looks for an idle P, and others may rely on that. If it finds none it stops to
// count before it opens the lock: any P that becomes idle does so later, and its M's look comes after the work of all
// those who relied. (After the lock, it could happen in between: that M looks, another submits and relies, and nobody is
// left to look.)
//
// A submitter on the only P needs no fence: there is no other P that could be idle.
#pragma once

#include "base/atomic.hpp"
#include "base/free_array.hpp"
#include "base/mutex.hpp"
#include "base/sizes.hpp"
#include "context/stack.hpp"
#include "os/note.hpp"
#include "os/thread.hpp"
#include "sched/g.hpp"
#include "sched/global_queue.hpp"
#include "sched/m.hpp"
#include "sched/p.hpp"

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

// The Gs of a runtime, in chunks that stay where they are: a snapshot walks them, and a handle that outlives its
// runtime keeps them.
class g_store {
public:
    static constexpr unsigned chunk_size = base::sized(64, 4);
    struct chunk {
        G gs[chunk_size];
    };

    // take returns a list of at least one free G. Throws std::bad_alloc. Under sched::lock.
    G* take(unsigned count);
    void give(G* list) noexcept;   // under sched::lock

    template <class F>
    void for_each(F f) {
        for (auto& c : chunks_)
            for (G& g : c->gs) f(g);
    }

    void name(G* g, const std::string& name);   // empty: forgets it
    goroutine_name describe(const G* g);
    goroutine_name describe_briefly(const G* g) noexcept;   // without memory by its number alone

    base::mutex names_lock;
    std::unordered_map<const G*, std::string> names HANDOFF_GUARDED_BY(names_lock);

    // options::on_unhandled_exception, for handles that outlive the runtime too.
    std::function<void(const goroutine_name&, std::exception_ptr)> on_unhandled_exception;

    // Handles left when the runtime ends, plus one for the runtime; who brings it to 0 deletes the store.
    base::atomic<std::uint64_t> owners{1};

private:
    void add_chunk();

    std::vector<std::unique_ptr<chunk>> chunks_;
    base::free_array<G, 4> free_;
};

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
using pidle_list = boost::intrusive::list<P, boost::intrusive::member_hook<P, pidle_hook, &P::idle_link>,
                                          boost::intrusive::constant_time_size<false>>;

// sched_link is how objects that may outlive their runtime find it.
struct sched_link {
    explicit sched_link(sched* of) noexcept : s(of) {}
    spin_lock lock;
    sched* s;   // under the lock: null once the runtime has ended
};

struct debug_options {
    std::chrono::milliseconds schedtrace{0};
    bool scheddetail = false;
    bool unguarded = false;
};

class simulator;

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
    void yield(M* m) noexcept;         // and leaves the section
    M* give_way(M* m) noexcept;
    M* yield_inline(M* m) noexcept;
    G* pick_inline(M* m, P* p) noexcept;
    G* pick_rarely(M* m, P* p) noexcept;
    M* switch_inline(M* m, context::execution& from, G* next, context::leaving how) noexcept;
    void note_start(M* m, P* p, G* g) noexcept;
    void note_handoff(P* p) noexcept;
    bool ready_to_run(M* m, P* p, G* g) noexcept;
    bool give_it_a_stack(M* m, G* g) noexcept;
    void put_local(M* m, G* g) noexcept;
    void put_in_ring(P* p, G* g) noexcept;
    void put_global(G* g) noexcept HANDOFF_EXCLUDES(lock);
    unsigned run_timers(M* m, P* p, std::int64_t now) noexcept;
    G* steal_work(M* m) noexcept;
    G* take_global(P* p, unsigned most, bool oldest_batch = false) noexcept HANDOFF_REQUIRES(lock);
    G* take_global_locked(P* p, unsigned most, bool oldest_batch = false) noexcept HANDOFF_EXCLUDES(lock);
    bool work_anywhere() const noexcept;

    // --- idle.cpp ---
    void wakep() noexcept {            // after put_local of an M with a P
        if (nallp.load(std::memory_order_relaxed) != 1) wakep_any();   // else the caller has the only one
    }
    void wakep_any() noexcept;         // after put_global by anyone
    void share_if_not_alone(P* p) noexcept {   // p's owner; runq.hpp
        if (p->runq.alone() && nallp.load(std::memory_order_relaxed) != 1) [[unlikely]] p->runq.share();
    }
    void acquirep(M* m, P* p) noexcept;
    P* releasep(M* m) noexcept;
    P* take_idle_p(P* preferred, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void put_idle_p(P* p, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void startm(P* p, bool spinning) noexcept HANDOFF_EXCLUDES(lock);
    bool newm(P* p, bool spinning, m_role role) noexcept HANDOFF_EXCLUDES(lock);
    void handoffp(P* p) noexcept HANDOFF_EXCLUDES(lock);
    bool stopm(M* m) noexcept HANDOFF_EXCLUDES(lock);   // false: the thread should exit
    void learn_spin_time(std::int64_t waited) noexcept;
    void stop_locked_m(M* m) noexcept;
    void start_locked_m(M* m, G* g) noexcept;
    M* take_idle_m(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    M* unlink_idle_m(M& m, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    std::int64_t first_idle_timer() const noexcept HANDOFF_REQUIRES(lock);
    void cover_timer(std::int64_t when, deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);
    void add_timer_outside(timer* t) HANDOFF_EXCLUDES(lock);   // by threads that are none of ours; throws std::bad_alloc
    void reap() noexcept HANDOFF_EXCLUDES(lock);        // joins threads that exited
    bool a_core_is_free() const noexcept;
    void thread_exits(M* m) noexcept HANDOFF_EXCLUDES(lock);
    void check_drained(deferred_wake& wake) noexcept HANDOFF_REQUIRES(lock);

    // --- monitor.cpp ---
    P* monitor(M* m) noexcept;         // plays the monitor's part; returns a P that m shall run now, or null: stop
    bool pass_monitor_role() noexcept;
    void fire_timers(M* m, P* p) noexcept HANDOFF_EXCLUDES(lock);
    std::int64_t over_limit_wait(std::uint32_t without_p) const noexcept;
    bool too_many_hogs() const noexcept {
        return computing.load(std::memory_order_relaxed) >= nprocs.load(std::memory_order_relaxed);
    }
    bool defer_hog(G* g) noexcept HANDOFF_EXCLUDES(lock);
    G* take_hog() noexcept HANDOFF_REQUIRES(lock);
    void start_hog() noexcept HANDOFF_EXCLUDES(lock);
    void begin_computing(std::uint8_t kind) noexcept;
    void end_of_computing(std::uint8_t kind) noexcept HANDOFF_EXCLUDES(lock);
    void monitor_wakes_up() noexcept;
    bool monitor_sleeps(std::int64_t now, std::int64_t next_look, P*& due) noexcept HANDOFF_EXCLUDES(lock);
    P* take_idle_p_with_timer(std::int64_t first) noexcept HANDOFF_REQUIRES(lock);
    bool give_memory_back() noexcept HANDOFF_EXCLUDES(lock);
    void retry_starved() noexcept HANDOFF_EXCLUDES(lock);
    bool all_wait() const noexcept HANDOFF_REQUIRES(lock);
    void report_stall() noexcept HANDOFF_EXCLUDES(lock);

    // --- spawn.cpp ---
    G* spawn_here(M* m, const task_ops& ops, void* task, const spawn_options* o, const spawn_site& site, bool detached);
    void spawn_detached(M* m, const task_ops& ops, void* task, const spawn_site& site);
    G* new_g(P* p);                    // throws std::bad_alloc
    void refill_gs(P* p);
    void free_g(P* p, G* g) noexcept;
    void free_g_late(G* g) noexcept;
    void spill_gs(P* p) noexcept;
    context::stack* take_stack(M* m, G* g) noexcept;
    void give_stack(P* p, context::stack* st) noexcept;

    // --- debug ---
    void note_unguarded(G* g, std::int64_t since, std::int64_t until, long call);
    void count_unguarded(const unguarded_call& c);
    struct stats stats();
    scheduler_snapshot snapshot();
    void trace(std::int64_t now) noexcept;
    void print_trace(std::int64_t now);
    std::string describe_all();
    std::string describe_goroutines();

    // Immutable after construction.
    const options opts;
    const debug_options debug;
    const os::thread_defaults threads;
    const unsigned cores;
    const std::int64_t started;
    simulator* sim = nullptr;          // set before its only M and P run anything; null: an ordinary runtime

    // Lines of their own for what is written at different times: what every M reads now and then (above), the lock.
    alignas(64) base::mutex lock;
    global_queue globq;                           // changed under the lock
    g_queue hogs HANDOFF_GUARDED_BY(lock);        // fresh Gs that wait for others of their kind to end (monitor.cpp)
    g_queue stackless HANDOFF_GUARDED_BY(lock);   // fresh Gs that no stack could be had for
    midle_list midle HANDOFF_GUARDED_BY(lock);
    pidle_list pidle HANDOFF_GUARDED_BY(lock);
    std::vector<std::unique_ptr<M>> allm HANDOFF_GUARDED_BY(lock);
    std::vector<M*> exited HANDOFF_GUARDED_BY(lock);    // threads to be joined
    std::vector<M*> free_ms HANDOFF_GUARDED_BY(lock);   // joined
    unsigned nm HANDOFF_GUARDED_BY(lock) = 0;           // threads alive or being made
    unsigned most_nm HANDOFF_GUARDED_BY(lock) = 0;
    unsigned leaving HANDOFF_GUARDED_BY(lock) = 0;      // of nm, those on their way out
    unsigned live_procs HANDOFF_GUARDED_BY(lock) = 0;   // Ps that are not dead
    bool stopping HANDOFF_GUARDED_BY(lock) = false;
    bool draining HANDOFF_GUARDED_BY(lock) = false;
    M* timekeeper HANDOFF_GUARDED_BY(lock) = nullptr;   // the idle M that sleeps until `timekeeper_until`
    std::int64_t timekeeper_until HANDOFF_GUARDED_BY(lock) = os::never;
    bool monitor_deep HANDOFF_GUARDED_BY(lock) = false; // the monitor sleeps until it is woken
    std::int64_t monitor_until HANDOFF_GUARDED_BY(lock) = 0;
    std::uint64_t spawned_outside HANDOFF_GUARDED_BY(lock) = 0;
    const std::shared_ptr<sched_link> link;
    g_store* const store;   // what it holds is guarded by the lock, until the threads are gone

    // Written under the lock, read anywhere. Relaxed where a stale value only delays a wake-up that the Dekker pair
    // above makes good.
    alignas(64) base::atomic<std::uint32_t> npidle{0};
    base::atomic<std::uint32_t> nmspinning{0};
    alignas(64) base::atomic<std::uint32_t> nprocs{0};   // wanted
    base::atomic<std::uint32_t> nallp{0};                // ever made; allp[0..nallp) are set
    std::array<base::atomic<P*>, max_procs> allp{};      // release store, acquire load
    std::array<base::atomic<std::uint8_t>, 256> kinds{}; // G::predict to start with, by the closure's type (syscall.cpp)
    std::array<base::atomic<std::uint32_t>, 256> hog_kinds{};   // of `computing`, by kind
    base::atomic<std::uint32_t> nhogs{0};
    base::atomic<std::uint32_t> computing{0};            // goroutines that compute without a P
    base::atomic<std::uint32_t> starved{0};              // Ps that an M could not be made for, since last looked
    base::atomic<std::int64_t> spin_time{0};             // of an idle M
    alignas(64) base::atomic<std::int64_t> coarse_now{0};       // the monitor's clock
    alignas(64) base::atomic<std::uint32_t> outsiders{0};       // threads that work on this runtime without being its own

    os::note monitor_note;
    os::note drained;
    context::stack_pool stacks;

    base::shared_counter handoffs_sysmon, handoffs_immediate, handoffs_unguarded, handoffs_computing, retakes_given_up;
    base::shared_counter exits_old_idle, exits_any_idle, exits_queued;
    base::shared_counter threads_created, threads_retired, thread_cap_hits, thread_create_failures, stack_failures;
    base::atomic<int> thread_create_errno{0};
    base::atomic<bool> warned_no_stack{false};

    // The monitor's own; the part changes hands with a wake-up or a thread's start in between.
    struct {
        std::int64_t pause = 0;            // the present one
        std::int64_t busy_since = 0;       // of the last find, or of the last wake-up from deep sleep
        std::int64_t last_find = 0;
        std::int64_t polling_since = 0;    // 0: it has slept since
        std::int64_t hog_started = 0;      // when a hog was last let through
        std::int64_t short_of_threads_until = 0;   // when to look again at timers that no thread could be had for
        std::int64_t next_trace = 0;
        std::int64_t stalled_since = 0;    // when all goroutines were first seen to wait for each other; 0: they don't
        bool stall_reported = false;
        bool surplus = false;              // there were more Ps than wanted, at the last look
    } watch;

    base::mutex unguarded_lock;
    std::map<std::pair<std::string, std::string>, unguarded_site> unguarded HANDOFF_GUARDED_BY(unguarded_lock);

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
    bool slice_is_over = false;         // then they may have moved
    retake asked = retake::none;
    retake as = retake::none;           // taken_call, taken_unguarded or taken_computing
    std::int64_t since = 0;             // first sight, and the call's number, for the owner of an unguarded one
    long call_number = -1;
    std::uint8_t kind = 0;              // of a computing one's goroutine
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

// code_address writes "program+0x1234", which addr2line takes. Does not allocate.
void code_address(const void* address, char* text, std::size_t size) noexcept;

// report_exception tells the handler, or else stderr before it ends the process, of an exception that nobody will see.
using exception_handler = std::function<void(const goroutine_name&, std::exception_ptr)>;
void report_exception(const goroutine_name& who, std::exception_ptr e, const exception_handler& handler) noexcept;

// destroy_locals destroys the values of a goroutine that ends; its destructors are user code. goroutine_local.cpp.
void destroy_locals(local_values*& l) noexcept;

M* finish_switch(context::switcher* s) noexcept;
void run_due(M* m) noexcept;
void goroutine_main(context::switcher* arrived) noexcept;

// The runtime that calls from threads off any goroutine use.
sched* default_sched();

bool in_forked_child() noexcept;

}  // namespace handoff::detail
