#include "net/descriptor_word.hpp"

#include "base/check.hpp"

namespace handoff::detail {



descriptor_word::begun descriptor_word::begin(std::uint32_t generation, direction d) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (generation_of(seen) != generation || (seen & closing) != 0) return begun::closed;
        if ((seen & ready_bit(d)) == 0) return begun::not_ready;
        // acquire: pairs with the release of end and register_done.
    } while (!word_.compare_exchange_weak(seen, (seen & ~std::uint64_t{ready_bit(d)}) + one_operation, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    HANDOFF_CHECK((seen & operations) != operations);
    return begun::yes;
}

descriptor_word::ended descriptor_word::end(direction d, call_result found) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed), next;
    bool ready;
    do {
        next = seen - one_operation;
        ready = found == call_result::more ||
                (found == call_result::drained && d == direction::read && (seen & read_end) != 0);
        if (ready) next |= ready_bit(d);
        else if (found == call_result::again && d == direction::read && (next & (operations | readable)) == 0)
            next &= ~std::uint64_t{read_end};
        // release: who gives the number back does so after this call. acquire: that may be the caller.
    } while (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed));
    return {ready && (seen & parked_bit(d)) != 0, is_last(next)};
}

bool descriptor_word::hold(std::uint32_t generation) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (generation_of(seen) != generation || (seen & closing) != 0) return false;
        // As in begin.
    } while (!word_.compare_exchange_weak(seen, seen + one_operation, std::memory_order_acquire, std::memory_order_relaxed));
    HANDOFF_CHECK((seen & operations) != operations);
    return true;
}

bool descriptor_word::end_hold() noexcept {
    return is_last(word_.fetch_sub(one_operation, std::memory_order_acq_rel) - one_operation);   // as in end
}

bool descriptor_word::must_park(std::uint32_t generation, direction d) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (generation_of(seen) != generation || (seen & (closing | ready_bit(d))) != 0) return false;
        // Relaxed: the bucket's lock orders what is done for the waiter.
    } while (!word_.compare_exchange_weak(seen, seen | parked_bit(d), std::memory_order_relaxed));
    return true;
}

std::uint32_t descriptor_word::event(std::uint32_t generation, std::uint32_t bits) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (generation_of(seen) != generation || (seen & closing) != 0) return 0;
    } while (!word_.compare_exchange_weak(seen, seen | bits, std::memory_order_relaxed));   // the call that follows asks the kernel
    std::uint32_t wakes = 0;
    if ((bits & readable) != 0) wakes |= bits_of(seen) & read_parked;
    if ((bits & writable) != 0) wakes |= bits_of(seen) & write_parked;
    return wakes;
}

bool descriptor_word::unready(std::uint32_t generation, direction d) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (generation_of(seen) != generation || (seen & closing) != 0 || (seen & ready_bit(d)) == 0) return false;
    } while (!word_.compare_exchange_weak(seen, seen & ~std::uint64_t{ready_bit(d)}, std::memory_order_acquire, std::memory_order_relaxed));
    return true;
}

descriptor_word::registration descriptor_word::begin_registration(std::uint32_t generation) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_acquire);   // pairs with the release of end_registration
    do {
        if (generation_of(seen) != generation || (seen & closing) != 0) return registration::closed;
        if ((seen & registered) != 0) return registration::done;
        if ((seen & registering) != 0) return registration::others;
    } while (!word_.compare_exchange_weak(seen, (seen | registering) + one_operation, std::memory_order_acquire, std::memory_order_acquire));
    return registration::mine;
}

bool descriptor_word::end_registration(bool success) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed), next;
    do {
        next = (seen & ~std::uint64_t{registering}) - one_operation;
        if (success) next |= registered;
        // release: the record's notes of where it is.
    } while (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed));
    return is_last(next);
}

bool descriptor_word::forget() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if ((seen & registered) == 0) return false;
        // Ready: who waits looks again, finds nothing, and registers it elsewhere.
    } while (!word_.compare_exchange_weak(seen, (seen & ~std::uint64_t{registered}) | readable | writable, std::memory_order_relaxed));
    return true;
}

std::uint32_t descriptor_word::open() noexcept {
    const std::uint64_t seen = word_.load(std::memory_order_relaxed);   // the record is free, so nobody else writes
    HANDOFF_CHECK(is_last(seen));
    const std::uint32_t generation = generation_of(seen) + 1;
    // release: who begins an operation sees the record's fields.
    word_.store(std::uint64_t{generation} << 32 | readable | writable, std::memory_order_release);
    return generation;
}

descriptor_word::closed descriptor_word::close(std::uint32_t generation) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    do {
        if (generation_of(seen) != generation || (seen & closing) != 0) return {false, false};
    } while (!word_.compare_exchange_weak(seen, seen | closing, std::memory_order_acq_rel, std::memory_order_relaxed));   // as in end
    return {true, (seen & operations) == 0};
}

}  // namespace handoff::detail
