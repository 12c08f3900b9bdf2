// Fork and join, on 2 Ps. The value is the time of the whole, in milliseconds.
//
//   fib       fib(24) by its definition: each call from n = 2 on starts fib(n - 1) as a goroutine, computes fib(n - 2)
//             itself, and joins the other.
//   nqueens   the ways to place 10 queens: each placement of a queen in one of the first 4 rows is a goroutine, which
//             starts those of the next row and joins them; from there on they are counted one after the other.

#include "fork_join.hpp"
#include "on_runtime.hpp"

namespace {

constexpr unsigned procs = 2;

unsigned fib(unsigned n) {
    if (n < 2) return n;
    auto first = handoff::go([n] { return fib(n - 1); });
    const unsigned second = fib(n - 2);
    return first.join() + second;
}

unsigned queens(const bench::board& b) {
    if (b.row == bench::board::forked_rows) return b.solutions();
    std::vector<handoff::join_handle<unsigned>> placements;
    for (unsigned open = b.free(); open != 0; open &= open - 1)
        placements.push_back(handoff::go([next = b.with_queen(open & -open)] { return queens(next); }));
    unsigned count = 0;
    for (auto& p : placements) count += p.join();
    return count;
}

std::vector<bench::figure> measure_fib(const bench::settings& s) {
    return bench::rounds_on(procs, "fib", s, [n = bench::fib_of(s)] { bench::check_fib(n, fib(n)); });
}

std::vector<bench::figure> measure_queens(const bench::settings& s) {
    return bench::rounds_on(procs, "nqueens", s,
                            [n = bench::queens_of(s)] { bench::check_queens(n, queens({.n = n})); });
}

const bench::register_workload registered_fib({{"fib"}, "handoff", measure_fib});
const bench::register_workload registered_queens({{"nqueens"}, "handoff", measure_queens});

void fib_24(benchmark::State& state) {
    bench::repeat_on(procs, state, [] { bench::check_fib(24, fib(24)); });
}
BENCHMARK(fib_24)->Name("fib")->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);

void nqueens(benchmark::State& state) {
    bench::repeat_on(procs, state, [] { bench::check_queens(10, queens({.n = 10})); });
}
BENCHMARK(nqueens)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
