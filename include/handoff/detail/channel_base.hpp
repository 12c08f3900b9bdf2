// The part of a channel that does not depend on the type of its values. The algorithm is in src/sync/channel.cpp.
#pragma once

#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/spin_lock.hpp>
#include <handoff/detail/wait_list.hpp>

#include <cstddef>
#include <cstdint>
#include <stop_token>

namespace handoff::detail {

// How values of a channel are moved. noexcept: values whose move may throw are kept in boxes.
struct value_ops {
    std::size_t size, align;
    // Moves from `from` into raw memory at `to`, and destroys `from`. Null: copying `size` bytes is enough.
    void (*relocate)(void* to, void* from) noexcept;
    // Not null if moving the value runs code that may call the library: then type_text() of the moved type.
    const char* loud;
};

// The values of an unbounded channel for which its ring has no room (src/sync/channel_overflow.cpp).
struct channel_overflow;

struct channel_base {
    channel_base(const value_ops& o, std::size_t capacity, std::byte* buffer) noexcept
        : ops(&o), cap(capacity), ring(buffer) {}
    channel_base(const channel_base&) = delete;
    channel_base& operator=(const channel_base&) = delete;

    spin_lock lock;
    base::atomic<bool> closed{false};      // written under lock; without it read as a hint
    bool special = false;                  // nil or unbounded; constant
    base::atomic<std::size_t> count{0};    // values in the ring; as closed
    const value_ops* const ops;
    const std::size_t cap;
    std::byte* const ring;
    std::size_t head = 0, tail = 0;        // under lock
    wait_list receivers, senders;          // under lock; an unbounded channel's `senders` are the values of its overflow
    base::atomic<std::size_t> refs{1};     // number of handles
    channel_overflow* overflow = nullptr;  // null: bounded; constant

    bool is_nil() const noexcept { return special && !overflow; }
};

enum class channel_result : std::uint8_t { done, closed, not_now };

// channel_send moves *value into the channel; channel_recv moves the next value to *slot, which is raw memory. `deadline`:
// see time.hpp. Unless the result is `done`, *value is as it was, and *slot is still raw. They throw `cancelled`,
// std::bad_alloc and, for a null channel, usage_error.
HANDOFF_API channel_result channel_send(channel_base* c, void* value, std::int64_t deadline, const std::stop_token* stop);
HANDOFF_API channel_result channel_recv(channel_base* c, void* slot, std::int64_t deadline, const std::stop_token* stop);

// channel_close throws usage_error if the channel is closed, nil, or null. close_if_open does nothing then.
HANDOFF_API void channel_close(channel_base* c);
HANDOFF_API void close_if_open(channel_base* c) noexcept;

// refuse_no_channel throws usage_error: a handle without a channel was used for `what`.
[[noreturn]] HANDOFF_API void refuse_no_channel(const char* what);

// For the constructor and destructor of an unbounded channel. take_overflowed moves the oldest overflowed value to *slot;
// false if there is none.
HANDOFF_API std::size_t unbounded_ring() noexcept;   // how many values it keeps in its ring
HANDOFF_API channel_overflow* make_overflow();
HANDOFF_API bool take_overflowed(channel_base& c, void* slot) noexcept;
HANDOFF_API void end_overflow(channel_overflow* o) noexcept;
HANDOFF_API std::size_t overflowed(const channel_overflow& o) noexcept;

}  // namespace handoff::detail
