// The slow paths of shared_mutex. Whenever the lock becomes free, or free for readers, and somebody waits, it is handed over
// to the first waiter, and if that is a reader, to all readers up to the next writer. While somebody waits, `parked` keeps
// newcomers from barging in, and the word changes only under the bucket's lock, with two exceptions: readers leave, and new
// readers count themselves before they see `parked` (or `writer`), which does not give them the lock.
//
// Such a new reader takes its count back under the bucket's lock. Until then it looks like a reader that holds the lock, and
// may keep others out: a writer that finds the word not 0, or let_in, which finds a reader. So it does what a reader does
// that leaves: if it brings the count to zero, and sees `parked` and no writer, it lets waiters in. Nobody is kept out for
// good, since each of these readers parks next, behind the waiters that are there. And none of them counts as a holder: a
// reader holds the lock only if neither `writer` nor `parked` was set when it counted itself, or if let_in counted it.
//
// A reader that leaves subtracts first and looks for waiters afterwards. From the subtraction on it must not touch the
// mutex: a waiter may give up, take the lock that is free now, and destroy the mutex. All that the reader knows is the
// address. But as long as somebody waits there for a shared_mutex, the lock of that address's bucket keeps a shared_mutex
// alive, this one or a later one, since even a waiter that has given up takes that lock before it continues. And to let in
// those waiters that a shared_mutex can let in is right at any time. If nobody waits there, there is nothing to do: a waiter
// that gave up after it had set `parked` looks for others itself.
//
// If there are many readers, they are let in in rounds. Between the rounds the word says `parked`, so that nobody else gets
// the lock, and one of the readers that were let in has not been woken yet: it is counted, so no writer gets the lock, and
// the mutex lives.
#include <handoff/shared_mutex.hpp>

#include "base/check.hpp"
#include "wait/parking_lot.hpp"

#include <utility>

namespace handoff {

using namespace detail;

// let_in hands the lock over to the waiters at the head of the queue that can have it now, and sets the word according to
// whether any waiter is left. Under the bucket's lock; the word has no writer, and it has `parked` if somebody waits. True:
// the round is full, and there may be more.
template <class Waiting, class Won, class Round>
bool shared_mutex::let_in(Waiting& waiting, Won& won, Round& round) noexcept {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    std::uint64_t readers = 0;
    // The readers that hold the lock may leave meanwhile, but the last of them goes to the bucket.
    while (parked_node* n = waiting.first()) {
        if (n->tag == exclusive) {
            if (word >= reader) break;
            if (!waiting.release(*n, 0, won)) continue;
            // Not a store: readers may count themselves meanwhile, and at each moment they must see `parked` or `writer`.
            word_.fetch_or(writer, std::memory_order_acq_rel);
            break;
        }
        if (readers == round.size()) {
            round.grow();
            return true;
        }
        if (!waiting.release(*n, 0, won)) continue;
        word = word_.fetch_add(reader, std::memory_order_acq_rel) + reader;
        ++readers;
    }
    if (waiting.empty()) word_.fetch_and(~parked, std::memory_order_release);
    return false;
}

template <class Waiting, class Won, class Round>
bool shared_mutex::let_in_if_free(Waiting& waiting, Won& won, Round& round) noexcept {
    const std::uint32_t seen = word_.load(std::memory_order_relaxed);
    return (seen & parked) != 0 && (seen & writer) == 0 && let_in(waiting, won, round);
}

bool shared_mutex::lock_slow(std::uint32_t tag, std::int64_t deadline) {
    park_request r{this, wait_reason::shared_mutex};
    r.limits = {deadline, nullptr, false};
    r.tag = tag;
    M* m = enter_current();
    const park_result end = park_if(m, r, [&] {
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        for (;;) {
            const bool free = tag == shared ? (seen & (writer | parked)) == 0 : seen == 0;
            const std::uint32_t next = !free ? seen | parked : tag == shared ? seen + reader : writer;
            if (word_.compare_exchange_weak(seen, next, std::memory_order_acquire, std::memory_order_relaxed)) return !free;
        }
    });
    leave_current(m);
    if (end.end == wait_end::armed || end.end == wait_end::woken) return true;
    // A writer that gives up may have been in front of readers that can be let in now.
    release_round round;
    with_parked_in_rounds(this, [&](parked_waiters waiting, wake_list& won) { return let_in_if_free(waiting, won, round); });
    throw_if_cancelled(end.end);
    return false;
}

void shared_mutex::unlock_slow() noexcept {
    if ((word_.load(std::memory_order_relaxed) & writer) == 0)
        base::fatal("shared_mutex %p is unlocked, and was not locked", static_cast<void*>(this));
    release_round round;
    bool ours = true;
    with_parked_in_rounds(this, [&](parked_waiters waiting, wake_list& won) {
        // If nobody waits, the mutex is free now, and its next owner may destroy it: do not touch it again. If somebody
        // waits, `parked` keeps newcomers out.
        if (std::exchange(ours, false) && (word_.fetch_and(~writer, std::memory_order_release) & parked) == 0) return false;
        return let_in_if_free(waiting, won, round);
    });
}

void shared_mutex::lock_shared_slow() {
    release_round round;
    bool counted = true;
    with_parked_in_rounds(this, [&](parked_waiters waiting, wake_list& won) {
        if (!std::exchange(counted, false)) return let_in_if_free(waiting, won, round);
        const std::uint32_t left = word_.fetch_sub(reader, std::memory_order_acq_rel) - reader;
        return left == parked && let_in(waiting, won, round);
    });
    lock_slow(shared, no_deadline);
}

void shared_mutex::unlock_shared_slow(shared_mutex* m, std::uint32_t before) noexcept {
    if (before < reader) base::fatal("shared_mutex %p is unlocked by a reader, and no reader had it", static_cast<void*>(m));
    release_round round;
    with_parked_in_rounds(m, [&](parked_waiters waiting, wake_list& won) {
        const parked_node* first = waiting.first();   // see the head of this file
        return first && (first->tag == exclusive || first->tag == shared) && m->let_in_if_free(waiting, won, round);
    });
}

}  // namespace handoff
