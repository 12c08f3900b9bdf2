// The mutex's slow ways. The word is at the head of its header; the queue is the parking lot's.
//
// Nobody waits in vain: a waiter sets `parked` under the bucket's lock while the word says `locked`, and whoever unlocks
// a word with `parked` and without `woken` goes to the bucket. With `woken` set there is one awake who will either take
// the lock (and unlock it later, seeing `parked`), or find it locked, clear `woken`, and queue again under the bucket's
// lock: the owner of that moment sees `parked` without `woken`.
//
// Handing over (token `handed`) keeps `locked` set: nobody can come in between.
#include <handoff/mutex.hpp>

#include "base/check.hpp"
#include "os/clock.hpp"
#include "sync/parking_lot.hpp"

namespace handoff {

using namespace detail;

namespace {

constexpr std::uint32_t try_again = 0, handed = 1;
constexpr std::int64_t starving_after = 1'000'000;   // ns, as in Go
constexpr int spin_rounds = 4, spin_pauses = 30;     // about a microsecond, as in Go

}  // namespace

bool mutex::lock_slow(std::int64_t deadline) {
    interleave_point();
    // Its owner runs on another processor, most likely, and will be done before we could park.
    for (int round = 0; round < spin_rounds && may_spin(); ++round) {
        const std::uint32_t seen = word_.load(std::memory_order_relaxed);
        if ((seen & parked) != 0) break;
        if ((seen & locked) == 0 && try_lock()) return true;
        for (int i = 0; i < spin_pauses; ++i) base::cpu_relax();
    }
    park_request r{this, wait_reason::mutex};
    r.limits = {deadline, nullptr, false};
    std::uint32_t mine = 0;   // `woken`, if that is us
    for (;;) {
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & locked) == 0)
            if (word_.compare_exchange_weak(seen, (seen | locked) & ~mine, std::memory_order_acquire, std::memory_order_relaxed))
                return true;
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
            mine = woken;
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
    // Only the owner clears `locked`, so the word is ours to let go, and only then may it be destroyed.
    with_parked(this, [this](parked_waiters waiting, wake_list& won) {
        const wait_node* first = waiting.first();
        const bool starves = first && os::nanotime() - first->since > starving_after;
        const wait_node* next = waiting.release_first(starves ? handed : try_again, won);
        const std::uint32_t rest = waiting.empty() ? 0 : parked;
        if (!next) word_.store(0, std::memory_order_release);
        else if (starves) word_.store(locked | rest, std::memory_order_release);
        else word_.store(woken | rest, std::memory_order_release);
    });
}

}  // namespace handoff
