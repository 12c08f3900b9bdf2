// The callbacks that code compiled with -fsanitize=thread calls, in place of ThreadSanitizer's own: they do the atomic
// operations, and report each access to the model of the caches. Names and arguments are the compilers' (gcc's and
// clang's tsan passes); there are so many because each size has its own.
#include "lines.hpp"

#include "real.hpp"

#include <atomic>

using scaling::memory;

namespace {

void touch(const volatile void* at, unsigned size, bool writes, bool locked, const void* code) noexcept {
    memory.touch(reinterpret_cast<std::uintptr_t>(at), size, writes, locked, code);
}

// Blocks are copied by the tool too.
bool seen(size_t size) noexcept { return size != 0 && memory.counting() && !scaling::own_code::runs(); }

}  // namespace

#define HERE __builtin_return_address(0)

extern "C" {

// ---- Plain accesses ----

#define PLAIN(size)                                                                                          \
    void __tsan_read##size(void* at) { touch(at, size, false, false, HERE); }                                \
    void __tsan_write##size(void* at) { touch(at, size, true, false, HERE); }                                \
    void __tsan_unaligned_read##size(void* at) { touch(at, size, false, false, HERE); }                      \
    void __tsan_unaligned_write##size(void* at) { touch(at, size, true, false, HERE); }                      \
    void __tsan_volatile_read##size(void* at) { touch(at, size, false, false, HERE); }                       \
    void __tsan_volatile_write##size(void* at) { touch(at, size, true, false, HERE); }                       \
    void __tsan_unaligned_volatile_read##size(void* at) { touch(at, size, false, false, HERE); }             \
    void __tsan_unaligned_volatile_write##size(void* at) { touch(at, size, true, false, HERE); }             \
    void __tsan_read_write##size(void* at) {                                                                 \
        touch(at, size, false, false, HERE);                                                                 \
        touch(at, size, true, false, HERE);                                                                  \
    }                                                                                                        \
    void __tsan_unaligned_read_write##size(void* at) {                                                       \
        touch(at, size, false, false, HERE);                                                                 \
        touch(at, size, true, false, HERE);                                                                  \
    }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
#undef PLAIN

void __tsan_read_range(void* at, unsigned long size) { touch(at, static_cast<unsigned>(size), false, false, HERE); }
void __tsan_write_range(void* at, unsigned long size) { touch(at, static_cast<unsigned>(size), true, false, HERE); }
void __tsan_vptr_read(void** at) { touch(at, sizeof *at, false, false, HERE); }
void __tsan_vptr_update(void** at, void*) { touch(at, sizeof *at, true, false, HERE); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void*) {}

// ---- Atomics ----
// One thread runs at a time, so any order is the strongest.

#define ATOMIC(bits, type)                                                                                   \
    type __tsan_atomic##bits##_load(const volatile type* a, int) {                                           \
        touch(a, bits / 8, false, false, HERE);                                                              \
        return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                        \
    void __tsan_atomic##bits##_store(volatile type* a, type v, int) {                                        \
        touch(a, bits / 8, true, false, HERE);                                                               \
        __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                                                            \
    }                                                                                                        \
    MODIFY(bits, type, exchange, __atomic_exchange_n)                                                        \
    MODIFY(bits, type, fetch_add, __atomic_fetch_add)                                                        \
    MODIFY(bits, type, fetch_sub, __atomic_fetch_sub)                                                        \
    MODIFY(bits, type, fetch_and, __atomic_fetch_and)                                                        \
    MODIFY(bits, type, fetch_or, __atomic_fetch_or)                                                          \
    MODIFY(bits, type, fetch_xor, __atomic_fetch_xor)                                                        \
    MODIFY(bits, type, fetch_nand, __atomic_fetch_nand)                                                      \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type* a, type* e, type v, int, int) {         \
        touch(a, bits / 8, true, true, HERE);                                                                \
        return __atomic_compare_exchange_n(a, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
    }                                                                                                        \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type* a, type* e, type v, int, int) {           \
        touch(a, bits / 8, true, true, HERE);                                                                \
        return __atomic_compare_exchange_n(a, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
    }                                                                                                        \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type* a, type e, type v, int, int) {            \
        touch(a, bits / 8, true, true, HERE);                                                                \
        __atomic_compare_exchange_n(a, &e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
        return e;                                                                                            \
    }
#define MODIFY(bits, type, name, builtin)                                                                    \
    type __tsan_atomic##bits##_##name(volatile type* a, type v, int) {                                       \
        touch(a, bits / 8, true, true, HERE);                                                                \
        return builtin(a, v, __ATOMIC_SEQ_CST);                                                              \
    }
ATOMIC(8, unsigned char)
ATOMIC(16, unsigned short)
ATOMIC(32, unsigned)
ATOMIC(64, unsigned long)
#undef MODIFY
#undef ATOMIC

void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

// ---- Blocks of memory: clang's names, and what gcc leaves to the C library (by --wrap) ----

void* __wrap_memcpy(void* to, const void* from, size_t size) noexcept {
    if (seen(size)) {
        touch(from, static_cast<unsigned>(size), false, false, HERE);
        touch(to, static_cast<unsigned>(size), true, false, HERE);
    }
    return __real_memcpy(to, from, size);
}
void* __wrap_memmove(void* to, const void* from, size_t size) noexcept {
    if (seen(size)) {
        touch(from, static_cast<unsigned>(size), false, false, HERE);
        touch(to, static_cast<unsigned>(size), true, false, HERE);
    }
    return __real_memmove(to, from, size);
}
void* __wrap_memset(void* to, int value, size_t size) noexcept {
    if (seen(size)) touch(to, static_cast<unsigned>(size), true, false, HERE);
    return __real_memset(to, value, size);
}
void* __tsan_memcpy(void* to, const void* from, size_t size) { return __wrap_memcpy(to, from, size); }
void* __tsan_memmove(void* to, const void* from, size_t size) { return __wrap_memmove(to, from, size); }
void* __tsan_memset(void* to, int value, size_t size) { return __wrap_memset(to, value, size); }

// src/context/context.hpp asks for these under clang.
void* __tsan_get_current_fiber() { return nullptr; }
void* __tsan_create_fiber(unsigned) { return nullptr; }
void __tsan_destroy_fiber(void*) {}
void __tsan_switch_to_fiber(void*, unsigned) {}

}  // extern "C"
