// barrier: a number of participants wait for each other, phase after phase.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/count.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/time.hpp>

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

struct no_completion {
    void operator()() const noexcept {}
};

class barrier_base {
public:
    explicit constexpr barrier_base(std::ptrdiff_t n) noexcept : expected_(n), left_(n) {}

    // arrive returns the phase to wait for, or `over` if this arrival was the last of its phase; the barrier may have been
    // destroyed by then.
    static constexpr std::uint64_t over = UINT64_MAX;
    HANDOFF_API std::uint64_t arrive(std::ptrdiff_t n, bool drop, void (*complete)(void*), void* arg);
    HANDOFF_API void wait(std::uint64_t phase, const std::stop_token* stop) const;

private:
    base::atomic<std::uint64_t> phase_{0};              // incremented at the end of each phase; waiters wait for that
    base::atomic<std::ptrdiff_t> expected_;             // arrivals in each of the phases to come
    base::atomic<std::ptrdiff_t> left_;                 // arrivals still expected in this phase
};

}  // namespace detail

// Has the members of its std namesake. The last participant that arrives runs the completion function, before the others go
// on; if that throws, std::terminate ends the process. Waits are cancellation points: a goroutine that is cancelled in one
// still counts as arrived. Any thread.
template <class Completion = detail::no_completion>
class barrier {
public:
    // Says which phase to wait for.
    class arrival_token {
        friend barrier;
        explicit arrival_token(std::uint64_t p) noexcept : phase_(p) {}
        std::uint64_t phase_;
    };

    static constexpr std::ptrdiff_t max() noexcept { return std::ptrdiff_t{1} << 60; }

    // Throws usage_error unless 0 <= n <= max().
    explicit constexpr barrier(std::ptrdiff_t n, Completion f = Completion())
        : base_(detail::checked_count(n, max(), "barrier")), complete_(std::move(f)) {}
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;

    // arrive throws usage_error if n is not positive, or greater than the number of arrivals still expected in this phase.
    [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) { return arrival_token(base_.arrive(n, false, run, &complete_)); }
    void wait(arrival_token&& t) const { base_.wait(t.phase_, nullptr); }
    void wait(arrival_token&& t, const std::stop_token& stop) const { base_.wait(t.phase_, &stop); }
    void arrive_and_wait() { wait(arrive()); }
    void arrive_and_drop() { base_.arrive(1, true, run, &complete_); }

private:
    static void run(void* f) noexcept { (*static_cast<Completion*>(f))(); }

    detail::barrier_base base_;
    [[no_unique_address]] Completion complete_;
};

}  // namespace handoff
