// select has two paths.
//
// The quick path looks at all cases without locks, and chooses one of those that seem ready. It then tries that case under
// the lock of its channel alone. Busy selects take this path. It is fair: the choice among all cases that seem ready is
// random.
//
// The slow path holds the locks of all channels, taken in the order of their addresses, so that it sees all of them at one
// instant. Only then may it decide that nothing is ready (`otherwise`), or queue a node at each channel and wait. Its waiter
// is armed, so only one of the wakers that find a node wins it, and that waker notes under its channel's lock which node it
// was. When the waiter continues, it takes all the locks again, in the same order, and removes its nodes.
//
// Cases that are not channels (event_case) have no part in that one instant: each is queued, under its own lock, once the
// channels' locks are released. A case that turns out to be ready then is not carried out there, since another waker may
// win the select meanwhile. The select wins itself, leaves all queues, and begins again.
//
// Locks are taken only within a runtime section, since entering one may wait for a P.
#include <handoff/select.hpp>

#include "goroutine/join.hpp"
#include "os/random.hpp"
#include "sync/channel.hpp"
#include "wait/parking_lot.hpp"

#include <handoff/error.hpp>

#include <algorithm>
#include <memory>
#include <optional>

namespace handoff::detail {

namespace {

constexpr std::size_t none = static_cast<std::size_t>(-1);

// Scratch space for n elements; on the stack if there are few.
template <class T>
class scratch {
public:
    explicit scratch(std::size_t n) : heap_(n > few ? new T[n] : nullptr) {}
    T* data() noexcept { return heap_ ? heap_.get() : local_; }
    T& operator[](std::size_t i) noexcept { return data()[i]; }

private:
    static constexpr std::size_t few = 8;
    T local_[few];
    std::unique_ptr<T[]> heap_;
};

bool transfers(const case_base& c) noexcept { return c.kind == case_kind::recv || c.kind == case_kind::send; }

// needs_spare says whether c sends to an unbounded channel, which may need a spare node for the value.
bool needs_spare(const case_base& c) noexcept { return c.kind == case_kind::send && c.base && c.base->overflow; }

// Without the lock, seems_ready is a guess.
bool seems_ready(const case_base& c) noexcept {
    if (c.kind == case_kind::stop) return c.stop.stop_requested();
    if (c.kind == case_kind::event) return static_cast<const event_case&>(c).seems_ready();
    const channel_base* ch = c.base;
    if (!ch) return false;
    if (ch->closed.load(std::memory_order_relaxed)) return true;
    const std::size_t n = ch->count.load(std::memory_order_relaxed);
    return c.kind == case_kind::recv ? n != 0 || !ch->senders.empty() : n < ch->cap || ch->overflow || !ch->receivers.empty();
}

// choose returns one of the cases that seem ready, each with the same probability; `none` if there is none.
std::size_t choose(case_base* const* cases, std::size_t n) noexcept {
    std::size_t chosen = none;
    std::uint32_t ready = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (!seems_ready(*cases[i])) continue;
        ++ready;
        // The k-th ready case replaces the choice with probability 1/k.
        if (ready == 1 || static_cast<std::uint64_t>(os::random_number()) * ready >> 32 == 0) chosen = i;
    }
    return chosen;
}

// carry_out is the end of a case that is no transfer, and that seemed ready: index `none` if it was not.
select_result carry_out(case_base* const* cases, std::size_t i) noexcept {
    const bool done = cases[i]->kind != case_kind::event || cases[i]->try_fast();
    return {done ? i : none, true};
}

std::optional<channel_result> try_case(case_base& c, wake_list& won) noexcept {
    return c.kind == case_kind::recv ? recv_now(*c.base, c.slot(), won) : send_now(*c.base, c.slot(), won);
}

// What a select waits for besides channels.
struct other_cases {
    std::size_t otherwise = none, timeout = none, stop = none;

    other_cases(case_base* const* cases, std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            if (cases[i]->kind == case_kind::otherwise) only(otherwise, i);
            else if (cases[i]->kind == case_kind::stop) only(stop, i);
            else if (cases[i]->kind == case_kind::timeout && (timeout == none || cases[i]->deadline < cases[timeout]->deadline))
                timeout = i;
        }
    }
    static void only(std::size_t& place, std::size_t i) {
        if (place != none) throw usage_error("handoff: a select with two cases of otherwise, or of on_stop");
        place = i;
    }
};

