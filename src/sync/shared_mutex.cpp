// The slow paths of shared_mutex. Whenever it becomes free, or free for readers, and somebody waits, it is handed to the
// first of them, and if that is a reader, to all readers up to the next writer. While somebody waits, `parked` keeps
// everybody else from having it, and the word changes under the bucket's lock alone, but for two things: readers leave,
// and new ones count themselves before they see `parked` (or `writer`), which gives them nothing.
//
// The latter take their count back under the bucket's lock. Until then it looks as if they read, and may keep somebody
// out: a writer that finds the word not 0, or let_in that finds a reader. So they do what readers do that leave: who
// brings the count to none, sees `parked` and no writer, lets in. Nobody is kept out for good, since each of them parks
// next, behind who waits; and none is counted as one that has it, since a reader has it only if there was neither
// `writer` nor `parked` when it counted itself, or if let_in counted it.
//
// A reader that leaves subtracts first and asks afterwards, so it must not touch the mutex any more: one that waits may
// give up, take what is free now, and destroy it. All it knows is the address. Under its bucket's lock, who waits there
// for a shared_mutex keeps one alive, this or a later one, since even who has given up takes the lock before it goes on;
// and to let in whom a mutex can let in is right at any time. If nobody waits there, there is nothing to do: who gave up
// after setting `parked` looks himself.
//
// Many readers are let in in rounds. Between them the word says `parked`, so that nobody else has it, and one of those that
// are let in is not woken yet: he is counted, so no writer gets it, and the mutex lives.
#include <handoff/shared_mutex.hpp>

#include "base/check.hpp"
#include "wait/parking_lot.hpp"

#include <utility>

namespace handoff {

using namespace detail;

// let_in hands the lock to those at the head of the queue that can have it now, and says in the word whether somebody is
// left. Under the bucket's lock; the word has no writer, and `parked` if somebody waits. True: they were a round's, and
// there may be more.
template <class Waiting, class Won, class Round>
bool shared_mutex::let_in(Waiting& waiting, Won& won, Round& round) noexcept {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    std::uint64_t readers = 0;
    // Those that are counted may leave meanwhile, but the last of them comes by the bucket.
    while (parked_node* n = waiting.first()) {
        if (n->tag == exclusive) {
            if (word >= reader) break;
            if (!waiting.release(*n, 0, won)) continue;
            // Not a store: readers may count themselves meanwhile, and see `parked` or `writer` at each moment.
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
    // A writer that gives up may have stood before readers that could go in.
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
        // If nobody waits any more it is anybody's now, who may destroy it: it is not touched again. `parked` keeps it.
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
