// What the library's own code needs besides the atomics of the public headers.
#pragma once

#include <handoff/detail/atomic.hpp>

#include <cstdint>

namespace handoff::base {

// full_fence orders all earlier stores before all later loads (Dekker). It is written in assembler on x86 for two reasons. A
// locked no-op is cheaper there than mfence. And thread sanitizers do not model fences: what they must know is carried by
// the acquire and release accesses around it.
inline void full_fence() noexcept {
#if defined(__x86_64__)
    __asm__ volatile("lock; orl $0, -4(%%rsp)" ::: "memory", "cc");
#elif defined(__aarch64__)
    __asm__ volatile("dmb ish" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

// counter is written by one thread at a time (its owner) and read by any; it needs no read-modify-write. Relaxed: a reader
// wants a number, and not what happened before it.
class counter {
public:
    std::uint64_t add(std::uint64_t n = 1) noexcept {
        const std::uint64_t now = v_.load(std::memory_order_relaxed) + n;
        v_.store(now, std::memory_order_relaxed);
        return now;
    }
    std::uint64_t get() const noexcept { return v_.load(std::memory_order_relaxed); }

    // For two counters of which one counts a part of what the other counts: a reader that has seen a number that was shown
    // also sees what its owner had counted before.
    void show(std::uint64_t n) noexcept { v_.store(n, std::memory_order_release); }        // partner: seen()
    std::uint64_t seen() const noexcept { return v_.load(std::memory_order_acquire); }   // partner: show()

private:
    atomic<std::uint64_t> v_{0};
};

// shared_counter may be incremented by several threads at once. Relaxed for the same reason.
class shared_counter {
public:
    std::uint64_t add(std::uint64_t n = 1) noexcept { return v_.fetch_add(n, std::memory_order_relaxed) + n; }
    std::uint64_t get() const noexcept { return v_.load(std::memory_order_relaxed); }

private:
    atomic<std::uint64_t> v_{0};
};

}  // namespace handoff::base
