// Goroutines: starting them, joining them, and what a goroutine can do with itself.
#pragma once

#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/misuse.hpp>
#include <handoff/detail/task.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/options.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <stop_token>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace handoff {

class runtime;

namespace detail {

struct G;
struct sched;

// Where go() was called: a source location, or, if the parameter list leaves no room for one (then `file` is null), the
// return address. Functions that take the return address are not inlined; it would be their caller's otherwise.
struct spawn_site {
    call_site where{};
    const void* caller = nullptr;
};

// Starts a goroutine on `s`; null: on the current goroutine's runtime or, off a goroutine, on the default one. The task is
// relocated out of `task`, which points to task_inline_size bytes. Throws std::bad_alloc or usage_error; `task` is left as
// it was then.
HANDOFF_API G* spawn(sched* s, const task_ops& ops, void* task, const spawn_options* opts, const spawn_site& site);

HANDOFF_API bool join(G* g, std::int64_t deadline);            // waits until g has ended; false: the deadline came first
HANDOFF_API void check_joinable(const G* g);                   // throws what join() throws by itself for such a handle
HANDOFF_API bool ended(const G* g) noexcept;
HANDOFF_API goroutine_id id_of(const G* g) noexcept;
HANDOFF_API std::exception_ptr take_exception(G* g) noexcept;  // after join
HANDOFF_API void* task_of(G* g) noexcept;                      // after join
HANDOFF_API void release(G* g) noexcept;                       // g's handle is gone
HANDOFF_API void sleep_until_ns(std::int64_t steady_ns, const std::stop_token* stop);
HANDOFF_API sched* sched_of(runtime& rt) noexcept;

template <class R>
struct handle_access;

}  // namespace detail

// A handle to a goroutine, as std::thread is one to a thread; but dropping it detaches the goroutine. Movable. Only one
// thread or goroutine at a time may use it. It may outlive the runtime.
template <class R>
class join_handle {
public:
    using moves_quietly = std::true_type;

    join_handle() noexcept = default;
    join_handle(join_handle&& other) noexcept : g_(std::exchange(other.g_, nullptr)) {}
    join_handle& operator=(join_handle&& other) noexcept {
        if (this != &other) {
            detach();
            g_ = std::exchange(other.g_, nullptr);
        }
        return *this;
    }
    ~join_handle() { detach(); }

    // join waits until the goroutine has ended, then returns its result or rethrows its exception; the handle is empty
    // afterwards. A goroutine that calls it parks, any other thread blocks. Throws std::system_error: invalid_argument for
    // an empty handle, resource_deadlock_would_occur for a goroutine that joins itself. A cancellation point: after
    // `cancelled` the handle is as it was.
    R join() {
        detail::join(g_, detail::no_deadline);
        struct releaser {
            detail::G*& g;
            ~releaser() { detail::release(std::exchange(g, nullptr)); }
        } at_end{g_};
        if (std::exception_ptr e = detail::take_exception(g_)) std::rethrow_exception(std::move(e));
        return static_cast<detail::result_slot<R>*>(detail::task_of(g_))->take();
    }

    // joinable says whether the handle holds a goroutine, running or ended.
    bool joinable() const noexcept { return g_ != nullptr; }

    // wait_for and wait_until wait until the goroutine has ended or the time is over; they return true if the goroutine has
    // ended, and never give up early. The handle stays as it is. They throw what join() throws by itself, but not what the
    // goroutine threw.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> d) {
        return detail::join(g_, detail::deadline_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    bool wait_until(std::chrono::time_point<Clock, Duration> t) {
        return detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return detail::join(g_, deadline); });
    }

    // done says whether join() would return at once. False for an empty handle.
    bool done() const noexcept {
        detail::interleave_point();
        return g_ && detail::ended(g_);
    }

    // detach lets the goroutine run without a handle: its result is destroyed when it ends, its exception goes to
    // options::on_unhandled_exception. Does nothing on an empty handle. Does not switch.
    void detach() noexcept {
        if (g_) detail::release(std::exchange(g_, nullptr));
    }

    // id, also called get_id as in std::thread, is the goroutine's number, unique in the process; 0 for an empty handle.
    goroutine_id id() const noexcept { return g_ ? detail::id_of(g_) : 0; }
    goroutine_id get_id() const noexcept { return id(); }

    void swap(join_handle& other) noexcept { std::swap(g_, other.g_); }
    friend void swap(join_handle& a, join_handle& b) noexcept { a.swap(b); }

