// The works of handoff_bench in Boost.Fiber, as far as it has them: one thread, its default round-robin scheduler.

#include "../../figures.hpp"

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include <atomic>
#include <cstring>
#include <memory>
#include <string_view>

namespace {

namespace fibers = boost::fibers;

// yield: see ../../yield.cpp.
void yield_pair(std::size_t n) {
    const auto half = [n] {
        for (std::size_t i = 0; i < n / 2; ++i) boost::this_fiber::yield();
    };
    fibers::fiber a(fibers::launch::post, half);
    fibers::fiber b(fibers::launch::post, half);
    a.join();
    b.join();
}

// spawn: see ../../spawn.cpp. The pooled stacks are the fastest that Boost.Fiber offers.
void spawn_batches(std::size_t n) {
    constexpr std::size_t batch = 128;
    static fibers::pooled_fixedsize_stack stacks;
    std::atomic<std::size_t> done{0};
    for (std::size_t started = 0; started < n;) {
        for (std::size_t i = 0; i < batch; ++i) {
            fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, [&done] {
                done.fetch_add(1, std::memory_order_relaxed);
            }).detach();
        }
        started += batch;
        while (done.load(std::memory_order_relaxed) < started) boost::this_fiber::yield();
    }
}

void report(const char* work, const std::vector<double>& samples) {
    bench::figure f{work, "boost_fiber", 1, bench::median(samples), "ns", bench::spread_of(samples)};
    f.extra.emplace_back("version", BOOST_VERSION / 100);
    bench::print(f);
}

}  // namespace

int main(int argc, char** argv) {
    std::string_view work;
    bench::settings s;
    for (int i = 1; i < argc; ++i) {
        if (!std::strcmp(argv[i], "--quick")) s.quick = true;
        else if (!std::strcmp(argv[i], "--work") && i + 1 < argc) work = argv[++i];
    }
    if (work == "yield") {
        report("yield", bench::per_operation(s, 1'000'000, yield_pair));
    } else if (work == "spawn") {
        report("spawn", bench::per_operation(s, 128 * 4096, spawn_batches));
    } else {
        std::fprintf(stderr, "usage: boost_fiber --work yield|spawn [--quick]\n");
        return 2;
    }
}
