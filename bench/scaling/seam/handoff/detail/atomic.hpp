// In place of include/handoff/detail/atomic.hpp: the same atomics, which the compiler instruments; a pause that takes
// time on the simulated machine.
#pragma once

#include <atomic>

namespace scaling {
void relax() noexcept;
}

namespace handoff::base {

template <class T>
using atomic = std::atomic<T>;

inline void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

inline void cpu_relax() noexcept { scaling::relax(); }

}  // namespace handoff::base
