// Time slices: how long those that belong together keep a processor while others wait, options::retake_running_after.
//
// The problem. Goroutines that wake each other go on through `next` (runq.hpp), ahead of all who wait. Were each of them given
// a slice of its own, two that hand a token to and fro would never get old. And one that computes or polls for a whole slice
// each time it is put on must not stand in one row with those that give way after a microsecond: it would have all the time.
//
// A slice begins when a goroutine is taken out of the ring, or out of the global queue while nobody waits in `next`. Who comes
// through `next` goes on in its waker's (as in Go). P::schedtick counts slices in its upper bits, and who was put on in
// the lower ones: a plain store a pick, and no clock. The monitor sees how long the upper bits stay the same; when that is
// long enough, and somebody waits, it asks the running goroutine to yield (section.hpp); or, where the P is on its way to an M, the
// latter to end the slice when it has it (P::over_on_its_way).
//
// Each 61st pick may let one on that waits, and leaves `next` as it is. That begins a slice, so a chain through `next` has a limit
// of its own, of a slice as well, at whose end it goes behind the ring. Before the chain lets on another it has as long for itself
// as it took from the last one to the next look (chain_lets_on): a pair whose turns take a microsecond would otherwise have 61 of
// them for each long turn of another pair, or, were it put behind each time, for each of its slices: a six-hundredth of the time,
// where Go gives it half.
//
// At a slice's end (end_slice) what is in `next` goes behind the ring. Then come: one whose timer is due; one of the spent, if
// it is their turn; the rest as ever.
//
// The spent are those that used up a slice alone, or half of one: schedtick stayed the same altogether. They wait in the global
// queue behind all others (global_queue.hpp), and are taken by who finds nothing else. While there are some, each P that is busy
// with others takes one now and then: after a slice of the others, or more where more of the spent run elsewhere than wait
// (R run, W wait: after (R + 1) / W, so that each of them has as much as the others on this P together, if that is not less than half). The
// monitor knows by P::spent_turns when the P did so last, and says in P::spent_due that it shall again. So those that wake each
// other or give way share at least half of a P, and the spent get the other half if they want it, whatever the number of
// either. (In the ring a single loop of try_recv had 10 ms for each 61 picks of the others.) A goroutine whose P the monitor
// takes at the end of a slice, in a call or while it computes, waits there as well, if it has to wait for a P when it comes
// back: G::spent.
//
// Rejected: a clock in the pick; a mark on spent goroutines that stay in the ring (one at the ring's front either keeps those
// behind it waiting, or can be passed by for ever).
#include "sched/slice.hpp"

#include "os/clock.hpp"
#include "sched/schedule.hpp"

#include <utility>

namespace handoff::detail {

// chain_lets_on: one in p's ring may go on before what is in `next`.
bool chain_lets_on(sched& s, P* p) noexcept {
    auto& c = p->chain;
    if (!p->runq.has_next()) {
        c = {};
        return true;
    }
    if (p->runq.room() == run_queue::capacity) return false;   // nobody is there
    const std::int64_t now = os::nanotime();
    if (c.until == 0) c.until = now + s.opts.retake_running_after.count();
    if (now >= c.until) {
        c = {};
        if (G* next = p->runq.take_next()) put_behind(s, p, next);   // who runs now gets the place
        return true;
    }
    if (c.let_on != 0) c.goes_on_until = now + (now - std::exchange(c.let_on, 0));
    if (now < c.goes_on_until) return false;
    c.let_on = now;
    return true;
}

// end_slice: p, which is in the caller's hands, is for others now. Whether it is the turn of the spent the monitor has said.
void end_slice(sched& s, P* p) noexcept {
    const bool was_turn_of_spent = p->is_turn_of_spent();
    if (G* next = p->runq.take_next()) put_behind(s, p, next);
    p->chain = {};
    p->begin_slice();
    p->until_global = 1;   // so that the next pick comes by pick_after_slice
    p->timers_first = true;
    // Relaxed: a hint, which may be of a slice that is over by now.
    p->spent_next = p->spent_due.load(std::memory_order_relaxed) && !was_turn_of_spent;
    if (was_turn_of_spent) p->end_turn_of_spent();
}

// pick_after_slice is for the picks that follow, once timers were looked at: one that these have woken, then a spent one.
G* pick_after_slice(sched& s, P* p) noexcept {
    if (std::exchange(p->timers_first, false)) {
        if (G* g = p->runq.take_next()) {
            p->until_global = 1;
            return g;
        }
    }
    if (!std::exchange(p->spent_next, false)) return nullptr;
    p->end_turn_of_spent();   // of none, perhaps
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
