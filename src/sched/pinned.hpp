// What must not be switched away: a goroutine that runs stop callbacks, or moves a value of a channel.
//
// Stop callbacks. The standard library tells "a callback destroys its own object" (which returns at once) from "another does"
// (which waits until the callback has ended) by the id of the thread that requested the stop. If the goroutine that did is
// switched away in a callback, and another comes to the same thread and destroys the object, it is taken for the first, and
// the callback goes on with what is gone. So while callbacks run their goroutine keeps its thread to itself: tied, as by
// lock_os_thread, it wakes there if it waits, and gets a P there if it has lost its own. And it gives no way: others may wait,
// by blocking their threads, for the callback to end. The library does that where it requests the stop (task groups,
// handoff::request_stop) or calls the callback (handoff::stop_callback).
//
// That a program calls std::stop_source::request_stop() it can't see: all of that is the standard library's inline code in
// the program's object files, and calls nothing but the callbacks, neither before the first nor after the last; a callback of
// ours in the same list does not learn when the others end, nor does it come before them. What would be left is to unwind
// the stack at each switch, and to know inlined code by its look.
//
// Its own callbacks (a wait's on its token, a group's on its) take spin locks and ready goroutines as a foreign thread would:
// they enter no section, so they do not switch, whoever calls them. A group's calls those of its own stop source, pinned.
//
// Values. A channel moves them under its spin lock, and, but for its inline paths, in a section; the move, and the destructor of
// what was moved from, may be the program's code. If that called the library it would break both: others would spin for a lock
// whose owner was switched away, and the section would end inside of itself. So it is marked (move_mark, quiet_move.hpp): the
// goroutine looks as if it were in a guarded call; who enters the library there comes by suspend_call, off the fast path, and
// ends the process by the name of the value's type. A guard just nests, and may. On a thread the places that block look. A mark
// outside of a section may cost the P, as a call may, which is right wherever a call may end.
#pragma once

#include "sched/m.hpp"

#include <handoff/detail/quiet_move.hpp>

namespace handoff::detail {

// While it lives the current goroutine, if there is one, neither changes threads nor gives way, and nothing else runs on its
// thread. Costs no section and no atomic operation: all that it changes is the owner's. In a simulation, which has one thread,
// the goroutine is not preempted, and must not wait.
class pinned_goroutine {
public:
    pinned_goroutine() noexcept;
    ~pinned_goroutine();
    pinned_goroutine(const pinned_goroutine&) = delete;
    pinned_goroutine& operator=(const pinned_goroutine&) = delete;

private:
    M* const m_;   // the same at the end
};

// untie_if_free ends the hold of m's goroutine g on its thread, unless there is another reason for it.
inline void untie_if_free(M* m, G* g) noexcept {
    if (g->tied()) return;
    g->locked.store(false, std::memory_order_relaxed);
    m->locked_g = nullptr;
}

// refuse_in_move ends the process, and names the value's type, if the calling thread is in a move_mark.
void refuse_in_move() noexcept;

}  // namespace handoff::detail
