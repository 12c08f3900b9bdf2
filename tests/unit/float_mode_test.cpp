// The floating-point mode: a goroutine starts with the runtime's, whatever those before it did; one that waits keeps its own.
#include "testing.hpp"

#include <cfenv>
#include <cstdint>
#include <thread>

using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// What can be set, as a number: rounding, traps, flushing to zero; the x87's precision.
struct mode {
    std::uint64_t first = 0;
    std::uint16_t second = 0;
    bool operator==(const mode&) const = default;
};

#if defined(__x86_64__)
mode current_mode() {
    std::uint32_t sse;
    std::uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(sse), "=m"(x87));
    return {sse & 0xffc0, x87};
}
void set_mode(const mode& m) {
    const auto sse = static_cast<std::uint32_t>(m.first);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(sse), "m"(m.second));
}
const mode modes[] = {
    {0x9fc0, 0x37f},                     // flush to zero, denormals are zero
    {0x1f80, 0x27f},                     // the x87 in double precision
    {0x1f80 | 0x4000, 0x37f | 0x800},    // upwards
    {0x1d80, 0x37b},                     // a division by zero traps
};
#elif defined(__aarch64__)
mode current_mode() {
    std::uint64_t r;
    __asm__ volatile("mrs %0, fpcr" : "=r"(r));
    return {r, 0};
}
void set_mode(const mode& m) { __asm__ volatile("msr fpcr, %0" : : "r"(m.first)); }
const mode modes[] = {{1u << 24, 0}, {1u << 22, 0}, {3u << 22 | 1u << 24, 0}};   // flush to zero, upwards, towards zero
#else
mode current_mode() { return {static_cast<std::uint64_t>(std::fegetround()), 0}; }
void set_mode(const mode& m) { std::fesetround(static_cast<int>(m.first)); }
const mode modes[] = {{FE_UPWARD, 0}, {FE_TOWARDZERO, 0}};
#endif

class restores_mode {
public:
    restores_mode() = default;
    ~restores_mode() { set_mode(before_); }
    restores_mode(const restores_mode&) = delete;
    restores_mode& operator=(const restores_mode&) = delete;

private:
    mode before_ = current_mode();
};

const auto of_each_mode = [](auto f) {
    for (const mode& m : modes) f(m);
};

// How many of `n` goroutines start in another mode: one after the other, and at once.
int others(const mode& right, int n) {
    std::atomic<int> wrong{0};
    const auto ask = [&] { wrong += current_mode() != right; };
    for (int i = 0; i < n; ++i) handoff::go(ask).join();
    handoff::task_group g;
    for (int i = 0; i < n; ++i)
        g.go([&] {
            ask();
            this_goroutine::yield();
        });
    g.wait();
    return wrong;
}

TEST(float_mode, of_one_that_ended_is_not_inherited) {
    const mode right = current_mode();
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt({.procs = procs});
        rt.run([&] {
            of_each_mode([&](const mode& m) {
                handoff::go([&] { set_mode(m); }).join();
                EXPECT_EQ(others(right, 200), 0);
                handoff::task_group g;   // on stacks that are new, and on used ones
                for (int i = 0; i < 200; ++i)
                    g.go([&] {
                        set_mode(m);
                        this_goroutine::yield();
                    });
                g.wait();
                EXPECT_EQ(others(right, 200), 0);
            });
        });
    }
}

// A goroutine that has a mode of its own has others started: by a switch, on new stacks, on new threads.
TEST(float_mode, of_the_one_that_starts_it_is_not_inherited) {
    const mode right = current_mode();
    runtime rt({.procs = 2, .idle_thread_timeout = 0ms});
    rt.run([&] {
        of_each_mode([&](const mode& m) {
            set_mode(m);
            EXPECT_EQ(others(right, 50), 0);
            std::vector<handoff::join_handle<void>> all;
            std::atomic<int> wrong{0};
            for (int i = 0; i < 10; ++i)
                all.push_back(handoff::go(handoff::spawn_options{.stack_size = i % 2 == 0 ? 0u : 128u * 1024}, [&] {
                    wrong += current_mode() != right;
                    handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(100); });
                    wrong += current_mode() != right;
                }));
            for (auto& h : all) h.join();
            EXPECT_EQ(wrong, 0);
            EXPECT_EQ(current_mode(), m);
        });
    });
}

TEST(float_mode, is_kept_by_one_that_waits) {
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt({.procs = procs});
        rt.run([&] {
            std::atomic<int> lost{0};
            handoff::task_group g;
            for (int i = 0; i < 40; ++i)
                g.go([&, i] {
                    const mode mine = modes[static_cast<std::size_t>(i) % std::size(modes)];
                    set_mode(mine);
                    for (int round = 0; round < 20; ++round) {
                        switch (round % 3) {
                            case 0: this_goroutine::yield(); break;
                            case 1: this_goroutine::sleep_for(20us); break;
                            case 2: handoff::go([] {}).join(); break;
                        }
                        lost += current_mode() != mine;
                    }
                });
            g.wait();
            EXPECT_EQ(lost, 0);
        });
    }
}

// The runtime's is that of who started it, whoever starts its goroutines.
TEST(float_mode, a_goroutine_starts_in_is_the_runtimes) {
    const restores_mode at_end;
    const mode usual = current_mode();
    of_each_mode([&](const mode& m) {
        set_mode(m);
        runtime rt({.procs = 2});
        set_mode(usual);
        EXPECT_EQ(rt.run([] { return current_mode(); }), m);
        EXPECT_EQ(rt.run([&] { return others(m, 50); }), 0);
        std::thread([&] { EXPECT_EQ(rt.run([] { return current_mode(); }), m); }).join();
    });
}

TEST(float_mode, in_a_simulation_is_each_goroutines_own) {
    const mode right = current_mode();
    handoff::simulation sim(1);
    sim.run([&] {
        set_mode(modes[0]);
        EXPECT_EQ(others(right, 20), 0);
        EXPECT_EQ(current_mode(), modes[0]);
    });
    EXPECT_EQ(current_mode(), right);
}

}  // namespace
