// Channels. Each has one spin lock. A value goes directly from a sender to a receiver that waits, or from a sender that
// waits to a receiver.
//
// Invariants, under the lock: receivers wait only while the ring is empty and no sender waits; senders wait only while the
// ring is full; nobody waits once the channel is closed. A node in a queue may belong to a select that has fired elsewhere.
// Such a node is dead; whoever finds it drops it.
//
// An unbounded channel takes what its ring has no room for into its overflow (channel_overflow.hpp).
//
// A waiter learns how its wait ended from the token of its node, which is written under the lock: `delivered`, otherwise the
// channel was closed. The slow paths enter a runtime section before they take the lock, since entering one may wait for a P.
#include "sync/channel.hpp"

#include "sched/pinned.hpp"
#include "wait/cancel.hpp"

#include <handoff/error.hpp>

#include <cstring>
#include <string>

namespace handoff::detail {

void move_value(const channel_base& c, void* to, void* from) noexcept {
    if (c.ops->loud) [[unlikely]] {
        const move_mark here(c.ops->loud);
        c.ops->relocate(to, from);
    } else if (c.ops->relocate) c.ops->relocate(to, from);
    else if (c.ops->size == sizeof(std::uint64_t)) std::memcpy(to, from, sizeof(std::uint64_t));   // becomes two instructions
    else std::memcpy(to, from, c.ops->size);
}

namespace {

void advance(const channel_base& c, std::size_t& at) noexcept {
    if (++at == c.cap) at = 0;
}

std::byte* cell(const channel_base& c, std::size_t at) noexcept { return c.ring + at * c.ops->size; }

// taken_from: the value of a sender, or an overflowed value, was moved out of the node s.
void taken_from(channel_base& c, wait_node& s) noexcept {
    if (is_overflowed(s)) give_back(c, s);
    else s.token = delivered;
}

void set_count(channel_base& c, std::size_t n) noexcept { c.count.store(n, std::memory_order_relaxed); }

}  // namespace

void push_ring(channel_base& c, void* value) noexcept {
    move_value(c, cell(c, c.tail), value);
    advance(c, c.tail);
    set_count(c, c.count.load(std::memory_order_relaxed) + 1);
}

void pop_ring(channel_base& c, void* slot) noexcept {
    move_value(c, slot, cell(c, c.head));
    advance(c, c.head);
    set_count(c, c.count.load(std::memory_order_relaxed) - 1);
}

std::optional<channel_result> send_now(channel_base& c, void* value, wake_list& won) noexcept {
    if (c.closed.load(std::memory_order_relaxed)) return channel_result::closed;
    if (wait_node* r = first_waiter(c.receivers, won)) {
        move_value(c, r->slot, value);
        r->token = delivered;
        return channel_result::done;
    }
    if (c.count.load(std::memory_order_relaxed) != c.cap) push_ring(c, value);
    else if (!c.overflow || !spill(c, value)) return std::nullopt;
    return channel_result::done;
}

std::optional<channel_result> recv_now(channel_base& c, void* slot, wake_list& won) noexcept {
    if (c.count.load(std::memory_order_relaxed) != 0) {
        pop_ring(c, slot);
        if (wait_node* s = first_waiter(c.senders, won)) {   // there is room now
            push_ring(c, s->slot);
            taken_from(c, *s);
        }
        return channel_result::done;
    }
    if (wait_node* s = first_waiter(c.senders, won)) {
        move_value(c, slot, s->slot);
        taken_from(c, *s);
        return channel_result::done;
    }
    if (c.closed.load(std::memory_order_relaxed)) return channel_result::closed;
    return std::nullopt;
}

void close_and_wake(channel_base& c, wake_list& won) noexcept {
    c.closed.store(true, std::memory_order_relaxed);
    while (first_waiter(c.receivers, won)) {
    }
    if (c.overflow) return;   // what was sent will be received
    while (first_waiter(c.senders, won)) {
    }
}

namespace {

// never_ready waits on a nil channel.
[[gnu::noinline]] channel_result never_ready(const wait_limits& limits) {
    M* m = enter_current();   // also if it need not wait: here a simulation may preempt, or a request to yield is met
    if (limits.deadline == at_once) {
        leave_current(m);
        return channel_result::not_now;
    }
    waiter w(m, true);
    const wait_end end = wait_armed(m, w, wait_reason::forever, nullptr, limits);
    leave_current(m);
    throw_if_cancelled(end);
    return channel_result::not_now;
}

// wait_armed_in waits in `list` of c, whose lock the caller holds, until a value was moved from or to `slot`, the channel
// was closed, or the limits ended the wait.
[[gnu::noinline]] channel_result wait_armed_in(channel_base& c, wait_list& list, M* m, void* slot, const wait_limits& limits,
                                               wait_reason why) {
    waiter w(m, true);
    wait_node n;
    n.who = &w;
    n.slot = slot;
    push_back(list, n);
    c.lock.unlock();
    const wait_end end = wait_armed(m, w, why, &c, limits);
    c.lock.lock();   // its waker may still be writing to the node
    if (n.queued) erase(list, n);
    c.lock.unlock();
    leave_current(m);
    if (end == wait_end::woken) return n.token == delivered ? channel_result::done : channel_result::closed;
    throw_if_cancelled(end);
    return channel_result::not_now;
}

// wait_in is the same wait without limits.
inline channel_result wait_in(channel_base& c, wait_list& list, M* m, void* slot, wait_reason why) noexcept {
    waiter w(m, false);
    wait_node n;
    n.who = &w;
    n.slot = slot;
    push_back(list, n);
    leave_current(wait_plain(m, w, why, &c, c.lock));
    return n.token == delivered ? channel_result::done : channel_result::closed;
}

// take_plain takes the first node of l if it belongs to a goroutine in a plain wait. Most do, and no other waker can win
// such a waiter.
inline wait_node* take_plain(wait_list& l) noexcept {
    wait_node* n = l.first.load(std::memory_order_relaxed);
    if (!n || n->who->armed || !n->who->g) return nullptr;
    pop_front(l, *n);
    return n;
}

// meet completes a transfer whose other side was found waiting: it moves the value directly from one side to the other.
inline channel_result meet(channel_base& c, M* m, wait_node& other, void* to, void* from) noexcept {
    move_value(c, to, from);
    other.token = delivered;
    G* g = other.who->g;
    c.lock.unlock();
    ready(m, g);
    leave_current(m);
    return channel_result::done;
}

// transfer does the operation `now` if that is possible at once, otherwise it waits in `list`; c is locked. An operation
// that need not wait does not check for cancellation; one that has to wait notices it when it begins to.
template <auto now, wait_list channel_base::*list>
channel_result transfer(channel_base& c, M* m, void* slot, std::int64_t deadline, const std::stop_token* stop, wait_reason why) {
    wake_list won;
    if (const auto result = now(c, slot, won)) {
        c.lock.unlock();
        won.wake(m);
        leave_current(m);
        return *result;
    }
    if (deadline == at_once) {
        c.lock.unlock();
        leave_current(m);
        return channel_result::not_now;
    }
    const wait_limits limits{deadline, stop, true};
    if (limits.needs_arming(m)) return wait_armed_in(c, c.*list, m, slot, limits, why);
    return wait_in(c, c.*list, m, slot, why);
}

[[gnu::noinline]] channel_result send_unbounded(channel_base& c, void* value) {
    for (;;) {
        add_spare(c);
        M* m = enter_current();
        wake_list won;
        c.lock.lock();
        const auto result = send_now(c, value, won);
        c.lock.unlock();
        won.wake(m);
        leave_current(m);
        if (result) return *result;   // otherwise others have used up the spare nodes meanwhile
    }
}

[[gnu::noinline]] channel_result recv_unbounded(channel_base& c, void* slot, std::int64_t deadline, const std::stop_token* stop) {
    M* m = enter_current();
    c.lock.lock();
    const channel_result result =
        transfer<recv_now, &channel_base::receivers>(c, m, slot, deadline, stop, wait_reason::receive);
    trim(c);
    return result;
}

// close_once: false if it is closed already.
bool close_once(channel_base& c) noexcept {
    M* m = enter_current();
    wake_list won;
    c.lock.lock();
    const bool open = !c.closed.load(std::memory_order_relaxed);
    if (open) close_and_wake(c, won);
    c.lock.unlock();
    won.wake(m);
    leave_current(m);
    return open;
}

}  // namespace

channel_result channel_send(channel_base* c, void* value, std::int64_t deadline, const std::stop_token* stop) {
    if (!c) [[unlikely]] refuse_no_channel("send");
    if (c->special) [[unlikely]] return c->overflow ? send_unbounded(*c, value) : never_ready({deadline, stop, true});
    M* m = enter_current();
    c->lock.lock();
    if (wait_node* r = take_plain(c->receivers)) return meet(*c, m, *r, r->slot, value);
    return transfer<send_now, &channel_base::senders>(*c, m, value, deadline, stop, wait_reason::send);
}

channel_result channel_recv(channel_base* c, void* slot, std::int64_t deadline, const std::stop_token* stop) {
    if (!c) [[unlikely]] refuse_no_channel("receive");
    if (c->special) [[unlikely]] return c->overflow ? recv_unbounded(*c, slot, deadline, stop) : never_ready({deadline, stop, true});
    M* m = enter_current();
    c->lock.lock();
    if (c->count.load(std::memory_order_relaxed) == 0) {
        if (wait_node* s = take_plain(c->senders)) return meet(*c, m, *s, slot, s->slot);
        const wait_limits limits{deadline, stop, true};
        if (c->senders.empty() && !c->closed.load(std::memory_order_relaxed) && !limits.needs_arming(m))
            return wait_in(*c, c->receivers, m, slot, wait_reason::receive);
    }
    return transfer<recv_now, &channel_base::receivers>(*c, m, slot, deadline, stop, wait_reason::receive);
}

void close_if_open(channel_base* c) noexcept {
    if (c && !c->is_nil()) close_once(*c);
}

void channel_close(channel_base* c) {
    if (!c) refuse_no_channel("close");
    if (c->is_nil()) throw usage_error("handoff: close of a nil channel");
    if (!close_once(*c)) throw usage_error("handoff: close of a closed channel");
}

void refuse_no_channel(const char* what) {
    throw usage_error(std::string("handoff: ") + what +
                      " with a handle that holds no channel (default-constructed or moved from); channel<T>::nil() is never ready");
}

}  // namespace handoff::detail
