// A million goroutines: parked with stacks and guard pages, or not yet started, and what each of them costs.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sys/mman.h>

namespace {

using namespace stress;

constexpr std::uint64_t fresh = pick(1'000'000u, 200'000u, 100'000u);
constexpr std::uint64_t sleeping = pick(100'000u, 20'000u, 4'000u);

std::uint64_t resident() { return static_cast<std::uint64_t>(status_of_process("VmRSS:")) * 1024; }

// A million, where there is memory for them. Without membarrier a part of them will do: nothing here depends on it.
std::uint64_t how_many_to_park() {
    std::uint64_t n = pick(1'000'000u, 20'000u, 4'000u);
    if (const char* off = std::getenv("HANDOFF_NO_MEMBARRIER"); off && *off == '1') n /= 4;
    std::ifstream info("/proc/meminfo");
    std::uint64_t kilobytes = 0;
    for (std::string line; std::getline(info, line);)
        if (line.compare(0, 13, "MemAvailable:") == 0) kilobytes = std::stoull(line.substr(13));
    if (kilobytes != 0) n = std::min(n, kilobytes * 1024 / 12'000);   // half of it
    return n;
}

std::uint64_t mappings() {
    std::ifstream maps("/proc/self/maps");
    std::uint64_t n = 0;
    for (std::string line; std::getline(maps, line);) ++n;
    return n;
}

// Whether the kernel makes guard pages that split no mapping (Linux 6.13).
bool has_light_guards() {
#ifndef MADV_GUARD_INSTALL
    constexpr int MADV_GUARD_INSTALL = 102;
#endif
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* p = ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    const bool works = ::madvise(p, page, MADV_GUARD_INSTALL) == 0;
    ::munmap(p, 2 * page);
    return works;
}

std::uint64_t print_cost(const char* what, std::uint64_t before, std::uint64_t n) {
    const std::uint64_t now = resident(), each = (now > before ? now - before : 0) / n;
    std::printf("%s: %llu bytes each, %llu mappings\n", what, static_cast<unsigned long long>(each),
                static_cast<unsigned long long>(mappings()));
    std::fflush(stdout);
    return each;
}

// First of all: later it would find memory that others have left.
TEST(Many, NotStarted) {
    handoff::runtime rt({.procs = 1});
    const watchdog dog(&rt);
    rt.run([] {});
    std::atomic<std::uint64_t> ran{0}, sum{0};
    rt.run([&] {
        const std::uint64_t before = resident();
        for (std::uint64_t i = 0; i < fresh; ++i)
            handoff::go([&ran, &sum, i] {
                ran.fetch_add(1, std::memory_order_relaxed);
                sum.fetch_add(i, std::memory_order_relaxed);
            });
        // On the only processor nobody else has run, unless the monitor took it.
        const std::uint64_t each = print_cost("not started", before, fresh);
        if (!sanitized) {
            EXPECT_LT(each, 400u);
        }
    });
    const handoff::stats s = wait_for_end(rt);
    EXPECT_EQ(ran.load(), fresh);
    EXPECT_EQ(sum.load(), fresh * (fresh - 1) / 2);
    EXPECT_EQ(s.spawned, fresh + 2);
    // Run to completion, one after the other: next to no stacks.
    EXPECT_LT(s.stacks_mapped, 2000u);
}

// Each goroutine waits for the one before it; the first waits for the gate.
TEST(Many, ParkedWithGuards) {
    const std::uint64_t parked = how_many_to_park();
    std::printf("%llu goroutines\n", static_cast<unsigned long long>(parked));
    handoff::runtime rt;
    const watchdog dog(&rt);
    rt.run([] {});
    std::atomic<std::uint64_t> arrived{0}, left{0};
    std::atomic<bool> gate{false};
    std::vector<std::atomic<std::uint8_t>> ran(parked);
    const std::uint64_t before = resident() + ran.size();   // which is about to be touched

    auto last = rt.run([&] {
        auto previous = handoff::go([&gate] {
            while (!gate.load()) handoff::this_goroutine::sleep_for(1ms);
        });
        for (std::uint64_t i = 0; i < parked; ++i)
            previous = handoff::go([&, i, waits_for = std::move(previous)]() mutable {
                ran[i].fetch_add(1, std::memory_order_relaxed);
                arrived.fetch_add(1, std::memory_order_relaxed);
                waits_for.join();
                left.fetch_add(1, std::memory_order_relaxed);
            });
        return previous;
    });
    while (arrived.load() != parked) std::this_thread::sleep_for(1ms);

    const std::uint64_t each = print_cost("parked", before, parked);
    handoff::stats s = rt.stats();
    EXPECT_EQ(s.goroutines, parked + 1);
    EXPECT_GE(s.stacks_mapped, parked);
    EXPECT_EQ(s.stack_failures, 0u);
    if (has_light_guards()) {
        EXPECT_EQ(s.stacks_without_guard, 0u);
        EXPECT_LT(mappings(), 30'000u);   // vm.max_map_count is 65,530
    } else {
        std::printf("%llu of %llu stacks have no guard page\n", static_cast<unsigned long long>(s.stacks_without_guard),
                    static_cast<unsigned long long>(s.stacks_mapped));
    }
    if (!sanitized) {
        EXPECT_LT(each, 6u * 1024);   // one page of stack, the G, and change
    }
    EXPECT_EQ(left.load(), 0u);

    gate.store(true);
    last.join();
    s = wait_for_end(rt);
    EXPECT_EQ(left.load(), parked);
    EXPECT_EQ(s.spawned, parked + 3);
    std::uint64_t wrong = 0;
    for (const auto& n : ran) wrong += n.load() != 1;
    EXPECT_EQ(wrong, 0u);
}

// The stacks of a wave, all of which are in use at once, serve the next one.
TEST(Many, WavesReuseTheStacks) {
    constexpr std::uint64_t n = pick(50'000u, 5'000u, 2'000u);
    handoff::runtime rt;
    const watchdog dog(&rt);
    std::uint64_t mapped = 0;
    for (int wave = 0; wave < 5; ++wave) {
        std::atomic<std::uint64_t> arrived{0}, done{0};
        handoff::latch gate(1);
        rt.run([&] {
            std::vector<handoff::join_handle<void>> all;
            for (std::uint64_t i = 0; i < n; ++i)
                all.push_back(handoff::go([&] {
                    arrived.fetch_add(1, std::memory_order_relaxed);
                    gate.wait();
                    done.fetch_add(1, std::memory_order_relaxed);
                }));
            while (arrived.load() != n) handoff::this_goroutine::sleep_for(1ms);
            gate.count_down();
            for (auto& h : all) h.join();
        });
        EXPECT_EQ(done.load(), n);
        if (wave == 0) mapped = rt.stats().stacks_mapped;
    }
    EXPECT_GE(mapped, n);
    EXPECT_LE(rt.stats().stacks_mapped, mapped + 1024);   // what the processors keep for themselves
}

TEST(Many, Sleeping) {
    handoff::runtime rt;
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> early{0}, woken{0};
    rt.run([&] {
        std::vector<handoff::join_handle<void>> all;
        for (std::uint64_t i = 0; i < sleeping; ++i)
            all.push_back(handoff::go([&, i] {
                rng rnd(i);
                const auto due = steady::now() + std::chrono::microseconds(rnd.between(1, 300'000));
                handoff::this_goroutine::sleep_until(due);
                if (steady::now() < due) early.fetch_add(1);
                woken.fetch_add(1);
            }));
        for (auto& h : all) h.join();
    });
    EXPECT_EQ(early.load(), 0u);
    EXPECT_EQ(woken.load(), sleeping);
}

}  // namespace
