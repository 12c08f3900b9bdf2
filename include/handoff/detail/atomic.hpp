// The library's atomics, behind one name each, so that a checked build can put its own in their place.
#pragma once

#include <atomic>

namespace handoff::base {

template <class T>
using atomic = std::atomic<T>;

// compiler_fence keeps the compiler from moving accesses across it; the processor may.
inline void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

inline void cpu_relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

}  // namespace handoff::base
