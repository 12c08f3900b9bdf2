// The goroutines that compute in compute_beside_blocking and page_faults.
#pragma once

#include "blocking.hpp"

#include <handoff/handoff.hpp>

#include <vector>

namespace bench {

// compute returns how many slices the computing goroutines have done in their time.
inline double compute(const beside_shape& shape) {
    const double until = now_ns() + shape.for_ns;
    std::vector<handoff::join_handle<std::size_t>> computers;
    for (std::size_t i = 0; i < shape.computers; ++i) {
        computers.push_back(handoff::go([until, seed = static_cast<std::uint32_t>(i + 1)] {
            return compute_until(until, seed, handoff::this_goroutine::yield);
        }));
    }
    double slices = 0;
    for (auto& g : computers) slices += static_cast<double>(g.join());
    return slices;
}

}  // namespace bench
