// Finding goroutines that park, or go on on another thread, while they hold a std::mutex or pthread_mutex: the next
// goroutine on that thread that wants it waits for one that may need that very thread, and who unlocks it on another thread
// does what is undefined.
//
// The check itself is in src/mutex_check. Here is what tells it of switches, by the hook of sched/switch_hook.hpp.
#pragma once

namespace handoff::detail::held_mutexes {

// look_for_check finds the check, if the process has it. As a runtime starts.
void look_for_check() noexcept;

}  // namespace handoff::detail::held_mutexes
