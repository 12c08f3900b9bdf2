// A great many goroutines that block in short calls under every policy, while others compute, yield and spawn: none is
// lost, none runs twice, and the counters add up.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <linux/futex.h>
#include <memory>
#include <sys/syscall.h>

namespace {

using namespace stress;
using handoff::handoff_policy;

constexpr unsigned spawners = 16;
constexpr unsigned pipes = 32;

// What the goroutines of one run leave behind.
struct ledger {
    std::vector<std::atomic<std::uint8_t>> ran;   // one for each goroutine, and one for the child it may have
    std::atomic<std::uint64_t> sum{0};
    std::atomic<std::uint64_t> spawned{0};
    std::atomic<std::uint64_t> guarded{0};        // calls with brackets
    std::atomic<std::uint64_t> short_reads{0};
    std::unique_ptr<pipe_ends[]> pipe{new pipe_ends[pipes]};

    explicit ledger(unsigned n) : ran(2 * n) {}
    void mark(unsigned slot) {
        ran[slot].fetch_add(1, std::memory_order_relaxed);
        sum.fetch_add(slot + 1, std::memory_order_relaxed);
    }
    template <class F>
    void call(rng& rnd, F f) {
        constexpr handoff_policy policies[] = {handoff_policy::adaptive, handoff_policy::adaptive,
                                               handoff_policy::sysmon, handoff_policy::immediate};
        guarded.fetch_add(1, std::memory_order_relaxed);
        handoff::blocking_call(policies[rnd.below(4)], f);
    }
};

void futex_wait_for(std::chrono::nanoseconds d) {
    std::uint32_t word = 0;
    const timespec t{0, static_cast<long>(d.count())};
    ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, nullptr, 0);
}

