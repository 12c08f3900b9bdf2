// Time slices: for how long goroutines that wake each other keep a processor while others wait: options::retake_running_after.
//
// The problem. Goroutines that wake each other go on through `next` (runq.hpp), ahead of all that wait in the ring. If each of
// them were given a slice of its own, two that pass a token back and forth would never use one up. And a goroutine that
// computes or polls for a whole slice each time it runs must not stand in one queue with goroutines that give way after a
// microsecond: it would get all of the time.
//
// A slice begins when a goroutine is taken out of the ring, or out of the global queue while `next` is empty. A goroutine that
// comes through `next` goes on in the slice of its waker (as in Go). P::schedtick counts slices in its upper bits, and
// goroutines put on the P in its lower bits: a plain store a pick, and no clock. The monitor sees for how long the upper bits
// stay the same. When that is long enough, and work waits, it asks the running goroutine to yield (section.hpp). If the P is on
// its way to an M then, it asks that M to end the slice when it gets the P (P::over_on_its_way).
//
// The chain. Each 61st pick may take a goroutine that waits elsewhere, and leaves `next` as it is. That begins a slice. So the
// chain of goroutines that goes on through `next` has a limit of its own, also one slice long, after which it goes behind the
// ring. When the chain has let another goroutine run, it measures the time from then to its next such look, and has as much
// time for itself before it lets one run again (chain_lets_on). Otherwise a pair whose turns take a microsecond would have 61
// turns for each long turn of another pair; or, if it were put behind the ring each time, 61 turns for each slice of the other
// pair: a six-hundredth of the time, where Go gives it half.
//
// At the end of a slice (end_slice) the goroutine in `next` goes behind the ring. The next picks take, in this order: a
// goroutine whose timer is due; one of the spent, if it is their turn; then the others as usual.
//
// The spent are goroutines that used up a slice alone: schedtick did not change at all in that time. They wait in the global
// queue behind all others (global_queue.hpp). A P takes one of them if it finds nothing else. While some of them wait, each P
// that is busy with others also takes one now and then: after a slice of the others, or after more, where more of the spent
// run elsewhere than wait. (With R running and W waiting: after (R + 1) / W slices, and at least one. So each of the spent
// gets as much time as the others on this P get together, as long as that leaves the others half.) The monitor learns from
// P::spent_turns when a P last did so, and says in P::spent_due that it is to do so again. So goroutines that wake each other
// or give way share at least half of a P, and the spent get the other half if they want it, whatever the number of either.
// (When the spent waited in the ring, a single loop of try_recv had 10 ms for each 61 picks of the others.) If the monitor
// takes a goroutine's P at the end of a slice, in a call or while it computes, and the goroutine has to wait for a P when it
// comes back, it waits among the spent as well: G::spent.
//
// Rejected: reading a clock in the pick; marking spent goroutines that stay in the ring (one at the front of the ring either
// keeps those behind it waiting, or can be passed by for ever).
#include "sched/slice.hpp"

#include "os/clock.hpp"
#include "sched/schedule.hpp"

#include <utility>

namespace handoff::detail {

// chain_lets_on: true if a goroutine in p's ring may run before the one in `next`.
bool chain_lets_on(sched& s, own_p p) noexcept {
    auto& c = p->chain;
    if (!p->runq.has_next()) {
        c = {};
        return true;
    }
    if (p->runq.room() == run_queue::capacity) return false;   // the ring is empty
    const std::int64_t now = os::nanotime();
    if (c.until == 0) c.until = now + s.opts.retake_running_after.count();
    if (now >= c.until) {
        c = {};
        if (G* next = p->runq.take_next()) put_behind(s, p, next);   // the goroutine that runs now may use the place
        return true;
    }
    if (c.let_on != 0) c.goes_on_until = now + (now - std::exchange(c.let_on, 0));
    if (now < c.goes_on_until) return false;
    c.let_on = now;
    return true;
}

// end_slice ends the slice on p, which is the caller's: other goroutines come next. Whether it is the turn of the spent is as
// the monitor has said (P::spent_due).
void end_slice(sched& s, own_p p) noexcept {
    const bool was_turn_of_spent = p->is_turn_of_spent();
    if (G* next = p->runq.take_next()) put_behind(s, p, next);
    p->chain = {};
    p->begin_slice();
    p->until_global = 1;   // so that the next pick calls pick_after_slice
    p->timers_first = true;
    // Relaxed: a hint; it may refer to a slice that is over by now.
    p->spent_next = p->spent_due.load(std::memory_order_relaxed) && !was_turn_of_spent;
    if (was_turn_of_spent) p->end_turn_of_spent();
}

// pick_after_slice serves the picks after the end of a slice, once timers were looked at: first a goroutine that a timer has
// woken, then a spent one.
G* pick_after_slice(sched& s, own_p p) noexcept {
    if (std::exchange(p->timers_first, false)) {
        if (G* g = p->runq.take_next()) {
            p->until_global = 1;
            return g;
        }
    }
    if (!std::exchange(p->spent_next, false)) return nullptr;
    p->end_turn_of_spent();   // even if no spent goroutine is found
    if (!s.globq.has_spent()) return nullptr;
    base::lock_guard hold(s.idle.lock);
    G* g = s.globq.pop_spent();
    if (g) p->begin_turn_of_spent();
    return g;
}

void put_spent(sched& s, G* g) noexcept {
    base::lock_guard hold(s.idle.lock);
    s.globq.push_spent(g);
}

}  // namespace handoff::detail
