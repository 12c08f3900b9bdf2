// What a simulation decides in the scheduler's place, and what it does where the goroutines of a failed run are ended
// (sim/simulator.hpp). sched::sim points to it; in an ordinary runtime that is null.
#pragma once

namespace handoff::detail {

struct G;
struct M;
class simulated_network;   // net/simulated_network.hpp

class simulation_hooks {
public:
    // In a runtime section.
    virtual G* pick() noexcept = 0;             // the goroutine to run next; null: none can run
    virtual void point(M* m) noexcept = 0;      // an entry into the library: the current goroutine may be preempted
    virtual void yield(M* m) = 0;               // as this_goroutine::yield; leaves the section

    // Not in a section.
    virtual void await_turn() = 0;              // returns once the current goroutine may unwind by another's exception
    virtual void throw_if_failed() const = 0;   // for a goroutine whose wait was ended
    virtual void throw_if_victim(const G* g) const = 0;

    M* m() const noexcept { return m_; }        // the only one; null between runs

    simulated_network* network = nullptr;       // immutable once a run begins
    unsigned quiet = 0;                         // nesting of pinned_goroutine (sched/pinned.hpp): no preemption

protected:
    simulation_hooks() = default;
    ~simulation_hooks() = default;
    simulation_hooks(const simulation_hooks&) = delete;
    simulation_hooks& operator=(const simulation_hooks&) = delete;

    M* m_ = nullptr;
};

// in_simulation says whether the calling thread runs a goroutine of a simulation.
bool in_simulation() noexcept;

// refuse_in_simulation throws usage_error: "not possible in a simulation: `what`".
[[noreturn]] void refuse_in_simulation(const char* what);

// await_turn_to_throw is called where the current goroutine is about to get an exception that another goroutine caused.
void await_turn_to_throw();

}  // namespace handoff::detail
