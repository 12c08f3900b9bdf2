// The slow paths of mutex. Its header describes the bits of the word; the queue is in the parking lot.
//
// No waiter is left behind. A waiter sets `parked` under the bucket's lock while the word says `locked`, and an unlock that
// finds `parked` without `woken` goes to the bucket. If `woken` is set, one waiter is awake. It either takes the lock (and
// later unlocks it, seeing `parked`), or it finds the mutex locked, clears `woken`, and queues again under the bucket's
// lock: then the present owner will see `parked` without `woken`.
//
// A hand-over (token `handed`) keeps `locked` set, so no newcomer can barge in.
//
// A mutex that has not had a waiter yet is unlocked by a plain store, so that a lock and its unlock together cost half as
// much:
//
//     owner:    sees the word `locked` and nothing else;  word = 0;  any watching?  wake all waiters at this address
//     waiter:   watching += 1;  membarrier;  under the bucket's lock: word `locked` -> `locked | parked`, or try again
//
// The owner's store may overwrite `parked`. There are two cases. Either the membarrier comes before the store in the owner's
// order. Then it also comes before the owner's read of `watching`, which finds the waiter. (A compiler fence keeps store and
// read in this order. The waiter has to watch until its wait is over, since the owner may be delayed between its load and
// its store for any length of time.) Or the membarrier comes after the store, and the waiter finds the word free. An owner
// that finds a watcher takes the bucket's lock: either the waiter is in the queue already, or it comes there later and sees
// the owner's store. All waiters are woken, since the bit that was overwritten stood for all of them, and the next unlock
// need not be a plain one that reads `watching`. A waiter for which that wake-up is spurious tries again.
//
// The owner must not touch the mutex after its store, so `watching` is in static memory, and mutexes share its elements by
// address. By that time the waiters at this address may wait for another object; the tag tells which of them wait for a
// mutex.
//
// `contended` ends this for a mutex, so that a mutex costs one membarrier, and not one for each wait. Only an owner sets it;
// since only an owner stores plainly, no such store can be under way then. The bit is never cleared, so a waiter that sees
// it need not watch.
//
// Before the first runtime has registered for membarrier there are no plain unlocks, and waiters do without the barrier.
// `from` changes once. A waiter increments `watching` and then reads `from`, both seq_cst. So an owner that reads the later
// value of `from`, by acquire, sees the increments of all waiters that read the earlier one.
#include <handoff/mutex.hpp>

#include "base/check.hpp"
#include "os/clock.hpp"
#include "os/membarrier.hpp"
#include "sync/plain_unlock.hpp"
#include "wait/parking_lot.hpp"

namespace handoff {

namespace detail {

constinit plain_unlocks plain;

void allow_plain_unlocks(bool membarrier) noexcept {
    // seq_cst: pairs with the waiters of mutexes, see the head of this file.
    plain.from.store(membarrier ? plain_unlocks::locked : plain_unlocks::never, std::memory_order_seq_cst);
}

}  // namespace detail

using namespace detail;

namespace {

constexpr std::uint32_t tag_mutex = 2;   // of nodes in the parking lot: no other lock has this tag
constexpr std::uint32_t try_again = 0, handed = 1, look_again = 2;
constexpr std::int64_t starving_after = 1'000'000;   // ns, as in Go
constexpr int spin_rounds = 4, spin_pauses = 30;     // about a microsecond, as in Go

// As long as one of these watches a mutex, plain unlocks of that mutex look for its waiters.
class watch {
public:
    watch() = default;
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;
    ~watch() {
        if (on_) on_->fetch_sub(1, std::memory_order_relaxed);
    }

    void start(const void* mutex) noexcept {
        if (on_) return;
        on_ = &plain.watching_for(mutex);
        on_->fetch_add(1, std::memory_order_seq_cst);
        if (plain.from.load(std::memory_order_seq_cst) != plain_unlocks::never) os::membarrier_all();
    }

private:
    base::atomic<std::uint32_t>* on_ = nullptr;
};

}  // namespace

void detail::wake_watchers(const void* mutex) noexcept {
    with_parked(mutex, [](parked_waiters waiting, wake_list& won) {
        // All nodes at one address have the same tag: their waiters wait for the same object, which lives as long as any of
        // them waits.
        const parked_node* first = waiting.first();
        if (first && first->tag == tag_mutex) waiting.release_all(look_again, won);
    });
}

bool mutex::lock_slow(std::int64_t deadline) {
    interleave_point();
    // Most likely the owner is running on another processor, and will unlock the mutex before we could park.
    for (int round = 0; round < spin_rounds && may_spin(); ++round) {
        const std::uint32_t seen = word_.load(std::memory_order_relaxed);
        if ((seen & parked) != 0) break;
        if ((seen & locked) == 0 && try_lock()) return true;
        for (int i = 0; i < spin_pauses; ++i) base::cpu_relax();
    }
    park_request r{this, wait_reason::mutex};
    r.limits = {deadline, nullptr, false};
    r.tag = tag_mutex;
    watch watching;
    std::uint32_t mine = 0;   // `woken`, if this waiter is the one that was woken
    for (;;) {
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & locked) == 0)
            if (word_.compare_exchange_weak(seen, (seen | locked) & ~mine, std::memory_order_acquire, std::memory_order_relaxed))
                return true;
        if ((seen & contended) == 0) watching.start(this);
        if (r.since == 0) r.since = os::nanotime();
        M* m = enter_current();
        const park_result end = park_if(m, r, [&] {
            seen = word_.load(std::memory_order_relaxed);
            do {
                if ((seen & locked) == 0) return false;
            } while (!word_.compare_exchange_weak(seen, (seen | parked) & ~mine, std::memory_order_relaxed));
            mine = 0;
            return true;
        });
        leave_current(m);
        if (end.end == wait_end::woken) {
            if (end.token == handed) return true;
            if (end.token == try_again) mine = woken;
        } else if (end.end == wait_end::timed_out) {
            return try_lock();
        } else {
            throw_if_cancelled(end.end);
        }
        r.in_front = true;
    }
}

void mutex::unlock_slow() noexcept {
    interleave_point();
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (;;) {
        if ((seen & locked) == 0) base::fatal("mutex %p is unlocked, and was not locked", static_cast<void*>(this));
        if ((seen & parked) != 0 && (seen & woken) == 0) break;
        if (word_.compare_exchange_weak(seen, seen & ~locked, std::memory_order_release, std::memory_order_relaxed)) return;
    }
    // Only the owner clears `locked`. So the mutex lives until the store below releases it.
    with_parked(this, [this](parked_waiters waiting, wake_list& won) {
        const parked_node* first = waiting.first();
        const bool starves = first && os::nanotime() - first->since > starving_after;
        const parked_node* next = waiting.release_first(starves ? handed : try_again, won);
        const std::uint32_t rest = waiting.empty() ? 0 : parked;
        const std::uint32_t to = !next ? 0 : starves ? locked : woken;
        word_.store(contended | to | rest, std::memory_order_release);
    });
}

}  // namespace handoff
