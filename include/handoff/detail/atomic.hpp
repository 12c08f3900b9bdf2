// The library's atomics, under names of the library, so that a checked build can replace them by its own.
#pragma once

#include <atomic>

namespace handoff::base {

template <class T>
using atomic = std::atomic<T>;

// compiler_fence keeps the compiler from moving memory accesses across it; the processor may still move them.
inline void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

inline void cpu_relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

}  // namespace handoff::base
