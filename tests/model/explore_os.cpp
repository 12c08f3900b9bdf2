// The system that a schedule runs on: what the library calls of libc, and what src/os and src/base/check.cpp would do with
// it. Functions of libc are replaced by ones of the same name, so that the library's own headers (base/mutex.hpp,
// os/clock.hpp), note.cpp and the standard library's inlined functions come here too. Off model threads they do what
// they always do.
#include "base/check.hpp"
#include "explore_engine.hpp"
#include "os/cpus.hpp"
#include "os/load.hpp"
#include "os/membarrier.hpp"
#include "os/thread.hpp"
#include "os/thread_activity.hpp"
#include "os/random.hpp"
#include "wait/wait.hpp"

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

namespace explore {

namespace {

template <class F>
F* real(const char* name) noexcept {
    return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

std::int64_t in_ns(const timespec& t) noexcept { return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

void trace(operation what, const void* at, std::uint64_t value, const void* pc) noexcept {
    if (the.tracing) the.record(what, at, 0, value, 0, pc);
}

long futex_wait(const std::uint32_t* word, std::uint32_t expected, const timespec* until, const void* pc) noexcept {
    the.step();
    the.drain_all(*the.current);
    trace(operation::futex_wait, word, expected, pc);
    if (*word != expected) {
        errno = EAGAIN;
        return -1;
    }
    if (fails_spuriously()) {
        errno = EINTR;
        return -1;
    }
    the.wait(thread_state::in_futex, word, until ? in_ns(*until) : no_deadline);
    if (!the.current->timed_out) return 0;
    errno = ETIMEDOUT;
    return -1;
}

long futex_wake(const std::uint32_t* word, std::uint32_t most, const void* pc) noexcept {
    the.step();
    the.drain_all(*the.current);
    trace(operation::futex_wake, word, most, pc);
    long woken = 0;
    while (woken < static_cast<long>(most)) {
        model_thread* t = nullptr;
        unsigned found = 0;
        for (unsigned i = 0; i < the.count; ++i)
            if (the.threads[i].state == thread_state::in_futex && the.threads[i].waits_for == word &&
                the.rng.below(++found) == 0)
                t = &the.threads[i];
        if (!t) break;
        the.make_runnable(*t, false);
        ++woken;
    }
    return woken;
}

}  // namespace

}  // namespace explore

using namespace explore;

extern "C" {

long syscall(long number, ...) noexcept {
    va_list args;
    va_start(args, number);
    long a[6];
    for (long& x : a) x = va_arg(args, long);
    va_end(args);
    if (active && number == SYS_futex) {
        const auto* word = reinterpret_cast<const std::uint32_t*>(a[0]);
        const int what = static_cast<int>(a[1]) & FUTEX_CMD_MASK;
        const void* pc = __builtin_return_address(0);
        if (what == FUTEX_WAIT || what == FUTEX_WAIT_BITSET)
            return futex_wait(word, static_cast<std::uint32_t>(a[2]), reinterpret_cast<const timespec*>(a[3]), pc);
        if (what == FUTEX_WAKE) return futex_wake(word, static_cast<std::uint32_t>(a[2]), pc);
        fail("a futex operation that is not modelled: %ld", a[1]);
    }
    static auto* const call = real<long(long, ...)>("syscall");
    return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int clock_gettime(clockid_t clock, timespec* t) noexcept {
    if (!active || clock != CLOCK_MONOTONIC) {
        static auto* const call = real<int(clockid_t, timespec*)>("clock_gettime");
        return call(clock, t);
    }
    t->tv_sec = static_cast<time_t>(the.now / 1'000'000'000);
    t->tv_nsec = static_cast<long>(the.now % 1'000'000'000);
    return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* t, timespec* left) {
    if (!active) {
        static auto* const call = real<int(clockid_t, int, const timespec*, timespec*)>("clock_nanosleep");
        return call(clock, flags, t, left);
    }
    the.step();
    trace(operation::sleep, nullptr, 0, __builtin_return_address(0));
    the.wait(thread_state::asleep, nullptr, flags & TIMER_ABSTIME ? in_ns(*t) : the.now + in_ns(*t));
    return 0;
}

int sched_yield() noexcept {
    if (!active) return 0;
    trace(operation::relax, nullptr, 0, __builtin_return_address(0));
    the.give_way(true);
    return 0;
}

// Outside of schedules there is one thread: nothing to lock.

int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
    if (!active) return 0;
    the.step();
    the.drain_all(*the.current);   // ours may be among them
    const int me = static_cast<int>(the.current->number) + 1;
    if (owner_of(m) == me) fail("thread %d locks a mutex that it has: %p", me - 1, static_cast<void*>(m));
    while (owner_of(m) != 0) the.wait(thread_state::in_mutex, m, no_deadline);
    owner_of(m) = me;
    trace(operation::lock, m, 0, __builtin_return_address(0));
    return 0;
}

int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
    if (!active) return 0;
    the.step();
    the.drain_all(*the.current);
    if (owner_of(m) != 0) return EBUSY;
    owner_of(m) = static_cast<int>(the.current->number) + 1;
    trace(operation::lock, m, 0, __builtin_return_address(0));
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
    if (!active) return 0;
    the.step();
    if (owner_of(m) != static_cast<int>(the.current->number) + 1)
        fail("thread %u unlocks a mutex that it has not: %p", the.current->number, static_cast<void*>(m));
    trace(operation::unlock, m, 0, __builtin_return_address(0));
    model_thread& t = *the.current;
    if (t.buffered == buffer_size) the.drain_one(t, 0);
    t.buffer[t.buffered++] = {m, 0, 0, true, true};
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t* m) noexcept {
    if (!active) return 0;
    the.drain_all(*the.current);
    if (owner_of(m) != 0) fail("a mutex is destroyed that thread %d has", owner_of(m) - 1);
    return 0;
}

pthread_t pthread_self() noexcept {
    if (active) return the.current->number + 1;
    static auto* const call = real<pthread_t()>("pthread_self");
    return call();
}

int pthread_join(pthread_t t, void** result) {
    if (!active) {
        static auto* const call = real<int(pthread_t, void**)>("pthread_join");
        return call(t, result);
    }
    the.step();
    if (t == 0 || t > the.count) fail("a join of no thread");
    model_thread& other = the.threads[t - 1];
    trace(operation::join, nullptr, t - 1, __builtin_return_address(0));
    while (other.state != thread_state::done) the.wait(thread_state::joining, &other, no_deadline);
    return 0;
}

}  // extern "C"

namespace handoff::os {

thread_defaults thread_defaults::of_this_thread() noexcept { return {}; }
void thread_defaults::apply() const noexcept {}

thread_stack thread_stack::of_this_thread() noexcept { return {the.current->stack, stack_bytes, 0}; }

std::size_t thread_stack_room() noexcept { return stack_bytes; }

int create_thread(pthread_t& t, void (*body)(void*), void* arg) noexcept {
    the.step();
    the.drain_all(*the.current);   // as the call would
    const unsigned number = the.create([body, arg] { body(arg); });
    if (number == most_threads) return EAGAIN;
    t = number + 1;
    trace(operation::starts, nullptr, number, __builtin_return_address(0));
    return 0;
}

bool join_if_gone(pthread_t t) noexcept {
    the.step();
    return the.threads[t - 1].state == explore::thread_state::done;
}

pid_t this_tid() noexcept { return static_cast<pid_t>(the.current->number + 1); }
void set_timer_slack(unsigned long) noexcept {}
void name_this_thread(int) noexcept {}

std::int64_t thread_cpu_time(pid_t tid) noexcept {
    if (tid <= 0 || static_cast<unsigned>(tid) > the.count) return -1;
    const model_thread& t = the.threads[static_cast<unsigned>(tid) - 1];
    return t.state == explore::thread_state::done ? -1 : t.cpu_time;
}

core_time core_time_of(pid_t tid) noexcept { return {thread_cpu_time(tid), 0}; }

long voluntary_switches() noexcept { return static_cast<long>(choose(3)); }

load_file::load_file() noexcept : fd_(-1), cpus_(1) {}
load_file::~load_file() = default;
bool load_file::has_room() const noexcept { return perhaps(); }

void activity_files::close_all() noexcept {}
thread_activity activity_files::of(pid_t tid) noexcept {
    the.step();
    if (tid <= 0 || static_cast<unsigned>(tid) > the.count) return {};
    const model_thread& t = the.threads[static_cast<unsigned>(tid) - 1];
    if (t.state == explore::thread_state::done) return {};
    if (t.state == explore::thread_state::runnable) return {activity::computing, -1};
    return {activity::in_call, t.in_kernel ? SYS_read : SYS_futex};
}

const char* call_name(long) noexcept { return "call"; }

signal_stack::signal_stack() noexcept {}
signal_stack::~signal_stack() = default;

constinit base::atomic<bool> membarrier_in_use{false};

bool membarrier_available() noexcept { return the.membarrier; }

// Each thread has its barrier at some time during the call, one after the other.
void membarrier_all() noexcept {
    the.step();
    the.drain_all(*the.current);
    const unsigned n = the.count, first = choose(n);
    for (unsigned i = 0; i < n; ++i) {
        the.drain_all(the.threads[(first + i) % n]);
        the.step();
    }
    trace(operation::barrier, nullptr, 0, __builtin_return_address(0));
}

unsigned available_cpus() { return the.cores; }
unsigned affinity_cpus() noexcept { return the.cores; }

}  // namespace handoff::os

namespace handoff::base {

void warn(const char*, ...) noexcept {}
void warn_nth(std::uint64_t, const char*, ...) noexcept {}

void fatal(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    the.give_up(format, args);
}

}  // namespace handoff::base

namespace handoff::os {

std::uint32_t random_number() noexcept { return static_cast<std::uint32_t>(the.rng.next()); }
std::uint64_t exchange_random_state(std::uint64_t) noexcept { return 0; }   // of simulations, which are not explored

}  // namespace handoff::os
