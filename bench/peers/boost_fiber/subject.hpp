// What the files of Boost.Fiber's program share.
#pragma once

#include "../../workloads/figures.hpp"

#include <boost/fiber/all.hpp>

#include <cstddef>
#include <thread>
#include <vector>

namespace peer {

namespace fibers = boost::fibers;

constexpr const char* subject = "boost_fiber";

// A workload has the signature of measure: it is told under which name it was asked for.
using figures = std::vector<bench::figure>;
using measure = figures (*)(const char* work, const bench::settings&);

inline bench::figure figure_of(const char* work, unsigned threads, const std::vector<double>& values,
                               const char* unit) {
    return {work, subject, threads, bench::median(values), unit, bench::spread_of(values)};
}

// Stacks of the default size, for a hundred thousand fibers and more, would take 13 GB of address space.
constexpr std::size_t small_stack = 16 * 1024;

// pooled_stacks is this thread's pool of them, the fastest that Boost.Fiber offers. It must not be shared: only for
// fibers that never leave the thread.
inline fibers::pooled_fixedsize_stack& pooled_stacks() {
    thread_local fibers::pooled_fixedsize_stack stacks(small_stack);
    return stacks;
}

template <class F>
fibers::fiber start_here(F f) {
    return fibers::fiber(fibers::launch::post, std::allocator_arg, pooled_stacks(), std::move(f));
}

// on_both_threads calls f(0) here and f(1) on a second thread. Each has the default scheduler, round robin, which keeps
// its fibers to itself and sleeps when none is ready.
template <class F>
void on_both_threads(F f) {
    std::thread other([&f] { f(1); });
    f(0);
    other.join();
}

}  // namespace peer
