// join_word: which side still needs a goroutine's G: its handle, a waiter, or its own end.
//
//     state        means                                                left by
//     running      runs; a handle exists, no waiter                     handle: wait_with -> the waiter, drop_handle -> detached
//                                                                       its end: end -> ended
//     a pointer    runs; that waiter (goroutine/join.cpp) waits         waiter: give_up -> running;   its end: end -> ended
//     detached     runs; no handle: the end of the goroutine frees      its end, which frees the G
//                  the G
//     ended        ended; drop_handle's caller frees the G              handle: drop_handle -> detached
//                                                                       runtime: orphan -> orphaned
//     orphaned     ended, and so did its runtime: drop_handle's caller frees the store, if it is the last owner
//
// Every step that leaves a state stores with release. The side that then frees the G or reads its result loads with acquire.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::detail {

struct join_waiter;   // goroutine/join.cpp

class join_word {
public:
    static constexpr std::uintptr_t running = 0, detached = 1, ended = 2, orphaned = 3;

    // Called before the G is queued. Relaxed: no other thread has the G yet; a snapshot may see old and new values mixed.
    void begin(bool with_handle) noexcept { word_.store(with_handle ? running : detached, std::memory_order_relaxed); }

    // acquire: for the result, or for the handle's last access.
    bool is_detached() const noexcept { return word_.load(std::memory_order_acquire) == detached; }
    bool has_ended() const noexcept {
        const std::uintptr_t now = word_.load(std::memory_order_acquire);
        return now == ended || now == orphaned;
    }

    // end publishes the end of the goroutine, and returns what the word was: running, detached, or a waiter. release: publishes
    // the result to the joiner, which may free the G at once; acquire: for the waiter, or for the handle's last access.
    std::uintptr_t end() noexcept { return word_.exchange(ended, std::memory_order_acq_rel); }
    static join_waiter* waiter_in(std::uintptr_t was) noexcept {
        return was > orphaned ? reinterpret_cast<join_waiter*>(was) : nullptr;
    }

    // wait_with: false if the goroutine has ended meanwhile. release: publishes the waiter; acquire, on failure: for the
    // result.
    bool wait_with(join_waiter& w) noexcept { return step(running, reinterpret_cast<std::uintptr_t>(&w)); }
    // give_up: false if the goroutine has ended just now, and has the pointer to w.
    bool give_up(join_waiter& w) noexcept { return step(reinterpret_cast<std::uintptr_t>(&w), running); }

    // drop_handle: the handle is dropped. The result says which side frees what.
    enum class release { goroutine_frees, handle_frees, handle_frees_store };
    release drop_handle() noexcept {
        std::uintptr_t now = running;
        // release: this is the handle's last access; pairs with is_detached() at the goroutine's end.
        if (word_.compare_exchange_strong(now, detached, std::memory_order_acq_rel, std::memory_order_acquire))
            return release::goroutine_frees;
        // The goroutine has ended. From here on the runtime, if it still exists, waits until the G is free.
        if (now == ended) word_.compare_exchange_strong(now, detached, std::memory_order_acq_rel, std::memory_order_acquire);
        return now == orphaned ? release::handle_frees_store : release::handle_frees;
    }
    // orphan: false if the handle is about to free the G.
    bool orphan() noexcept { return step(ended, orphaned); }

private:
    bool step(std::uintptr_t from, std::uintptr_t to) noexcept {
        return word_.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_acquire);
    }

    base::atomic<std::uintptr_t> word_{running};
};

}  // namespace handoff::detail
