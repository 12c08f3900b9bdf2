#include "sched/idle_set.hpp"

#include <algorithm>

namespace handoff::detail {

held_p idle_set::unlink_p(P& p) noexcept {
    ps_.erase(ps_.iterator_to(p));
    ps_count_.store(ps() - 1, std::memory_order_relaxed);
    p.begin_slice();
    p.end_turn_of_spent();
    return held_p::out_of_list(p);
}

held_p idle_set::take_p(P* preferred) noexcept {
    if (ps_.empty()) return {};
    return unlink_p(preferred && has(*preferred) ? *preferred : ps_.front());
}

held_p idle_set::take_p_if(bool (*wanted)(const P& p, std::int64_t arg) noexcept, std::int64_t arg) noexcept {
    for (P& p : ps_)
        if (wanted(p, arg)) return unlink_p(p);
    return {};
}

void idle_set::put_p(held_p p) noexcept {
    ps_.push_front(p.into_list());
    ps_count_.store(ps() + 1, std::memory_order_relaxed);
}

void idle_set::put_m(M& m) noexcept {
    m.is_idle.store(true, std::memory_order_relaxed);
    ms_.push_front(m);
}

M* idle_set::take_m(deferred_wake& wake) noexcept {
    if (ms_.empty()) return nullptr;
    M* last = &ms_.front();
    for (M& m : ms_) {   // they are two at most
        last = &m;
        if (&m != timekeeper && !is_waiter(m)) break;
    }
    return unlink_m(*last, wake);
}

M* idle_set::take_longest_idle_m(deferred_wake& wake) noexcept { return ms_.empty() ? nullptr : unlink_m(ms_.back(), wake); }

void idle_set::leaves(M& m) noexcept {
    ms_.erase(ms_.iterator_to(m));
    m.is_idle.store(false, std::memory_order_relaxed);
}

M* idle_set::unlink_m(M& m, deferred_wake& wake) noexcept {
    leaves(m);
    if (&m == timekeeper) {
        keeps_no_time();
        cover_timer(first_timer(), wake);
    }
    return &m;
}

std::int64_t idle_set::first_timer() const noexcept {
    std::int64_t first = os::never;
    for (const P& p : ps_) first = std::min(first, p.timers.first());
    return first;
}

void idle_set::cover_timer(std::int64_t when, deferred_wake& wake) noexcept {
    if (when >= timekeeper_until || when >= monitor_until) return;
    wake_monitor(wake);
}

void idle_set::leave_to_monitor(held_p held, bool spinning, deferred_wake& wake) noexcept {
    P& p = held.into_list();
    p.left_spinning = spinning;
    p.next_left = left_.load(std::memory_order_relaxed);
    left_.store(&p, std::memory_order_relaxed);   // take_left reads it without the lock as a hint: the note publishes it
    wake_monitor(wake);
}

held_p idle_set::take_left(bool& spinning) noexcept {
    if (!left_.load(std::memory_order_relaxed)) return {};
    base::lock_guard hold(lock);
    P& p = *left_.load(std::memory_order_relaxed);
    left_.store(p.next_left, std::memory_order_relaxed);
    spinning = p.left_spinning;
    return held_p::out_of_list(p);
}

// learn_spin_time adapts the time for which idle Ms spin to how soon they are called. If an M was called within `most`
// (spin_before_sleep), the time grows to twice what it waited; else it is halved, down to a 32nd of `most`. A sleeping thread
// on a halted core takes 20 us to wake, a spinning one 0.2.
void idle_set::learn_spin_time(std::int64_t waited, std::int64_t most) noexcept {
    const std::int64_t now = spin_time.load(std::memory_order_relaxed);
    const std::int64_t next = waited < most ? std::min(most, std::max(now, 2 * waited)) : std::max(now / 2, most / 32);
    if (next != now) spin_time.store(next, std::memory_order_relaxed);   // a hint: a concurrent change may get lost
}

}  // namespace handoff::detail
