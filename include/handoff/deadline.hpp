// deadline: until when an operation may wait.
#pragma once

#include <handoff/detail/time.hpp>

#include <chrono>
#include <cstdint>

namespace handoff {

// The last parameter of operations that may wait. A duration counts from the call on; a point in time may be one of any clock;
// without either the operation waits without a limit.
//
//     stream.read_some(buffer, std::chrono::seconds(5));
//     stream.read_some(buffer, std::chrono::system_clock::now() + std::chrono::seconds(5));
//
// A wait never ends early, whatever the clock: one that is slower than the steady clock, or is set back, is asked again.
// Points in time are kept in nanoseconds, rounded up, and within 292 years of the clock's epoch.
class deadline {
public:
    constexpr deadline() noexcept = default;

    template <class Rep, class Period>
    deadline(std::chrono::duration<Rep, Period> d) : when_(detail::deadline_after(d)) {}   // NOLINT(*explicit*)

    template <detail::clock_type Clock, class Duration>
    deadline(const std::chrono::time_point<Clock, Duration>& t)   // NOLINT(*explicit*)
        : when_(detail::in_range(t.time_since_epoch()).count()) {
        if constexpr (detail::is_steady_clock<Clock>) {
            when_ = detail::limit_at(t).deadline();
        } else {
            detail::refuse_other_clock();
            left_ = [](std::int64_t when) {
                return detail::time_between(Clock::now().time_since_epoch(), std::chrono::nanoseconds(when));
            };
        }
    }

    // What the library waits by. steady is the time by the steady clock at which to look again, in nanoseconds; over says
    // whether the wait is over then.
    std::int64_t steady() const { return left_ ? detail::deadline_in(left_(when_)) : when_; }
    bool over() const { return !left_ || left_(when_).count() <= 0; }

private:
    std::int64_t when_ = detail::no_deadline;   // by the clock of left_, else by the steady one
    std::chrono::nanoseconds (*left_)(std::int64_t when) = nullptr;
};

}  // namespace handoff
