#include "check.hpp"

#include <cstdio>
#include <cstring>
#include <iostream>

namespace scaling {

namespace {

// The most shared writes and reads that an operation may cause. What a work does once in a batch or at its start is
// allowed for; anything that all Ps share in the fast path itself would be near 1 an operation.
struct bound {
    const char* work;
    unsigned procs;
    double writes, reads;
};

constexpr bound bounds[] = {
    {"spawn", 1, 0.01, 0.01},     {"brackets", 1, 0.001, 0.001},  {"spawn", 8, 0.05, 0.05},
    {"join", 8, 0.05, 0.05},      {"yield", 8, 0.3, 0.3},         {"mutex_own", 8, 0.01, 0.01},
    {"brackets", 8, 0.001, 0.001},
};

}  // namespace

bool check(std::uint64_t seed) {
    bool good = true;
    std::cout << heading();
    for (const bound& b : bounds) {
        for (const work& w : works()) {
            if (std::strcmp(w.name, b.work) != 0) continue;
            const result r = measure_in_child(w, b.procs, seed, costs{}.transfer);
            std::cout << row(r);
            if (r.writes <= b.writes && r.reads <= b.reads) continue;
            good = false;
            std::printf("%s on %u processors: at most %.4f shared writes and %.4f reads an operation are allowed; it has "
                        "%.4f and %.4f:\n%s",
                        b.work, b.procs, b.writes, b.reads, r.writes, r.reads, details(r).c_str());
        }
    }
    return good;
}

}  // namespace scaling
