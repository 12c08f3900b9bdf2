// Taking Ps from Ms that are away from the library: the retaker's half of the protocol at the head of section.hpp.
#pragma once

#include "sched/held_p.hpp"
#include "sched/m.hpp"

#include <cstdint>

namespace handoff::detail {

struct sched;

// A P that the monitor wants to take, and the outcome.
struct retake_candidate {
    M* m = nullptr;
    P* p = nullptr;
    std::uint32_t call = 0, section = 0;   // as seen (section is even); must not have moved. Out: call when taken
    bool slice_is_over = false;            // then they may have moved (asked_to_yield)
    retake asked = retake::none;
    retake as = retake::none;              // taken_call, taken_slice, taken_unguarded or taken_computing
    std::int64_t since = 0;                // of an unguarded call, for the owner: when first seen, and the call's number
    long call_number = -1;
    held_p taken;                          // none: it could not be taken
};

// retake_ps tries to take each candidate's P, with one barrier for all of them.
void retake_ps(sched& s, retake_candidate* candidates, unsigned count) noexcept;

}  // namespace handoff::detail
