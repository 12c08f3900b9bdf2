// backoff: how to wait, in a loop, for what another thread does in a moment, and tells nobody.
//
// It runs most likely, so spin. If it does not, it may be ready to run on our core: yield. If that does not help either it is
// of a lower priority (a real-time thread that yields runs on, and the other never gets there): sleep.
#pragma once

#include <handoff/detail/atomic.hpp>

namespace handoff::os {

class backoff {
public:
    // pause is to be called between two looks that cost no more than a load.
    void pause() noexcept {
        if (++spins_ % spins_a_round == 0) [[unlikely]] give_up_core();
        else base::cpu_relax();
    }
    // give_up_core is pause without the spinning, between looks that take a lock.
    void give_up_core() noexcept;

    static constexpr unsigned spins_a_round = 64;    // a microsecond or two
    static constexpr unsigned yields = 64;           // before it sleeps
    static constexpr long sleep_ns = 50'000;

private:
    unsigned spins_ = 0, rounds_ = 0;
};

}  // namespace handoff::os
