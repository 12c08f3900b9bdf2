// No instrumentation here, and plain words for __atomic builtins: a sanitizer maps memory, and allocates, before it is
// ready for more.
#include "shim.hpp"

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <new>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define UNSANITIZED __attribute__((no_sanitize("thread"), no_sanitize("address"), no_sanitize("undefined"), noinline))

// A sanitizer's own, where it has one.
extern "C" int __interceptor_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) __attribute__((weak));

namespace fault {

namespace {

// The present plan of a site. `on` is written last and read first.
struct state {
    int on;
    int error;
    bool pretend;
    long tid;               // 0: any
    long skip, times;
    std::uint64_t chance;   // of 2^32
    long delay_ns;
    std::uint64_t calls, met;
};
state states[static_cast<int>(site::count)];
std::uint64_t random_state = 1;

using syscall_type = long (*)(long, ...);
syscall_type syscall_found;

UNSANITIZED syscall_type find_syscall() noexcept {
    syscall_type found = __atomic_load_n(&syscall_found, __ATOMIC_RELAXED);
    if (!found) {
        found = reinterpret_cast<syscall_type>(::dlsym(RTLD_NEXT, "syscall"));
        __atomic_store_n(&syscall_found, found, __ATOMIC_RELAXED);
    }
    return found;
}

UNSANITIZED bool one_less(long& counter) noexcept {
    for (long n = __atomic_load_n(&counter, __ATOMIC_RELAXED); n > 0;)
        if (__atomic_compare_exchange_n(&counter, &n, n - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return true;
    return false;
}

UNSANITIZED std::uint64_t random_number() noexcept {
    std::uint64_t z = __atomic_add_fetch(&random_state, 0x9E3779B97F4A7C15u, __ATOMIC_RELAXED);   // splitmix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

struct verdict {
    bool skip_call = false;
    int error = 0;
};

// judge says what is to become of a call, and delays it if that is the plan. errno is kept.
UNSANITIZED verdict judge(site where) noexcept {
    state& s = states[static_cast<int>(where)];
    if (__atomic_load_n(&s.on, __ATOMIC_ACQUIRE) == 0) return {};
    const int before = errno;
    verdict v;
    if (s.tid == 0 || s.tid == find_syscall()(SYS_gettid)) {
        __atomic_fetch_add(&s.calls, 1, __ATOMIC_RELAXED);
        if (!one_less(s.skip) && (random_number() >> 32) < s.chance &&
            (__atomic_load_n(&s.times, __ATOMIC_RELAXED) < 0 || one_less(s.times))) {
            __atomic_fetch_add(&s.met, 1, __ATOMIC_RELAXED);
            if (s.delay_ns != 0) {
                const timespec t{s.delay_ns / 1'000'000'000, s.delay_ns % 1'000'000'000};
                find_syscall()(SYS_nanosleep, &t, nullptr);
            }
            v = {s.error != 0 || s.pretend, s.error};
        }
    }
    errno = before;
    return v;
}

UNSANITIZED bool fails(site where) noexcept {
    const verdict v = judge(where);
    if (v.error != 0) errno = v.error;
    return v.error != 0;
}

}  // namespace

injection::injection(site where, const plan& p) noexcept : where_(where) {
    state& s = states[static_cast<int>(where)];
    s.error = p.error;
    s.pretend = p.pretend;
    s.tid = p.only_here ? find_syscall()(SYS_gettid) : 0;
    __atomic_store_n(&s.skip, p.skip, __ATOMIC_RELAXED);
    __atomic_store_n(&s.times, p.times, __ATOMIC_RELAXED);
    s.chance = static_cast<std::uint64_t>(p.chance * 4294967296.0);
    s.delay_ns = static_cast<long>(p.delay.count());
    __atomic_store_n(&s.calls, std::uint64_t{0}, __ATOMIC_RELAXED);
    __atomic_store_n(&s.met, std::uint64_t{0}, __ATOMIC_RELAXED);
    __atomic_store_n(&s.on, 1, __ATOMIC_RELEASE);
}

injection::~injection() { __atomic_store_n(&states[static_cast<int>(where_)].on, 0, __ATOMIC_RELEASE); }

std::uint64_t injection::calls() const noexcept {
    return __atomic_load_n(&states[static_cast<int>(where_)].calls, __ATOMIC_RELAXED);
}
std::uint64_t injection::met() const noexcept {
    return __atomic_load_n(&states[static_cast<int>(where_)].met, __ATOMIC_RELAXED);
}

UNSANITIZED bool stands_in(site where, long& result) noexcept {
    const verdict v = judge(where);
    if (v.error != 0) errno = v.error;
    result = v.error != 0 ? -1 : 0;
    return v.skip_call;
}

UNSANITIZED long real_syscall(long number, long a, long b, long c, long d, long e, long f) noexcept {
    return find_syscall()(number, a, b, c, d, e, f);
}

void set_seed(std::uint64_t seed) noexcept { __atomic_store_n(&random_state, seed, __ATOMIC_RELAXED); }

namespace {

// operator new's ways to memory.
UNSANITIZED void* allocate(std::size_t size, std::size_t align) noexcept {
    if (judge(site::allocation).skip_call) {
        errno = ENOMEM;   // as malloc does
        return nullptr;
    }
    if (size == 0) size = 1;
    if (align <= alignof(std::max_align_t)) return std::malloc(size);
    return std::aligned_alloc(align, (size + align - 1) / align * align);
}

}  // namespace

}  // namespace fault

// ---- What stands in ----------------------------------------------------------------------------------------------------

extern "C" UNSANITIZED int pthread_create(pthread_t* t, const pthread_attr_t* a, void* (*f)(void*), void* arg) noexcept {
    if (const fault::verdict v = fault::judge(fault::site::thread_create); v.error != 0) return v.error;
    if (__interceptor_pthread_create) return __interceptor_pthread_create(t, a, f, arg);
    using type = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static type real;
    type found = __atomic_load_n(&real, __ATOMIC_RELAXED);
    if (!found) {
        found = reinterpret_cast<type>(::dlsym(RTLD_NEXT, "pthread_create"));
        __atomic_store_n(&real, found, __ATOMIC_RELAXED);
    }
    return found(t, a, f, arg);
}

extern "C" UNSANITIZED void* mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
    if ((flags & MAP_STACK) &&
        fault::fails(flags & MAP_NORESERVE ? fault::site::stack_mapping : fault::site::signal_stack))
        return MAP_FAILED;
    return reinterpret_cast<void*>(fault::find_syscall()(SYS_mmap, at, bytes, protection, flags, fd, offset));
}

extern "C" UNSANITIZED int mprotect(void* at, std::size_t bytes, int protection) noexcept {
    if (fault::fails(fault::site::protect)) return -1;
    return static_cast<int>(fault::find_syscall()(SYS_mprotect, at, bytes, protection));
}

extern "C" UNSANITIZED int madvise(void* at, std::size_t bytes, int advice) noexcept {
    if (advice == MADV_GUARD_INSTALL && fault::fails(fault::site::guard_install)) return -1;
    if (advice == MADV_NOHUGEPAGE && fault::fails(fault::site::no_huge_page)) return -1;
    if (advice == MADV_DONTNEED && fault::fails(fault::site::give_back)) return -1;
    return static_cast<int>(fault::find_syscall()(SYS_madvise, at, bytes, advice));
}

extern "C" UNSANITIZED long syscall(long number, ...) noexcept {
    va_list args;
    va_start(args, number);
    long a[6];
    for (long& x : a) x = va_arg(args, long);
    va_end(args);
    using fault::site;
    site where = site::count;
    if (number == SYS_futex) {
        const long what = a[1] & FUTEX_CMD_MASK;
        if (what == FUTEX_WAIT || what == FUTEX_WAIT_BITSET) where = site::futex_wait;
        else if (what == FUTEX_WAKE) where = site::futex_wake;
    } else if (number == SYS_membarrier) {
        if (a[0] == MEMBARRIER_CMD_QUERY) where = site::membarrier_query;
        else if (a[0] == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) where = site::membarrier_register;
        else if (a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED) where = site::membarrier_run;
    } else if (number == SYS_getdents64) {
        where = site::directory_read;
    }
    long result = 0;
    if (where != site::count && fault::stands_in(where, result)) return result;
    return fault::find_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void* operator new(std::size_t size) {
    if (void* p = fault::allocate(size, 0)) return p;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t align) {
    if (void* p = fault::allocate(size, static_cast<std::size_t>(align))) return p;
    throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, std::align_val_t align) { return operator new(size, align); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return fault::allocate(size, 0); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return fault::allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
    return fault::allocate(size, static_cast<std::size_t>(align));
}
void* operator new[](std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
    return fault::allocate(size, static_cast<std::size_t>(align));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