private:
    friend detail::handle_access<R>;
    explicit join_handle(detail::G* g) noexcept : g_(g) {}

    detail::G* g_ = nullptr;
};

namespace detail {

template <class R>
struct handle_access {
    static join_handle<R> make(G* g) noexcept { return join_handle<R>(g); }
    static G* of(const join_handle<R>& handle) noexcept { return handle.g_; }
};

// A callable and its arguments, kept by value as std::thread keeps them.
template <class F, class... Args>
struct bound_call {
    using moves_quietly = std::bool_constant<quiet_move<F> && quiet_move<std::tuple<Args...>>>;
    F f;
    std::tuple<Args...> args;
    decltype(auto) operator()() && { return std::apply(std::move(f), std::move(args)); }
};

template <class F>
join_handle<std::invoke_result_t<std::decay_t<F>>> spawn_callable(sched* s, F&& f, const spawn_options* opts,
                                                                  const spawn_site& site) {
    using closure = std::decay_t<F>;
    using R = std::invoke_result_t<closure>;
    using box = task<closure, R>;
    alignas(task_inline_align) std::byte buffer[task_inline_size];
    if constexpr (box::fits_inline) ::new (static_cast<void*>(buffer)) box(std::in_place, std::forward<F>(f));
    else ::new (static_cast<void*>(buffer)) box*(new box(std::in_place, std::forward<F>(f)));
    try {
        return handle_access<R>::make(spawn(s, box::ops, buffer, opts, site));
    } catch (...) {
        box::abandon(buffer);
        throw;
    }
}

template <class F, class... Args>
bound_call<std::decay_t<F>, std::decay_t<Args>...> bind_call(F&& f, Args&&... args) {
    return {std::forward<F>(f), {std::forward<Args>(args)...}};
}

template <class F, class... Args>
auto spawn_call(sched* s, const spawn_options* opts, const spawn_site& site, F&& f, Args&&... args) {
    return spawn_callable(s, bind_call(std::forward<F>(f), std::forward<Args>(args)...), opts, site);
}

template <class F>
concept not_spawn_options = !std::is_same_v<std::remove_cvref_t<F>, spawn_options>;

// A function and its arguments, of which a goroutine can be made: copies of them, the function called as an rvalue.
template <class... Call>
concept spawnable = (std::constructible_from<std::decay_t<Call>, Call> && ...) &&
                    std::is_invocable_v<std::decay_t<Call>...>;

// What the overload with spawn_options may take as such, by a conversion.
template <class F>
concept made_options = not_spawn_options<F> && (std::convertible_to<F, spawn_options> ||
                                                requires(F&& f) { spawn_options{std::forward<F>(f)}; });

struct wrong_go {
    template <class F>
        requires(!made_options<F>)
    HANDOFF_MISUSE("go(f, args...): f can't be called with these arguments. They are copied or moved into the "
                   "goroutine: pass std::ref(x) for a reference, std::move(x) for what can't be copied")
    wrong_go(F&&) {}
};

}  // namespace detail

// go starts a goroutine that calls f(args...). f and the arguments are copied or moved as std::thread does; arguments are
// moved once more than there. The goroutine starts in the current goroutine's runtime or, from any other thread, in the
// process's default one (see runtime.hpp).
//
// Any thread may call it. Neither go nor dropping the handle switches: nothing else runs on the thread meanwhile. (If the
// calling goroutine has lost its processor, by computing or blocking for long, the new goroutine goes to the queue that all
// processors share.) Throws std::bad_alloc; the first call also what the start of the default runtime throws. Constant
// time. A closure of up to 64 bytes is stored in the goroutine, a larger one on the heap. Moving the closure runs the
// program's code, which may do anything, also call the library.
template <detail::not_spawn_options F>
    requires detail::spawnable<F>
auto go(F&& f, call_site site = call_site::current()) {
    return detail::spawn_callable(nullptr, std::forward<F>(f), nullptr, {site, nullptr});
}

