// simulation: runs goroutines on one thread, in virtual time, in an order that a seed decides. For testing concurrent code.
//
// A race that shows up in one of a million runs on real processors is found within some hundreds of simulated runs, and its
// seed reproduces it as often as you like. docs/simulation.md shows how to use it.
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
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace handoff {

// The base of the errors that a simulation itself detects.
class HANDOFF_API simulation_error : public error {
public:
    simulation_error(const std::string& what, std::uint64_t seed) : error(what), seed_(seed) {}
    std::uint64_t seed() const noexcept { return seed_; }

private:
    std::uint64_t seed_;
};

// All goroutines of a simulation wait for each other, and no timer is pending that would wake one. what() lists the
// goroutines: what each waits for, since when, and where it was created.
class HANDOFF_API deadlock : public simulation_error {
public:
    using simulation_error::simulation_error;
};

// A simulation has taken simulation_options::max_steps steps. what() lists its goroutines.
class HANDOFF_API step_limit_exceeded : public simulation_error {
public:
    using simulation_error::simulation_error;
};

// What explore() throws: the run with this seed has failed. nested_ptr() is the exception of that run; what() contains its
// text.
class HANDOFF_API simulation_failed : public simulation_error, public std::nested_exception {
public:
    // To be constructed while the exception of the run is being handled.
    simulation_failed(const std::string& what, std::uint64_t seed, std::uint64_t trace_hash, std::uint64_t steps)
        : simulation_error(what, seed), trace_hash_(trace_hash), steps_(steps) {}
    std::uint64_t trace_hash() const noexcept { return trace_hash_; }
    std::uint64_t steps() const noexcept { return steps_; }

private:
    std::uint64_t trace_hash_, steps_;
};

// How the next goroutine is chosen.
enum class simulation_policy {
    mixed,         // one of the other two; the seed decides which, and how often it preempts
    random,        // any goroutine that can run, each with the same chance; preempted now and then
    priorities,    // the goroutine with the highest priority; priorities are random, and fall now and then. Finds bugs for
                   // which one goroutine must be far behind the others (Burckhardt et al., "A randomized scheduler with
                   // probabilistic guarantees of finding bugs", 2010).
};

// The network of a simulation: how it treats what goes through the sockets that are made there. Chances are from 0 to 1, and each
// time drawn from the seed.
struct network_options {
    // How long TCP takes from one end to the other: each piece of data, and each step of a connection that is made. Pieces of one
    // connection do not overtake each other; those of several do. Unix sockets take no time.
    std::chrono::nanoseconds least_latency{0};
    std::chrono::nanoseconds most_latency{std::chrono::milliseconds(1)};

    // The chance that a write takes fewer bytes than there is room for, and that what was written arrives in two parts, so that a
    // read gets less. The rest can be written, or read, up to most_event_delay later.
    double short_transfers = 0.25;

    // How many bytes one direction of a connection holds: what was written and not yet read. Further ones can't be written.
    std::size_t buffer_size = 64 * 1024;

    // How much later goroutines may learn of what has happened to a socket.
    std::chrono::nanoseconds most_event_delay{std::chrono::microseconds(100)};

    // The chance, at each write to a TCP connection, that it is reset: both ends fail with connection_reset.
    double resets = 0;

    // The chance, at each attempt to accept, that a connection turns out to be gone (ECONNABORTED), which accept passes over; and
    // that there is no descriptor for it (EMFILE), after which accept tries again later.
    double aborted_accepts = 0;
    double accept_shortages = 0;

    // What a resolver (net/resolver.hpp) finds: the addresses of each host, the first to be tried in front. Names are as they are
    // written here. localhost has ::1 and 127.0.0.1, unless it is here; other hosts do not exist. A lookup takes no time.
    std::map<std::string, std::vector<std::string>> hosts{};
};

struct simulation_options {
    // The run fails with step_limit_exceeded after this many steps. Steps are switches, places where there could have been
    // a switch, and advances of the clock.
    std::uint64_t max_steps = 1'000'000;

    // Virtual time that each step takes. With 0, no time passes while any goroutine can run. With more than 0, a deadline
    // can pass while the goroutine with that deadline works, and a loop that polls the clock comes to an end.
    std::chrono::nanoseconds time_per_step{0};

    simulation_policy policy = simulation_policy::mixed;

    // options::stack_size of its goroutines.
    std::size_t stack_size = 256 * 1024;

    network_options network{};
};

// What explore() tries.
struct exploration {
    std::uint64_t first_seed = 1;
    std::uint64_t count = 1000;                    // how many seeds, first_seed and those that follow it
    std::chrono::nanoseconds time_budget{0};       // after this (real) time no new seed is begun; 0: no such limit
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

// A simulation runs the function that is given to run() as a goroutine, and all goroutines that this one starts, on the
// calling thread.
//
// - The seed decides which goroutine runs next, at each switch. Each library call by a goroutine is also a place where it
//   may be preempted; so is interleave(). Between these places a goroutine runs alone.
// - Time is virtual. It stands still while any goroutine can run; when all wait, it moves on to the next timer, so sleeping
//   for an hour takes no real time. clock::now() returns it. The clocks of the standard library are not affected. Virtual
//   time ends 292 years after its begin.
// - Events that are due at the same instant happen in an order that the seed decides, too: timers, the ends of sleeps and
//   of timed waits, and what goroutines do at that instant. None of them is late.
// - Sockets that its goroutines make (net/tcp.hpp, net/unix.hpp) belong to a network of the simulation, in memory. All addresses
//   and names exist in it, and nothing else listens there. They are closed when the run ends, also if they still exist.
// - A call under a guard (syscall.hpp) simply runs, and all goroutines wait for it.
// - Goroutines are numbered from 1 in the order of their start.
// - Nothing depends on addresses or on the machine. So the same seed gives the same schedule, provided that the code under
//   test is deterministic too: no real clocks, no random_device, no order of pointers, no other threads.
//
// Failure. A run has failed once its first goroutine, or one that nobody joins, ends by an exception, or in a deadlock, or
// at the step limit. After a deadlock or at the step limit, its goroutines are ended one by one, the youngest first.
// When it is a goroutine's turn, its present wait (in a lock, too) throws an exception derived from `cancelled`, whose text
// is the report; so do its later cancellation points, yield() and interleave(). This unwinds what can be unwound. Until its
// own turn, a goroutine does not get the exceptions of younger ones, by a join or a group; so what its older children refer
// to stays. A goroutine may still hang after its turn, because it waits in a destructor during unwinding or under a
// cancellation_blocker, or swallows each exception. Then the process is ended with the report.
//
// Not simulated, and refused with usage_error: goroutines of other runtimes (starting them, joining them), other clocks
// than the steady one in sleep_until and timed waits, lock_os_thread, waiting for a socket that was made outside. Threads are
// not part of the schedule: a wait for something that only a thread can do is taken for a deadlock.
//
// One thread at a time may use an object of this class. Any number of simulations may run in a process, beside runtimes.
class HANDOFF_API simulation {
public:
    // Throws std::invalid_argument, which names the bad option. With HANDOFF_SIM_TRACE=1 in the environment, each switch is
    // printed to stderr.
    explicit simulation(std::uint64_t seed, const simulation_options& = {});
    ~simulation();
    simulation(const simulation&) = delete;
    simulation& operator=(const simulation&) = delete;

    // run calls f(args...) as a goroutine, and waits until it and all other goroutines have ended. It returns the result of
    // f, or throws what made the run fail first. If it is called again, time and random choices continue where the last run
    // ended. It must not be called within a run of the same simulation. Throws std::system_error if a mapping can't be had.
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

    // now is the virtual time; elapsed is how much of it has passed. It begins at the same time in each simulation.
    clock::time_point now() const noexcept;
    std::chrono::nanoseconds elapsed() const noexcept;

    // steps is the number of steps so far (see simulation_options::max_steps); trace_hash is a hash of all decisions made
    // in them. Both are the same in all runs of the same code with the same seed, in whichever process.
    std::uint64_t steps() const noexcept;
    std::uint64_t trace_hash() const noexcept;

    // settle is for tests: it lets what was set in motion come to rest. It returns once all other goroutines of the
    // caller's simulation wait, or settle as well, and nothing is left that is due at the present instant. No virtual time
    // passes. If several goroutines settle, they continue one after the other, in an order that the seed decides, each once
    // everything has come to rest again. Throws usage_error off a simulation's goroutine.
    static void settle();

    // explore runs f(), or f(seed) if it takes one, in one simulation after the other, each with its own seed. At the first
    // run that fails it throws simulation_failed. Otherwise it returns the number of runs.
    //
    // If the environment variable HANDOFF_SIM_SEED is set, that is the only seed; std::invalid_argument if it is no number.
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
    // Exists while run() runs.
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
