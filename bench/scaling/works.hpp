// The works whose accesses are counted. Each runs in a runtime of its own on a fresh machine.
#pragma once

#include "layout.hpp"

#include <vector>

namespace scaling {

struct outcome {
    double operations = 0;
    layout names;
};

struct work {
    const char* name;
    const char* operation;                 // what one is
    unsigned least_procs;
    outcome (*run)(unsigned procs, unsigned total);   // in all about `total` operations
    unsigned total;
};

const std::vector<work>& works();

}  // namespace scaling