// The channels of a select, each of them once, in the order in which they are locked.
class channel_set {
public:
    channel_set(case_base* const* cases, std::size_t n) : all_(n) {
        for (std::size_t i = 0; i < n; ++i)
            if (transfers(*cases[i]) && cases[i]->base) all_[count_++] = cases[i]->base;
        std::sort(all_.data(), all_.data() + count_, std::less<channel_base*>());
        count_ = static_cast<std::size_t>(std::unique(all_.data(), all_.data() + count_) - all_.data());
    }
    void lock() noexcept {
        for (std::size_t i = 0; i < count_; ++i) all_[i]->lock.lock();
    }
    void unlock() noexcept {
        for (std::size_t i = count_; i-- > 0;) all_[i]->lock.unlock();
    }

private:
    scratch<channel_base*> all_;
    std::size_t count_ = 0;
};

wait_list& list_of(case_base& c) noexcept {
    return c.kind == case_kind::recv ? c.base->receivers : c.base->senders;   // NOLINT(*UndefReturn): it has a channel
}

// The quick path; `none` if no case was done.
select_result select_quickly(case_base* const* cases, std::size_t n) noexcept {
    const std::size_t i = choose(cases, n);
    if (i == none) return {none, false};
    if (!transfers(*cases[i])) return carry_out(cases, i);
    if (cases[i]->try_fast()) return {i, true};
    M* m = enter_current();
    wake_list won;
    channel_base& ch = *cases[i]->base;
    ch.lock.lock();
    const auto result = try_case(*cases[i], won);
    ch.lock.unlock();
    won.wake(m);
    leave_current(m);
    if (ch.overflow) trim(ch);
    if (!result) return {none, false};
    return {i, *result == channel_result::done};
}

// The places of a select in the queues of its event cases.
class event_places {
public:
    event_places(case_base* const* cases, std::size_t n) : cases_(cases), n_(n) {
        for (std::size_t i = 0; i < n && !places_; ++i)
            if (cases[i]->kind == case_kind::event) places_.reset(new place[n]);
    }

    enum class result { queued, ready, joined_elsewhere };

    // queue enters all queues on behalf of w, until a case turns out to be ready. m as in wait().
    result queue(M* m, waiter& w) noexcept {
        for (std::size_t i = 0; places_ && i < n_; ++i) {
            if (cases_[i]->kind != case_kind::event) continue;
            const result r = queue(m, w, places_[i], static_cast<event_case&>(*cases_[i]));
            if (r != result::queued) return r;
        }
        return result::queued;
    }

    // leave leaves the queues.
    void leave() noexcept {
        for (std::size_t i = 0; places_ && i < n_; ++i) leave(places_[i], static_cast<event_case&>(*cases_[i]));
    }
    // fired returns the index of the case through which w was won, otherwise `none`. Once all queues are left, channels' too:
    // whoever won w wrote to it under the lock of one of them.
    std::size_t fired(const waiter& w) const noexcept {
        for (std::size_t i = 0; places_ && i < n_; ++i) {
            const place& at = places_[i];
            if (at.join ? at.join->told.load(std::memory_order_relaxed) == join_waiter::told_as::won : at.parked && w.fired == &*at.parked)
                return i;
        }
        return none;
    }

private:
    struct place {
        std::optional<parked_node> parked;
        std::optional<join_waiter> join;
    };

    static result queue(M* m, waiter& w, place& at, event_case& c) noexcept {
        if (c.goroutine) {
            if (c.goroutine->join_word.wait_with(at.join.emplace(w, true))) return result::queued;
            at.join.reset();
            return c.goroutine->join_word.has_ended() ? result::ready : result::joined_elsewhere;
        }
        bucket& b = bucket_of(c.address);
        spin_guard hold(b.lock);
        if (!c.must_wait()) return result::ready;
        parked_node& n = at.parked.emplace(m, true);
        n.principal = &w;
        n.address = c.address;
        n.tag = c.tag;
        b.append(n);
        return result::queued;
    }

    static void leave(place& at, event_case& c) noexcept {
        if (at.join) stop_waiting(c.goroutine, *at.join);
        if (!at.parked) return;
        bucket& b = bucket_of(c.address);
        spin_guard hold(b.lock);   // its waker may still be writing to the node
        if (at.parked->queued) b.remove(*at.parked);
    }

    case_base* const* const cases_;
    const std::size_t n_;
    std::unique_ptr<place[]> places_;
};

class slow_select {
public:
    slow_select(case_base* const* cases, std::size_t n, const other_cases& others)
        : cases_(cases), n_(n), others_(others), channels_(cases, n), nodes_(n), order_(n), events_(cases, n) {
        for (std::size_t i = 0; i < n; ++i)
            if (needs_spare(*cases[i])) add_spare(*cases[i]->base);
    }

