#include "wait/parking_lot.hpp"

namespace handoff::detail {

constinit bucket buckets[1u << bucket_bits];

void bucket::insert(parked_node& n, bool in_front) noexcept {
    n.queued = true;
    parked_node** const at = place_of(n.address);
    parked_node* const first = *at;
    if (!first) {
        n.next = n.prev = &n;
        n.ring = ++rings;
        n.stands_for = {{}, in_front ? nullptr : &n, 0};
        *at = &n;
        return;
    }
    // The queue is a ring: the place behind the last node is the one before the first.
    n.ring = first->ring;
    n.next = first;
    n.prev = first->prev;
    n.prev->next = n.next->prev = &n;
    parked_node::object& o = first->stands_for;
    if (in_front) {
        n.stands_for = o;
        *at = &n;
    } else if (!o.trailing) {
        o.trailing = &n;
        o.places = 0;
    } else if (++o.places >= places_ahead) {
        o.trailing->ahead = &n;
        o.trailing = &node_of(o.trailing->next);   // still in the queue: at least n stands behind it
        --o.places;
    }
}

void bucket::drop(parked_node** at) noexcept {
    parked_node* const n = *at;
    const auto below = [](parked_node* p) { return &p->stands_for.child[p->stands_for.child[0] ? 0 : 1]; };
    parked_node** end = below(n);
    if (!*end) {
        *at = nullptr;
        return;
    }
    while (*below(*end)) end = below(*end);
    parked_node* const leaf = *end;
    *end = nullptr;   // before n's children are copied: the leaf may be one of them
    leaf->stands_for.child[0] = n->stands_for.child[0];
    leaf->stands_for.child[1] = n->stands_for.child[1];
    *at = leaf;
}

void bucket::take_first(parked_node** at) noexcept {
    parked_node& n = **at;
    parked_node& next = node_of(n.next);
    if (&next == &n) {
        drop(at);
    } else {
        next.stands_for = n.stands_for;
        if (next.stands_for.trailing == &n) next.stands_for.trailing = &next;
        *at = &next;
    }
    unlink(n);
}

bool bucket::remove(parked_node& n) noexcept {
    parked_node** const at = place_of(n.address);
    parked_node* const first = *at;
    const bool waits = first && first->ring == n.ring;
    if (first == &n) {
        take_first(at);
    } else {
        if (waits && first->stands_for.trailing == &n)
            first->stands_for.trailing = n.next == first ? nullptr : &node_of(n.next);
        unlink(n);
    }
    return waits;
}

std::uint64_t parked_waiters::release_up_to(std::uint64_t most, std::uint32_t token, wake_list& won) noexcept {
    parked_node* n = first();
    if (!n || most == 0) return 0;
    // What the first node holds for its object is passed on only once, to the node that is the first in the end.
    parked_node::object o = n->stands_for;
    ring_link* const last = n->prev;
    const std::uint32_t tag = n->tag;
    std::uint64_t served = 0;
    for (;;) {
        parked_node* const next = n == last ? nullptr : &node_of(n->next);
        if (o.trailing == n) o.trailing = next;
        n->queued = false;
        served += tell(*n, token, won);
        n = next;
        if (!n) {
            bucket::drop(at_);
            return served;
        }
        if (served == most || n->tag != tag) break;
    }
    n->stands_for = o;
    n->prev = last;
    last->next = n;
    *at_ = n;
    return served;
}

void parked_waiters::release_all(std::uint32_t token, wake_list& won) noexcept {
    release_up_to(release_round::first, token, won);
    parked_node* const n = first();
    if (!n) return;
    bucket::drop(at_);
    ring_.take(*n, token);
}

void parked_ring::take(parked_node& first, std::uint32_t token) noexcept {
    taken_ = true;
    token_ = token;
    end_ = {&first, first.prev};
    end_.prev->next = first.prev = &end_;
}

void parked_ring::wake_taken(M* m, bucket& b) noexcept {
    for (bool more = true; more;) {
        wake_list won;
        b.lock.lock();
        for (std::uint64_t i = 0; i < release_round::first && end_.next != &end_; ++i) {
            parked_node& n = node_of(end_.next);
            unlink(n);
            parked_waiters::tell(n, token_, won);
        }
        more = end_.next != &end_;
        b.lock.unlock();
        won.wake(m);
    }
}

park_result finish_park(M*& m, bucket& b, const park_request& r, bool armed) noexcept {
    parked_node n(m, armed);
    n.address = r.address;
    n.tag = r.tag;
    n.since = r.since;
    if (r.in_front) b.push_front(n);
    else b.append(n);
    if (!armed) {
        m = wait_plain(m, n, r.why, r.address, b.lock);
        return {wait_end::woken, n.token};
    }
    b.lock.unlock();
    const wait_end end = wait_armed(m, n, r.why, r.address, r.limits);
    b.lock.lock();   // its waker may still be writing to the node
    if (n.queued) b.remove(n);
    b.lock.unlock();
    return {end, n.token};
}

}  // namespace handoff::detail
