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

// Written only by the P's present owner: the M that has it, the monitor that retook it, or, for an idle P, whoever holds the
// scheduler's lock. A P whose M is in a guarded call is `running` here; M::call tells (section.hpp).
enum class p_status : std::uint8_t { idle, running, dead };

const char* name_of(p_status s) noexcept;

// A histogram that one thread at a time writes, and any thread reads.
struct owned_histogram {
    std::array<base::counter, std::tuple_size_v<decltype(histogram::buckets)>> buckets;
    void record(std::int64_t ns) noexcept {
        buckets[histogram::bucket_of(ns > 0 ? static_cast<std::uint64_t>(ns) : 0)].add();
    }
    void add_to(histogram& h) const noexcept {
        for (std::size_t i = 0; i < buckets.size(); ++i) h.buckets[i] += buckets[i].get();
    }
};

// Why the P changed hands. watched: it did not, but the check of held mutexes is to be told of each goroutine that starts
// (debug/held_mutexes.hpp).
enum class handoff_cause : std::uint8_t { none, sysmon, immediate, unguarded, watched };

using pidle_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

struct alignas(64) P {
    explicit P(unsigned number) noexcept : id(number), rng(0x9E3779B97F4A7C15u * (number + 1)) {}

    const unsigned id;
    base::atomic<p_status> status{p_status::idle};
    base::atomic<M*> m{nullptr};                    // the M that has it; owner writes, monitor and snapshots read

    // The number of goroutines put on the P, and, in the upper 16 bits, of time slices begun (slice.cpp). Owner writes, the
    // monitor reads. On a cache line apart from what other threads read, since it is written at each switch.
    static constexpr std::uint64_t new_slice = std::uint64_t{1} << 48;
    alignas(64) base::atomic<std::uint64_t> schedtick{0};

    // From here on for the owner only, unless said otherwise.
    std::uint32_t until_global = 1;                 // picks until the next that looks further than `next` and ring
    std::uint32_t looks = 0;                        // such picks that looked into the global queue
    std::uint64_t rng;
    G* free_gs = nullptr;
    unsigned free_g_count = 0;
    context::stack* free_stacks = nullptr;
    unsigned free_stack_count = 0;
    goroutine_id next_id = 0, end_id = 0;           // reserved ids

    bool timers_first = false, spent_next = false;  // for the picks after the end of a slice
    struct chain {                                  // the goroutines that go on through `next` (slice.cpp)
        std::int64_t until = 0;                     // when the chain gives way; 0: not known yet
        std::int64_t let_on = 0;                    // when another was let run before it; 0: no look since
        std::int64_t goes_on_until = 0;             // until then no other is
    } chain;
    base::atomic<std::uint64_t> spent_slice{~std::uint64_t{0}};   // slice() of the last turn of the spent; the monitor reads
    base::atomic<std::uint32_t> spent_turns{0};     // counts the turns of the spent on this P (slice.cpp); the monitor reads

    // When the call began because of which the P changed hands; the next goroutine to run records the time since.
    std::int64_t handoff_began = 0;
    handoff_cause handoff = handoff_cause::none;

    run_queue runq;        // with rules of its own
    timer_heap timers;     // with a lock of its own

    // Owner writes, anyone reads.
    base::counter spawned, finished, steals, stolen;
    owned_histogram latency_sysmon, latency_immediate, latency_unguarded;

    // The value of schedtick that the monitor saw all through a slice that is over: a single goroutine has used that up. If
    // several have, a value that schedtick does not have. Monitor writes, owner reads when it is asked to yield; a hint.
    base::atomic<std::uint64_t> spent_at{0};
    base::atomic<bool> spent_due{false};            // likewise: it is the turn of the spent
    // slice() of a slice that the monitor saw to be over while the P was on its way to an M: that M ends it. Monitor writes,
    // the thread that gets the P reads.
    base::atomic<std::uint64_t> over_on_its_way{~std::uint64_t{0}};

    // The monitor's own notes on this P.
    struct watch {
        M* m = nullptr;
        std::uint32_t call = 0, section = 0, spent_turns = 0;
        std::uint64_t schedtick = 0;                // its value when the present slice was first seen
        std::int64_t last_look = 0;                 // when the P was last looked at
        std::int64_t call_seen = 0;                 // when the present call was first seen
        std::int64_t call_began = 0;                // the last look before that
        std::int64_t section_seen = 0;                 // when the present stay in user code was first seen
        std::int64_t slice_seen = 0;                // when the present time slice was first seen
        std::int64_t turn_seen = 0;                 // when the present value of spent_turns was first seen
        std::int64_t next_probe = 0;                  // when to ask next what the thread does in the present stay
        std::int64_t cpu = -1, cpu_at = 0;            // its CPU time, and when that was; used if the kernel tells no more
        bool asked = false;                           // it was asked to yield, in the present stay
        bool fast_paths_closed = false;                // they are closed to get its answer
        std::uint32_t declined = 0;                   // M::declined when the slice began
        std::int64_t cpu_when_asked = 0;              // its thread's CPU time then
    } watch;

    // In idle_set, under its lock.
    pidle_hook idle_link;
    P* next_left = nullptr;                         // in the list of Ps that are left to the monitor
    bool left_spinning = false;                     // a spinner is counted for the M that will get it

    std::uint64_t put_on() const noexcept { return schedtick.load(std::memory_order_relaxed) % new_slice; }   // so far

    // Owner only. The monitor reads both, relaxed: it only needs to see that they change.
    void begin_slice() noexcept {
        schedtick.store(schedtick.load(std::memory_order_relaxed) + new_slice, std::memory_order_relaxed);
    }
    bool is_turn_of_spent() const noexcept { return slice() == spent_slice.load(std::memory_order_relaxed); }
    std::uint64_t slice() const noexcept { return schedtick.load(std::memory_order_relaxed) / new_slice; }
    void begin_turn_of_spent() noexcept {
        begin_slice();
        spent_slice.store(slice(), std::memory_order_relaxed);
        end_turn_of_spent();   // counted here already, so that a short turn is counted, too
    }
    void end_turn_of_spent() noexcept {   // from now on others have the P for a slice
        spent_turns.store(spent_turns.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    // transition checks the state that it leaves, as the steps of g_state_word do.
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
