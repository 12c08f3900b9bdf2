// wake_ahead: how the thread that waits for the first timer wakes in time.
//
// The kernel ends a timed sleep late: by 30 to 60 us on a virtual machine, whose halted core has to be entered again, by 5
// on a plain one, and never twice by the same. So the idle threads of a runtime learn how late their sleeps end, ask for a
// time that is earlier by that, and look at the clock for the rest. The rest is short, since most of it is what the kernel
// is late. A timer that is nearer than that is waited for without any sleep. Nobody sees it early: timers go by the clock.
//
// Looking at the clock is paid for. While timers are waited for, a 16th of the time may go into it, saved up for 200 us at
// most; who has none left sleeps, and wakes late. Where no timer is set nothing is spent, nor where goroutines could use
// the core (sched::ours_leave_a_core), nor with spin_before_sleep 0.
//
// Learnt is what most sleeps keep, not their mean: upwards by half of the difference, downwards by a 16th. At 1 ms a sleep
// that is 10 to 15 us of looking each time. (Rejected: a fixed time, which is too long where the kernel is quick and too
// short where it is slow; a part of the sleep's length in place of the savings, which leaves the second of two timers that
// follow each other closely 50 us late.)
#pragma once

#include <algorithm>
#include <cstdint>

namespace handoff::detail {

// Under sched::lock.
class wake_ahead {
public:
    static constexpr std::int64_t most_ns = 100'000;    // that a sleep may be late by, to be learnt from
    static constexpr std::int64_t one_part_in = 16;     // of the time, that may be spent
    static constexpr std::int64_t most_saved_ns = 200'000;

    // of is by how much a sleep of `length` that begins now shall end early; all of it: do not sleep.
    std::int64_t of(std::int64_t length, std::int64_t now) const noexcept {
        const std::int64_t ahead = std::clamp<std::int64_t>(length, 0, late_);
        return std::max<std::int64_t>(paid_at_ - now, 0) + ahead * one_part_in <= most_saved_ns * one_part_in ? ahead : 0;
    }

    // spend: from now on the clock is looked at for so long.
    void spend(std::int64_t ns, std::int64_t now) noexcept { paid_at_ = std::max(paid_at_, now) + ns * one_part_in; }

    // learn: a sleep has ended so much later than asked for.
    void learn(std::int64_t late) noexcept {
        const std::int64_t change = std::clamp<std::int64_t>(late, 0, most_ns) - late_;
        late_ += change > 0 ? (change + 1) / 2 : change / 16;
    }

private:
    std::int64_t late_ = 0;
    std::int64_t paid_at_ = 0;   // when the time spent so far will be a 16th of what has passed
};

}  // namespace handoff::detail
