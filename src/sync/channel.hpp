// What channels share with select and with timers. All of it runs under the channel's lock.
#pragma once

#include "sync/channel_overflow.hpp"
#include "wait/wait.hpp"

#include <handoff/detail/channel_base.hpp>

#include <optional>

namespace handoff::detail {

inline constexpr std::uint32_t delivered = 1;   // wait_node::token: the value was moved; any other: the channel was closed

// first_waiter takes nodes out of l until it has won the waiter of one, or one holds an overflowed value, and returns that
// node; null if there is none.
inline wait_node* first_waiter(wait_list& l, wake_list& won) noexcept {
    while (wait_node* n = l.first.load(std::memory_order_relaxed)) {
        pop_front(l, *n);
        if (is_overflowed(*n)) return n;
        if (won.claim(*n->who, wait_end::woken)) [[likely]] {
            n->who->fired = n;
            return n;
        }
    }
    return nullptr;
}

// send_now and recv_now do what is possible at once, and return `done` or `closed`; nothing if the caller would have to
// wait. The waiters that this concerns are in `won`.
std::optional<channel_result> send_now(channel_base& c, void* value, wake_list& won) noexcept;
std::optional<channel_result> recv_now(channel_base& c, void* slot, wake_list& won) noexcept;

void close_and_wake(channel_base& c, wake_list& won) noexcept;

// move_value moves *from to raw memory at `to`, and destroys *from.
void move_value(const channel_base& c, void* to, void* from) noexcept;

void push_ring(channel_base& c, void* value) noexcept;
void pop_ring(channel_base& c, void* slot) noexcept;

}  // namespace handoff::detail
