// The arithmetic of the fork-join workloads, for all subjects that are written in C++.
#pragma once

#include "figures.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace bench {

// ---- fib

inline unsigned fib_of(const settings& s) { return s.quick ? 20 : 24; }

inline void check_fib(unsigned n, unsigned result) {
    unsigned a = 0, b = 1;
    for (unsigned i = 0; i < n; ++i) a = std::exchange(b, a + b);
    if (result != a) throw std::runtime_error("fib(" + std::to_string(n) + ") is not " + std::to_string(result));
}

// ---- nqueens

// A board of n columns with queens in its first rows; a bit for each column.
struct board {
    static constexpr unsigned forked_rows = 4;   // the placements of so many first rows are goroutines

    unsigned n = 0;
    unsigned row = 0;             // the next one
    unsigned columns = 0;         // taken
    unsigned falling = 0, rising = 0;   // taken in this row by the diagonals

    unsigned free() const { return ~(columns | falling | rising) & ((1u << n) - 1); }
    board with_queen(unsigned column) const {
        return {n, row + 1, columns | column, (falling | column) >> 1, (rising | column) << 1};
    }

    // solutions counts them one after the other.
    unsigned solutions() const {
        if (row == n) return 1;
        unsigned count = 0;
        for (unsigned open = free(); open != 0; open &= open - 1) count += with_queen(open & -open).solutions();
        return count;
    }
};

inline unsigned queens_of(const settings& s) { return s.quick ? 8 : 10; }

inline void check_queens(unsigned n, unsigned solutions) {
    if (solutions != (n == 8 ? 92u : 724u))
        throw std::runtime_error(std::to_string(solutions) + " ways to place " + std::to_string(n) + " queens");
}

}  // namespace bench
