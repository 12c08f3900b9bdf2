// task_group: goroutines that end together.
#pragma once

#include <handoff/cancellation.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/wait_group.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

struct group_state;

// A counted reference to a group's state (src/sync/task_group.cpp). One object is used by one thread at a time.
class group_ref {
public:
    group_ref() noexcept = default;
    explicit group_ref(group_state& g) noexcept : g_(&g) { add(g); }
    group_ref(const group_ref& other) noexcept : g_(other.g_) {
        if (g_) add(*g_);
    }
    group_ref(group_ref&& other) noexcept : g_(std::exchange(other.g_, nullptr)) {}
    group_ref& operator=(group_ref other) noexcept {
        std::swap(g_, other.g_);
        return *this;
    }
    ~group_ref() {
        if (g_) drop(*g_);
    }

    group_state* get() const noexcept { return g_; }
    group_state* operator->() const noexcept { return g_; }
    group_state& operator*() const noexcept { return *g_; }
    explicit operator bool() const noexcept { return g_ != nullptr; }

private:
    HANDOFF_API static void add(group_state& g) noexcept;
    HANDOFF_API static void drop(group_state& g) noexcept;

    group_state* g_ = nullptr;
};

// The group's running goroutines, for select.
HANDOFF_API const countdown& running_of(const group_state& g) noexcept;

// While a child_frame lives, the current goroutine is in the group's cancellation scope.
class child_frame {
public:
    // Throws told_exception if the group is cancelled already.
    HANDOFF_API explicit child_frame(group_state& g);
    HANDOFF_API ~child_frame();
    child_frame(const child_frame&) = delete;
    child_frame& operator=(const child_frame&) = delete;

    // fail tells the group, and the handle if there is one, which exception has left the goroutine. Called by the handler that
    // has caught it.
    HANDOFF_API void fail() noexcept;

private:
    void leave() noexcept;

    alignas(void*) std::byte scope_[80];
    bool in_group_ = false;   // the scope is in the group's list; only its goroutine uses it
};

// Counts a goroutine of a group as running, from its construction to its destruction.
class group_member {
public:
    using moves_quietly = std::true_type;

    // Adds one to the group's running goroutines; waits until the group's limit allows that. Sets `where` to the group's
    // runtime if the goroutine has to be started there; leaves it null if the caller runs in that runtime already. Throws
    // usage_error if that runtime has ended, or if the group runs nothing any more; and what a wait throws.
    group_member(const group_ref& g, sched*& where) : group_member(g, where, true) {}
    // As above, but does not wait: nothing if the limit is reached.
    static std::optional<group_member> try_make(const group_ref& g, sched*& where) {
        group_member made(g, where, false);
        return made.g_ ? std::optional<group_member>(std::move(made)) : std::nullopt;
    }
    group_member(group_member&&) noexcept = default;
    HANDOFF_API ~group_member();                                         // subtracts it again
    group_state& group() const noexcept { return *g_; }

private:
    HANDOFF_API group_member(const group_ref& g, sched*& where, bool may_wait);

    group_ref g_;
};

struct wrong_group_go {
    template <class F>
        requires(!made_options<F>)
    HANDOFF_MISUSE("task_group::go(f, args...): f can't be called with these arguments. They are copied or moved into the "
                   "goroutine: pass std::ref(x) for a reference, std::move(x) for what can't be copied")
    wrong_group_go(F&&) {}
};

}  // namespace detail

// A task_group starts goroutines and waits for all of them: none lives longer than the group. The first exception that
// leaves one of them cancels the others (cancellation.hpp) and is thrown by wait(). Results come through the handles that
// go() returns. Groups nest: a group that is made by a goroutine of another group is cancelled with that group.
//
// All its goroutines run in one runtime: the one that the constructor names, otherwise that of the goroutine that makes the
// group. Off a goroutine, with none named, it is the default runtime if the program has asked for that (default_runtime()
// in runtime.hpp); otherwise the constructor throws usage_error.
//
//     task_group g(2s);                        // all within two seconds (std::chrono_literals)
//     for (auto& url : urls) g.go([&] { fetch(url); });
//     g.wait();
//
// go, try_go, cancel and stop_token may be called from any thread, also by the group's goroutines; the other functions only
// by its owner.
class task_group {
public:
    task_group() : task_group(static_cast<detail::sched*>(nullptr)) {}
    explicit task_group(runtime& rt) : task_group(detail::sched_of(rt)) {}

