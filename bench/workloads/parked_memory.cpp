// parked_memory: what a goroutine costs that has started and waits, at 1,000,000 of them on 2 Ps.
//
// They form a chain in which each joins the one before it; the first waits for the end of the measurement. The value
// is the growth of the resident memory (VmRSS) per goroutine; parked_page_tables is the growth of the kernel's page
// tables (VmPTE), which RSS leaves out. Both are read before the first spawn and when all goroutines are parked.

#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

#include <atomic>
#include <fstream>
#include <malloc.h>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;

constexpr unsigned procs = 2;

struct memory {
    double resident = 0;  // bytes
    double page_tables = 0;

    static memory now() {
        ::malloc_trim(0);
        std::ifstream status("/proc/self/status");
        memory m;
        for (std::string key; status >> key;) {
            double kilobytes = 0;
            if (key == "VmRSS:" && status >> kilobytes) m.resident = kilobytes * 1024;
            else if (key == "VmPTE:" && status >> kilobytes) m.page_tables = kilobytes * 1024;
        }
        if (m.resident == 0) throw std::runtime_error("/proc/self/status tells no VmRSS");
        return m;
    }
};

// per_parked returns the growth per goroutine with n of them parked, and lets them go again.
memory per_parked(std::size_t n) {
    std::atomic<std::size_t> about_to_park{0};
    std::atomic<bool> open{false};
    const memory before = memory::now();

    auto last = handoff::go([&open] {
        while (!open.load(std::memory_order_relaxed)) handoff::this_goroutine::sleep_for(5ms);
    });
    for (std::size_t i = 0; i < n; ++i) {
        last = handoff::go([&about_to_park, previous = std::move(last)]() mutable {
            about_to_park.fetch_add(1, std::memory_order_relaxed);
            previous.join();
        });
        if (i % 128 == 127) handoff::this_goroutine::yield();
    }
    while (about_to_park.load(std::memory_order_relaxed) < n) handoff::this_goroutine::sleep_for(1ms);
    handoff::this_goroutine::sleep_for(100ms);  // for those between the count and the park

    const memory after = memory::now();
    open.store(true, std::memory_order_relaxed);
    last.join();
    const auto each = static_cast<double>(n);
    return {(after.resident - before.resident) / each, (after.page_tables - before.page_tables) / each};
}

std::vector<bench::figure> measure(const bench::settings& s) {
    const std::size_t n = s.goroutines ? s.goroutines : s.quick ? 200'000 : 1'000'000;
    handoff::runtime rt({.procs = procs});
    rt.run([] {});  // warm-up
    const memory each = rt.run([n] { return per_parked(n); });
    const auto count = static_cast<double>(n);
    return {{"parked_memory", "handoff", procs, each.resident, "B", {{"goroutines", count}}},
            {"parked_page_tables", "handoff", procs, each.page_tables, "B", {{"goroutines", count}}}};
}

const bench::register_workload registered({{"parked_memory", "parked_page_tables"}, "handoff", measure});

void parked_memory(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) {
        handoff::runtime rt({.procs = procs});
        const memory each = rt.run([n] { return per_parked(n); });
        state.counters["B/goroutine"] = each.resident;
        state.counters["page_table_B/goroutine"] = each.page_tables;
    }
}
BENCHMARK(parked_memory)->Arg(100'000)->Iterations(1)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
