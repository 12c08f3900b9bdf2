// The overflow of an unbounded channel: the values for which its ring has no room.
//
// Such a value stands in the channel's queue of senders, as the value of a sender that waits: in a node of its own, on the
// heap, whose waiter is the constant `overflowed_value`. So receivers find it where they look for the next value anyway,
// and the order is kept. But nobody waits there: nothing is woken, and close() leaves these nodes where they are. Nobody
// else stands in that queue, since a sender to an unbounded channel never waits.
//
// Under a channel's lock nothing may be allocated or freed. So a node is made before the lock is taken, and lies among the
// channel's spare nodes; a node whose value was received goes back there. Senders that find no spare node make one and try
// again. Receivers free spare nodes, without the lock, once there are many.
#pragma once

#include "wait/wait.hpp"

#include <handoff/detail/channel_base.hpp>

namespace handoff::detail {

struct channel_overflow {
    wait_node* spare = nullptr;              // linked by `next`; under the channel's lock
    base::atomic<std::size_t> spares{0};     // their number; changed under the lock, otherwise read as a hint
    base::atomic<std::size_t> values{0};     // overflowed values; likewise
};

extern constinit waiter overflowed_value;
inline bool is_overflowed(const wait_node& n) noexcept { return n.who == &overflowed_value; }

// spill moves *value to the end of c's overflow; false if there is no spare node. Under the lock.
bool spill(channel_base& c, void* value) noexcept;
// give_back makes n, whose value was moved out, a spare node of c. Under the lock.
void give_back(channel_base& c, wait_node& n) noexcept;

// add_spare sees to it that c has a spare node if it may need one. Throws std::bad_alloc. Without the lock.
void add_spare(channel_base& c);
// trim frees the spare nodes of c if there are many. Without the lock.
void trim(channel_base& c) noexcept;

}  // namespace handoff::detail
