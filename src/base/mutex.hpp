// A lock for short sections inside the library, with the annotations that clang's -Wthread-safety checks.
//
// It blocks the thread, never the goroutine; nothing may park or run user code while it is held. Ranks: sched before
// timers; a stack pool, the name table and the zombie list are leaves.
#pragma once

#include <pthread.h>

#if defined(__clang__)
#define HANDOFF_TSA(x) __attribute__((x))
#else
#define HANDOFF_TSA(x)
#endif
#define HANDOFF_GUARDED_BY(m) HANDOFF_TSA(guarded_by(m))
#define HANDOFF_REQUIRES(m) HANDOFF_TSA(requires_capability(m))
#define HANDOFF_EXCLUDES(m) HANDOFF_TSA(locks_excluded(m))
#define HANDOFF_NO_TSA HANDOFF_TSA(no_thread_safety_analysis)

namespace handoff::base {

class HANDOFF_TSA(capability("mutex")) mutex {
public:
    mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() { ::pthread_mutex_destroy(&m_); }

    void lock() noexcept HANDOFF_TSA(acquire_capability()) { ::pthread_mutex_lock(&m_); }
    void unlock() noexcept HANDOFF_TSA(release_capability()) { ::pthread_mutex_unlock(&m_); }
    bool try_lock() noexcept HANDOFF_TSA(try_acquire_capability(true)) { return ::pthread_mutex_trylock(&m_) == 0; }

private:
#if defined(PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP)
    // Spins for a moment before it sleeps, which takes longer than any section that it guards.
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
