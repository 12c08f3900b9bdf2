// A lock for short sections inside the library, with the annotations that clang's -Wthread-safety checks.
//
// It blocks the thread, never the goroutine. While it is held nothing may park or run user code. Lock order: a runtime's
// link (sched_link), a timer object, idle_set, thread_pool or compute_limit, a timer_heap. The locks of a stack pool, of the name
// table, of the unguarded calls and of the fast paths are leaves.
#pragma once

#include <handoff/detail/thread_safety.hpp>

#include <pthread.h>

#define HANDOFF_GUARDED_BY(m) HANDOFF_TSA(guarded_by(m))
#define HANDOFF_REQUIRES(m) HANDOFF_TSA(requires_capability(m))
#define HANDOFF_EXCLUDES(m) HANDOFF_TSA(locks_excluded(m))

namespace handoff::base {

class HANDOFF_CAPABILITY("mutex") mutex {
public:
    mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() { ::pthread_mutex_destroy(&m_); }

    void lock() noexcept HANDOFF_ACQUIRE { ::pthread_mutex_lock(&m_); }
    void unlock() noexcept HANDOFF_RELEASE { ::pthread_mutex_unlock(&m_); }
    bool try_lock() noexcept HANDOFF_TRY_ACQUIRE { return ::pthread_mutex_trylock(&m_) == 0; }

private:
#if defined(PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP)
    // It spins for a moment before it sleeps: to sleep takes longer than any section that it guards.
    pthread_mutex_t m_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
#else
    pthread_mutex_t m_ = PTHREAD_MUTEX_INITIALIZER;
#endif
};

class HANDOFF_TSA(scoped_lockable) lock_guard {
public:
    explicit lock_guard(mutex& m) HANDOFF_TSA(acquire_capability(m)) : m_(m) { m_.lock(); }
    ~lock_guard() HANDOFF_TSA(release_capability()) { m_.unlock(); }
    lock_guard(const lock_guard&) = delete;
    lock_guard& operator=(const lock_guard&) = delete;

private:
    mutex& m_;
};

}  // namespace handoff::base
