// select: wait for the first of several channel operations.
//
//     using namespace std::chrono_literals;
//     select(on_recv(requests, [](std::optional<request> r) { ... }),
//            on_send(log, line, [] { ... }),
//            on_timeout(1s, [] { ... }));
#pragma once

#include <handoff/channel.hpp>
#include <handoff/detail/misuse.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

namespace handoff {

namespace detail {

struct G;

enum class case_kind : std::uint8_t { recv, send, event, timeout, stop, otherwise };

// One case as select's algorithm (src/sync/select.cpp) sees it.
struct case_base {
    explicit case_base(case_kind k, channel_base* c = nullptr) noexcept : kind(k), base(c) {}
    case_base(case_base&&) noexcept = default;
    virtual ~case_base() = default;

    // slot returns the value to send, or raw memory for the value to receive.
    virtual void* slot() noexcept { return nullptr; }

    // try_fast carries the case out if that is possible at once, and for a transfer if no waiter is concerned; no runtime
    // section is needed for that.
    virtual bool try_fast() noexcept { return false; }

    // over says whether the time of a timeout is over, by the clock that it was given in; if not, it sets `deadline` anew.
    virtual bool over() { return true; }

    // fire calls the program's function. `moved`: the value was moved; otherwise the channel is closed.
    virtual void fire(bool moved) = 0;

    case_kind kind;
    channel_base* base;            // null: never ready
    std::int64_t deadline = 0;     // of a timeout
    std::stop_token stop{};        // of a stop
};

// A case that waits for something that is not a channel (select_cases.hpp): for the end of a goroutine, or in the parking lot.
struct event_case : case_base {
    explicit event_case(G* g) noexcept : case_base(case_kind::event), goroutine(g) {}
    explicit event_case(const void* object) noexcept : case_base(case_kind::event), address(object) {}

    // seems_ready says whether try_fast would succeed now; a hint.
    virtual bool seems_ready() const noexcept = 0;
    // must_wait is called under the lock of the waiters at `address`. True: the case is not ready, and who makes it ready
    // will look for waiters. False: it is ready.
    virtual bool must_wait() noexcept { return true; }

    G* goroutine = nullptr;          // null: it waits in the parking lot
    const void* address = nullptr;
    std::uint32_t tag = 0;           // of its place in the parking lot, for who makes it ready
    bool asks_when_woken = false;    // who wakes it does not know whether it is ready: it has to be tried once more
};

struct select_result {
    std::size_t index;
    bool moved;
};

// select_wait carries out one of the cases. Throws `cancelled`, std::bad_alloc and usage_error.
HANDOFF_API select_result select_wait(case_base* const* cases, std::size_t n);

struct do_nothing {
    template <class... Args>
    void operator()(Args&&...) const noexcept {}
};

template <class T, class F>
class recv_case final : public case_base {
public:
    // `kept` is ch if the case has to keep the channel alive, otherwise empty.
    recv_case(const channel<T>& ch, channel<T> kept, F f)
        : case_base(case_kind::recv, channel_access::in_select(ch)), kept_(std::move(kept)), f_(std::move(f)) {}
    // Only before it has fired.
    recv_case(recv_case&& other) noexcept(std::is_nothrow_move_constructible_v<F>)
        : case_base(std::move(other)), kept_(std::move(other.kept_)), f_(std::move(other.f_)) {}

    void* slot() noexcept override { return slot_.bytes; }
    bool try_fast() noexcept override { return static_cast<channel_of<T>*>(base)->try_pop_fast(slot_); }
    void fire(bool moved) override {
        if (moved) std::invoke(f_, slot_.take());
        else std::invoke(f_, std::optional<T>());
    }

private:
    channel<T> kept_;
    value_slot<T> slot_;
    [[no_unique_address]] F f_;
};

template <class T, class F>
class send_case final : public case_base {
public:
    template <class V>
    send_case(const channel<T>& ch, channel<T> kept, V&& value, F f)
        : case_base(case_kind::send, channel_access::in_select(ch)), kept_(std::move(kept)), f_(std::move(f)) {
        slot_.put(std::forward<V>(value));
        full_ = true;
    }
    send_case(send_case&& other) noexcept(std::is_nothrow_move_constructible_v<F>)
        : case_base(std::move(other)), kept_(std::move(other.kept_)), f_(std::move(other.f_)) {
        full_ = std::exchange(other.full_, false);   // now that nothing can throw
        if (full_) channel_of<T>::relocate(slot_.bytes, other.slot_.bytes);
    }
    ~send_case() override {
        if (full_) std::destroy_at(&slot_.get());
    }

    void* slot() noexcept override { return slot_.bytes; }
    bool try_fast() noexcept override {
        if (!static_cast<channel_of<T>*>(base)->try_push_fast(slot_.get())) return false;
        std::destroy_at(&slot_.get());
        return true;
    }
    void fire(bool moved) override {
        if (!moved) throw channel_closed();
        full_ = false;
        std::invoke(f_);
    }

