// wake_ahead: how the thread that waits for the first timer wakes in time.
//
// The kernel ends a timed sleep late: by 30 to 60 us on a virtual machine, whose halted core has to be entered again, by 5 on a
// physical one, and never twice by the same. So the idle threads of a runtime learn how late their sleeps end, ask for a time
// that is earlier by that, and spin on the clock for the rest. The rest is short, since the kernel's lateness uses up most of
// it. A timer that is nearer than that is waited for without any sleep. No timer fires early: timers go by the clock.
//
// Spinning on the clock has a budget. While timers are waited for, a 16th of the time may be spent on it; at most 200 us are
// saved up. A thread without budget sleeps, and wakes late. Nothing is spent where no timer is set, nor where goroutines could
// use the core (ours_leave_a_core, handover.hpp), nor with spin_before_sleep 0.
//
// What is learnt is a bound that most sleeps keep, not their mean: it rises by half of the difference, and falls by a 16th. At
// a sleep of 1 ms that is 10 to 15 us of spinning each time. (Rejected: a fixed time, which is too long where the kernel is
// quick and too short where it is slow; a part of the sleep's length instead of the budget, which leaves the second of two
// timers that follow each other closely 50 us late.)
#pragma once

#include <algorithm>
#include <cstdint>

namespace handoff::detail {

// Guarded by the scheduler's lock (idle_set::lock).
class wake_ahead {
public:
    static constexpr std::int64_t most_ns = 100'000;    // a longer lateness is learnt as this
    static constexpr std::int64_t one_part_in = 16;     // this part of the time may be spent
    static constexpr std::int64_t most_saved_ns = 200'000;

    // of returns by how much a sleep of `length` that begins now is to end early; if that is all of it: do not sleep.
    std::int64_t of(std::int64_t length, std::int64_t now) const noexcept {
        const std::int64_t ahead = std::clamp<std::int64_t>(length, 0, late_);
        return std::max<std::int64_t>(paid_at_ - now, 0) + ahead * one_part_in <= most_saved_ns * one_part_in ? ahead : 0;
    }

    // spend: the caller spins on the clock for `ns` from now on.
    void spend(std::int64_t ns, std::int64_t now) noexcept { paid_at_ = std::max(paid_at_, now) + ns * one_part_in; }

    // learn: a sleep has ended by `late` later than asked for.
    void learn(std::int64_t late) noexcept {
        const std::int64_t change = std::clamp<std::int64_t>(late, 0, most_ns) - late_;
        late_ += change > 0 ? (change + 1) / 2 : change / 16;
    }

private:
    std::int64_t late_ = 0;
    std::int64_t paid_at_ = 0;   // when the time spent so far will be a 16th of the time passed
};

}  // namespace handoff::detail
