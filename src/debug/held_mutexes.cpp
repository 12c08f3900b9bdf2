#include "debug/held_mutexes.hpp"

#if HANDOFF_CHECK_HELD_MUTEXES

#include "sched/sched.hpp"

#include <cerrno>
#include <dlfcn.h>
#include <pthread.h>

namespace handoff::detail::held_mutexes {

namespace {

// Of the goroutine that runs on this thread, or, without one, of the thread.
constinit thread_local held_set held __attribute__((tls_model("initial-exec"))) = {};

HANDOFF_OPAQUE held_set& held_here() noexcept {
    __asm__ volatile("");
    return held;
}

void note_locked(const pthread_mutex_t* m, const void* by) noexcept {
    held_set& h = held_here();
    if (h.n == held_set::most) return;
    h.what[h.n].mutex = m;
    h.what[h.n++].by = by;
}

void note_unlocked(const pthread_mutex_t* m) noexcept {
    held_set& h = held_here();
    for (unsigned i = h.n; i-- > 0;) {
        if (h.what[i].mutex != m) continue;
        h.what[i] = h.what[--h.n];
        return;
    }
}

// The C library's function of that name, behind ours.
template <class F>
F* real(base::atomic<F*>& cached, const char* name) noexcept {
    F* f = cached.load(std::memory_order_relaxed);   // the same whoever finds it
    if (!f) {
        f = reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
        if (!f) base::fatal("%s is not to be found behind the library's own", name);
        cached.store(f, std::memory_order_relaxed);
    }
    return f;
}

using lock_function = int(pthread_mutex_t*);
using timed_function = int(pthread_mutex_t*, const timespec*);
using clock_function = int(pthread_mutex_t*, clockid_t, const timespec*);

constinit base::atomic<lock_function*> real_lock{nullptr}, real_trylock{nullptr}, real_unlock{nullptr};
constinit base::atomic<timed_function*> real_timedlock{nullptr};
constinit base::atomic<clock_function*> real_clocklock{nullptr};

int noted(int result, const pthread_mutex_t* m, const void* by) noexcept {
    if (result == 0 || result == EOWNERDEAD) note_locked(m, by);
    return result;
}

}  // namespace

void leave(G* g) noexcept {
    held_set& h = held_here();
    if (g) g->held = h;
    h.n = 0;
}

void arrive(G* g) noexcept {
    if (g) held_here() = g->held;
}

void check_park(const G* g, wait_reason why) noexcept {
    const held_set& h = held_here();
    if (h.n == 0 || g->locked.load(std::memory_order_relaxed)) return;
    char where[160];
    code_address(h.what[h.n - 1].by, where, sizeof where);
    base::warn("%s parks for %s while it holds the pthread mutex %p, locked at %s",
               g->store->describe(g).describe().c_str(), name_of(why), h.what[h.n - 1].mutex, where);
}

}  // namespace handoff::detail::held_mutexes

// Over those of the C library, for the whole program.
extern "C" {

using namespace handoff::detail::held_mutexes;

HANDOFF_API int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
    return noted(real(real_lock, "pthread_mutex_lock")(m), m, __builtin_return_address(0));
}
HANDOFF_API int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
    return noted(real(real_trylock, "pthread_mutex_trylock")(m), m, __builtin_return_address(0));
}
HANDOFF_API int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* t) noexcept {
    return noted(real(real_timedlock, "pthread_mutex_timedlock")(m, t), m, __builtin_return_address(0));
}
HANDOFF_API int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t c, const timespec* t) noexcept {
    return noted(real(real_clocklock, "pthread_mutex_clocklock")(m, c, t), m, __builtin_return_address(0));
}
HANDOFF_API int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
    note_unlocked(m);
    return real(real_unlock, "pthread_mutex_unlock")(m);
}

}  // extern "C"

#endif
