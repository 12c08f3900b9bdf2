// The workloads that `handoff_bench --work NAME` can be asked for. Each benchmark file registers its own; beside that
// it has the same workload as a Google Benchmark.
#pragma once

#include "figures.hpp"

#include <string_view>
#include <vector>

namespace bench {

// A workload measures itself once and may report more than one figure (a storm and its warm repetition). It is found by
// any of those figures' names.
struct workload {
    std::vector<std::string_view> figures;
    std::string_view subject;
    std::vector<figure> (*measure)(const settings&);
};

std::vector<workload>& workloads();

struct register_workload {
    explicit register_workload(workload w) { workloads().push_back(std::move(w)); }
};

}  // namespace bench
