// What a run of a work gave, and how it is shown.
#pragma once

#include "machine.hpp"
#include "works.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace scaling {

// An object, or a kind of objects, whose lines went from core to core. All counts are an operation's.
struct shared_thing {
    std::string name;
    double reads = 0, writes = 0;
    double hottest = 0;                // transfers of the one line of it that had most
    std::vector<std::string> places;   // the code that did it, most first
};

struct result {
    std::string work;
    unsigned procs = 0;
    double operations = 0;
    double accesses = 0, locked = 0, visits = 0;   // an operation's
    double reads = 0, writes = 0;                  // shared ones
    double time = 0;                               // ns a P spends on an operation, by the simulated clocks
    double hottest = 0;                            // transfers of the hottest line
    unsigned threads = 0;                          // made in all
    std::vector<shared_thing> things;              // most transfers first
};

// measure runs w on a machine of the calling process, which can be used once.
result measure(const work& w, unsigned procs, std::uint64_t seed, ps transfer);

// A result as one line of text, to go through a pipe.
std::string to_line(const result& r);
result from_line(const std::string& line);

std::string heading();
std::string row(const result& r);
std::string details(const result& r);
std::string json(const std::vector<result>& all);
std::string markdown(const std::vector<result>& all);

}  // namespace scaling
