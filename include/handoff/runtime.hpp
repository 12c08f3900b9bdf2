// runtime: a set of processors, threads and goroutines that belong together.
#pragma once

#include <handoff/detail/time.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/options.hpp>
#include <handoff/stats.hpp>

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <vector>

namespace handoff {

namespace detail {

struct runtime_access;

struct wrong_run {
    template <class F>
    HANDOFF_MISUSE("runtime::run(f, args...): f can't be called with these arguments. They are copied or moved into "
                   "the goroutine: pass std::ref(x) for a reference, std::move(x) for what can't be copied")
    wrong_run(F&&) {}
};

}  // namespace detail

// A process may have any number of runtimes, started and stopped in any order. All functions may be called from any thread
// and from any goroutine, of this runtime or of another.
class HANDOFF_API runtime {
public:
    // Starts the monitor and the first worker thread. All threads of the runtime get the signal mask, CPUs, niceness,
    // scheduling policy, namespaces and capabilities that the calling thread has at this time. Throws
    // std::invalid_argument, which names the bad option (or the bad HANDOFF_ variable), and std::system_error if a thread
    // or a mapping can't be had.
    explicit runtime(options = {});

    // Waits until every goroutine of this runtime has ended, then joins its threads and returns its memory. A goroutine
    // that never ends keeps it waiting; so does a thread_local destructor that does not return on one of the runtime's
    // threads. To wait for a limited time, call shutdown() before. It must not run on a goroutine of this runtime
    // (std::terminate, with a message).
    ~runtime();

    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    // run calls f(args...) as a goroutine, waits for it (a goroutine of any runtime parks, a thread blocks), and
    // returns its result or rethrows its exception.
    template <class F, class... Args>
        requires detail::spawnable<F, Args...>
    [[gnu::noinline]] auto run(F&& f, Args&&... args) {
        return detail::spawn_call(impl_.get(), nullptr, {{}, __builtin_return_address(0)}, std::forward<F>(f),
                                  std::forward<Args>(args)...)
            .join();
    }
    template <class... Args>
    detail::misused run(detail::wrong_run, Args&&...) { return {}; }

    // As handoff::go, in this runtime.
    template <detail::not_spawn_options F>
        requires detail::spawnable<F>
    auto go(F&& f, call_site site = call_site::current()) {
        return detail::spawn_callable(impl_.get(), std::forward<F>(f), nullptr, {site, nullptr});
    }
    template <detail::not_spawn_options F, class Arg, class... Args>
        requires detail::spawnable<F, Arg, Args...>
    [[gnu::noinline]] auto go(F&& f, Arg&& arg, Args&&... args) {
        return detail::spawn_call(impl_.get(), nullptr, {{}, __builtin_return_address(0)}, std::forward<F>(f),
                                  std::forward<Arg>(arg), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires detail::spawnable<F, Args...>
    auto go(const spawn_options& opts, F&& f, Args&&... args) {
        return detail::spawn_call(impl_.get(), &opts, {opts.site, nullptr}, std::forward<F>(f),
                                  std::forward<Args>(args)...);
    }
    template <class... Args>
    detail::misused go(detail::wrong_go, Args&&...) { return {}; }

    // The counters since the start of the runtime. Each is exact once the runtime is quiet; while it runs, they may have
    // been read at slightly different times. Linear in procs and threads.
    struct stats stats() const;

    // Every goroutine, thread and processor with its state. Not the state of one instant: each entry was true at some
    // moment during the call. Linear in goroutines; it keeps none of them waiting for longer than some microseconds.
    scheduler_snapshot snapshot() const;

    // Changes the number of processors, 1 to 1024. New ones are there on return. A surplus one is retired when its thread
    // next runs the scheduler; its goroutines go to the others. Throws std::invalid_argument, and std::bad_alloc; nothing
    // has changed then.
    void set_procs(unsigned n);
    unsigned procs() const noexcept;

    // Prints the snapshot as text, a line for each processor, thread and goroutine.
    void dump(std::ostream&) const;

    // shutdown lets the runtime come to its end, for a limited time. From now on it refuses goroutines from outside: go() and
    // run() on other threads and in other runtimes throw usage_error. Its own goroutines may still start others, also in
    // groups, and its timers go on. It waits until all goroutines have ended or the time is over (a thread blocks, a goroutine
    // of another runtime waits under a guard), and returns those that are left, as snapshot() describes them; it returns none
    // only if there was a moment at which all had ended.
    //
    // May be called again, and by several threads at once. The runtime can't be opened again; its destructor still waits for
    // what is left. A program that can't wait for that must not destroy the runtime, and ends with what runs:
    //
    //     auto* rt = new handoff::runtime;       // or default_runtime(), which nobody destroys
    //     ...
    //     const auto left = rt->shutdown(5s);
    //     if (!left.empty()) {
    //         for (const auto& g : left) std::cerr << g.who.describe() << ": " << to_string(g.state) << '\n';
    //         std::quick_exit(1);                 // no destructors of statics, which goroutines may still use
    //     }
    //     delete rt;
    //
    // Throws usage_error on a goroutine of this runtime, on one of a simulation and in a forked child; std::bad_alloc, after
    // the wait.
    template <class Rep, class Period>
    std::vector<goroutine_info> shutdown(std::chrono::duration<Rep, Period> d) {
        return shutdown_within(detail::limit_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    std::vector<goroutine_info> shutdown_until(std::chrono::time_point<Clock, Duration> t) {
        return shutdown_within(detail::limit_at(t));
    }

private:
    friend struct detail::runtime_access;
    struct deleter {
        void operator()(detail::sched*) const noexcept;
    };
    template <class Limit>
    std::vector<goroutine_info> shutdown_within(const Limit& limit) {
        if (detail::wait_within(limit, [this](std::int64_t deadline) { return ends_by(deadline); })) return {};
        return left();
    }
    bool ends_by(std::int64_t deadline);          // refuses goroutines from outside, and waits
    std::vector<goroutine_info> left() const;     // empty: there was a moment at which all had ended

    std::unique_ptr<detail::sched, deleter> impl_;
};

// default_runtime is the runtime of goroutines that go() starts off any goroutine. It starts at its first use, with default
// options, and lives until the process ends: goroutines that still run then end with it. A program asks for it by calling
// this function, or go() off a goroutine. Task groups and timers that are made off a goroutine, and without naming a
// runtime, use it only after that.
HANDOFF_API runtime& default_runtime();

}  // namespace handoff