template <detail::not_spawn_options F, class Arg, class... Args>
    requires detail::spawnable<F, Arg, Args...>
[[gnu::noinline]] auto go(F&& f, Arg&& arg, Args&&... args) {
    return detail::spawn_call(nullptr, nullptr, {{}, __builtin_return_address(0)}, std::forward<F>(f),
                              std::forward<Arg>(arg), std::forward<Args>(args)...);
}

template <class F, class... Args>
    requires detail::spawnable<F, Args...>
auto go(const spawn_options& opts, F&& f, Args&&... args) {
    return detail::spawn_call(nullptr, &opts, {opts.site, nullptr}, std::forward<F>(f), std::forward<Args>(args)...);
}

template <class... Args>
detail::misused go(detail::wrong_go, Args&&...) { return {}; }

namespace this_goroutine {

// yield lets the other goroutines of this processor run first; the goroutine may continue on another thread. It returns at
// once if there are none. It also returns at once if the goroutine has no processor, as after a call that lost it, and has
// blocked since its last yield: then there is no processor to give to others. On a thread that runs no goroutine it is
// std::this_thread::yield. Not noexcept: in a simulation that has failed it throws the exception that unwinds the
// goroutine. It throws nowhere else.
HANDOFF_API void yield();

// sleep_for and sleep_until park the goroutine, or block a thread that runs none. They never return early; sleep_until is
// not early by the clock that it is given (clock.hpp). Cancellation points (cancellation.hpp).
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> d) {
    if (d <= d.zero()) return yield();
    detail::sleep_until_ns(detail::deadline_after(d), nullptr);
}

template <detail::clock_type Clock, class Duration>
void sleep_until(std::chrono::time_point<Clock, Duration> t) {
    detail::wait_within(detail::limit_at(t), [](std::int64_t deadline) {
        detail::sleep_until_ns(deadline, nullptr);
        return false;
    });
}

// With a stop token: a requested stop ends the sleep early, by the exception `cancelled`.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> d, const std::stop_token& stop) {
    detail::sleep_until_ns(detail::deadline_after(d), &stop);
}

// interleave marks a place where a simulation (simulation.hpp) may let other goroutines run. Put it between plain reads and
// writes of data that goroutines share, where another processor could access the data in between. Outside of simulations it
// does nothing and costs a load.
inline void interleave() {
    if (detail::fast_paths::read(detail::fast.closed) != 0) [[unlikely]] detail::interleave_slow();
}

// id returns the number of the current goroutine; 0 on a thread that runs none.
HANDOFF_API goroutine_id id() noexcept;

}  // namespace this_goroutine

// lock_os_thread ties the current goroutine to its thread until unlock_os_thread has been called as many times: no other
// goroutine runs on that thread meanwhile, and this one runs on no other. It is for code that keeps state in thread-locals,
// or that changes what the kernel knows of the thread: CPUs, niceness, namespaces. No other thread inherits such changes.
//
// If a goroutine ends while it is tied, its thread exits with it. A goroutine that has made such changes should end that
// way, or undo them. A child with PR_SET_PDEATHSIG dies with the thread that forked it: keep the goroutine that forks it
// tied until it has waited for the child (docs/thread-locals.md). Both functions throw usage_error off a goroutine,
// unlock_os_thread also without a lock.
HANDOFF_API void lock_os_thread();
HANDOFF_API void unlock_os_thread();

// os_thread_lock is the pair as a scope. The constructor throws as lock_os_thread does. The goroutine that has made it destroys
// it; if unlock_os_thread() has undone its lock before, that ends the process (std::terminate).
class [[nodiscard]] os_thread_lock {
public:
    os_thread_lock() { lock_os_thread(); }
    ~os_thread_lock() { unlock_os_thread(); }
    os_thread_lock(const os_thread_lock&) = delete;
    os_thread_lock& operator=(const os_thread_lock&) = delete;
};

// last_errno reads errno on the thread that the goroutine runs on now. Plain `errno` may be that of another thread, on
// which the goroutine ran earlier in the same function, since compilers keep its address.
HANDOFF_API int last_errno() noexcept;

}  // namespace handoff
