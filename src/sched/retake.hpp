// Taking Ps from those who left the library: the retaker's half of the protocol at the head of section.hpp.
#pragma once

#include "sched/held_p.hpp"
#include "sched/m.hpp"

#include <cstdint>

namespace handoff::detail {

struct sched;

// What the monitor wants to take, and how it went.
struct retake_candidate {
    M* m = nullptr;
    P* p = nullptr;
    std::uint32_t call = 0, section = 0;   // as seen, the latter even; they must not have moved. `call`: when taken
    bool slice_is_over = false;            // then they may have moved; as taken_slice
    retake asked = retake::none;
    retake as = retake::none;              // taken_call, taken_slice, taken_unguarded or taken_computing
    std::int64_t since = 0;                // first sight, and the call's number, for the owner of an unguarded one
    long call_number = -1;
    held_p taken;                          // none: it was not to be had
};

// retake_ps tries to take each candidate's P, with one barrier for all of them.
void retake_ps(sched& s, retake_candidate* candidates, unsigned count) noexcept;

}  // namespace handoff::detail
