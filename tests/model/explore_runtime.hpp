// Runtimes for scenarios.
#pragma once

#include "explore.hpp"
#include "sched/sched.hpp"

#include <handoff/handoff.hpp>

#include <array>
#include <chrono>

namespace explore {

using namespace std::chrono_literals;

// quiet is a runtime whose monitor takes nothing.
inline handoff::options quiet(unsigned procs) {
    handoff::options o;
    o.procs = procs;
    o.stack_size = 64 * 1024;
    o.spin_before_sleep = perhaps() ? 0ns : 2us;
    o.idle_thread_timeout = perhaps() ? 10s : 50us;
    o.syscall_grace = o.syscall_retake_after = 10ms;
    o.unguarded_grace = o.retake_running_after = 1h;
    give_membarrier(perhaps());
    give_cores(1 + choose(3));
    return o;
}

// greedy is one whose monitor takes all it may, as soon as it may.
inline handoff::options greedy(unsigned procs) {
    handoff::options o = quiet(procs);
    o.syscall_grace = o.unguarded_grace = o.retake_running_after = 1us;
    o.syscall_retake_after = perhaps() ? 1us : 20us;
    return o;
}

// owners finds a processor that has two owners.
class owners {
public:
    // check enters the runtime, and stays for a moment. On a goroutine.
    void check() {
        using namespace handoff::detail;
        M* m = enter(current_m());
        const unsigned p = m->p.load(std::memory_order_relaxed)->id;
        if (inside_[p]) fail("processor %u has two owners", p);
        inside_[p] = true;
        for (unsigned i = choose(4); i > 0; --i) step();
        inside_[p] = false;
        leave(m);
    }

private:
    std::array<bool, handoff::detail::max_procs> inside_{};
};

// linger passes some time in one way or another.
inline void linger() {
    switch (choose(4)) {
        case 0: handoff::this_goroutine::yield(); break;
        case 1: compute(choose(8)); break;
        case 2: handoff::this_goroutine::sleep_for(std::chrono::nanoseconds(choose(3'000))); break;
        default: break;
    }
}

}  // namespace explore
