// Finding goroutines that park, or go on on another thread, while they hold a std::mutex or pthread_mutex: the next
// goroutine on that thread that wants it waits for one that may need that very thread, and who unlocks it on another thread
// does what is undefined.
//
// The check itself is in src/mutex_check. Here is what tells it of switches.
#pragma once

#include "base/atomic.hpp"

namespace handoff::mutex_check {
struct table;
}

namespace handoff::detail {
struct G;
struct M;
}

namespace handoff::detail::held_mutexes {

// Null: nobody watches. Relaxed: a constant table, set before the first runtime starts a thread.
extern base::atomic<const mutex_check::table*> watcher;

// look_for_check finds the check, if the process has it. As a runtime starts.
void look_for_check() noexcept;

inline bool watching() noexcept { return watcher.load(std::memory_order_relaxed) != nullptr; }

// tell_switch: m is on its way to goroutine g; null: to the scheduler itself. Only if somebody watches; before the one that
// it leaves can be found by others. Where a goroutine starts, the test for it is one that is made anyway, P::handoff: one
// more would be seen in the time that a yield takes.
[[gnu::cold]] void tell_switch(M* m, const G* g) noexcept;

}  // namespace handoff::detail::held_mutexes
