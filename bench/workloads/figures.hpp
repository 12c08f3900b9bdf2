// What every benchmark program here shares: settings, samples, and a figure printed as a line of JSON.
//
// The peers are to be compared, so all of them, in whichever language, follow the same rules:
//  - a workload runs the same number of operations everywhere; nothing is calibrated to the subject's speed;
//  - one sample (or the stated number of rounds) is run and thrown away first;
//  - a process reports the median of its samples, and the smallest and largest beside it;
//  - bench/run starts a process per subject in turns, several times over, and takes the median of those.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

// What the command line asked for.
struct settings {
    bool quick = false;          // fewer operations, the same workload
    std::size_t goroutines = 0;  // of parked_memory and scale_*; 0: the workload's own number
};

// A figure is what one process measured of one workload.
struct figure {
    std::string work;
    std::string subject;
    unsigned procs = 0;
    double value = 0;
    std::string unit;
    std::vector<std::pair<std::string, double>> extra{};  // further keys: p99, min, max, …
};

inline void print(const figure& f) {
    std::printf(R"({"work": "%s", "subject": "%s", "procs": %u, "value": %.4g, "unit": "%s")", f.work.c_str(),
                f.subject.c_str(), f.procs, f.value, f.unit.c_str());
    for (const auto& [key, value] : f.extra) std::printf(R"(, "%s": %.6g)", key.c_str(), value);
    std::puts("}");
}

// now_ns is the steady clock, in nanoseconds.
inline double now_ns() {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// quantile is the value at rank floor(q * size) of the sorted values, which must not be empty.
inline double quantile(std::vector<double> values, double q) {
    const auto rank = std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())));
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rank), values.end());
    return values[rank];
}

inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

// spread_of is the extra keys that go with a median.
inline std::vector<std::pair<std::string, double>> spread_of(const std::vector<double>& values) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    return {{"min", *least},
            {"max", *most},
            {"p99", quantile(values, 0.99)},
            {"samples", static_cast<double>(values.size())}};
}

inline unsigned sample_count(const settings& s) { return s.quick ? 7 : 15; }

// per_operation times `operations` calls' worth of run() several times over. run(n) does n operations. The result is
// in nanoseconds an operation, a value a sample.
template <class Run>
std::vector<double> per_operation(const settings& s, std::size_t operations, Run run) {
    if (s.quick) operations /= 4;
    run(operations);  // warm-up
    std::vector<double> samples;
    for (unsigned i = 0; i < sample_count(s); ++i) {
        const double start = now_ns();
        run(operations);
        samples.push_back((now_ns() - start) / static_cast<double>(operations));
    }
    return samples;
}

// per_round times run() several times over. The result is in milliseconds, a value a sample.
template <class Run>
std::vector<double> per_round(const settings& s, Run run) {
    run();  // warm-up
    std::vector<double> samples;
    for (unsigned i = 0, rounds = s.quick ? 3 : 5; i < rounds; ++i) {
        const double start = now_ns();
        run();
        samples.push_back((now_ns() - start) * 1e-6);
    }
    return samples;
}

// check_sum is for workloads that pass the numbers from 0 to n - 1 on, and add up what arrives.
inline void check_sum(std::int64_t sum, std::size_t n) {
    const auto count = static_cast<std::int64_t>(n);
    if (sum != count * (count - 1) / 2) throw std::runtime_error("the items add up to " + std::to_string(sum));
}

// pause_lengths is a fixed pseudo-random sequence of 0 to 100 µs, the same in every language: rounds that are spaced
// by it don't fall into step with a monitor's tick.
class pause_lengths {
public:
    double next_ns() {
        state_ = state_ * 1664525u + 1013904223u;
        return static_cast<double>(state_ >> 16) * (100'000.0 / 65536.0);
    }

private:
    std::uint32_t state_ = 12345;
};

// scramble is the few nanoseconds of work that the contenders for a lock do with what it guards: two steps of xorshift,
// each operation of which waits for the one before.
inline void scramble(std::uint32_t& state) {
    for (int i = 0; i < 2; ++i) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
    }
}

// spin_for computes for that long; it makes no call that blocks.
inline void spin_for(double ns) {
    for (const double until = now_ns() + ns; now_ns() < until;) {}
}

}  // namespace bench
