// The set of Ps of a runtime. Ps are made, and never freed before the runtime ends. `wanted` of them are to run. The others are
// surplus: each is retired when an M or the monitor comes across it (sched.cpp, set_procs).
#pragma once

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "sched/p.hpp"

#include <array>
#include <cstdint>

namespace handoff::detail {

inline constexpr unsigned max_procs = base::sized(1024, 8);

class processors {
public:
    processors() = default;
    processors(const processors&) = delete;
    processors& operator=(const processors&) = delete;
    ~processors();

    // Relaxed: a stale value delays the end of surplus Ps, and the start of new ones, by one look.
    std::uint32_t wanted() const noexcept { return wanted_.load(std::memory_order_relaxed); }
    void want(std::uint32_t n) noexcept { wanted_.store(n, std::memory_order_relaxed); }
    bool is_surplus(const P& p) const noexcept { return p.id >= wanted(); }

    // How many Ps were ever made, and each of them. acquire: pairs with add().
    std::uint32_t count() const noexcept { return count_.load(std::memory_order_acquire); }
    P& operator[](std::uint32_t i) const noexcept { return *all_[i].load(std::memory_order_acquire); }
    // Whether there is more than one P. Relaxed: the caller has a P of the set, and reads nothing of a second one by this.
    bool several() const noexcept { return count_.load(std::memory_order_relaxed) != 1; }

    template <class F>
    void for_each(F f) const {
        const std::uint32_t n = count();
        for (std::uint32_t i = 0; i < n; ++i) f((*this)[i]);
    }

    // add puts p, which is dead, into the set. One thread at a time.
    void add(P* p) noexcept {
        all_[p->id].store(p, std::memory_order_release);
        count_.store(p->id + 1, std::memory_order_release);
    }

private:
    base::atomic<std::uint32_t> wanted_{0};
    base::atomic<std::uint32_t> count_{0};               // all_[0..count_) are set
    std::array<base::atomic<P*>, max_procs> all_{};
};

}  // namespace handoff::detail
