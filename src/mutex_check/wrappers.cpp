// These functions override those of the C library, for the whole program. They note what was locked, and call the next
// function of the same name. What is locked in another way (inlined, or within the C library) is not seen.
#include "mutex_check/notes.hpp"

#if HANDOFF_CHECK_HELD_MUTEXES

#include "base/check.hpp"

#include <handoff/detail/export.hpp>

#include <cerrno>
#include <dlfcn.h>
#include <pthread.h>

namespace handoff::mutex_check {

namespace {

constinit thread_local unsigned looking __attribute__((tls_model("initial-exec"))) = 0;

void* look_up(const char* name) noexcept {
#if defined(__GLIBC__) && defined(__x86_64__)
    // Before glibc 2.36 dlsym finds the oldest version of a symbol, and the oldest condition variables have another layout.
    static constexpr char condition[] = "pthread_cond_";
    if (__builtin_strncmp(name, condition, sizeof condition - 1) == 0)
        if (void* f = ::dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2")) return f;
#endif
    return ::dlsym(RTLD_NEXT, name);
}

// next is the next function of the same name after ours, R f(A...). It may be called before our constructor has run.
template <class R, class... A>
class next {
public:
    explicit constexpr next(const char* name) noexcept : name_(name) {}

    // Not noexcept: a thread may be cancelled while it waits in it.
    R operator()(A... args) {
        auto f = found_.load(std::memory_order_relaxed);
        if (!f) [[unlikely]] {
            // dlsym itself locks. In that case the process is still being loaded, and this is its only thread.
            if (looking != 0) return 0;
            f = find();
            if (!f) base::fatal("%s is not to be found behind the library's own", name_);
        }
        return f(args...);
    }

    // Relaxed: whichever thread finds it, it is the same.
    auto find() noexcept -> R (*)(A...) {
        ++looking;
        auto f = reinterpret_cast<R (*)(A...)>(look_up(name_));
        --looking;
        found_.store(f, std::memory_order_relaxed);
        return f;
    }

private:
    const char* const name_;
    base::atomic<R (*)(A...)> found_{nullptr};
};

using mutex_p = pthread_mutex_t*;
using rwlock_p = pthread_rwlock_t*;
using cond_p = pthread_cond_t*;
using when = const timespec*;

constinit next<int, mutex_p> mutex_lock("pthread_mutex_lock"), mutex_trylock("pthread_mutex_trylock"),
    mutex_unlock("pthread_mutex_unlock");
constinit next<int, mutex_p, when> mutex_timedlock("pthread_mutex_timedlock");
constinit next<int, mutex_p, clockid_t, when> mutex_clocklock("pthread_mutex_clocklock");
constinit next<int, rwlock_p> rwlock_rdlock("pthread_rwlock_rdlock"), rwlock_wrlock("pthread_rwlock_wrlock"),
    rwlock_tryrdlock("pthread_rwlock_tryrdlock"), rwlock_trywrlock("pthread_rwlock_trywrlock"),
    rwlock_unlock("pthread_rwlock_unlock");
constinit next<int, rwlock_p, when> rwlock_timedrdlock("pthread_rwlock_timedrdlock"),
    rwlock_timedwrlock("pthread_rwlock_timedwrlock");
constinit next<int, rwlock_p, clockid_t, when> rwlock_clockrdlock("pthread_rwlock_clockrdlock"),
    rwlock_clockwrlock("pthread_rwlock_clockwrlock");
constinit next<int, cond_p, mutex_p> cond_wait("pthread_cond_wait");
constinit next<int, cond_p, mutex_p, when> cond_timedwait("pthread_cond_timedwait");
constinit next<int, cond_p, mutex_p, clockid_t, when> cond_clockwait("pthread_cond_clockwait");

template <class... F>
void find_all(F&... f) noexcept {
    (f.find(), ...);
}

[[gnu::constructor(101)]] void find_them() noexcept {
    find_all(mutex_lock, mutex_trylock, mutex_unlock, mutex_timedlock, mutex_clocklock, rwlock_rdlock, rwlock_wrlock,
             rwlock_tryrdlock, rwlock_trywrlock, rwlock_unlock, rwlock_timedrdlock, rwlock_timedwrlock, rwlock_clockrdlock,
             rwlock_clockwrlock, cond_wait, cond_timedwait, cond_clockwait);
}

int noted(int result, const void* lock, lock_kind kind, const void* by) noexcept {
    if (result == 0 || result == EOWNERDEAD) note_locked(lock, kind, by);
    return result;
}

// The goroutine stays on its thread while it waits, and nobody looks at what it holds. If the thread is cancelled meanwhile,
// it has the mutex again when its cleanup handlers run, as the notes say.
int waited(int result, mutex_p m) noexcept {
    note_relocked(m);
    return result;
}

}  // namespace

}  // namespace handoff::mutex_check

using namespace handoff::mutex_check;

#define HANDOFF_NOTED(call, lock, kind) noted(call, lock, lock_kind::kind, __builtin_return_address(0))

extern "C" {

HANDOFF_API int pthread_mutex_lock(mutex_p mutex) noexcept { return HANDOFF_NOTED(mutex_lock(mutex), mutex, mutex); }
HANDOFF_API int pthread_mutex_trylock(mutex_p mutex) noexcept {
    return HANDOFF_NOTED(mutex_trylock(mutex), mutex, mutex);
}
HANDOFF_API int pthread_mutex_timedlock(mutex_p mutex, when abstime) noexcept {
    return HANDOFF_NOTED(mutex_timedlock(mutex, abstime), mutex, mutex);
}
HANDOFF_API int pthread_mutex_clocklock(mutex_p mutex, clockid_t clockid, when abstime) noexcept {
    return HANDOFF_NOTED(mutex_clocklock(mutex, clockid, abstime), mutex, mutex);
}
HANDOFF_API int pthread_mutex_unlock(mutex_p mutex) noexcept {
    note_unlocked(mutex);   // before: after the unlock it may belong to another, or be gone
    return mutex_unlock(mutex);
}

HANDOFF_API int pthread_rwlock_rdlock(rwlock_p rwlock) noexcept {
    return HANDOFF_NOTED(rwlock_rdlock(rwlock), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_wrlock(rwlock_p rwlock) noexcept {
    return HANDOFF_NOTED(rwlock_wrlock(rwlock), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_tryrdlock(rwlock_p rwlock) noexcept {
    return HANDOFF_NOTED(rwlock_tryrdlock(rwlock), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_trywrlock(rwlock_p rwlock) noexcept {
    return HANDOFF_NOTED(rwlock_trywrlock(rwlock), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_timedrdlock(rwlock_p rwlock, when abstime) noexcept {
    return HANDOFF_NOTED(rwlock_timedrdlock(rwlock, abstime), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_timedwrlock(rwlock_p rwlock, when abstime) noexcept {
    return HANDOFF_NOTED(rwlock_timedwrlock(rwlock, abstime), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_clockrdlock(rwlock_p rwlock, clockid_t clockid, when abstime) noexcept {
    return HANDOFF_NOTED(rwlock_clockrdlock(rwlock, clockid, abstime), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_clockwrlock(rwlock_p rwlock, clockid_t clockid, when abstime) noexcept {
    return HANDOFF_NOTED(rwlock_clockwrlock(rwlock, clockid, abstime), rwlock, rwlock);
}
HANDOFF_API int pthread_rwlock_unlock(rwlock_p rwlock) noexcept {
    note_unlocked(rwlock);
    return rwlock_unlock(rwlock);
}

HANDOFF_API int pthread_cond_wait(cond_p cond, mutex_p mutex) { return waited(cond_wait(cond, mutex), mutex); }
HANDOFF_API int pthread_cond_timedwait(cond_p cond, mutex_p mutex, when abstime) {
    return waited(cond_timedwait(cond, mutex, abstime), mutex);
}
HANDOFF_API int pthread_cond_clockwait(cond_p cond, mutex_p mutex, clockid_t clock_id, when abstime) {
    return waited(cond_clockwait(cond, mutex, clock_id, abstime), mutex);
}

}  // extern "C"

#endif