    // m is in a runtime section, or null. Returns outside of the section; index `none` if it has to be called again.
    select_result run(M* m) {
        channels_.lock();
        wake_list won;
        // Under the locks a case that seems ready is ready, unless its waiters are selects that have fired elsewhere. Their
        // nodes are gone after a try.
        for (std::size_t i; (i = choose(cases_, n_)) != none;) {
            if (!transfers(*cases_[i])) {
                channels_.unlock();
                leave_current(m);
                return carry_out(cases_, i);
            }
            const auto result = try_case(*cases_[i], won);
            // Nothing was done, and an unbounded channel is not full: others have used up its spare nodes.
            const bool again = !result && needs_spare(*cases_[i]);
            if (!result && !again) continue;
            channels_.unlock();
            won.wake(m);
            leave_current(m);
            if (cases_[i]->base->overflow) trim(*cases_[i]->base);
            return {again ? none : i, result == channel_result::done};
        }
        if (others_.otherwise != none) {
            channels_.unlock();
            leave_current(m);
            return {others_.otherwise, true};
        }
        return wait(m);
    }

private:
    select_result wait(M* m) {
        waiter w(m, true);
        // The nodes are queued in random order, since several cases may have the same channel: the first node in its queue
        // is the one that fires.
        for (std::size_t k = 0; k < n_; ++k) {
            const std::size_t at = static_cast<std::uint64_t>(os::random_number()) * (k + 1) >> 32;
            order_[k] = order_[at];
            order_[at] = k;
        }
        for (std::size_t k = 0; k < n_; ++k) {
            const std::size_t i = order_[k];
            if (!transfers(*cases_[i]) || !cases_[i]->base) continue;
            wait_node& node = nodes_[i];
            node.who = &w;
            node.slot = cases_[i]->slot();
            push_back(list_of(*cases_[i]), node);
        }
        channels_.unlock();
        wait_limits limits;
        if (others_.timeout != none) limits.deadline = cases_[others_.timeout]->deadline;
        if (others_.stop != none) limits.stop = &cases_[others_.stop]->stop;
        const event_places::result events = events_.queue(m, w);
        const bool begins_again = events != event_places::result::queued && wins_itself(w);
        const wait_end end = begins_again ? wait_end::woken : wait_armed(m, w, wait_reason::select, nullptr, limits);
        events_.leave();
        select_result result{none, true};
        channels_.lock();   // the waker may still be writing to a node
        for (std::size_t i = 0; i < n_; ++i) {
            if (nodes_[i].queued) erase(list_of(*cases_[i]), nodes_[i]);
            if (w.fired == &nodes_[i]) result = {i, nodes_[i].token == delivered};
        }
        channels_.unlock();
        leave_current(m);
        if (result.index == none) result.index = events_.fired(w);
        if (result.index != none && asks_when_woken(*cases_[result.index])) result.index = none;
        if (begins_again && events == event_places::result::joined_elsewhere)
            throw usage_error("handoff: a select waits for the end of a goroutine for which another one waits, or twice for the same");
        if (end == wait_end::timed_out) return {others_.timeout, true};
        if (end == wait_end::cancelled && others_.stop != none && limits.stop->stop_requested()) return {others_.stop, true};
        throw_if_cancelled(end);
        return result;
    }

    static bool asks_when_woken(const case_base& c) noexcept {
        return c.kind == case_kind::event && static_cast<const event_case&>(c).asks_when_woken;
    }

    // True if no other waker has won w.
    static bool wins_itself(waiter& w) noexcept {
        wait_end armed = wait_end::armed;
        // Relaxed: nothing was done by a waker; the queues' locks order the rest.
        return w.state.compare_exchange_strong(armed, wait_end::woken, std::memory_order_relaxed);
    }

    case_base* const* const cases_;
    const std::size_t n_;
    const other_cases& others_;
    channel_set channels_;
    scratch<wait_node> nodes_;
    scratch<std::size_t> order_;
    event_places events_;
};

// select_slowly waits until a case is ready, or until the deadline of a timeout has passed on the steady clock.
select_result select_slowly(case_base* const* cases, std::size_t n) {
    const other_cases others(cases, n);
    if (others.stop != none && cases[others.stop]->stop.stop_requested()) return {others.stop, true};
    if (others.otherwise == none) check_cancelled({});
    slow_select slow(cases, n, others);   // may allocate, so it is made outside of the section
    return slow.run(enter_current());
}

}  // namespace

select_result select_wait(case_base* const* cases, std::size_t n) {
    for (;;) {
        const select_result quick = select_quickly(cases, n);
        if (quick.index != none) return quick;
        const select_result end = select_slowly(cases, n);
        if (end.index == none) continue;
        if (cases[end.index]->kind != case_kind::timeout || cases[end.index]->over()) return end;
    }
}

}  // namespace handoff::detail
