// What must not be switched away: a goroutine that runs stop callbacks, or that moves a value of a channel.
//
// Stop callbacks. The standard library distinguishes "a callback destroys its own object" (which returns at once) from "another
// thread does" (which waits until the callback has ended) by the id of the thread that requested the stop. Suppose that the
// goroutine that requested it is switched away in a callback, and another goroutine comes to the same thread and destroys the
// object. It is taken for the first one, and the callback goes on with an object that is gone. So while callbacks run, their
// goroutine keeps its thread to itself. It is tied, as by lock_os_thread: it wakes there if it waits, and gets a P there if it
// has lost its own. And it does not give way: others may wait, by blocking their threads, for the callback to end. The library
// does this where it requests the stop (task groups, handoff::request_stop) or calls the callback (handoff::stop_callback).
//
// The library can't see that a program calls std::stop_source::request_stop(). All of that is inline code of the standard
// library in the program's object files, and calls nothing but the callbacks, neither before the first nor after the last. A
// callback of ours in the same list does not learn when the others end, nor is it first in the list. What would be left is to
// unwind the stack at each switch, and to recognise inlined code by its look.
//
// The library's own callbacks (a wait's on its token, a task group's on its token) take spin locks and ready goroutines, as a
// foreign thread would. They enter no section, so they do not switch, whatever calls them. A task group's callback calls those
// of the group's own stop source, pinned.
//
// Values. A channel moves them under its spin lock, and, except in its inline fast paths, in a section. The move, and the
// destructor of the object that was moved from, may be the program's code. If that called the library it would break both:
// others would spin for a lock whose owner was switched away, and the section would end inside of itself. So the move is marked
// (move_mark, quiet_move.hpp): the goroutine looks as if it were in a guarded call. Code that enters the library there comes,
// off the fast path, through suspend_call; that ends the process and names the value's type. A guard in a move only nests,
// which is allowed. On a thread that runs no goroutine, the places that block make this check. A mark outside of a section may
// cost the P, as a call may; that is all right wherever a call may end.
#pragma once

#include "sched/m.hpp"

#include <handoff/detail/quiet_move.hpp>

namespace handoff::detail {

// While a pinned_goroutine lives, the current goroutine, if there is one, neither changes threads nor gives way, and nothing
// else runs on its thread. It costs no section and no atomic read-modify-write: it changes only what the owner alone writes. In
// a simulation, which has one thread, the goroutine is not preempted, and must not wait.
class pinned_goroutine {
public:
    pinned_goroutine() noexcept;
    ~pinned_goroutine();
    pinned_goroutine(const pinned_goroutine&) = delete;
    pinned_goroutine& operator=(const pinned_goroutine&) = delete;

private:
    M* const m_;   // the same at the end
};

// untie_if_free unties g, m's goroutine, from its thread, unless there is another reason to keep it tied.
inline void untie_if_free(M* m, G* g) noexcept {
    if (g->tied()) return;
    g->locked.store(false, std::memory_order_relaxed);
    m->locked_g = nullptr;
}

// refuse_in_move ends the process, and names the value's type, if a move_mark lives on the calling thread.
void refuse_in_move() noexcept;

}  // namespace handoff::detail
