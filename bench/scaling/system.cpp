// The simulated machine's system: what the library calls of the C library, put in its place by the linker (--wrap). Off
// the machine's threads, and for what is not modelled, the real functions are called.
#include "lines.hpp"
#include "real.hpp"

#include <cerrno>
#include <cstdarg>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>

using namespace scaling;

namespace {

ps from(const timespec& t) noexcept { return (static_cast<ps>(t.tv_sec) * 1'000'000'000 + t.tv_nsec) * ns; }

ps until(const timespec* t) noexcept {
    if (!t) return never;
    return t->tv_sec > 1'000'000 ? never : from(*t);   // in picoseconds it would not fit
}

long futex_wait(const void* word, std::uint32_t expected, const timespec* deadline) noexcept {
    the.spend(the.cost().system_call);
    if (__atomic_load_n(static_cast<const std::uint32_t*>(word), __ATOMIC_SEQ_CST) != expected) {
        errno = EAGAIN;
        return -1;
    }
    ++self()->sleeps;
    if (the.block(word, until(deadline))) return 0;
    errno = ETIMEDOUT;
    return -1;
}

long futex_wake(const void* word, long most) noexcept {
    the.spend(the.cost().wake_call);
    long woken = 0;
    for (; woken < most; ++woken) {
        thread* t = the.first_waiting_for(word);
        if (!t) break;
        the.wake(*t, the.now() + the.cost().wake_latency);
    }
    return woken;
}

long membarrier(long command) noexcept {
    if (command == MEMBARRIER_CMD_QUERY)
        return MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    if (command == MEMBARRIER_CMD_PRIVATE_EXPEDITED)
        the.spend(the.cost().barrier + the.cost().barrier_per_core * the.running());
    return 0;
}

// A mutex is two words: its owner's number plus one, and how many wait.
struct mutex_words {
    unsigned owner, waiting;
};
mutex_words& words_of(pthread_mutex_t* m) noexcept { return *reinterpret_cast<mutex_words*>(m); }

void touch_mutex(pthread_mutex_t* m, bool writes, const void* code) noexcept {
    memory.touch(reinterpret_cast<std::uintptr_t>(m), sizeof(unsigned), writes, writes, code);
}

}  // namespace

extern "C" {

long __wrap_syscall(long number, ...) noexcept {
    std::va_list args;
    va_start(args, number);
    long a[6];
    for (long& x : a) x = va_arg(args, long);
    va_end(args);
    if (self() && number == SYS_membarrier) return membarrier(a[0]);
    if (self() && number == SYS_futex) {
        const auto* word = reinterpret_cast<const void*>(a[0]);
        const int what = static_cast<int>(a[1]) & FUTEX_CMD_MASK;
        if (what == FUTEX_WAIT || what == FUTEX_WAIT_BITSET)
            return futex_wait(word, static_cast<std::uint32_t>(a[2]), reinterpret_cast<const timespec*>(a[3]));
        if (what == FUTEX_WAKE) return futex_wake(word, a[2]);
        fail("a futex operation that is not modelled: %ld", a[1]);
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// Threads' CPU clocks too: none ever waits for a core.
int __wrap_clock_gettime(clockid_t clock, timespec* t) noexcept {
    if (!self()) return __real_clock_gettime(clock, t);
    the.spend(the.cost().clock);
    const ps now = the.now() / ns;
    t->tv_sec = static_cast<time_t>(now / 1'000'000'000);
    t->tv_nsec = static_cast<long>(now % 1'000'000'000);
    return 0;
}

int __wrap_clock_nanosleep(clockid_t clock, int flags, const timespec* t, timespec* left) {
    if (!self()) return __real_clock_nanosleep(clock, flags, t, left);
    the.spend(the.cost().system_call);
    ++self()->sleeps;
    the.block(nullptr, flags & TIMER_ABSTIME ? until(t) : the.now() + from(*t));
    return 0;
}

// Others of the same core there are none.
int __wrap_sched_yield() noexcept {
    if (!self()) return __real_sched_yield();
    the.spend(the.cost().system_call);
    return 0;
}

int __wrap_getrusage(__rusage_who who, rusage* usage) noexcept {
    const int result = __real_getrusage(who, usage);
    if (thread* t = self()) usage->ru_nvcsw = t->sleeps;
    return result;
}

int __wrap_sched_getaffinity(pid_t, size_t bytes, cpu_set_t* set) noexcept {
    CPU_ZERO_S(bytes, set);
    for (unsigned i = 0; i < the.cores() && i < 8 * bytes; ++i) CPU_SET_S(i, bytes, set);
    return 0;
}

int __wrap_pthread_create(pthread_t* t, const pthread_attr_t* attr, void* (*body)(void*), void* arg) noexcept {
    if (!self()) return __real_pthread_create(t, attr, body, arg);
    return the.create(t, body, arg);
}

int __wrap_pthread_join(pthread_t t, void** result) {
    if (!self()) return __real_pthread_join(t, result);
    the.join(t);
    return 0;
}

int __wrap_pthread_tryjoin_np(pthread_t t, void** result) noexcept {
    if (!self()) return __real_pthread_tryjoin_np(t, result);
    if (!the.is_done(t)) return EBUSY;
    the.join(t);
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
    if (!self()) return __real_pthread_mutex_trylock(m);
    touch_mutex(m, true, __builtin_return_address(0));
    mutex_words& w = words_of(m);
    if (w.owner != 0) return EBUSY;
    w.owner = self()->number + 1;
    return 0;
}

// As glibc's adaptive one: who finds it locked spins for a while, looking, then sleeps; who comes meanwhile may be
// faster.
int __wrap_pthread_mutex_lock(pthread_mutex_t* m) noexcept {
    if (!self()) return __real_pthread_mutex_lock(m);
    const void* code = __builtin_return_address(0);
    mutex_words& w = words_of(m);
    for (;;) {
        touch_mutex(m, true, code);
        if (w.owner == 0) break;
        ++w.waiting;
        the.block(m, never);
        --w.waiting;
        touch_mutex(m, false, code);
    }
    w.owner = self()->number + 1;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
    if (!self()) return __real_pthread_mutex_unlock(m);
    touch_mutex(m, true, __builtin_return_address(0));
    mutex_words& w = words_of(m);
    w.owner = 0;
    if (w.waiting == 0) return 0;
    thread* t = the.first_waiting_for(m);
    if (!t) return 0;   // they are on their way
    const ps now = the.now();
    if (now - t->blocked_since <= the.cost().mutex_spin) {
        the.wake(*t, now + the.cost().transfer);
    } else {
        ++t->sleeps;
        the.wake(*t, now + the.cost().wake_latency);
        the.spend(the.cost().wake_call);
    }
    return 0;
}

// Local statics: whoever makes one is not preempted, so that nobody has to wait for it.
int __wrap___cxa_guard_acquire(void* guard) {
    if (thread* t = self()) ++t->keeps_core;
    const int mine = __real___cxa_guard_acquire(guard);
    if (thread* t = self(); t && mine == 0) --t->keeps_core;
    return mine;
}
void __wrap___cxa_guard_release(void* guard) noexcept {
    __real___cxa_guard_release(guard);
    if (thread* t = self()) --t->keeps_core;
}
void __wrap___cxa_guard_abort(void* guard) noexcept {
    __real___cxa_guard_abort(guard);
    if (thread* t = self()) --t->keeps_core;
}

}  // extern "C"