    // With a deadline: when it passes, the group is cancelled, and wait() throws deadline_exceeded.
    template <class Rep, class Period>
    explicit task_group(std::chrono::duration<Rep, Period> limit) : task_group(nullptr, detail::limit_after(limit)) {}
    template <detail::clock_type Clock, class Duration>
    explicit task_group(std::chrono::time_point<Clock, Duration> t) : task_group(nullptr, detail::limit_at(t)) {}
    template <class Rep, class Period>
    task_group(runtime& rt, std::chrono::duration<Rep, Period> limit)
        : task_group(detail::sched_of(rt), detail::limit_after(limit)) {}
    template <detail::clock_type Clock, class Duration>
    task_group(runtime& rt, std::chrono::time_point<Clock, Duration> t)
        : task_group(detail::sched_of(rt), detail::limit_at(t)) {}

    // With a stop token: when a stop is requested, the group is cancelled, and wait() throws `cancelled`.
    explicit task_group(std::stop_token stop) : task_group(static_cast<detail::sched*>(nullptr)) { cancel_with(std::move(stop)); }
    task_group(runtime& rt, std::stop_token stop) : task_group(rt) { cancel_with(std::move(stop)); }

    // With a deadline and a stop token: whichever comes first.
    template <class Rep, class Period>
    task_group(std::chrono::duration<Rep, Period> limit, std::stop_token stop) : task_group(limit) {
        cancel_with(std::move(stop));
    }
    template <detail::clock_type Clock, class Duration>
    task_group(std::chrono::time_point<Clock, Duration> t, std::stop_token stop) : task_group(t) {
        cancel_with(std::move(stop));
    }
    template <class Rep, class Period>
    task_group(runtime& rt, std::chrono::duration<Rep, Period> limit, std::stop_token stop) : task_group(rt, limit) {
        cancel_with(std::move(stop));
    }
    template <detail::clock_type Clock, class Duration>
    task_group(runtime& rt, std::chrono::time_point<Clock, Duration> t, std::stop_token stop) : task_group(rt, t) {
        cancel_with(std::move(stop));
    }

    // If wait() has not been called since the last go(): cancels the group if any of its goroutines still runs, then waits
    // for them. That wait is no cancellation point. An exception that nobody has seen goes to
    // options::on_unhandled_exception, unless another exception is unwinding the stack.
    HANDOFF_API ~task_group();
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;

    // limit lets at most n goroutines of the group run at once; go() waits while there are as many. Throws usage_error if n
    // is 0, or while a goroutine of the group runs. A group may run any number at first. A goroutine of the group that calls
    // go() keeps its own place while it waits for another: where one starts the others, allow for it, too.
    HANDOFF_API void limit(std::size_t n);

    // go starts f(args...) as a goroutine of the group; see handoff::go. Its handle may be dropped, as any handle may; the
    // group knows its goroutines without them. The handle's join() returns the result, or rethrows the exception that has
    // also gone to the group. In a group that is already cancelled, f is not called, and join() throws `cancelled`.
    //
    // Without a limit, go does not switch. With one, it may have to wait: it is a cancellation point then, and the group's
    // own end ends the wait. Throws std::bad_alloc; usage_error if the group's runtime has ended; and usage_error for a
    // group that has failed or was ended by cancel(), once its wait() has returned or thrown: such a group runs nothing any
    // more.
    template <detail::not_spawn_options F>
        requires detail::spawnable<F>
    auto go(F&& f, call_site site = call_site::current()) {
        return start(nullptr, {site, nullptr}, std::forward<F>(f));
    }
    template <detail::not_spawn_options F, class Arg, class... Args>
        requires detail::spawnable<F, Arg, Args...>
    [[gnu::noinline]] auto go(F&& f, Arg&& arg, Args&&... args) {
        return start(nullptr, {{}, __builtin_return_address(0)},
                     detail::bind_call(std::forward<F>(f), std::forward<Arg>(arg), std::forward<Args>(args)...));
    }
    template <class F, class... Args>
        requires detail::spawnable<F, Args...>
    auto go(const spawn_options& opts, F&& f, Args&&... args) {
        return start(&opts, {opts.site, nullptr}, detail::bind_call(std::forward<F>(f), std::forward<Args>(args)...));
    }

    // try_go is go that does not wait: it returns nothing, and has started nothing, if the limit is reached.
    template <detail::not_spawn_options F>
        requires detail::spawnable<F>
    auto try_go(F&& f, call_site site = call_site::current()) {
        return try_start(nullptr, {site, nullptr}, std::forward<F>(f));
    }
    template <detail::not_spawn_options F, class Arg, class... Args>
        requires detail::spawnable<F, Arg, Args...>
    [[gnu::noinline]] auto try_go(F&& f, Arg&& arg, Args&&... args) {
        return try_start(nullptr, {{}, __builtin_return_address(0)},
                         detail::bind_call(std::forward<F>(f), std::forward<Arg>(arg), std::forward<Args>(args)...));
    }
    template <class F, class... Args>
        requires detail::spawnable<F, Args...>
    auto try_go(const spawn_options& opts, F&& f, Args&&... args) {
        return try_start(&opts, {opts.site, nullptr}, detail::bind_call(std::forward<F>(f), std::forward<Args>(args)...));
    }

