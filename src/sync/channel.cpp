// Channels. One spin lock each; values go straight from a sender to a receiver that waits, and the other way round.
//
// Invariants, under the lock: receivers wait only while the ring is empty and no sender waits; senders wait only while
// the ring is full; nobody waits once the channel is closed. A waiter of a select may have fired elsewhere: its node is
// then dead, and is dropped by who finds it.
//
// A waiter learns how it ended from its node's token, written under the lock: `delivered`, or else the channel was
// closed. The slow paths enter a runtime section before they take the lock, since entering may wait for a P.
#include "sync/channel.hpp"

#include "sync/wait.hpp"

#include <handoff/error.hpp>

namespace handoff::detail {

// first_waiter returns the first node of l whose waiter the caller has won; null if there is none.
wait_node* first_waiter(wait_list& l, wake_list& won) noexcept {
    while (wait_node* n = l.first.load(std::memory_order_relaxed)) {
        erase(l, *n);
        if (won.claim(*n->who, wait_end::woken)) {
            n->who->fired = n;
            return n;
        }
    }
    return nullptr;
}

namespace {

void advance(const channel_base& c, std::size_t& at) noexcept {
    if (++at == c.cap) at = 0;
}

std::byte* cell(const channel_base& c, std::size_t at) noexcept { return c.ring + at * c.ops->size; }

void set_count(channel_base& c, std::size_t n) noexcept { c.count.store(n, std::memory_order_relaxed); }

}  // namespace

void push_ring(channel_base& c, void* value) noexcept {
    c.ops->relocate(cell(c, c.tail), value);
    advance(c, c.tail);
    set_count(c, c.count.load(std::memory_order_relaxed) + 1);
}

void pop_ring(channel_base& c, void* slot) noexcept {
    c.ops->relocate(slot, cell(c, c.head));
    advance(c, c.head);
    set_count(c, c.count.load(std::memory_order_relaxed) - 1);
}

std::optional<channel_result> send_now(channel_base& c, void* value, wake_list& won) noexcept {
    if (c.closed.load(std::memory_order_relaxed)) return channel_result::closed;
    if (wait_node* r = first_waiter(c.receivers, won)) {
        c.ops->relocate(r->slot, value);
        r->token = delivered;
        return channel_result::done;
    }
    if (c.count.load(std::memory_order_relaxed) == c.cap) return std::nullopt;
    push_ring(c, value);
    return channel_result::done;
}

std::optional<channel_result> recv_now(channel_base& c, void* slot, wake_list& won) noexcept {
    if (c.count.load(std::memory_order_relaxed) != 0) {
        pop_ring(c, slot);
        if (wait_node* s = first_waiter(c.senders, won)) {   // there is room now
            push_ring(c, s->slot);
            s->token = delivered;
        }
        return channel_result::done;
    }
    if (wait_node* s = first_waiter(c.senders, won)) {
        c.ops->relocate(slot, s->slot);
        s->token = delivered;
        return channel_result::done;
    }
    if (c.closed.load(std::memory_order_relaxed)) return channel_result::closed;
    return std::nullopt;
}

void close_and_wake(channel_base& c, wake_list& won) noexcept {
    c.closed.store(true, std::memory_order_relaxed);
    while (first_waiter(c.receivers, won)) {
    }
    while (first_waiter(c.senders, won)) {
    }
}

namespace {

// never_ready is what waiting on a default-constructed channel is.
channel_result never_ready(const wait_limits& limits) {
    if (limits.deadline == at_once) return channel_result::not_now;
    M* m = enter_current();
    waiter w(m, true);
    const wait_end end = wait_armed(m, w, wait_reason::forever, nullptr, limits);
    leave_current(m);
    throw_if_cancelled(end);
    return channel_result::not_now;
}

// wait_in waits in `list` of c, whose lock the caller holds, until a value was moved from or to `slot`, the channel was
// closed, or the limits ended it.
channel_result wait_in(channel_base& c, wait_list& list, M* m, void* slot, const wait_limits& limits, wait_reason why) {
    waiter w(m, limits.needs_arming(m));
    wait_node n;
    n.who = &w;
    n.slot = slot;
    push_back(list, n);
    if (!w.contested) {
        leave_current(wait_plain(m, w, why, &c, c.lock));
        return n.token == delivered ? channel_result::done : channel_result::closed;
    }
    c.lock.unlock();
    const wait_end end = wait_armed(m, w, why, &c, limits);
    c.lock.lock();   // who woke it may still write to the node
    if (n.queued) erase(list, n);
    c.lock.unlock();
    leave_current(m);
    if (end == wait_end::woken) return n.token == delivered ? channel_result::done : channel_result::closed;
    throw_if_cancelled(end);
    return channel_result::not_now;
}

// transfer does what `now` can do at once, or waits in `list`. An operation that need not wait does not look whether it
// was cancelled; one that does finds out as it begins to.
template <auto now, wait_list channel_base::*list>
channel_result transfer(channel_base* c, void* slot, std::int64_t deadline, const std::stop_token* stop, wait_reason why) {
    if (!c) return never_ready({deadline, stop, true});
    M* m = enter_current();
    wake_list won;
    c->lock.lock();
    if (const auto result = now(*c, slot, won)) {
        c->lock.unlock();
        won.wake(m);
        leave_current(m);
        return *result;
    }
    if (deadline == at_once) {
        c->lock.unlock();
        leave_current(m);
        return channel_result::not_now;
    }
    return wait_in(*c, c->*list, m, slot, {deadline, stop, true}, why);
}

}  // namespace

channel_result channel_send(channel_base* c, void* value, std::int64_t deadline, const std::stop_token* stop) {
    return transfer<send_now, &channel_base::senders>(c, value, deadline, stop, wait_reason::send);
}

channel_result channel_recv(channel_base* c, void* slot, std::int64_t deadline, const std::stop_token* stop) {
    return transfer<recv_now, &channel_base::receivers>(c, slot, deadline, stop, wait_reason::receive);
}

void channel_close(channel_base* c) {
    if (!c) throw usage_error("handoff: close of a channel that was default-constructed");
    M* m = enter_current();
    wake_list won;
    c->lock.lock();
    const bool twice = c->closed.load(std::memory_order_relaxed);
    if (!twice) close_and_wake(*c, won);
    c->lock.unlock();
    won.wake(m);
    leave_current(m);
    if (twice) throw usage_error("handoff: close of a closed channel");
}

}  // namespace handoff::detail
