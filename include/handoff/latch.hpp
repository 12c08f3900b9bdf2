// latch: a count that goes down to zero once.
#pragma once

#include <handoff/wait_group.hpp>

namespace handoff {

// Has the members of its std namesake, and timed waits. Waits are cancellation points. Any thread.
class latch : public detail::countdown_waits<detail::countdown_kind::latch> {
public:
    static constexpr std::ptrdiff_t max() noexcept { return std::ptrdiff_t{1} << 60; }

    // Throws usage_error unless 0 <= n <= max().
    explicit constexpr latch(std::ptrdiff_t n) : countdown_waits(detail::checked_count(n, max(), "latch")) {}

    // count_down throws usage_error if n is negative, or greater than the count that is left; nothing has changed then.
    void count_down(std::ptrdiff_t n = 1) {
        if (n < 0 || !count_.add(-n)) detail::bad_count("a latch is counted below zero");
    }
    void arrive_and_wait(std::ptrdiff_t n = 1) {
        count_down(n);
        wait();
    }
};

}  // namespace handoff