    template <class... Args>
    detail::misused go(detail::wrong_group_go, Args&&...) { return {}; }
    template <class... Args>
    detail::misused try_go(detail::wrong_group_go, Args&&...) { return {}; }

    // wait returns once all goroutines of the group have ended. If an exception has left any of them, it rethrows the
    // first. Otherwise it throws deadline_exceeded after the deadline, or `cancelled` if the group was cancelled from
    // outside, by the enclosing group or a stop token; but only if a goroutine was still running at that time, or was added
    // afterwards: not if all had ended by then. After cancel() it throws neither. The group may be used again afterwards,
    // if it was not cancelled.
    HANDOFF_API void wait();

    // wait_for and wait_until return false if the time is over first; the group is as it was then. Otherwise they return
    // true, or throw what wait() throws.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> d) {
        if (!all_end(detail::deadline_after(d))) return false;
        wait();
        return true;
    }
    template <detail::clock_type Clock, class Duration>
    bool wait_until(std::chrono::time_point<Clock, Duration> t) {
        if (!detail::wait_within(detail::limit_at(t), [&](std::int64_t deadline) { return all_end(deadline); })) return false;
        wait();
        return true;
    }

    // cancel asks all goroutines of the group, and of groups that they have made, to end, and calls the callbacks on its
    // stop token. Does not wait. Linear in these goroutines and groups; nested groups take no additional stack, however
    // deep.
    HANDOFF_API void cancel() noexcept;

    HANDOFF_API bool cancelled() const noexcept;
    HANDOFF_API std::stop_token stop_token() const noexcept;

private:
    // A null runtime: the maker's. `later` is called at the deadline. It returns the deadline to try next, or at_once if
    // the time is over; with a null `later` it is over.
    using look_again = std::function<std::int64_t()>;
    HANDOFF_API explicit task_group(detail::sched* of);
    HANDOFF_API task_group(detail::sched* of, std::int64_t deadline, look_again later);
    HANDOFF_API void cancel_with(std::stop_token stop);
    HANDOFF_API bool all_end(std::int64_t deadline) const;   // false: the deadline came first

    task_group(detail::sched* of, detail::steady_limit limit) : task_group(of, limit.deadline(), nullptr) {}
    template <class Clock, class Duration>
    task_group(detail::sched* of, const detail::clock_limit<Clock, Duration>& limit)
        : task_group(of, limit.deadline(), [limit] { return limit.over() ? detail::at_once : limit.deadline(); }) {}

    template <class F>
    struct child {
        using moves_quietly = std::bool_constant<detail::quiet_move<F>>;
        using tells_exceptions = std::true_type;
        detail::group_member member;   // destroyed last
        std::optional<F> f;
        std::invoke_result_t<F> operator()() {
            detail::child_frame frame(member.group());
            try {
                struct destroyer {
                    std::optional<F>& call;
                    ~destroyer() { call.reset(); }
                } at_end{f};
                return std::invoke(*std::move(f));
            } catch (...) {
                frame.fail();
                throw detail::told_exception();
            }
        }
    };

    template <class F>
    auto start(const spawn_options* opts, const detail::spawn_site& site, F&& f) {
        detail::sched* where = nullptr;
        detail::group_member member(s_, where);
        return start_as(std::move(member), where, opts, site, std::forward<F>(f));
    }
    template <class F>
    auto try_start(const spawn_options* opts, const detail::spawn_site& site, F&& f) {
        detail::sched* where = nullptr;
        std::optional<detail::group_member> member = detail::group_member::try_make(s_, where);
        using handle = decltype(start_as(std::move(*member), where, opts, site, std::forward<F>(f)));
        if (!member) return std::optional<handle>();
        return std::optional<handle>(start_as(std::move(*member), where, opts, site, std::forward<F>(f)));
    }
    template <class F>
    static auto start_as(detail::group_member member, detail::sched* where, const spawn_options* opts,
                         const detail::spawn_site& site, F&& f) {
        return detail::spawn_callable(where, child<std::decay_t<F>>{std::move(member), std::forward<F>(f)}, opts, site);
    }

    friend detail::case_access;
    detail::group_ref s_;
};

}  // namespace handoff
