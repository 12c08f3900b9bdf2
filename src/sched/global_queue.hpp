// global_queue: the runnable goroutines that are in no processor's queue. Guarded by the scheduler's lock (idle_set::lock); its
// size can be read without.
//
// It holds two kinds. Singles come one by one, from foreign threads or out of calls, and are served first come, first served.
// Batches are goroutines that did not fit into a processor's ring, and the newest batch is served first. Where each goroutine
// spawns others, the newest batch has those of the deepest level, which end soonest: a tree of a million is walked with some
// thousands alive. (First come, first served would walk it level by level: 3 times the time, 30 times the memory.) Now and then
// the oldest batch gets its turn.
//
// Behind both wait the `spent`: goroutines that have used up a time slice (slice.cpp). A P that looks for work takes one of
// them if there is nothing else, or if it is the turn of the spent.
#pragma once

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "sched/g.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <new>

namespace handoff::detail {

class global_queue {
public:
    // Relaxed: without the lock a hint.
    std::uint32_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
    bool empty() const noexcept { return size() == 0; }
    std::uint32_t spent() const noexcept { return spent_count_.load(std::memory_order_relaxed); }
    bool has_spent() const noexcept { return spent() != 0; }
    bool has_unspent() const noexcept { return size() != spent(); }
    bool has_singles() const noexcept { return single_count_.load(std::memory_order_relaxed) != 0; }

    void push(G* g) noexcept {
        singles_.push(g);
        count_singles(1);
        add(1);
    }

    void push_spent(G* g) noexcept {
        spent_.push(g);
        count_spent(1);
        add(1);
    }

    G* pop_spent() noexcept {
        G* g = spent_.pop();
        if (!g) return nullptr;
        count_spent(0 - 1u);
        add(0 - 1u);
        return g;
    }

    // push_batch queues n goroutines that did not fit into a ring, at most batch_size. It copies pointers, and does not touch
    // the goroutines themselves, which may be out of all caches.
    static constexpr std::uint32_t batch_size = base::sized(129, 3);   // half a ring, plus one
    void push_batch(G* const* gs, std::uint32_t n) noexcept {
        try {
            batch& b = batches_.emplace_front();
            b.end = n;
            std::copy_n(gs, n, b.gs.begin());
            add(n);
        } catch (const std::bad_alloc&) {
            for (std::uint32_t i = 0; i < n; ++i) push(gs[i]);
        }
    }

    // take moves up to n goroutines to `to` and returns how many; none if the queue is empty. `oldest_batch`: it takes from the
    // oldest batch first. It takes a spent goroutine only if there are no others, and then one.
    std::uint32_t take(G** to, std::uint32_t n, bool oldest_batch = false) noexcept {
        std::uint32_t taken = 0;
        if (n != 0 && !has_unspent()) return (to[0] = pop_spent()) ? 1 : 0;
        if (oldest_batch && !batches_.empty()) taken = take_from(batches_.back(), to, n);
        else if (has_singles()) taken = take_singles(to, n);
        else if (!batches_.empty()) taken = take_from(batches_.front(), to, n);
        if (!batches_.empty() && batches_.back().empty()) batches_.pop_back();
        if (!batches_.empty() && batches_.front().empty()) batches_.pop_front();
        add(0 - taken);
        return taken;
    }

    // front is what take() would take first; null if there are only spent ones, or none.
    G* front() const noexcept {
        if (has_singles()) return singles_.front();
        for (const batch& b : batches_)
            if (!b.empty()) return b.gs[b.begin];
        return nullptr;
    }

private:
    struct batch {
        std::uint32_t begin = 0, end = 0;
        std::array<G*, batch_size> gs;
        bool empty() const noexcept { return begin == end; }
    };

    void count_singles(std::uint32_t n) noexcept {
        single_count_.store(single_count_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void count_spent(std::uint32_t n) noexcept {
        spent_count_.store(spent_count_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void add(std::uint32_t n) noexcept { size_.store(size() + n, std::memory_order_relaxed); }

    static std::uint32_t take_from(batch& b, G** to, std::uint32_t n) noexcept {
        n = std::min(n, b.end - b.begin);
        std::copy_n(b.gs.begin() + b.begin, n, to);
        b.begin += n;
        return n;
    }
    std::uint32_t take_singles(G** to, std::uint32_t n) noexcept {
        n = std::min(n, single_count_.load(std::memory_order_relaxed));
        for (std::uint32_t i = 0; i < n; ++i) to[i] = singles_.pop();
        count_singles(0 - n);
        return n;
    }

    g_queue singles_;
    base::atomic<std::uint32_t> single_count_{0};
    std::deque<batch> batches_;
    base::atomic<std::uint32_t> size_{0};   // of all
    g_queue spent_;
    base::atomic<std::uint32_t> spent_count_{0};
};

}  // namespace handoff::detail
