// simulation: runs goroutines on one thread, in virtual time, in an order that a seed decides. For testing concurrent code.
//
// A race that one run in a million meets on real processors is found in some hundreds of simulated runs, and its seed
// brings it back as often as one likes. docs/simulation.md shows how to use it.
#pragma once

#include <handoff/clock.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/error.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/options.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace handoff {

// The base of what a simulation finds by itself.
class HANDOFF_API simulation_error : public error {
public:
    simulation_error(const std::string& what, std::uint64_t seed) : error(what), seed_(seed) {}
    std::uint64_t seed() const noexcept { return seed_; }

private:
    std::uint64_t seed_;
};

// All goroutines of a simulation wait for each other, and no timer is pending that would wake one. what() lists them: what
// each waits for, since when, and where it was created.
class HANDOFF_API deadlock : public simulation_error {
public:
    using simulation_error::simulation_error;
};

// A simulation has taken simulation_options::max_steps steps. what() lists its goroutines.
class HANDOFF_API step_limit_exceeded : public simulation_error {
public:
    using simulation_error::simulation_error;
};

// What explore() throws: the run of a seed has failed. nested_ptr() is the exception of that run, and what() has its text.
class HANDOFF_API simulation_failed : public simulation_error, public std::nested_exception {
public:
    // To be made while the exception is handled.
    simulation_failed(const std::string& what, std::uint64_t seed, std::uint64_t trace_hash, std::uint64_t steps)
        : simulation_error(what, seed), trace_hash_(trace_hash), steps_(steps) {}
    std::uint64_t trace_hash() const noexcept { return trace_hash_; }
    std::uint64_t steps() const noexcept { return steps_; }

private:
    std::uint64_t trace_hash_, steps_;
};

// How the next goroutine is chosen.
enum class simulation_policy {
    mixed,         // either of the others, and how often they preempt: decided by the seed
    random,        // any that can run, each with the same chance; preempted now and then
    priorities,    // the one with the highest priority; priorities are random, and fall now and then. Finds what needs one
                   // goroutine to be far behind the others (Burckhardt et al., "A randomized scheduler with probabilistic
                   // guarantees of finding bugs", 2010).
};

struct simulation_options {
    // The run fails with step_limit_exceeded after so many steps: switches, places where there could have been one, and
    // times that the clock was moved on.
    std::uint64_t max_steps = 1'000'000;

    // Virtual time that each step takes. With 0 no time passes while any goroutine can run; with more a deadline can pass
    // while its goroutine works, and a loop that looks at the clock comes to an end.
    std::chrono::nanoseconds time_per_step{0};

    simulation_policy policy = simulation_policy::mixed;

    // options::stack_size, of its goroutines.
    std::size_t stack_size = 256 * 1024;
};

// What explore() shall try.
struct exploration {
    std::uint64_t first_seed = 1;
    std::uint64_t count = 1000;                    // seeds, one after the other
    std::chrono::nanoseconds time_budget{0};       // no new seed is begun after so much (real) time; 0: no such limit
    simulation_options each{};
};

namespace detail {

class simulator;

// Notes that the first goroutine of the run has ended by the current exception.
HANDOFF_API void simulation_caught(simulator& s) noexcept;

template <class F>
struct simulated_call {
    simulator* s;
    F f;
    decltype(auto) operator()() && {
        try {
            return std::move(f)();
        } catch (...) {
            simulation_caught(*s);
            throw;
        }
    }
};

}  // namespace detail

