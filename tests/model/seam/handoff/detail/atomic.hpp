// In place of include/handoff/detail/atomic.hpp: atomics whose every access the explorer sees. The include path of the
// target handoff_explore finds this file first.
//
// Loads and stores go through the explorer's store buffers; a read-modify-write drains the own one first, and is then done
// in memory at once. Where no schedule runs (start-up, between schedules) all is plain: the process has one thread.
#pragma once

#include "explore_seam.hpp"

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace handoff::base {

template <class T>
class atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));

public:
    using value_type = T;

    constexpr atomic() noexcept : value_{} {}
    constexpr atomic(T v) noexcept : value_{v} {}
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;
    // The memory is anybody's from now on: what is still buffered for it may not be written there any more.
    constexpr ~atomic() {
        if (!std::is_constant_evaluated() && explore::active) explore::forget(&value_);
    }

    T load(std::memory_order order) const noexcept {
        if (!explore::active) return value_;
        return from_bits(explore::load(&value_, sizeof(T), static_cast<int>(order)));
    }
    void store(T v, std::memory_order order) noexcept {
        if (!explore::active) value_ = v;
        else explore::store(&value_, sizeof(T), to_bits(v), static_cast<int>(order));
    }
    T exchange(T v, std::memory_order order) noexcept {
        return modify(order, explore::operation::exchange, [v](T) { return v; });
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order, std::memory_order) noexcept {
        return compare_exchange_strong(expected, desired, order);
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order) noexcept {
        bool same = false;
        const T before = modify(order, explore::operation::compare_exchange, [&](T now) {
            same = to_bits(now) == to_bits(expected);
            return same ? desired : now;
        });
        if (!same) expected = before;
        return same;
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order order, std::memory_order) noexcept {
        return compare_exchange_weak(expected, desired, order);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order order) noexcept {
        if (explore::active && explore::fails_spuriously()) {
            expected = load(std::memory_order_relaxed);
            return false;
        }
        return compare_exchange_strong(expected, desired, order);
    }
    T fetch_add(T n, std::memory_order order) noexcept {
        return modify(order, explore::operation::fetch_add, [n](T now) { return static_cast<T>(now + n); });
    }
    T fetch_sub(T n, std::memory_order order) noexcept {
        return modify(order, explore::operation::fetch_sub, [n](T now) { return static_cast<T>(now - n); });
    }
    T fetch_and(T n, std::memory_order order) noexcept {
        return modify(order, explore::operation::fetch_and, [n](T now) { return static_cast<T>(now & n); });
    }
    T fetch_or(T n, std::memory_order order) noexcept {
        return modify(order, explore::operation::fetch_or, [n](T now) { return static_cast<T>(now | n); });
    }

private:
    static std::uint64_t to_bits(T v) noexcept {
        std::uint64_t bits = 0;
        std::memcpy(&bits, &v, sizeof v);
        return bits;
    }
    static T from_bits(std::uint64_t bits) noexcept {
        T v;
        std::memcpy(&v, &bits, sizeof v);
        return v;
    }
    template <class F>
    T modify(std::memory_order, explore::operation what, F f) noexcept {
        if (!explore::active) {
            const T before = value_;
            value_ = f(before);
            return before;
        }
        explore::begin_modify(&value_, what);
        const T before = value_;
        value_ = f(before);
        explore::end_modify(&value_, what, to_bits(before), to_bits(value_));
        return before;
    }

    T value_;
};

inline void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

inline void cpu_relax() noexcept { explore::relax(); }

}  // namespace handoff::base
