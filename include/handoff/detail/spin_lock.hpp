// spin_lock: a lock that is held for a few instructions at a time, in objects that goroutines and foreign threads share.
//
// A goroutine may take it outside of a runtime section, and then lose its P, or its core, while it holds it. A waiter spins
// for a moment, then yields, then sleeps (os/backoff.hpp). Under the lock nothing may park, block, allocate, take a mutex
// or run user code, except for moves and destructors of a channel's values, which must not call the library
// (src/sched/pinned.hpp). It may be unlocked by another thread than locked it: a goroutine that parks leaves the unlocking
// to the context to which it switches.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>

#include <cstdint>

namespace handoff::detail {

class spin_lock {
public:
    constexpr spin_lock() noexcept = default;
    spin_lock(const spin_lock&) = delete;
    spin_lock& operator=(const spin_lock&) = delete;

    void lock() noexcept {
        // acquire: pairs with unlock's release.
        if (word_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]] lock_slow();
    }
    void unlock() noexcept { word_.store(0, std::memory_order_release); }

private:
    HANDOFF_API void lock_slow() noexcept;

    base::atomic<std::uint32_t> word_{0};
};

class spin_guard {
public:
    explicit spin_guard(spin_lock& l) noexcept : l_(l) { l_.lock(); }
    ~spin_guard() { l_.unlock(); }
    spin_guard(const spin_guard&) = delete;
    spin_guard& operator=(const spin_guard&) = delete;

private:
    spin_lock& l_;
};

}  // namespace handoff::detail
