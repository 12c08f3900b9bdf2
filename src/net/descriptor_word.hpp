// descriptor_word: the state of a descriptor that goroutines wait for, in one atomic word, and each step that changes it.
//
//     bits 0 to 10   what the kernel or an operation has said of it, and who waits (below)
//     bits 12 to 31  operations that are under way: whoever brings this to 0 when `closing` is set gives the number back
//     bits 32 to 63  the generation: which descriptor this is, of all that have had this record
//
//     readable, writable   an operation in this direction may succeed: it is worth a try. Set in the beginning
//     read_end             the peer has ended its side, or there is an error, or urgent data: a short read says nothing
//     closing              close() was called
//     read_parked, write_parked   somebody may be parked for this direction
//     registering, registered     a poller is being told of the descriptor; has been told
//
// An operation clears its direction's bit, makes the system call, and sets the bit again if another call may succeed. The
// kernel's edges are set by the poller. No readiness is lost. An edge that comes before the bit is cleared is about data that
// the call, which follows, sees. One that comes later sets the bit for the next call. So where a call says that nothing is
// there (EAGAIN), or returns less than was asked for, the next one need not be made before an edge has come: it parks at once.
// A short read may leave the end of the stream behind, of which there is no second edge (golang/go#8891), hence read_end. It is
// forgotten when a read finds nothing, so it makes no loop spin; unless an edge has come meanwhile, or may have, and is in the
// hands of another operation.
//
// No wake-up is lost. A waiter sets `parked` in the step in which it sees that its direction is not ready, under the lock of its
// bucket of the parking lot, and keeps that lock until it can be found there. Whoever makes a direction ready does so in one
// step with seeing `parked`, and takes the lock then.
//
// Whoever was woken makes its call, always. If more may be there, it sets its direction's bit, and wakes the next. So one is
// woken at a time (but for selects, which make no call).
//
// Each step compares the generation, so an event or a handle that is late changes nothing of the next descriptor in this record
// (golang/go#59545).
//
// Memory orders. `closing` and the bits carry no data of ours, but for the registration and the record itself: begin acquires
// what the last release of the record has written, and what register_done has released.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::detail {

enum class direction : std::uint8_t { read, write };

// What a call in a direction has found. again: nothing (EAGAIN). drained: less than was asked for, so nothing is left. more:
// anything else, the end of the stream and errors included.
enum class call_result : std::uint8_t { again, drained, more };

class descriptor_word {
public:
    static constexpr std::uint32_t readable = 1, writable = 2, read_end = 4, closing = 8;
    static constexpr std::uint32_t read_parked = 16, write_parked = 32, registering = 64, registered = 128;

    static constexpr std::uint32_t ready_bit(direction d) noexcept { return d == direction::read ? readable : writable; }
    static constexpr std::uint32_t parked_bit(direction d) noexcept { return d == direction::read ? read_parked : write_parked; }

    // generation of the descriptor that has this record now.
    std::uint32_t generation() const noexcept { return generation_of(word_.load(std::memory_order_relaxed)); }
    // bits, as a hint, if it is still of that generation; else `closing`.
    std::uint32_t bits(std::uint32_t generation) const noexcept {
        const std::uint64_t seen = word_.load(std::memory_order_acquire);   // acquire: pairs with register_done
        return generation_of(seen) == generation ? bits_of(seen) : closing;
    }

    // ---- An operation: begin, the system call, end ----
    enum class begun : std::uint8_t { yes, not_ready, closed };
    begun begin(std::uint32_t generation, direction d) noexcept;

    struct ended {
        bool wakes;   // others wait for the direction, and may go on
        bool last;    // the caller has to give the number back: release_number
    };
    ended end(direction d, call_result found) noexcept;

    // hold is begin for a caller that makes no call in a direction: false if the descriptor is closed. end_hold ends it; true
    // if the caller has to give the number back.
    bool hold(std::uint32_t generation) noexcept;
    bool end_hold() noexcept;

    // ---- Waiting ----
    // must_park says whether a waiter has to park, and notes that it does. Under the lock of its bucket.
    bool must_park(std::uint32_t generation, direction d) noexcept;
    // nobody_parked: the last waiter has left the queue. Under the lock of its bucket.
    void nobody_parked(direction d) noexcept { word_.fetch_and(~std::uint64_t{parked_bit(d)}, std::memory_order_relaxed); }

    // ---- What the kernel says ----
    // event sets bits; returns those of read_parked and write_parked whose waiters may go on.
    std::uint32_t event(std::uint32_t generation, std::uint32_t bits) noexcept;
    // not_ready takes back that a direction is ready, before a look at it without an operation. False: it was not, or is closed.
    bool unready(std::uint32_t generation, direction d) noexcept;

    // ---- Registration with a poller ----
    enum class registration : std::uint8_t { mine, others, done, closed };
    registration begin_registration(std::uint32_t generation) noexcept;   // mine: the caller holds it, as by hold
    bool end_registration(bool success) noexcept;                         // as end_hold
    // forget: its poller is gone. True: it had been registered, and all waiters have to look again.
    bool forget() noexcept;

    // ---- The life of the record ----
    // open begins a generation, for the owner of a free record.
    std::uint32_t open() noexcept;
    struct closed {
        bool first;             // this call has closed it: all waiters have to be woken
        bool last;              // no operation is under way: the caller has to give the number back
    };
    closed close(std::uint32_t generation) noexcept;

private:
    static constexpr std::uint64_t one_operation = 1 << 12, operations = 0xFFFFF000;

    static constexpr std::uint32_t generation_of(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w >> 32); }
    static constexpr std::uint32_t bits_of(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w) & (one_operation - 1); }
    static constexpr bool is_last(std::uint64_t w) noexcept { return (w & operations) == 0 && (w & closing) != 0; }

    base::atomic<std::uint64_t> word_{closing};
};

}  // namespace handoff::detail