// Reads what a goroutine of its own writes: whoever holds the processor next has to run that one.
void talk_through_pipe(ledger& l, rng& rnd, unsigned slot) {
    const pipe_ends& p = l.pipe[rnd.below(pipes)];
    l.spawned.fetch_add(1, std::memory_order_relaxed);
    auto writer = handoff::go([&l, &p, slot] {
        rng mine(slot + 1'000'000'000u);
        l.mark(slot + 1);
        l.call(mine, [&p] { p.put(); });
    });
    l.call(rnd, [&] {
        if (!p.get()) l.short_reads.fetch_add(1);
    });
    writer.join();
}

void have_a_child(ledger& l, unsigned slot) {
    l.spawned.fetch_add(1, std::memory_order_relaxed);
    auto child = handoff::go([&l, slot] {
        l.mark(slot + 1);
        return slot * 3;
    });
    EXPECT_EQ(child.join(), slot * 3);
}

void live(ledger& l, unsigned index) {
    rng rnd(index);
    const unsigned slot = 2 * index;
    const auto d = std::chrono::nanoseconds(rnd.between(1'000, 200'000));
    bool child = false;
    switch (rnd.below(16)) {
        case 0: case 1: case 2: case 3:
            l.call(rnd, [d] { sleep_in_kernel(d); });
            break;
        case 4: case 5:
            l.call(rnd, [d] { futex_wait_for(d); });
            break;
        case 6: case 7:
            child = true;
            talk_through_pipe(l, rnd, slot);
            break;
        case 8:   // several, for the prediction to work on
            for (int i = 0; i < 3; ++i) l.call(rnd, [d] { sleep_in_kernel(d / 3); });
            break;
        case 9: case 10:   // quick ones
            for (int i = 0; i < 5; ++i) l.call(rnd, [] { ::getppid(); });
            break;
        case 11: case 12:
            compute(d / 50);
            handoff::this_goroutine::yield();
            break;
        case 13:
            child = true;
            have_a_child(l, slot);
            break;
        case 14:
            handoff::this_goroutine::sleep_for(d);
            break;
        default:   // without a guard; a few so long that the monitor steps in
            sleep_in_kernel(index % 512 == 0 ? std::chrono::nanoseconds(25ms) : d / 8);
    }
    if (!child) l.mark(slot + 1);
    l.mark(slot);
}

struct scenario {
    unsigned procs, goroutines;
};

class Blocking : public testing::TestWithParam<scenario> {};

TEST_P(Blocking, NothingIsLostAndCountersAddUp) {
    const auto [procs, goroutines] = GetParam();
    ledger l(goroutines);
    handoff::runtime rt({.procs = procs});
    const watchdog dog(&rt);
    rt.run([&l, n = goroutines] {
        std::vector<handoff::join_handle<void>> crowd;
        for (unsigned s = 0; s < spawners; ++s)
            crowd.push_back(handoff::go([&l, n, s] {
                std::vector<handoff::join_handle<void>> mine;
                for (unsigned i = s; i < n; i += spawners)
                    mine.push_back(handoff::go([&l, i] { live(l, i); }));
                for (auto& h : mine) h.join();
            }));
        for (auto& h : crowd) h.join();
    });
    const handoff::stats s = wait_for_end(rt);

    std::uint64_t missing = 0, repeated = 0;
    for (const auto& n : l.ran) {
        missing += n.load() == 0;
        repeated += n.load() > 1;
    }
    EXPECT_EQ(missing, 0u);
    EXPECT_EQ(repeated, 0u);
    EXPECT_EQ(l.sum.load(), std::uint64_t{2 * goroutines} * (2 * goroutines + 1) / 2);
    EXPECT_EQ(l.short_reads.load(), 0u);

    EXPECT_EQ(s.spawned, 1 + spawners + goroutines + l.spawned.load());
    EXPECT_GE(s.switches, s.spawned);
    EXPECT_EQ(s.computing_without_processor, 0u);
    // Whoever lost or gave up a processor took one again, once, or ended without; and some began without.
    EXPECT_EQ(s.exits_old_idle + s.exits_any_idle + s.exits_queued + s.regains + s.ended_without,
              s.handoffs_sysmon + s.handoffs_immediate + s.handoffs_unguarded + s.handoffs_computing + s.started_without);
    // A guarded call ends with the processor still there, or without.
    EXPECT_EQ(l.guarded.load(), s.exits_own + s.exits_without);
    EXPECT_LE(s.exits_old_idle + s.exits_any_idle + s.exits_queued, s.exits_without);
    EXPECT_GT(s.handoffs_sysmon, 0u);
    EXPECT_GT(s.handoffs_immediate, 0u);
    EXPECT_GT(s.exits_own, 0u);
    EXPECT_EQ(s.threads_created, s.threads + s.threads_retired);
    EXPECT_EQ(s.thread_cap_hits, 0u);
    EXPECT_EQ(s.thread_create_failures, 0u);
    EXPECT_EQ(s.stack_failures, 0u);
    std::printf("P=%u: handoffs sysmon=%llu immediate=%llu unguarded=%llu computing=%llu; exits own=%llu old=%llu "
                "any=%llu queued=%llu; threads=%u\n",
                procs, static_cast<unsigned long long>(s.handoffs_sysmon),
                static_cast<unsigned long long>(s.handoffs_immediate),
                static_cast<unsigned long long>(s.handoffs_unguarded),
                static_cast<unsigned long long>(s.handoffs_computing), static_cast<unsigned long long>(s.exits_own),
                static_cast<unsigned long long>(s.exits_old_idle), static_cast<unsigned long long>(s.exits_any_idle),
                static_cast<unsigned long long>(s.exits_queued), s.threads);
}

constexpr unsigned most = pick(100'000u, 20'000u, 6'000u);

INSTANTIATE_TEST_SUITE_P(Procs, Blocking,
                         testing::Values(scenario{1, most / 8}, scenario{2, most}, scenario{4, most / 8},
                                         scenario{16, most / 2}),
                         [](const auto& test) { return std::to_string(test.param.procs); });

// The same goroutine makes many calls: the prediction learns, and its handoffs lose nothing either.
TEST(Prediction, LearnsWithoutLosingAnything) {
    constexpr unsigned loops = 64, rounds = pick(200u, 60u, 30u);
    handoff::runtime rt({.procs = 2});
    const watchdog dog(&rt);
    std::atomic<std::uint64_t> calls{0};
    rt.run([&] {
        std::vector<handoff::join_handle<unsigned>> all;
        for (unsigned g = 0; g < loops; ++g)
            all.push_back(handoff::go([&calls, g] {
                rng rnd(g);
                unsigned n = 0;
                for (unsigned i = 0; i < rounds; ++i, ++n) {
                    // Phases of blocking and of quick calls.
                    const bool blocks = (i / 10 + g) % 2 == 0;
                    handoff::blocking_call([&] { blocks ? sleep_in_kernel(50us) : void(::getppid()); });
                    calls.fetch_add(1, std::memory_order_relaxed);
                }
                return n;
            }));
        for (auto& h : all) EXPECT_EQ(h.join(), rounds);
    });
    const handoff::stats s = wait_for_end(rt);
    EXPECT_EQ(calls.load(), std::uint64_t{loops} * rounds);
    EXPECT_GT(s.handoffs_immediate, 0u);
    EXPECT_EQ(calls.load(), s.exits_own + s.exits_without);
}

}  // namespace
