// The slow paths of events. As long as somebody waits an event is not set, so newcomers can't barge in: set() finds
// `parked`, and lets through those that wait, under their bucket's lock. That lock also keeps those that it has won from
// going on, and from destroying the event, before the word is what it will be. A waiter that gives up leaves `parked` behind;
// the next set() finds nobody, and clears it.
#include <handoff/event.hpp>

#include "wait/parking_lot.hpp"

namespace handoff::detail {

template <event_kind kind>
bool event_base<kind>::must_park() noexcept {
    constexpr std::uint32_t let_through = kind == event_kind::manual ? is_set : 0;
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (;;) {
        const bool lets = (seen & is_set) != 0;
        // acquire: pairs with the release of set.
        if (word_.compare_exchange_weak(seen, lets ? let_through : parked, std::memory_order_acquire, std::memory_order_relaxed))
            return !lets;
    }
}

template <event_kind kind>
bool event_base<kind>::begin_wait() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    do {
        if ((seen & is_set) != 0) return false;
        // Relaxed: who is let through is told what happened before by the wake-up.
    } while (!word_.compare_exchange_weak(seen, parked, std::memory_order_relaxed));
    return true;
}

template <event_kind kind>
bool event_base<kind>::wait_slow(std::int64_t deadline, const std::stop_token* stop) {
    park_request r{this, wait_reason::event};
    r.limits = {deadline, stop, true};
    return park_current(r, [this] { return must_park(); }).end != wait_end::timed_out;
}

template <event_kind kind>
void event_base<kind>::set_slow() noexcept {
    with_parked(this, [this](parked_waiters waiting, wake_list& won) {
        if constexpr (kind == event_kind::automatic)
            if (waiting.release_first(0, won)) {
                // Relaxed: who was won is told what happened before by the wake-up. The event is not set, so besides us only
                // reset() may change the word, to what it is.
                if (waiting.empty()) word_.store(0, std::memory_order_relaxed);
                return;
            }
        // release: as in set. An exchange: if nobody has waited, others may set it and reset it on their fast paths, and
        // who resets it next has to see what they have done. From here on a newcomer may have been let through, and have
        // destroyed the event.
        word_.exchange(is_set, std::memory_order_release);
        if constexpr (kind == event_kind::manual) waiting.release_all(0, won);
    });
}

template class event_base<event_kind::manual>;
template class event_base<event_kind::automatic>;

}  // namespace handoff::detail
