// What the inlined unlock of a mutex reads to decide whether it can do without a locked instruction. The protocol is at the
// head of src/sync/mutex.cpp.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>

#include <cstddef>
#include <cstdint>

namespace handoff::detail {

struct plain_unlocks {
    static constexpr std::uint32_t locked = 1;                // the word of a mutex that has an owner and never had a waiter
    static constexpr std::uint32_t never = 0x8000'0000;       // a value that this word never has
    static constexpr std::size_t watch_count = 256;

    // The value of a mutex's word that may be unlocked by a plain store: `locked` if membarrier(2) is available, otherwise
    // `never`.
    base::atomic<std::uint32_t> from{never};
    // The number of waiters that watch for plain unlocks of mutexes; mutexes whose addresses map to the same element share
    // it. It is not in the mutex, since an owner reads it after it has released the mutex. On cache lines of their own,
    // since `from` is read at each unlock.
    alignas(64) base::atomic<std::uint32_t> watching[watch_count] = {};

    base::atomic<std::uint32_t>& watching_for(const void* mutex) noexcept {
        return watching[(reinterpret_cast<std::uintptr_t>(mutex) >> 3) % watch_count];
    }
};
HANDOFF_API extern constinit plain_unlocks plain;

// wake_watchers wakes the waiters of the mutex at this address, to look again. The mutex need not exist any more.
HANDOFF_API void wake_watchers(const void* mutex) noexcept;

}  // namespace handoff::detail
