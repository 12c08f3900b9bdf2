// event: something that has happened, or not; and waiting until it has.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/time.hpp>

#include <chrono>
#include <cstdint>
#include <stop_token>

namespace handoff {

namespace detail {

struct case_access;

// manual: it is set until somebody resets it. automatic: whoever it lets through resets it.
enum class event_kind : std::uint8_t { manual, automatic };

// What both kinds have in common.
template <event_kind kind>
class event_base {
public:
    event_base(const event_base&) = delete;
    event_base& operator=(const event_base&) = delete;

    // set sets the event; see event and auto_reset_event. What was done before it happens before what is done after the
    // wait that it ends. Does not switch. Any thread, but no signal handler.
    void set() noexcept {
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        // release: pairs with the acquire of try_wait and must_park. Also if it is set already: who resets it has to see what
        // each of those that set it has done.
        while ((never_if_closed(seen) & parked) == 0)
            if (word_.compare_exchange_weak(seen, is_set, std::memory_order_release, std::memory_order_relaxed)) return;
        set_slow();
    }

    // reset undoes set; it does nothing to an event that is not set. What was done before the set() that it undoes happens
    // before what is done after it. Does not switch.
    void reset() noexcept {
        interleave_point();
        word_.fetch_and(~is_set, std::memory_order_acquire);   // acquire: pairs with the release of set
    }

    // try_wait says whether a wait would let the caller through at once, and does what the wait would do then.
    bool try_wait() noexcept {
        interleave_point();
        std::uint32_t seen = word_.load(std::memory_order_acquire);   // acquire: pairs with the release of set
        if constexpr (kind == event_kind::automatic) {
            while ((seen & is_set) != 0)
                if (word_.compare_exchange_weak(seen, 0, std::memory_order_acquire, std::memory_order_relaxed)) return true;
            return false;
        } else {
            return (seen & is_set) != 0;
        }
    }

    // wait waits until the event lets the caller through. All waits but try_wait are cancellation points. A requested stop
    // ends the wait by the exception `cancelled`, unless there is nothing to wait for.
    void wait() { wait(no_deadline, nullptr); }
    void wait(const std::stop_token& stop) { wait(no_deadline, &stop); }
    // wait_for and wait_until return false if the time was over first. They never give up early.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> d) {
        return wait(deadline_after(d), nullptr);
    }
    template <clock_type Clock, class Duration>
    bool wait_until(std::chrono::time_point<Clock, Duration> t) {
        return wait_within(limit_at(t), [&](std::int64_t deadline) { return wait(deadline, nullptr); });
    }

protected:
    explicit constexpr event_base(bool set_at_first) noexcept : word_(set_at_first ? is_set : 0) {}
    ~event_base() = default;

private:
    // parked: somebody waits, or has waited; then the event is not set. Changed under the lock of the waiters' bucket.
    static constexpr std::uint32_t is_set = 1, parked = 2;

    bool wait(std::int64_t deadline, const std::stop_token* stop) { return try_wait() || wait_slow(deadline, stop); }

    friend case_access;

    // For select. seems_set is a hint. begin_wait is must_park without letting anybody through.
    bool seems_set() const noexcept { return (word_.load(std::memory_order_relaxed) & is_set) != 0; }
    HANDOFF_API bool begin_wait() noexcept;

    // must_park says whether a waiter that has just come must park. If so, set() will look for it in the parking lot.
    // Otherwise the event lets it through, as try_wait does. Under the bucket's lock.
    bool must_park() noexcept;

    HANDOFF_API void set_slow() noexcept;
    HANDOFF_API bool wait_slow(std::int64_t deadline, const std::stop_token* stop);

    base::atomic<std::uint32_t> word_;
};

}  // namespace detail

// As the manual-reset events of other libraries: set() lets everybody through who waits, and all who come later, until
// reset(). Those that waited when it was set go on also if it is reset at once. set() is linear in the waiters that it
// wakes.
//
// Four bytes. Whoever a set() has let through may destroy the event, also before that set() has returned, if nobody else
// sets, resets or waits for it: those that the same set() has woken count no more. Any thread.
class event : public detail::event_base<detail::event_kind::manual> {
public:
    constexpr event() noexcept : event_base(false) {}
    explicit constexpr event(bool set_at_first) noexcept : event_base(set_at_first) {}
};

// As the auto-reset events of other libraries: set() lets exactly one through, the one that has waited longest or, if nobody
// waits, the next that comes. Setting it twice before anybody waits counts once. A set() that has let a waiter through can't
// be taken by another, nor undone by reset(). set() takes constant time, besides those that have just given up waiting.
//
// Four bytes. Whoever a set() has let through may destroy the event, also before that set() has returned, if nobody else
// sets, resets or waits for it. Any thread.
class auto_reset_event : public detail::event_base<detail::event_kind::automatic> {
public:
    constexpr auto_reset_event() noexcept : event_base(false) {}
    explicit constexpr auto_reset_event(bool set_at_first) noexcept : event_base(set_at_first) {}
};

}  // namespace handoff
