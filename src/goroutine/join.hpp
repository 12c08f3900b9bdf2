// What is left of a goroutine when it ends: its result or exception, and the waiter for its end.
#pragma once

#include "sched/g.hpp"
#include "sched/g_store.hpp"
#include "wait/wait.hpp"

#include <cstdint>

namespace handoff::detail {

// A waiter for the end of a goroutine, on the waiting side's stack; G::join_word points to it.
struct join_waiter {
    enum class told_as : std::uint8_t { nothing, late, won };

    join_waiter(waiter& who, bool of_select) noexcept : w(who), in_select(of_select) {}

    waiter& w;
    const bool in_select;
    // What the goroutine that ended has found: `late` if w had given up or was woken by another; `won`, told only to a select,
    // if this has woken it.
    base::atomic<told_as> told{told_as::nothing};
};

// stop_waiting takes j back. True if the goroutine had ended before, and what it told is in j.told then.
bool stop_waiting(G* g, join_waiter& j) noexcept;

// wake_joiner is the last step in which a goroutine's end touches the waiter for it. m: the calling M if it has a P, else null.
void wake_joiner(M* m, join_waiter& j) noexcept;

// drop_outcome destroys the result of g, or reports its exception, which no join will see any more.
void drop_outcome(G* g, g_store& store) noexcept;

}  // namespace handoff::detail
