// latch: a count that goes down once.
#pragma once

#include <handoff/wait_group.hpp>

namespace handoff {

// With the members of its std namesake, and timed waits. Waits are cancellation points. Any thread.
class latch {
public:
    static constexpr std::ptrdiff_t max() noexcept { return std::ptrdiff_t{1} << 60; }

    // 0 <= n <= max().
    explicit constexpr latch(std::ptrdiff_t n) noexcept : count_(n) {}

    // count_down throws usage_error if n is negative or more than is left; nothing has changed then.
    void count_down(std::ptrdiff_t n = 1) {
        if (n < 0 || !count_.add(-n)) detail::bad_count("a latch is counted below zero");
    }
    bool try_wait() const noexcept { return count_.done(); }
    void wait() { wait(detail::no_deadline, nullptr); }
    void wait(const std::stop_token& stop) { wait(detail::no_deadline, &stop); }
    void arrive_and_wait(std::ptrdiff_t n = 1) {
        count_down(n);
        wait();
    }
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> d) {
        return wait(detail::deadline_after(d), nullptr);
    }
    template <class Clock, class Duration>
    bool wait_until(std::chrono::time_point<Clock, Duration> t) {
        return wait(detail::deadline_at(t), nullptr);
    }

private:
    bool wait(std::int64_t deadline, const std::stop_token* stop) {
        return count_.done() || count_.wait(detail::why_latch, deadline, stop);
    }

    detail::countdown count_;
};

}  // namespace handoff
