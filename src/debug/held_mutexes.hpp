// Finding goroutines that park while they hold a std::mutex or pthread_mutex: the next goroutine on that thread that wants
// it waits for one that may need that very thread.
//
// In builds with HANDOFF_CHECK_HELD_MUTEXES (CMake; debug builds by default) the library defines pthread_mutex_lock and its
// kin, which note what the calling goroutine holds and go on to those of the C library. What is locked in another way
// (inlined, or within the C library) is not seen.
#pragma once

#include "sched/g.hpp"

namespace handoff::detail::held_mutexes {

#if HANDOFF_CHECK_HELD_MUTEXES

// leave and arrive: goroutine g leaves the thread, or runs on it now; null: nobody, the scheduler itself.
void leave(G* g) noexcept;
void arrive(G* g) noexcept;
inline void forget(G* g) noexcept { g->held.n = 0; }   // g is a new goroutine

// check_park warns if the goroutine that is about to park holds any.
void check_park(const G* g, wait_reason why) noexcept;

#else

inline void leave(G*) noexcept {}
inline void arrive(G*) noexcept {}
inline void forget(G*) noexcept {}
inline void check_park(const G*, wait_reason) noexcept {}

#endif

}  // namespace handoff::detail::held_mutexes
