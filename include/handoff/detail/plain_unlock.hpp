// What the inlined unlock of a mutex reads to know that it may do without a locked operation. The protocol is at the head
// of src/sync/mutex.cpp.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>

#include <cstddef>
#include <cstdint>

namespace handoff::detail {

struct plain_unlocks {
    static constexpr std::uint32_t locked = 1;                // the word of a mutex that somebody has and nobody waited for
    static constexpr std::uint32_t never = 0x8000'0000;       // what that word is never
    static constexpr std::size_t watch_count = 256;

    // The word that may be unlocked by a plain store: `locked` where there is membarrier(2), else `never`.
    base::atomic<std::uint32_t> from{never};
    // How many watch for plain unlocks of the mutexes at addresses that share a counter. Not in the mutex: an owner looks
    // after it has let go. On lines of their own, since `from` is read at each unlock.
    alignas(64) base::atomic<std::uint32_t> watching[watch_count] = {};

    base::atomic<std::uint32_t>& watching_for(const void* mutex) noexcept {
        return watching[(reinterpret_cast<std::uintptr_t>(mutex) >> 3) % watch_count];
    }
};
HANDOFF_API extern constinit plain_unlocks plain;

// wake_watchers lets those look again who may wait for the mutex at this address. It need not exist any more.
HANDOFF_API void wake_watchers(const void* mutex) noexcept;

}  // namespace handoff::detail
