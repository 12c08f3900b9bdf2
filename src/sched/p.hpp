// P: a processor, the right to run goroutines, and what belongs to it: run queue, timers, free Gs and stacks.
#pragma once

#include "base/atomic.hpp"
#include "context/stack.hpp"
#include "sched/g.hpp"
#include "sched/runq.hpp"
#include "timer/timer_heap.hpp"

#include <handoff/stats.hpp>

#include <array>
#include <tuple>
#include <boost/intrusive/list.hpp>
#include <cstdint>

namespace handoff::detail {

struct M;

// Written by the P's present owner alone: the M that holds it, the monitor that retook it, or, for idle ones, whoever
// holds the scheduler's lock. A P whose M is in a guarded call is `running` here; M::call tells (m.hpp).
enum class p_status : std::uint8_t { idle, running, dead };

const char* name_of(p_status s) noexcept;

// A histogram that one thread at a time writes and any reads.
struct owned_histogram {
    std::array<base::counter, std::tuple_size_v<decltype(histogram::buckets)>> buckets;
    void record(std::int64_t ns) noexcept {
        buckets[histogram::bucket_of(ns > 0 ? static_cast<std::uint64_t>(ns) : 0)].add();
    }
    void add_to(histogram& h) const noexcept {
        for (std::size_t i = 0; i < buckets.size(); ++i) h.buckets[i] += buckets[i].get();
    }
};

enum class handoff_kind : std::uint8_t { none, sysmon, immediate, unguarded };

using pidle_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

struct alignas(64) P {
    explicit P(unsigned number) noexcept : id(number), rng(0x9E3779B97F4A7C15u * (number + 1)) {}

    const unsigned id;
    base::atomic<p_status> status{p_status::idle};
    base::atomic<M*> m{nullptr};                    // that holds it; owner writes, monitor and snapshots read

    // On a line apart from what others look at: it is written at each switch.
    alignas(64) base::atomic<std::uint32_t> schedtick{0};   // goroutines put on it; owner writes, the monitor reads

    // Owner only from here on, unless said otherwise.
    std::uint32_t until_global = 1;                 // picks until the next that looks further than its own front
    std::uint32_t looks = 0;                        // that found something in the global queue
    std::uint64_t rng;
    G* free_gs = nullptr;
    unsigned free_g_count = 0;
    context::stack* free_stacks = nullptr;
    unsigned free_stack_count = 0;
    goroutine_id next_id = 0, end_id = 0;           // ids in stock

    // When the call began on whose account the P changed hands; the next goroutine to run records the time since.
    std::int64_t handoff_began = 0;
    handoff_kind handoff = handoff_kind::none;

    run_queue runq;        // its own rules
    timer_heap timers;     // its own lock

    // Owner writes, anyone reads.
    base::counter spawned, finished, steals, stolen;
    owned_histogram latency_sysmon, latency_immediate, latency_unguarded;

    // The monitor's own notes on this P.
    struct watch {
        M* m = nullptr;
        std::uint32_t call = 0, section = 0, schedtick = 0;
        std::int64_t last_look = 0;                 // when it was looked at last
        std::int64_t call_seen = 0;                 // first sight of the present call
        std::int64_t call_began = 0;                // last look before that
        std::int64_t section_seen = 0;                 // first sight of the present stay in user code
        std::int64_t slice_seen = 0;                // first sight of the present time slice
        std::int64_t cpu_when_seen = -1;              // the thread's CPU time at section_seen
    } watch;

    // Guarded by sched::lock.
    pidle_hook idle_link;

    // transition: as G::transition.
    void transition(p_status from, p_status to) noexcept {
        const p_status now = status.load(std::memory_order_relaxed);
        if (now != from) [[unlikely]] bad_transition(now, from, to);
        status.store(to, std::memory_order_relaxed);
    }
    [[noreturn, gnu::cold]] void bad_transition(p_status now, p_status from, p_status to) const noexcept;

    std::uint32_t random() noexcept {   // xorshift64*, Vigna
        rng ^= rng >> 12;
        rng ^= rng << 25;
        rng ^= rng >> 27;
        return static_cast<std::uint32_t>((rng * 0x2545F4914F6CDD1Du) >> 32);
    }
};

}  // namespace handoff::detail
