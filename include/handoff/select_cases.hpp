// Cases of select for what is not a channel: the end of a goroutine, a counter that reaches zero, a permit, an event. And
// join_any.
//
//     select(on_recv(requests, serve),
//            on_join(worker, [&] { worker.join(); }),
//            on_done(group, [&] { group.wait(); }));
#pragma once

#include <handoff/event.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/latch.hpp>
#include <handoff/select.hpp>
#include <handoff/semaphore.hpp>
#include <handoff/task_group.hpp>
#include <handoff/wait_group.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace handoff {

namespace detail {

template <class F>
class join_case final : public event_case {
public:
    join_case(G* g, F f) : event_case(g), f_(std::move(f)) {}
    bool seems_ready() const noexcept override { return ended(goroutine); }
    bool try_fast() noexcept override {
        interleave_point();
        return ended(goroutine);
    }
    void fire(bool) override { std::invoke(f_); }

private:
    [[no_unique_address]] F f_;
};

template <class F>
class countdown_case final : public event_case {
public:
    countdown_case(const countdown& of, F f) : event_case(&of), of_(&of), f_(std::move(f)) {}
    bool seems_ready() const noexcept override { return of_->done(); }
    bool try_fast() noexcept override {
        interleave_point();
        return of_->done();
    }
    bool must_wait() noexcept override { return of_->begin_wait(); }
    void fire(bool) override { std::invoke(f_); }

private:
    const countdown* of_;
    [[no_unique_address]] F f_;
};

template <class F>
class semaphore_case final : public event_case {
public:
    semaphore_case(semaphore_base& of, F f) : event_case(&of), of_(&of), f_(std::move(f)) {}
    bool seems_ready() const noexcept override { return of_->has_permit(); }
    bool try_fast() noexcept override { return of_->try_take(); }
    bool must_wait() noexcept override { return of_->begin_wait(); }
    void fire(bool) override { std::invoke(f_); }

private:
    semaphore_base* of_;
    [[no_unique_address]] F f_;
};

template <event_kind which, class F>
class set_case final : public event_case {
public:
    set_case(event_base<which>& of, F f) : event_case(&of), of_(&of), f_(std::move(f)) {}
    bool seems_ready() const noexcept override { return case_access::seems_set(*of_); }
    bool try_fast() noexcept override { return of_->try_wait(); }
    bool must_wait() noexcept override { return case_access::begin_wait(*of_); }
    void fire(bool) override { std::invoke(f_); }

private:
    event_base<which>* of_;
    [[no_unique_address]] F f_;
};

struct wrong_join {
    template <class H>
    HANDOFF_MISUSE("on_join(handle, f): handle must be a handoff::join_handle, and f a function without parameters")
    wrong_join(H&&) {}
};

struct wrong_done {
    template <class C>
    HANDOFF_MISUSE("on_done(x, f): x must be a wait_group, a latch or a task_group, and f a function without parameters")
    wrong_done(C&&) {}
};

struct wrong_acquire {
    template <class S>
    HANDOFF_MISUSE("on_acquire(semaphore, f): semaphore must be a handoff::counting_semaphore that is not const, and f a "
                   "function without parameters")
    wrong_acquire(S&&) {}
};

struct wrong_set {
    template <class E>
    HANDOFF_MISUSE("on_set(event, f): event must be a handoff::event or auto_reset_event that is not const, and f a function "
                   "without parameters")
    wrong_set(E&&) {}
};

}  // namespace detail

// on_join: f() is called once the goroutine of the handle has ended; its join() returns at once then. The handle must stay
// where it is until the select has returned. Throws what join() throws by itself, for an empty handle for example.
template <class R, detail::case_function F = detail::do_nothing>
auto on_join(const join_handle<R>& handle, F f = {}) {
    detail::G* const g = detail::handle_access<R>::of(handle);
    detail::check_joinable(g);
    return detail::join_case<F>(g, std::move(f));
}
template <class... Args>
detail::no_case on_join(detail::wrong_join, Args&&...) { return detail::no_case(); }

