// simulator: the scheduler of a simulation (handoff/simulation.hpp).
//
// It is an ordinary sched with one P and one M, the thread that calls run(), and without a monitor. Two seams make it a
// simulation, both on ways that are slow anyway:
//
//   pick_rarely   p->until_global is kept at 1, so that each pick comes by there, and asks the simulator
//   enter_slow    M::taken is `simulated`, so that each entry into the library comes by there, and may switch
//
// The inline fast paths of locks and channels, which do not enter, are closed meanwhile (handoff/detail/fast_path.hpp).
// Time is os::nanotime's virtual clock; random_number() has a state of the simulation's. All of it is put on the thread
// when a run begins, and taken off at its end.
//
// The runnable goroutines are kept in a list of the simulator's own, in an order that depends on the schedule alone. Gs are
// told apart by their ids, which a simulation gives out itself, never by their addresses.
//
// Timers. What is due at one instant has no order of its own, neither among itself nor beside what goroutines do at that
// instant. So a timer that is due is one more candidate for what happens next, with a chance or a priority like that of a
// goroutine: it leaves the P's heap for `due_`, whose order is the seed's, and fires alone, where a goroutine could have
// gone on. Time moves on once nothing of the instant is left, so nothing is late.
//
// settle() parks its caller in `settling_`; one of those goes on where nothing else could, before time moves on.
//
// The end of a failed run. Goroutines that hang can only be unwound by an exception, and may refer to what older ones have
// on their stacks, whoever joins whom first. So they are ended one at a time, the youngest first: that one, the victim, gets
// an exception out of each wait that it begins or is in, and out of yield() and interleave(); out of locks only once nothing
// else goes on, since clean-up code locks, too. While it can run nobody else does. Where it waits, as clean-up code may, the
// others go on, the youngest first; but who would unwind by an exception of another's end (join, a group's) or of a
// cancellation awaits its turn with that, in `awaiting_`, until it is the victim, or nothing else helps. To be found, each
// goroutine has a cancel_scope from its start on, without a group one of the simulator's; in simulations all waits show
// themselves there, those of locks apart from those that a group may cancel.
//
// Rejected: letting all go on as ever beside the victim. Whoever joined it was unwound by its exception, and with it the
// frame that its older children referred to.
#pragma once

#include "sched/schedule.hpp"
#include "sched/simulation_hooks.hpp"
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

// What a run has failed with. Handlers of exceptions that nobody will see have it too, and may outlive the simulator.
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

    // begin makes the runtime of a run, puts all on the thread and takes it off again in end(). Throws as runtime() does.
    void begin();
    void end() noexcept;
    void run_all() noexcept;        // until all goroutines have ended
    void rethrow_failure();         // if there was one

    // The seams. In a section.
    G* pick() noexcept override;    // null: nobody can run
    void point(M* m) noexcept override;   // an entry: the current goroutine may be preempted
    void yield(M* m) override;      // as this_goroutine::yield; leaves the section
    void settle(M* m);              // parks the current goroutine until nobody else can run; leaves the section

    sched* s() noexcept { return sched_.get(); }

    // --- ending.cpp ---
    void throw_if_failed() const override;    // for a goroutine whose wait was ended
    void throw_if_victim(const G* g) const override;
    void await_turn() override;               // not in a section: returns once the current goroutine may unwind

    std::uint64_t seed() const noexcept { return seed_; }
    std::int64_t now() const noexcept { return now_; }
    std::uint64_t steps() const noexcept { return steps_; }
    std::uint64_t trace_hash() const noexcept { return hash_; }

    static constexpr std::int64_t time_of_begin = 1'000'000'000;   // not 0, which is no time

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
    choice drawn_;                            // by the seed
    choice how_;                              // drawn_; while a failed run ends, the youngest first
    std::int64_t now_ = time_of_begin;
    std::uint64_t steps_ = 0;
    std::uint64_t hash_;

    // Of the present run.
    std::unique_ptr<sched, drain> sched_;
    P* p_ = nullptr;
    struct candidate {
        std::uint64_t priority;               // which does not change while it stands here
        G* g;
    };
    static bool lower_priority(const candidate& a, const candidate& b) noexcept { return a.priority < b.priority; }
    std::vector<candidate> ready_;            // by priority: a heap
    timer_heap due_;                          // the timers that are; by random_key
    std::vector<G*> settling_;                // parked in settle()
    std::vector<std::uint64_t> priorities_;   // by id; the higher goes first
    static constexpr std::uint64_t first_priority = std::uint64_t{1} << 63;   // at least, to begin with
    std::uint64_t lowest_ = first_priority;   // the lowest that was given since
    std::deque<cancel_scope> scopes_;         // of plain goroutines; a G keeps its own
    std::uint64_t idle_advances_ = 0;         // of time, since a goroutine ran

    bool ending_ = false;
    std::uint64_t ending_steps_ = 0;
    std::string report_;
    struct living {
        goroutine_id id;
        G* g;
    };
    std::vector<living> living_;              // the youngest last
    std::vector<G*> awaiting_;                // parked in await_turn()
    goroutine_id victim_id_ = 0;              // 0: none, as no run is ending
};

}  // namespace handoff::detail
