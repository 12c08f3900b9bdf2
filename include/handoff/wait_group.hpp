// wait_group: wait until a number of things are done.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/count.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/goroutine.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

// Which of the two is waited for, for reports.
enum class countdown_kind : std::uint8_t { wait_group, latch };

// What wait_group and latch are made of: a counter, and waiting until it is zero.
class countdown {
public:
    // 0 <= n < 2^62
    explicit constexpr countdown(std::int64_t n) noexcept : word_(n * one) {}
    countdown(const countdown&) = delete;
    countdown& operator=(const countdown&) = delete;

    std::int64_t count() const noexcept { return word_.load(std::memory_order_acquire) >> 1; }

    // add changes the count by n, and wakes all waiters if the count is zero then. It returns false, with nothing changed,
    // if the count would be negative or too large.
    bool add(std::int64_t n) noexcept {
        std::int64_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & parked) == 0 || n > -(seen >> 1)) {
            if (n > most || (seen >> 1) + n < 0 || (seen >> 1) + n > never_if_closed(most)) return add_slow(n);
            // release: for the waiters, what was done before. acquire: for whoever brings the count to zero, what others
            // did.
            if (word_.compare_exchange_weak(seen, seen + n * one, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
        }
        return add_slow(n);
    }

    // Acquires what was done before the count became zero.
    bool done() const noexcept { return count() == 0; }
    HANDOFF_API bool wait(countdown_kind who, std::int64_t deadline, const std::stop_token* stop) const;
    // begin_wait says whether a waiter has to wait, and lets add() look for waiters then. Under the lock of the waiters'
    // bucket.
    HANDOFF_API bool begin_wait() const noexcept;

private:
    static constexpr std::int64_t parked = 1, one = 2, most = std::int64_t{1} << 60;

    HANDOFF_API bool add_slow(std::int64_t n) noexcept;
    bool add_more(std::int64_t n) noexcept;

    // Twice the count, plus `parked` if somebody waits (that bit changes under the lock of the waiters' bucket).
    mutable base::atomic<std::int64_t> word_;
};

struct case_access;

// The waits that wait_group and latch have in common. All but try_wait are cancellation points.
template <countdown_kind who>
class countdown_waits {
public:
    // try_wait says whether the count is zero.
    bool try_wait() const noexcept {
        interleave_point();
        return count_.done();
    }
    void wait() const { wait(no_deadline, nullptr); }
    void wait(const std::stop_token& stop) const { wait(no_deadline, &stop); }
    // wait_for and wait_until return false if the time was over first. They never give up early.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> d) const {
        return wait(deadline_after(d), nullptr);
    }
    template <clock_type Clock, class Duration>
    bool wait_until(std::chrono::time_point<Clock, Duration> t) const {
        return wait_within(limit_at(t), [&](std::int64_t deadline) { return wait(deadline, nullptr); });
    }

protected:
    explicit constexpr countdown_waits(std::int64_t n) noexcept : count_(n) {}
    ~countdown_waits() = default;

    countdown count_;

private:
    friend case_access;
    bool wait(std::int64_t deadline, const std::stop_token* stop) const {
        return count_.done() || count_.wait(who, deadline, stop);
    }
};

// For the cases of select (select_cases.hpp).
struct case_access {
    template <countdown_kind who>
    static const countdown& of(const countdown_waits<who>& w) noexcept {
        return w.count_;
    }
    template <class Group>
    static const countdown& of_group(const Group& g) noexcept {
        return running_of(*g.s_);
    }
    template <class Semaphore>
    static auto& of_semaphore(Semaphore& s) noexcept {
        return s.base_;
    }
    template <class Event>
    static bool seems_set(const Event& e) noexcept {
        return e.seems_set();
    }
    template <class Event>
    static bool begin_wait(Event& e) noexcept {
        return e.begin_wait();
    }
};

struct wrong_wait_group_go {
    template <class F>
        requires(!made_options<F>)
    HANDOFF_MISUSE("wait_group::go(f, args...): f can't be called with these arguments. They are copied or moved into the "
                   "goroutine: pass std::ref(x) for a reference, std::move(x) for what can't be copied")
    wrong_wait_group_go(F&&) {}
};

}  // namespace detail

// As Go's sync.WaitGroup: call add() before the work that is to be waited for begins, done() at its end, and wait() to wait
// for all of it. It may be used again once wait() has returned, and destroyed by whoever returned from wait(). Eight bytes.
// wait is a cancellation point. Any thread.
class wait_group : public detail::countdown_waits<detail::countdown_kind::wait_group> {
public:
    constexpr wait_group() noexcept : countdown_waits(0) {}

    // add and done throw usage_error if the count would become negative or too large; nothing has changed then. Linear in
    // the waiters that they wake. add of n > 0 does not switch.
    void add(std::ptrdiff_t n = 1) {
        if (!count_.add(n)) detail::bad_count("a wait_group is counted below zero, or too far");
    }
    void done() { add(-1); }

    // go adds one, starts f(args...) as a goroutine (handoff::go), and counts it as done at its end, however it ends. An
    // exception that leaves f goes to options::on_unhandled_exception. Throws what add and handoff::go throw; nothing has
    // changed then.
    template <detail::not_spawn_options F>
        requires detail::spawnable<F>
    void go(F&& f, call_site site = call_site::current()) {
        start(nullptr, {site, nullptr}, std::forward<F>(f));
    }
    template <detail::not_spawn_options F, class Arg, class... Args>
        requires detail::spawnable<F, Arg, Args...>
    [[gnu::noinline]] void go(F&& f, Arg&& arg, Args&&... args) {
        start(nullptr, {{}, __builtin_return_address(0)},
              detail::bind_call(std::forward<F>(f), std::forward<Arg>(arg), std::forward<Args>(args)...));
    }
    template <class F, class... Args>
        requires detail::spawnable<F, Args...>
    void go(const spawn_options& opts, F&& f, Args&&... args) {
        start(&opts, {opts.site, nullptr}, detail::bind_call(std::forward<F>(f), std::forward<Args>(args)...));
    }
    template <class... Args>
    detail::misused go(detail::wrong_wait_group_go, Args&&...) { return {}; }

private:
    // Counts one as done when it is destroyed.
    class one {
    public:
        using moves_quietly = std::true_type;
        explicit one(wait_group& of) : of_(&of) { of.add(); }
        one(one&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
        ~one() {
            if (of_) of_->done();
        }

    private:
        wait_group* of_;
    };
    template <class F>
    struct counted {
        using moves_quietly = std::bool_constant<detail::quiet_move<F>>;
        one counts;   // destroyed last
        F f;
        void operator()() { std::invoke(std::move(f)); }
    };
    template <class F>
    void start(const spawn_options* opts, const detail::spawn_site& site, F&& f) {
        detail::spawn_callable(nullptr, counted<std::decay_t<F>>{one(*this), std::forward<F>(f)}, opts, site);
    }
};

}  // namespace handoff