// A simulation runs what run() is given as a goroutine, and all goroutines that this one starts, on the calling thread.
//
// - Which goroutine runs next follows from the seed, at each switch. Each call of the library by a goroutine is also a place
//   where it may be preempted, as is interleave(). In between a goroutine runs alone.
// - Time is virtual. It stands still while any goroutine can run, and moves on to the next timer when all wait; so sleeping
//   for an hour takes none. clock::now() tells it. The clocks of the standard library go on as ever. It ends 292 years after
//   its begin.
// - What is due at the same instant happens in an order that follows from the seed, too: timers, the ends of sleeps and of
//   timed waits, and what goroutines do at that instant. None of it is late.
// - Calls under a guard (syscall.hpp) simply run, and everybody waits for them.
// - Goroutines are numbered from 1 in the order of their start.
// - Nothing depends on addresses or on the machine. So the same seed gives the same schedule, if the code under test
//   repeats itself too: no real clocks, no random_device, no order of pointers, no other threads.
//
// Failure. A run has failed once its first goroutine or one that nobody joins ends by an exception, in a deadlock, or at
// the step limit. After a deadlock or at the step limit its goroutines are ended one by one, the youngest first: each one's
// present wait (locks too) throws an exception derived from `cancelled`, whose text is the report, and so do its later
// cancellation points, yield() and interleave(). This unwinds what can be unwound. Nobody hears of an exception of a younger
// goroutine, by a join or a group, before it is its own turn, so what its older children refer to stays. What then still
// hangs, since it waits in a destructor during unwinding, under a cancellation_blocker, or swallows each exception, can't be
// helped: the process is ended with the report.
//
// Not simulated, and refused with usage_error: goroutines of other runtimes (starting them, joining them), other clocks than
// the steady one in sleep_until and timed waits, lock_os_thread. Threads are not part of the schedule: what waits for one
// alone is taken for a deadlock.
//
// One thread at a time may use an object of this class. Any number of simulations may run in a process, beside runtimes.
class HANDOFF_API simulation {
public:
    // Throws std::invalid_argument that names the bad option. With HANDOFF_SIM_TRACE=1 in the environment each switch is
    // printed to stderr.
    explicit simulation(std::uint64_t seed, const simulation_options& = {});
    ~simulation();
    simulation(const simulation&) = delete;
    simulation& operator=(const simulation&) = delete;

    // run calls f(args...) as a goroutine, and returns once it and all others have ended: its result; or throws what made
    // the run fail first. Run again, it goes on with time and choices where it has ended. It must not run itself. Throws
    // std::system_error if a mapping can't be had.
    template <class F, class... Args>
        requires std::invocable<std::decay_t<F>, std::decay_t<Args>...>
    [[gnu::noinline]] std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...> run(F&& f, Args&&... args) {
        using call = detail::bound_call<std::decay_t<F>, std::decay_t<Args>...>;
        const running scope(*this);
        auto handle = detail::spawn_callable(
            scope.sched(), detail::simulated_call<call>{impl_.get(), {std::forward<F>(f), {std::forward<Args>(args)...}}},
            nullptr, {{}, __builtin_return_address(0)});
        run_all();
        return handle.join();
    }

    std::uint64_t seed() const noexcept;

    // now is the virtual time, and elapsed how much of it has passed. It begins at the same time in each simulation.
    clock::time_point now() const noexcept;
    std::chrono::nanoseconds elapsed() const noexcept;

    // steps so far, see simulation_options::max_steps; and a hash of all that was decided in them. Runs of the same code
    // with the same seed have the same, in whichever process.
    std::uint64_t steps() const noexcept;
    std::uint64_t trace_hash() const noexcept;

    // settle returns once all other goroutines of the simulation that the caller is one of wait, or settle as well, and
    // nothing is left that is due at the present instant. No virtual time passes. For tests: what was set in motion has come
    // to rest. Throws usage_error elsewhere. Where several settle, they go on one after the other, in an order that follows
    // from the seed, each once all has come to rest again.
    static void settle();

    // explore runs f() in one simulation after the other, each with its own seed; f(seed), if it takes one. Throws
    // simulation_failed with the first that fails. Returns how many there were.
    //
    // The environment variable HANDOFF_SIM_SEED, if set, is the only seed; std::invalid_argument if it is no number.
    template <class F>
        requires std::invocable<F&> || std::invocable<F&, std::uint64_t>
    static std::uint64_t explore(const exploration& e, F&& f) {
        auto call = [&f](std::uint64_t seed) {
            if constexpr (std::invocable<F&, std::uint64_t>) std::invoke(f, seed);
            else std::invoke(f);
        };
        return explore(e, [](std::uint64_t seed, void* arg) { (*static_cast<decltype(call)*>(arg))(seed); }, &call);
    }
    template <class F>
        requires std::invocable<F&> || std::invocable<F&, std::uint64_t>
    static std::uint64_t explore(F&& f) {
        return explore(exploration{}, std::forward<F>(f));
    }

private:
    // What there is while run() runs.
    class HANDOFF_API running {
    public:
        explicit running(simulation& s);
        ~running();
        running(const running&) = delete;
        running& operator=(const running&) = delete;
        detail::sched* sched() const noexcept;

    private:
        detail::simulator& s_;
    };

    void run_all();   // throws what the run has failed with
    static std::uint64_t explore(const exploration& e, void (*f)(std::uint64_t seed, void* arg), void* arg);

    std::unique_ptr<detail::simulator> impl_;
};

}  // namespace handoff
