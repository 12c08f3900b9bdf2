// simulator: the scheduler of a simulation (handoff/simulation.hpp).
//
// It is an ordinary sched with one P and one M, the thread that calls run(), and without a monitor. Two seams make it a
// simulation. Both are on paths that are slow anyway:
//
//     pick_rarely   p->until_global is kept at 1, so that each pick gets there and asks the simulator
//     enter_slow    M::taken is `simulated`, so that each entry into the library gets there and may switch
//
// The inline fast paths of locks and channels, which enter no section, are closed meanwhile (handoff/detail/fast_path.hpp).
// Time is the virtual clock of os::nanotime, and random_number() has a state that belongs to the simulation. All of this is
// set up on the thread when a run begins, and undone when it ends.
//
// The runnable goroutines are kept in a list of the simulator's own, in an order that depends on the schedule alone. Gs are
// told apart by their ids, which a simulation assigns itself, never by their addresses.
//
// Timers. Timers that are due at the same instant have no natural order, neither among each other nor relative to what
// goroutines do at that instant. So a timer that is due is one more candidate for what happens next, with a probability or a
// priority like that of a goroutine. It leaves the P's heap for `due_`, whose order is drawn from the seed, and fires alone,
// at a point where a goroutine could have run. Time moves on once nothing is left of the instant, so nothing is late.
//
// settle() parks its caller in `settling_`. One of these callers goes on where nothing else could run, before time moves on.
//
// The end of a failed run. Goroutines that hang can be unwound only by an exception. They may refer to objects on the stacks
// of older goroutines, whichever of them joins the other first. So they are ended one at a time, the youngest first. That
// one is the victim: it gets an exception out of each wait that it is in or begins, and out of yield() and interleave(); out
// of locks only once nothing else makes progress, since clean-up code takes locks, too. While the victim can run, no other
// goroutine does. When it waits, as clean-up code may, the others run, the youngest first. But a goroutine that is about to
// unwind because of another one's exception (join, a group's wait) or of a cancellation awaits its turn for that, in
// `awaiting_`, until it is the victim, or until nothing else helps. So that the victim's wait can be found, each goroutine
// has a cancel_scope from its start on; if it is in no group, the simulator makes it one. In simulations all waits register
// there; waits that no group may cancel, such as those for locks, are kept apart from the others.
//
// Rejected: to let all other goroutines run as usual beside the victim. A goroutine that joined the victim was unwound by
// the victim's exception, and with it went the frame to which its older children referred.
#pragma once

#include "sched/schedule.hpp"
#include "sched/simulation_hooks.hpp"
#include "sim/network.hpp"
#include "wait/cancel.hpp"
#include "timer/timer_heap.hpp"

