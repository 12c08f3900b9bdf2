// Semaphores. Permits are given to the waiters first, one each; only what is left is added to the word. As long as somebody
// waits the word has no permits, so newcomers can't barge in.
//
// A waiter for several permits is a `collector`. When it comes, and nobody waits, it takes what permits there are; while it is
// the first, it gets what is released, until it has all. So only the first waiter ever has collected any. All of this happens
// under the bucket's lock, under which a release also counts what has been collected: for the maximum these are permits like
// those in the word.
//
// A collector that gives up stays in the queue until it has the lock. Only there it passes on what it has collected. A release
// that comes first, and finds that it has given up, leaves its own permits with it, to be passed on with the others. (If the
// release took over what was collected, permits would be in nobody's count between two of its rounds. Other releases would then
// go beyond the maximum.) If there are many to pass on to, this takes rounds, too; between them the collector stands at the
// head of the queue with what is left, for the same reason.
#include <handoff/semaphore.hpp>

#include "wait/parking_lot.hpp"

#include <handoff/error.hpp>

#include <algorithm>
#include <string>

namespace handoff::detail {

void bad_permits(std::ptrdiff_t n, std::ptrdiff_t most) {
    throw usage_error("handoff: " + std::to_string(n) + " permits of a semaphore are acquired, not between 1 and " +
                      std::to_string(most));
}

namespace {

constexpr std::uint32_t tag_one = 0, tag_several = 1;   // of nodes: what the waiter waits for

// fits says whether n more permits beside those that there are make no more than `most`.
bool fits(std::uint64_t n, std::uint64_t permits, std::uint64_t most) noexcept { return n <= most && permits <= most - n; }

[[noreturn, gnu::cold]] void beyond_maximum() { throw usage_error("handoff: a semaphore is released beyond its maximum"); }

}  // namespace

// The node of a waiter for several permits. Its fields are used under the bucket's lock.
struct semaphore_base::collector : parked_node {
    collector(M* m, const void* semaphore, std::uint64_t n) noexcept : parked_node(m, true), wanted(n) {
        address = semaphore;
        tag = tag_several;
    }

    const std::uint64_t wanted;
    std::uint64_t has = 0;   // less than `wanted`, unless it has given up
};

bool semaphore_base::take_slow(std::int64_t deadline, const std::stop_token* stop) {
    // The fast path may only have been closed. Who need not wait has its permit, even if a stop was requested.
    if (try_take()) return true;
    park_request r{this, wait_reason::semaphore};
    r.limits = {deadline, stop, true};
    r.tag = tag_one;
    const park_result end = park_current(r, [&] {
        std::uint64_t seen = word_.load(std::memory_order_relaxed);
        for (;;) {
            const bool free = seen >= one;
            if (word_.compare_exchange_weak(seen, free ? seen - one : parked, std::memory_order_acquire, std::memory_order_relaxed))
                return !free;
        }
    });
    return end.end != wait_end::timed_out;
}

bool semaphore_base::begin_wait() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (seen >= one) return false;
        // Relaxed: who gets a permit is told what happened before by the wake-up.
    } while (!word_.compare_exchange_weak(seen, parked, std::memory_order_relaxed));
    return true;
}

// serve gives out n permits, and leaves in n what nobody waits for. Under the bucket's lock. True: the round is full, and
// there are more permits.
template <class Waiting, class Won, class Round>
bool semaphore_base::serve(std::uint64_t& n, Waiting& waiting, Won& won, Round& round) noexcept {
    std::uint64_t served = 0;
    while (n > 0 && served < round.size()) {
        parked_node* const first = waiting.first();
        if (!first) return false;
        if (first->tag == tag_one) {
            const std::uint64_t got_one = waiting.release_up_to(std::min(n, round.size() - served), 0, won);
            n -= got_one;
            served += got_one;
            continue;
        }
        auto& c = *static_cast<collector*>(first);
        const std::uint64_t lacks = c.wanted - std::min(c.has, c.wanted);
        if (n < lacks || !waiting.release_or_leave(c, 0, won)) {
            c.has += n;   // to be kept, or passed on
            n = 0;
            return false;
        }
        n -= lacks;
        ++served;
    }
    if (n == 0) return false;
    round.grow();
    return true;
}

void semaphore_base::give(std::uint64_t n, std::uint64_t most) {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while ((never_if_closed(seen) & parked) == 0) {
        if (!fits(n, seen >> 1, most)) beyond_maximum();
        // release: what the releaser did, for whoever acquires the permit.
        if (word_.compare_exchange_weak(seen, seen + n * one, std::memory_order_release, std::memory_order_relaxed)) return;
    }
    give_slow(n, most);
}

// give_slow is a function of its own so that give needs no stack frame.
void semaphore_base::give_slow(std::uint64_t n, std::uint64_t most) {
    bool accepted = false;
    release_round round;
    with_parked_in_rounds(this, [&](parked_waiters waiting, wake_list& won) {
        if (!accepted) {   // the first round
            const parked_node* const first = waiting.first();
            accepted = fits(n, first && first->tag == tag_several ? static_cast<const collector*>(first)->has : 0, most);
            if (!accepted) return false;
        }
        if (serve(n, waiting, won, round)) return true;
        if (!waiting.empty()) return false;
        // Nobody waits any more. If this was so before this round, others may have changed the word on their fast paths.
        std::uint64_t seen = word_.load(std::memory_order_relaxed);
        do {
            accepted = fits(n, seen >> 1, most);   // if not, this round served nobody: after a round that did, the rest fits
            if (!accepted) return false;
        } while (!word_.compare_exchange_weak(seen, (seen & ~parked) + n * one, std::memory_order_release, std::memory_order_relaxed));
        return false;
    });
    if (!accepted) beyond_maximum();
}

// pass_on is a round in which c, which has given up and is queued, passes on what it has. True: it stands at the head of the
// queue, and has more.
template <class Waiting, class Won, class Round>
bool semaphore_base::pass_on(collector& c, Waiting& waiting, Won& won, Round& round) noexcept {
    bucket_of(this).remove(c);
    if (c.has == 0) return false;   // it need not have been the first, so the word is not its business
    if (serve(c.has, waiting, won, round)) {
        bucket_of(this).push_front(c);
        return true;
    }
    // Nobody waits. As long as c was queued, the word said `parked`, and nothing else. release: as in give, for those who
    // released what c has collected.
    if (waiting.empty()) word_.store(c.has * one, std::memory_order_release);
    return false;
}

bool semaphore_base::collect(std::uint64_t n, std::int64_t deadline, const std::stop_token* stop) {
    if (try_take_several(n)) return true;   // as in take_slow
    const wait_limits limits{deadline, stop, true};
    check_cancelled(limits);
    M* m = enter_current();
    collector c(m, this, n);
    bucket& b = bucket_of(this);
    b.lock.lock();
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {   // acquire: pairs with give's release
        c.has = std::min(seen >> 1, n);
    } while (!word_.compare_exchange_weak(seen, c.has == n ? seen - n * one : parked, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    const bool waits = c.has != n;
    if (waits) b.append(c);
    b.lock.unlock();
    const wait_end end = waits ? wait_armed(m, c, wait_reason::semaphore, this, limits) : wait_end::woken;
    leave_current(m);
    if (!waits) return true;
    release_round round;
    // Also if it was woken: who has woken it may still be writing to it. Then the semaphore may be gone.
    with_parked_in_rounds(this, [&](parked_waiters waiting, wake_list& won) { return c.queued && pass_on(c, waiting, won, round); });
    throw_if_cancelled(end);
    return end != wait_end::timed_out;
}

}  // namespace handoff::detail
