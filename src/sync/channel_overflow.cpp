#include "sync/channel_overflow.hpp"

#include "base/sizes.hpp"
#include "sync/channel.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace handoff::detail {

constinit waiter overflowed_value(nullptr, true);

namespace {

constexpr std::size_t most_spares = base::sized(std::size_t{64}, std::size_t{2});

std::size_t align_of(const value_ops& ops) noexcept { return std::max(ops.align, alignof(wait_node)); }

// The value lies behind its node.
std::size_t value_at(const value_ops& ops) noexcept { return (sizeof(wait_node) + ops.align - 1) / ops.align * ops.align; }

wait_node* make_node(const value_ops& ops) {
    void* const memory = ::operator new(value_at(ops) + ops.size, std::align_val_t(align_of(ops)));
    auto* const n = ::new (memory) wait_node;
    n->who = &overflowed_value;
    n->slot = static_cast<std::byte*>(memory) + value_at(ops);
    return n;
}

void free_node(wait_node* n, const value_ops& ops) noexcept { ::operator delete(n, std::align_val_t(align_of(ops))); }

void free_nodes(wait_node* first, const value_ops& ops) noexcept {
    while (first) free_node(std::exchange(first, first->next), ops);
}

void change(base::atomic<std::size_t>& n, std::ptrdiff_t by) noexcept {
    n.store(n.load(std::memory_order_relaxed) + static_cast<std::size_t>(by), std::memory_order_relaxed);
}

}  // namespace

bool spill(channel_base& c, void* value) noexcept {
    channel_overflow& o = *c.overflow;
    wait_node* const n = o.spare;
    if (!n) return false;
    o.spare = n->next;
    change(o.spares, -1);
    move_value(c, n->slot, value);
    push_back(c.senders, *n);
    change(o.values, 1);
    return true;
}

void give_back(channel_base& c, wait_node& n) noexcept {
    channel_overflow& o = *c.overflow;
    n.next = std::exchange(o.spare, &n);
    change(o.spares, 1);
    change(o.values, -1);
}

void add_spare(channel_base& c) {
    // Relaxed: whether it is needed turns out under the lock.
    if (c.count.load(std::memory_order_relaxed) < c.cap || c.overflow->spares.load(std::memory_order_relaxed) != 0) return;
    wait_node* const n = make_node(*c.ops);
    spin_guard hold(c.lock);
    n->next = std::exchange(c.overflow->spare, n);
    change(c.overflow->spares, 1);
}

void trim(channel_base& c) noexcept {
    channel_overflow& o = *c.overflow;
    if (o.spares.load(std::memory_order_relaxed) <= most_spares) return;
    wait_node* surplus;
    {
        spin_guard hold(c.lock);
        surplus = std::exchange(o.spare, nullptr);
        o.spares.store(0, std::memory_order_relaxed);
    }
    free_nodes(surplus, *c.ops);
}

std::size_t unbounded_ring() noexcept { return base::sized(std::size_t{64}, std::size_t{2}); }

channel_overflow* make_overflow() { return new channel_overflow; }

bool take_overflowed(channel_base& c, void* slot) noexcept {
    wait_node* const n = c.senders.first.load(std::memory_order_relaxed);
    if (!n) {
        free_nodes(std::exchange(c.overflow->spare, nullptr), *c.ops);
        return false;
    }
    pop_front(c.senders, *n);
    move_value(c, slot, n->slot);
    free_node(n, *c.ops);
    return true;
}

void end_overflow(channel_overflow* o) noexcept { delete o; }

std::size_t overflowed(const channel_overflow& o) noexcept { return o.values.load(std::memory_order_relaxed); }

}  // namespace handoff::detail
