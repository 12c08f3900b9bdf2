// promise and future: a result that one hands over and another waits for.
//
// What a goroutine returns, its join_handle gives. These are for results that come from elsewhere: a callback of another
// library, an answer that is matched to its request.
#pragma once

#include <handoff/cancellation.hpp>
#include <handoff/detail/task.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/event.hpp>
#include <handoff/mutex.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

template <class T>
class future;

namespace detail {

// What a promise and its future share. `satisfied` is set under the lock; what is written there is read once `ready` is set.
template <class T>
struct promise_state {
    mutex lock;
    bool satisfied = false;
    bool has_value = false;
    base::atomic<bool> retrieved{false};
    std::exception_ptr error;
    result_slot<T> value;
    event ready;

    promise_state() = default;
    promise_state(const promise_state&) = delete;
    promise_state& operator=(const promise_state&) = delete;
    ~promise_state() {
        if (has_value) value.destroy();
    }

    // satisfy calls write(), unless the promise is satisfied already: then it returns false. If write throws, nothing has
    // changed. Once `ready` is set, the owners of both may be gone, and the state with them.
    template <class Write>
    bool satisfy(Write write) {
        {
            const std::scoped_lock hold(lock);
            if (satisfied) return false;
            write();
            satisfied = true;
        }
        ready.set();
        return true;
    }
};

[[noreturn]] inline void fail_future(std::future_errc why) { throw std::future_error(why); }

// The one, or a failure for lack of a state.
template <class T>
promise_state<T>& state_in(const std::shared_ptr<promise_state<T>>& s) {
    if (!s) fail_future(std::future_errc::no_state);
    return *s;
}

}  // namespace detail

// Has the members of std::promise, but for the forms that wait for a thread's end. T may be a reference or void. Movable. Errors
// are std::future_error with the standard's codes. A promise that goes without having been satisfied leaves its future the
// error broken_promise. The promise may be destroyed as soon as its future is ready, also before set_value has returned. Any
// thread; of several that satisfy it at the same time one succeeds.
template <class T>
class promise {
public:
    promise() : s_(std::make_shared<detail::promise_state<T>>()) {}
    promise(promise&& other) noexcept = default;
    promise& operator=(promise&& other) noexcept {
        promise(std::move(other)).swap(*this);
        return *this;
    }
    ~promise() {
        if (!s_) return;
        const cancellation_blocker not_now;   // nor does the end of a simulation end the wait for the lock by an exception
        s_->satisfy([this] { s_->error = std::make_exception_ptr(std::future_error(std::future_errc::broken_promise)); });
    }

    // get_future returns the future; once. Throws future_already_retrieved, no_state.
    future<T> get_future() {
        // Relaxed: only who is the first matters.
        if (detail::state_in(s_).retrieved.exchange(true, std::memory_order_relaxed))
            detail::fail_future(std::future_errc::future_already_retrieved);
        return future<T>(s_);
    }

    // set_value and set_exception satisfy the promise: its future is ready then. They throw promise_already_satisfied,
    // no_state, and what copying or moving the value throws; nothing has changed then. The value is made under a
    // handoff::mutex, where any code may run, but for code that satisfies this promise. They may switch.
    template <class V = T>
        requires(std::is_object_v<T> && std::constructible_from<T, V>)
    void set_value(V&& value) {
        put([&]() -> T { return T(std::forward<V>(value)); });
    }
    template <class V>
        requires(std::is_lvalue_reference_v<T> && std::convertible_to<V&, T>)
    void set_value(V& value) {
        put([&]() -> T { return value; });
    }
    template <class V = T>
        requires std::is_void_v<V>
    void set_value() {
        put([] {});
    }
    void set_exception(std::exception_ptr e) {
        satisfy([&](auto& s) { s.error = std::move(e); });
    }

    void swap(promise& other) noexcept { s_.swap(other.s_); }
    friend void swap(promise& a, promise& b) noexcept { a.swap(b); }

private:
    template <class Make>
    void put(Make make) {
        satisfy([&](auto& s) {
            s.value.emplace_from(make);
            s.has_value = true;
        });
    }
    template <class Write>
    void satisfy(Write write) {
        auto& s = detail::state_in(s_);
        if (!s.satisfy([&] { write(s); })) detail::fail_future(std::future_errc::promise_already_satisfied);
    }

    std::shared_ptr<detail::promise_state<T>> s_;
};

// The other end of a promise. Movable, not copyable. All but valid() throw std::future_error, no_state, if the future is
// empty. Waits are cancellation points; after `cancelled` the future is as it was. It may outlive the promise. Only one thread
// or goroutine at a time may call get(), move or destroy it; several may wait.
template <class T>
class future {
public:
    future() noexcept = default;
    future(future&&) noexcept = default;
    future& operator=(future&&) noexcept = default;

    // get waits until the future is ready, and returns the value, or throws the exception. The future is empty then.
    T get() {
        wait();
        const auto s = std::exchange(s_, nullptr);
        if (s->error) std::rethrow_exception(s->error);
        return s->value.take();
    }

    // valid says whether there is a promise that belongs to this future, or was one, and get() has not been called.
    bool valid() const noexcept { return s_ != nullptr; }

    // ready says whether get() would return at once.
    bool ready() const { return detail::state_in(s_).ready.try_wait(); }

    // wait waits until it is ready. A requested stop ends the wait by the exception `cancelled`.
    void wait() const { detail::state_in(s_).ready.wait(); }
    void wait(const std::stop_token& stop) const { detail::state_in(s_).ready.wait(stop); }
    // wait_for and wait_until return false if the time was over first. They never give up early.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> d) const {
        return detail::state_in(s_).ready.wait_for(d);
    }
    template <detail::clock_type Clock, class Duration>
    bool wait_until(std::chrono::time_point<Clock, Duration> t) const {
        return detail::state_in(s_).ready.wait_until(t);
    }

private:
    friend promise<T>;
    explicit future(std::shared_ptr<detail::promise_state<T>> s) noexcept : s_(std::move(s)) {}

    std::shared_ptr<detail::promise_state<T>> s_;
};

}  // namespace handoff
