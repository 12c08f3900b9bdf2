// task_group: goroutines that end together.
#pragma once

#include <handoff/cancellation.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/goroutine.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

struct group_state;

// run_child is what a goroutine of a group runs: f(arg), in the group's cancellation scope.
HANDOFF_API void run_child(group_state& g, void (*f)(void*), void* arg) noexcept;

// A goroutine that has been counted into its group.
class group_member {
public:
    HANDOFF_API explicit group_member(std::shared_ptr<group_state> g);   // counts in
    group_member(group_member&&) noexcept = default;
    HANDOFF_API ~group_member();                                         // counts out
    group_state& group() const noexcept { return *g_; }

private:
    std::shared_ptr<group_state> g_;
};

}  // namespace detail

// A task_group starts goroutines and waits for all of them: they live no longer than it does. The first exception that
// leaves one of them cancels the others (cancellation.hpp) and comes out of wait(). Groups nest: a group that a goroutine
// of another group makes is cancelled with it. Goroutines are started as by go().
//
//     task_group g(2s);                        // all within two seconds
//     for (auto& url : urls) g.go([&] { fetch(url); });
//     g.wait();
//
// go, cancel and stop_token may be called from any thread, by the group's goroutines too; the others by the owner.
class task_group {
public:
    HANDOFF_API task_group();

    // With a deadline, after which it is cancelled and wait() throws deadline_exceeded.
    template <class Rep, class Period>
    explicit task_group(std::chrono::duration<Rep, Period> limit) : task_group(detail::deadline_after(limit)) {}
    template <class Clock, class Duration>
    explicit task_group(std::chrono::time_point<Clock, Duration> t) : task_group(detail::deadline_at(t)) {}

    // Cancelled when a stop is requested; wait() then throws `cancelled`.
    HANDOFF_API explicit task_group(std::stop_token stop);

    // If wait() has not been called since the last go(): cancels, then waits, and is no cancellation point. An exception
    // that nobody has seen goes to options::on_unhandled_exception, unless another one is just unwinding the stack.
    HANDOFF_API ~task_group();
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;

    // go starts f() as a goroutine of the group; its result is dropped. In a group that is cancelled f is not called.
    // Throws std::bad_alloc.
    template <detail::not_spawn_options F>
        requires std::invocable<std::decay_t<F>>
    void go(F&& f, call_site site = call_site::current()) {
        detail::group_member member(s_);
        detail::spawn_callable(nullptr, child<std::decay_t<F>>{std::move(member), std::forward<F>(f)}, nullptr, {site, nullptr});
    }

    template <class F>
        requires std::invocable<std::decay_t<F>>
    void go(const spawn_options& opts, F&& f) {
        detail::group_member member(s_);
        detail::spawn_callable(nullptr, child<std::decay_t<F>>{std::move(member), std::forward<F>(f)}, &opts, {opts.site, nullptr});
    }

    // wait returns once all goroutines have ended. Rethrows the first exception that left one of them; else throws
    // deadline_exceeded, or `cancelled` if the group was cancelled from outside, by the enclosing group or a stop token,
    // but not for cancel(). Then it may be used again, if it was not cancelled.
    HANDOFF_API void wait();

    // cancel asks all goroutines of the group, and of groups that they have made, to end. Does not wait. Linear in them.
    HANDOFF_API void cancel() noexcept;

    HANDOFF_API bool cancelled() const noexcept;
    HANDOFF_API std::stop_token stop_token() const noexcept;

private:
    HANDOFF_API explicit task_group(std::int64_t deadline);

    template <class F>
    struct child {
        detail::group_member member;   // goes last
        std::optional<F> f;
        void operator()() {
            detail::run_child(member.group(), [](void* arg) {
                struct destroyer {
                    std::optional<F>& call;
                    ~destroyer() { call.reset(); }
                } at_end{*static_cast<std::optional<F>*>(arg)};
                std::invoke(*at_end.call);
            }, &f);
        }
    };

    std::shared_ptr<detail::group_state> s_;
};

}  // namespace handoff
