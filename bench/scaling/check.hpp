// The test: bounds on what the fast paths may share, so that a counter or lock put into one of them is noticed.
#pragma once

#include "report.hpp"

namespace scaling {

result measure_in_child(const work& w, unsigned procs, std::uint64_t seed, ps transfer);

// check prints what it finds, and returns whether all is as it should be.
bool check(std::uint64_t seed);

}  // namespace scaling