#include <handoff/simulation.hpp>

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace handoff::detail {

// The exception with which a run has failed. The handlers of unhandled exceptions refer to it as well, and may outlive the
// simulator.
struct simulation_failure {
    std::exception_ptr first;
    void note(std::exception_ptr e) noexcept {
        if (!first) first = std::move(e);
    }
};

class simulator final : public simulation_hooks {
public:
    simulator(std::uint64_t seed, const simulation_options& o);

    // --- simulator.cpp ---

    // begin makes the runtime of a run; end removes it. Throws as runtime() does.
    void begin();
    void end() noexcept;
    void run_all() noexcept;        // runs until all goroutines have ended
    void rethrow_failure();         // if there was a failure

    // The seams. Called in a runtime section.
    G* pick() noexcept override;    // null: no goroutine can run
    void point(M* m) noexcept override;   // an entry: the current goroutine may be preempted
    void yield(M* m) override;      // as this_goroutine::yield; leaves the section
    void settle(M* m);              // parks the current goroutine until no other can run; leaves the section

    sched* s() noexcept { return sched_.get(); }

    // --- ending.cpp ---
    void throw_if_failed() const override;    // for a goroutine whose wait was ended by the simulator
    void throw_if_victim(const G* g) const override;
    void await_turn() override;               // not in a section: returns once the current goroutine may unwind

    std::uint64_t seed() const noexcept { return seed_; }
    std::int64_t now() const noexcept { return now_; }
    std::uint64_t steps() const noexcept { return steps_; }
    std::uint64_t trace_hash() const noexcept { return hash_; }

    static constexpr std::int64_t time_of_begin = 1'000'000'000;   // not 0, which means no time

    std::shared_ptr<simulation_failure> failure;

private:
    struct drain {
        void operator()(sched* s) const noexcept;
    };

    std::uint64_t random() noexcept;
    std::uint64_t random_below(std::uint64_t n) noexcept;   // n < 2^32
    void mix(std::uint64_t what) noexcept;

    void collect() noexcept;
    void add_ready(G* g) noexcept;
    G* take_ready() noexcept;
    bool others() const noexcept { return !ready_.empty() || due_.size() != 0; }
    bool gives_way(const G* g, bool yields) noexcept;
    void may_switch(M* m, bool yields) noexcept;
    std::uint64_t& priority_of(const G* g) noexcept;
    static std::int64_t random_key(void* self) noexcept;
    std::uint64_t first_timers_priority() const noexcept;
    bool timer_is_next() noexcept;
    void fire_timer() noexcept;
    static void park_in(M* m, wait_reason why, std::vector<G*>& list) noexcept;   // leaves the section
    void let_go_on(std::vector<G*>& parked, std::size_t i) noexcept;
    void start(G* g) noexcept;
    void note_time() noexcept;
    void trace(const G* g) noexcept;
    void step() noexcept;
    bool all_ended() const noexcept;
    bool advance_time() noexcept;

    // --- ending.cpp ---
    void fail_by_deadlock() noexcept;
    void fail_by_step_limit() noexcept;
    std::string report(const char* what);
    void begin_ending() noexcept;
    void find_living() noexcept;
    void next_victim() noexcept;
    void step_of_ending() noexcept;
    bool end_wait(const G* g, bool of_locks_too) noexcept;
    bool end_next() noexcept;
    void prefer(G* g) noexcept;
    std::vector<G*>* list_of(const G* g) noexcept;
    bool let_one_unwind() noexcept;
    [[noreturn]] void give_up() noexcept;

    const std::uint64_t seed_;
    const simulation_options options_;
    const bool traced_;
    std::uint64_t rng_;
    struct choice {
        bool by_priority;
        std::uint64_t preempts_one_in;
    };
    choice drawn_;                            // from the seed
    choice how_;                              // drawn_; while a failed run is being ended: the youngest first
    std::int64_t now_ = time_of_begin;
    std::uint64_t steps_ = 0;
    std::uint64_t hash_;
    detail::network network_;

    // State of the present run.
    std::unique_ptr<sched, drain> sched_;
    P* p_ = nullptr;
    struct candidate {
        std::uint64_t priority;               // does not change while the candidate is in ready_
        G* g;
    };
    static bool lower_priority(const candidate& a, const candidate& b) noexcept { return a.priority < b.priority; }
    std::vector<candidate> ready_;            // if by priority: a heap
    timer_heap due_;                          // the timers that are due, ordered by random_key
    std::vector<G*> settling_;                // parked in settle()
    std::vector<std::uint64_t> priorities_;   // by id; the highest runs first
    static constexpr std::uint64_t first_priority = std::uint64_t{1} << 63;   // initial priorities are at least this
    std::uint64_t lowest_ = first_priority;   // the lowest priority assigned since then
    std::deque<cancel_scope> scopes_;         // of goroutines in no group; a G keeps its own
    std::uint64_t idle_advances_ = 0;         // how often time has moved on since a goroutine ran

    bool ending_ = false;
    std::uint64_t ending_steps_ = 0;
    std::string report_;
    struct living {
        goroutine_id id;
        G* g;
    };
    std::vector<living> living_;              // the youngest last
    std::vector<G*> awaiting_;                // parked in await_turn()
    goroutine_id victim_id_ = 0;              // 0: there is none, since no run is being ended
};

}  // namespace handoff::detail
