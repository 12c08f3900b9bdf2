// g_state_word: the state of a goroutine. Only the owner of the G changes it: the M that runs it; else whoever took it out of a
// queue or won its wait. Each step checks the state that it leaves. Any other state there is a broken invariant, and ends the
// process.
//
//     state      the G is                                             left by                                       for
//     idle       in a free list                                       launch: it is spawned                         runnable
//     runnable   in exactly one run queue, or on its way to an M      run: an M starts or resumes it                running
//     running    on an M (also inside a call: M::call tells)          park: it waits                                waiting
//                                                                     give_way: it goes behind others               runnable
//                                                                     end: its task has returned                    dead
//     waiting    owned by what it waits for                           ready: it was woken                           runnable
//     dead       ended; a handle may still hold its result            free: it is no longer needed                  idle
//                                                                     revive: its handle was dropped just then,
//                                                                     and it destroys its own outcome               running
//
// Relaxed: snapshots want a value, and no ordering. The queue, lock or wait that a G goes through orders its other members.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::detail {

enum class g_state : std::uint8_t { idle, runnable, running, waiting, dead };

const char* name_of(g_state s) noexcept;

class g_state_word {
public:
    g_state seen(std::memory_order order = std::memory_order_relaxed) const noexcept { return word_.load(order); }

    void launch() noexcept { step(g_state::idle, g_state::runnable); }
    void run() noexcept { step(g_state::runnable, g_state::running); }
    void park() noexcept { step(g_state::running, g_state::waiting); }
    void give_way() noexcept { step(g_state::running, g_state::runnable); }
    void ready() noexcept { step(g_state::waiting, g_state::runnable); }
    void end() noexcept { step(g_state::running, g_state::dead); }
    void revive() noexcept { step(g_state::dead, g_state::running); }
    void free() noexcept { step(g_state::dead, g_state::idle); }

private:
    void step(g_state from, g_state to) noexcept {
        const g_state now = word_.load(std::memory_order_relaxed);
        if (now != from) [[unlikely]] bad_step(now, from, to);
        word_.store(to, std::memory_order_relaxed);
    }
    [[noreturn, gnu::cold]] void bad_step(g_state now, g_state from, g_state to) const noexcept;

    base::atomic<g_state> word_{g_state::idle};
};

}  // namespace handoff::detail
