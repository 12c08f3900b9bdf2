// backoff: how to wait, in a loop, for what another thread will do in a moment without a notification.
//
// Most likely the other thread is running, so spin. If it is not, it may be ready to run on our core: yield. If that does
// not help either, it has a lower priority (a real-time thread that yields continues to run, and the other never gets the
// core): sleep.
#pragma once

#include <handoff/detail/atomic.hpp>

namespace handoff::os {

class backoff {
public:
    // pause is called between two looks that cost no more than a load.
    void pause() noexcept {
        if (++spins_ % spins_a_round == 0) [[unlikely]] give_up_core();
        else base::cpu_relax();
    }
    // give_up_core is pause without the spinning, to be called between looks that take a lock.
    void give_up_core() noexcept;

    static constexpr unsigned spins_a_round = 64;    // one or two microseconds
    static constexpr unsigned yields = 64;           // before it sleeps
    static constexpr long sleep_ns = 50'000;

private:
    unsigned spins_ = 0, rounds_ = 0;
};

}  // namespace handoff::os
