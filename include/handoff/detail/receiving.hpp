// What watch and broadcast have in common: a state that receivers share with the sender, and the forms in which they wait for
// it to change.
#pragma once

#include <handoff/cancellation.hpp>
#include <handoff/condition_variable.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/error.hpp>
#include <handoff/mutex.hpp>

#include <chrono>
#include <mutex>
#include <stop_token>

namespace handoff::detail {

struct sender_state {
    mutex lock;
    condition_variable changed;
    bool closed = false;   // under the lock

    // A destructor may call it, so neither a cancellation nor the end of a simulation ends its wait for the lock by an
    // exception.
    void close() noexcept {
        const cancellation_blocker not_now;
        {
            const std::scoped_lock hold(lock);
            closed = true;
        }
        changed.notify_all();
    }
};

// The forms of a wait. Each waits, with the lock held before and after, until ready(), or until its own end; it returns what
// ready() says then. The one with a token throws `cancelled`, unless it is ready.
struct at_no_time {
    template <class Ready>
    bool operator()(sender_state&, std::unique_lock<mutex>&, Ready ready) const {
        return ready();
    }
};
struct without_end {
    template <class Ready>
    bool operator()(sender_state& s, std::unique_lock<mutex>& hold, Ready ready) const {
        s.changed.wait(hold, ready);
        return true;
    }
};
struct until_stop {
    const std::stop_token& stop;
    template <class Ready>
    bool operator()(sender_state& s, std::unique_lock<mutex>& hold, Ready ready) const {
        if (!s.changed.wait(hold, stop, ready)) throw cancelled();
        return true;
    }
};
template <class Rep, class Period>
struct within {
    std::chrono::duration<Rep, Period> time;
    template <class Ready>
    bool operator()(sender_state& s, std::unique_lock<mutex>& hold, Ready ready) const {
        return s.changed.wait_for(hold, time, ready);
    }
};
template <class Clock, class Duration>
struct until {
    std::chrono::time_point<Clock, Duration> time;
    template <class Ready>
    bool operator()(sender_state& s, std::unique_lock<mutex>& hold, Ready ready) const {
        return s.changed.wait_until(hold, time, ready);
    }
};

}  // namespace handoff::detail