    // value returns the value that was not sent; empty if it was sent.
    std::optional<T> value() {
        if (!std::exchange(full_, false)) return std::nullopt;
        return slot_.take();
    }

private:
    channel<T> kept_;
    value_slot<T> slot_;
    bool full_ = false;
    [[no_unique_address]] F f_;
};

template <class F>
class plain_case final : public case_base {
public:
    plain_case(case_kind k, F f, std::stop_token token = {})   // NOLINT(performance-unnecessary-value-param): it is moved from
        : case_base(k), f_(std::move(f)) {
        stop = std::move(token);
    }
    void fire(bool) override { std::invoke(f_); }

private:
    [[no_unique_address]] F f_;
};

template <class F, class Limit>
class timeout_case final : public case_base {
public:
    timeout_case(const Limit& limit, F f) : case_base(case_kind::timeout), limit_(limit), f_(std::move(f)) { deadline = limit_.deadline(); }
    bool over() override {
        deadline = limit_.deadline();
        return limit_.over();
    }
    void fire(bool) override { std::invoke(f_); }

private:
    Limit limit_;
    [[no_unique_address]] F f_;
};

// A case keeps its function, and calls it as an lvalue.
template <class F, class... Args>
concept case_function = std::move_constructible<F> && std::invocable<F&, Args...>;

// What stands for a case that was made wrongly.
struct no_case final : case_base {
    template <class... Args>
    explicit no_case(Args&&...) : case_base(case_kind::otherwise) {}
    void fire(bool) override {}
    misused value();
};

struct wrong_recv {
    template <class C>
    HANDOFF_MISUSE("on_recv(ch, f): ch must be a handoff::channel<T>, and f a function that takes a std::optional<T>, "
                   "which is empty if the channel is closed")
    wrong_recv(C&&) {}
};

struct wrong_send {
    template <class C>
    HANDOFF_MISUSE("on_send(ch, value, f): ch must be a handoff::channel<T>, value one of which a T can be made "
                   "(std::move(x) for what can't be copied), and f a function without parameters")
    wrong_send(C&&) {}
};

struct wrong_timeout {
    template <class D>
    HANDOFF_MISUSE("on_timeout(d, f): d must be a std::chrono::duration, as in 5ms, and f a function without "
                   "parameters")
    wrong_timeout(D&&) {}
};

template <class T>
inline constexpr bool foreign_time_point = false;
template <class Clock, class Duration>
inline constexpr bool foreign_time_point<std::chrono::time_point<Clock, Duration>> = !clock_type<Clock>;

// A time of what is no clock stays an ordinary error, since programs may ask whether a clock is good for waits.
struct wrong_deadline {
    template <class D>
        requires(!foreign_time_point<std::remove_cvref_t<D>>)
    HANDOFF_MISUSE("on_deadline(t, f): t must be a std::chrono::time_point of a clock, and f a function without "
                   "parameters")
    wrong_deadline(D&&) {}
};

template <class S>
concept converts_to_stop_token = !std::is_same_v<std::remove_cvref_t<S>, std::stop_token> &&
                                 std::is_convertible_v<S, std::stop_token>;

struct wrong_stop {
    template <class S>
        requires(!converts_to_stop_token<S>)
    HANDOFF_MISUSE("on_stop(token, f): token must be a std::stop_token (source.get_token() of a source), and f a "
                   "function without parameters")
    wrong_stop(S&&) {}
};

struct wrong_otherwise {
    template <class F>
    HANDOFF_MISUSE("otherwise(f): f must be a function without parameters")
    wrong_otherwise(F&&) {}
};

}  // namespace detail

// The cases. Each is one operation, for one select; it can be moved before that. A case refers to its channel, which must
// outlive it; but if it is given a temporary handle, it keeps the channel alive. A case of a nil channel is never chosen; one
// of a handle without a channel throws usage_error when it is made. Cases for what is no channel (joins, semaphores, groups,
// events) are in select_cases.hpp.

// on_recv: f(std::optional<T>) is called with what was received; empty if the channel is closed and drained.
template <class T, detail::case_function<std::optional<T>> F>
auto on_recv(const channel<T>& ch, F f) {
    return detail::recv_case<T, F>(ch, {}, std::move(f));
}
template <class T, detail::case_function<std::optional<T>> F>
auto on_recv(channel<T>&& ch, F f) {
    return detail::recv_case<T, F>(ch, ch, std::move(f));
}
// Without a function, the value is stored in `to`, or dropped.
template <class T>
auto on_recv(const channel<T>& ch, std::optional<T>& to) {
    auto store = [&to](std::optional<T> v) {
        to.reset();
        if (v) to.emplace(std::move(*v));
    };
    return detail::recv_case<T, decltype(store)>(ch, {}, store);
}
template <class T>
auto on_recv(const channel<T>& ch) {
    return detail::recv_case<T, detail::do_nothing>(ch, {}, {});
}
template <class T>
auto on_recv(channel<T>&& ch) {
    return detail::recv_case<T, detail::do_nothing>(ch, ch, {});
}
template <class... Args>
detail::no_case on_recv(detail::wrong_recv, Args&&...) { return detail::no_case(); }

// on_send: f() is called once the value, copied or moved from, has been sent. select throws channel_closed if it chooses
// this case and the channel is closed. A value that was not sent is destroyed with the case, unless value() takes it back.
template <class T, class V, detail::case_function F = detail::do_nothing>
    requires std::constructible_from<T, V&&>
auto on_send(const channel<T>& ch, V&& value, F f = {}) {
    return detail::send_case<T, F>(ch, {}, std::forward<V>(value), std::move(f));
}
template <class T, class V, detail::case_function F = detail::do_nothing>
    requires std::constructible_from<T, V&&>
auto on_send(channel<T>&& ch, V&& value, F f = {}) {
    return detail::send_case<T, F>(ch, ch, std::forward<V>(value), std::move(f));
}
template <class... Args>
detail::no_case on_send(detail::wrong_send, Args&&...) { return detail::no_case(); }

// on_timeout and on_deadline: f() is called if no other case was ready in time. d counts from when the case is made.
template <class Rep, class Period, detail::case_function F = detail::do_nothing>
auto on_timeout(std::chrono::duration<Rep, Period> d, F f = {}) {
    return detail::timeout_case<F, detail::steady_limit>(detail::limit_after(d), std::move(f));
}
template <detail::clock_type Clock, class Duration, detail::case_function F = detail::do_nothing>
auto on_deadline(std::chrono::time_point<Clock, Duration> t, F f = {}) {
    return detail::timeout_case<F, decltype(detail::limit_at(t))>(detail::limit_at(t), std::move(f));
}
template <class... Args>
detail::no_case on_timeout(detail::wrong_timeout, Args&&...) { return detail::no_case(); }
template <class... Args>
detail::no_case on_deadline(detail::wrong_deadline, Args&&...) { return detail::no_case(); }

// on_stop: f() is called once a stop has been requested.
template <detail::case_function F = detail::do_nothing>
auto on_stop(std::stop_token token, F f = {}) {
    return detail::plain_case<F>(detail::case_kind::stop, std::move(f), std::move(token));
}
template <class... Args>
detail::no_case on_stop(detail::wrong_stop, Args&&...) { return detail::no_case(); }

// otherwise: f() is called if no case is ready at once; select then does not wait.
template <detail::case_function F = detail::do_nothing>
auto otherwise(F f = {}) {
    return detail::plain_case<F>(detail::case_kind::otherwise, std::move(f));
}
template <class... Args>
detail::no_case otherwise(detail::wrong_otherwise, Args&&...) { return detail::no_case(); }

// select waits until one of the cases is ready, carries out that one and no other, calls its function, and returns its
// index. Among several ready cases it chooses at random, all with the same chance. The function runs after the operation,
// and may do anything; an exception of it comes out of select. The same channel may stand in several cases; a select never
// receives what it sends itself. Without any case it waits forever.
//
// A cancellation point, if it waits. Any thread. Linear in the cases; a case that is ready at once is found without locking
// the others' channels. Values are moved as a channel's send and receive move them, by moves that must not call the
// library.
template <class... Cases>
    requires(std::derived_from<std::remove_reference_t<Cases>, detail::case_base> && ...)
std::size_t select(Cases&&... cases) {
    const std::array<detail::case_base*, sizeof...(cases)> all{&cases...};
    const detail::select_result chosen = detail::select_wait(all.data(), all.size());
    all[chosen.index]->fire(chosen.moved);
    return chosen.index;
}

// select_case holds any case. It is for a number of cases that is known only at run time:
//
//     std::vector<select_case> cases;
//     for (auto& ch : channels) cases.push_back(on_recv(ch, f));
//     std::size_t i = select(cases);
class select_case {
public:
    template <std::derived_from<detail::case_base> Case>
    select_case(Case c) : c_(std::make_unique<Case>(std::move(c))) {}

private:
    friend std::size_t select(std::span<select_case>);
    std::unique_ptr<detail::case_base> c_;
};

// As above. A case may be used again if it is not the one that fired.
inline std::size_t select(std::span<select_case> cases) {
    std::vector<detail::case_base*> all;
    all.reserve(cases.size());
    for (select_case& c : cases) all.push_back(c.c_.get());
    const detail::select_result chosen = detail::select_wait(all.data(), all.size());
    all[chosen.index]->fire(chosen.moved);
    return chosen.index;
}
inline std::size_t select(std::vector<select_case>& cases) { return select(std::span<select_case>(cases)); }

namespace detail {

struct wrong_select {
    template <class C>
        requires(!std::is_convertible_v<C, std::span<select_case>>)
    HANDOFF_MISUSE("select(cases...): each must be a case, which on_recv, on_send, on_timeout, on_deadline, on_stop "
                   "and otherwise make; or one variable, a std::vector<select_case> or an array of them")
    wrong_select(C&&) {}
};

}  // namespace detail

template <class... Args>
std::size_t select(detail::wrong_select, Args&&...) { return 0; }

}  // namespace handoff
