// How the scale_* workloads are repeated, for all subjects that are written in C++.
#pragma once

#include "figures.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

// A sample is several rounds if n is small, one round else. There are so many samples that a process ends in time: at
// 1,000,000 it is one, after a round to warm up.
struct scale_shape {
    std::size_t n;
    std::size_t rounds;    // in a sample
    std::size_t samples;

    explicit scale_shape(const settings& s) : n(s.goroutines ? s.goroutines : 1000) {
        rounds = std::max<std::size_t>(1, (s.quick ? 2'500 : 10'000) / n);
        const std::size_t most = (s.quick ? 100'000 : 500'000) / n;
        samples = std::clamp<std::size_t>(most, 1, sample_count(s));
    }

    // of_sleepers is for rounds that last a millisecond at least.
    scale_shape of_sleepers() const {
        scale_shape shape = *this;
        shape.rounds = std::min<std::size_t>(rounds, 10);
        return shape;
    }
};

// sleep_ns is how long each of n sleeps.
inline std::int64_t sleep_ns(std::size_t n) { return n <= 1000 ? 1'000'000 : n <= 100'000 ? 10'000'000 : 100'000'000; }

// per_task times round(), which lasts `less_ns` beside what is to be measured. Nanoseconds a task, a value a sample.
template <class Round>
std::vector<double> per_task(const scale_shape& shape, double less_ns, Round round) {
    std::vector<double> values;
    for (std::size_t i = 0; i < shape.samples; ++i) {
        const double start = now_ns();
        for (std::size_t j = 0; j < shape.rounds; ++j) round();
        const double each_round = (now_ns() - start) / static_cast<double>(shape.rounds);
        values.push_back((each_round - less_ns) / static_cast<double>(shape.n));
    }
    return values;
}

}  // namespace bench
