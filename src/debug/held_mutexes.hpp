// Detects goroutines that park, or continue on another thread, while they hold a std::mutex or pthread_mutex. If such a
// goroutine parks, the next goroutine on its thread that locks this mutex blocks the thread, which the holder may need to go
// on. And to unlock the mutex on another thread is undefined behaviour.
//
// The check itself is in src/mutex_check. The code here tells it of switches, by the hook of sched/switch_hook.hpp.
#pragma once

namespace handoff::detail::held_mutexes {

// look_for_check finds the check, if the process has it. Called when a runtime starts.
void look_for_check() noexcept;

}  // namespace handoff::detail::held_mutexes
