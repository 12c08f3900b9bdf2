// What the library calls of the system is replaced by the linker (--wrap; system.cpp); these are the real ones.
#pragma once

#include <ctime>
#include <pthread.h>
#include <sys/resource.h>

extern "C" {
long __real_syscall(long number, ...) noexcept;
int __real_clock_gettime(clockid_t clock, struct timespec* t) noexcept;
int __real_pthread_create(pthread_t* t, const pthread_attr_t* attr, void* (*body)(void*), void* arg) noexcept;
int __real_pthread_join(pthread_t t, void** result);
int __real_pthread_tryjoin_np(pthread_t t, void** result) noexcept;
int __real_pthread_mutex_lock(pthread_mutex_t* m) noexcept;
int __real_pthread_mutex_trylock(pthread_mutex_t* m) noexcept;
int __real_pthread_mutex_unlock(pthread_mutex_t* m) noexcept;
int __real_clock_nanosleep(clockid_t clock, int flags, const struct timespec* t, struct timespec* left);
int __real_sched_yield() noexcept;
int __real_getrusage(__rusage_who who, struct rusage* usage) noexcept;
int __real___cxa_guard_acquire(void* guard);
void __real___cxa_guard_release(void* guard) noexcept;
void __real___cxa_guard_abort(void* guard) noexcept;
void* __real_memcpy(void* to, const void* from, size_t size) noexcept;
void* __real_memmove(void* to, const void* from, size_t size) noexcept;
void* __real_memset(void* to, int value, size_t size) noexcept;
}