// on_done: f() is called once the count of the wait group or latch is zero, or no goroutine of the task group runs. A
// wait() returns at once then, if nothing is added meanwhile.
template <detail::countdown_kind who, detail::case_function F = detail::do_nothing>
auto on_done(const detail::countdown_waits<who>& counter, F f = {}) {
    return detail::countdown_case<F>(detail::case_access::of(counter), std::move(f));
}
template <detail::case_function F = detail::do_nothing>
auto on_done(const task_group& group, F f = {}) {
    return detail::countdown_case<F>(detail::case_access::of_group(group), std::move(f));
}
template <class... Args>
detail::no_case on_done(detail::wrong_done, Args&&...) { return detail::no_case(); }

// on_acquire: f() is called with a permit of the semaphore acquired. First come, first served, with those who wait in
// acquire(); a select that chooses another case has had no permit.
template <std::ptrdiff_t Max, detail::case_function F = detail::do_nothing>
auto on_acquire(counting_semaphore<Max>& semaphore, F f = {}) {
    return detail::semaphore_case<F>(detail::case_access::of_semaphore(semaphore), std::move(f));
}
template <class... Args>
detail::no_case on_acquire(detail::wrong_acquire, Args&&...) { return detail::no_case(); }

// on_set: f() is called once the event lets the select through; an auto_reset_event has let nobody else through then.
template <detail::event_kind kind, detail::case_function F = detail::do_nothing>
auto on_set(detail::event_base<kind>& event, F f = {}) {
    return detail::set_case<kind, F>(event, std::move(f));
}
template <class... Args>
detail::no_case on_set(detail::wrong_set, Args&&...) { return detail::no_case(); }

namespace detail {

// join_any_within returns the place of a handle whose goroutine has ended; nothing if a case of `limit` fired.
template <class R>
std::optional<std::size_t> join_any_within(std::span<join_handle<R>> handles, case_base* limit) {
    std::vector<join_case<do_nothing>> ends;
    std::vector<std::size_t> places;
    ends.reserve(handles.size());
    for (std::size_t i = 0; i < handles.size(); ++i) {
        if (!handles[i].joinable()) continue;
        ends.push_back(on_join(handles[i]));
        places.push_back(i);
    }
    if (ends.empty()) check_joinable(nullptr);   // throws
    std::vector<case_base*> all;
    for (auto& end : ends) all.push_back(&end);
    if (limit) all.push_back(limit);
    const std::size_t chosen = select_wait(all.data(), all.size()).index;
    if (chosen == places.size()) return std::nullopt;
    return places[chosen];
}

}  // namespace detail

// join_any waits until a goroutine of one of the handles has ended, and returns that handle's index; empty handles are
// passed over. So a loop that joins what join_any names comes to all of them. If several have ended, it is any of them.
// Throws what join() throws by itself: std::system_error if no handle holds a goroutine. Linear in the handles. A
// cancellation point.
template <class R>
std::size_t join_any(std::span<join_handle<R>> handles) {
    return *detail::join_any_within(handles, nullptr);
}
template <class R>
std::size_t join_any(std::vector<join_handle<R>>& handles) {
    return join_any(std::span<join_handle<R>>(handles));
}

// join_any_for and join_any_until return nothing if the time is over first. They never give up early.
template <class R, class Rep, class Period>
std::optional<std::size_t> join_any_for(std::span<join_handle<R>> handles, std::chrono::duration<Rep, Period> d) {
    auto limit = on_timeout(d);
    return detail::join_any_within(handles, &limit);
}
template <class R, class Rep, class Period>
std::optional<std::size_t> join_any_for(std::vector<join_handle<R>>& handles, std::chrono::duration<Rep, Period> d) {
    return join_any_for(std::span<join_handle<R>>(handles), d);
}
template <class R, detail::clock_type Clock, class Duration>
std::optional<std::size_t> join_any_until(std::span<join_handle<R>> handles, std::chrono::time_point<Clock, Duration> t) {
    auto limit = on_deadline(t);
    return detail::join_any_within(handles, &limit);
}
template <class R, detail::clock_type Clock, class Duration>
std::optional<std::size_t> join_any_until(std::vector<join_handle<R>>& handles, std::chrono::time_point<Clock, Duration> t) {
    return join_any_until(std::span<join_handle<R>>(handles), t);
}

}  // namespace handoff
