// What the calls of goroutines of each kind (G::kind) have taught: whether the first call of a new one will block. The argument
// is at the head of goroutine/syscall.cpp, Prediction.
#pragma once

#include "base/atomic.hpp"
#include "sched/g.hpp"

#include <array>
#include <cstdint>

namespace handoff::detail {

class prediction {
public:
    static constexpr unsigned kind_bits = 10;   // the upper ones of a kind's 64
    static std::size_t place_of(std::uint64_t kind) noexcept { return kind >> (64 - kind_bits); }

    static constexpr std::uint8_t blocks = 2;   // from this on calls are predicted to block, and handed off at once

    // What the counter of a goroutine of g's kind starts with. Reads only atomics of g.
    std::uint8_t of_kind(const G* g) const noexcept {
        return kinds_[place_of(g->kind.load(std::memory_order_relaxed))].load(std::memory_order_relaxed);
    }
    bool will_block(const G* g) const noexcept { return of_kind(g) >= blocks; }

    void learn(const G* g, bool blocked) noexcept {
        if (!g) return;
        auto& kind = kinds_[place_of(g->kind.load(std::memory_order_relaxed))];
        // A hint: a concurrent change may get lost.
        kind.store(predict_after(kind.load(std::memory_order_relaxed), blocked), std::memory_order_relaxed);
    }

    // Sets the counters of all kinds: for tests.
    void learnt_of_all(std::uint8_t counter) noexcept {
        for (auto& kind : kinds_) kind.store(counter, std::memory_order_relaxed);
    }

private:
    std::array<base::atomic<std::uint8_t>, 1 << kind_bits> kinds_{};
};

}  // namespace handoff::detail
