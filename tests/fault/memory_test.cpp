// Stacks and their guard pages can't be had, or only sometimes; memory can't be given back.
#include "fault.hpp"

#include "context/stack.hpp"

#include <vector>

namespace {

using namespace fault;

TEST(stacks, goroutines_wait_for_one_and_a_warning_names_it) {
    runtime rt({.procs = 2});
    const hang_alarm alarm(&rt);
    std::atomic<unsigned> ran{0};
    std::vector<handoff::join_handle<void>> all;
    testing::internal::CaptureStderr();
    {
        const injection refuse(site::stack_mapping, {.error = ENOMEM});
        for (int i = 0; i < 50; ++i) all.push_back(rt.go([&ran] { ++ran; }));
        for (int i = 0; i < 10; ++i)
            all.push_back(rt.go(handoff::spawn_options{.stack_size = 64 * 1024}, [&ran] { ++ran; }));
        // eventually() of a thread needs no goroutine.
        EXPECT_EVENTUALLY(rt.stats().stack_failures > 3);
        EXPECT_EQ(ran, 0u);
    }
    for (auto& h : all) h.join();
    EXPECT_EQ(ran, 60u);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("handoff: no memory for a goroutine's stack (mmap failed with errno 12); goroutines wait for one"),
              std::string::npos)
        << said;
    EXPECT_EQ(said.find("no memory"), said.rfind("no memory")) << "once is enough: " << said;
}

TEST(stacks, refusal_burns_no_cpu) {
    runtime rt({.procs = 2});
    const hang_alarm alarm(&rt);
    std::vector<handoff::join_handle<void>> all;
    {
        const injection refuse(site::stack_mapping, {.error = ENOMEM});
        for (int i = 0; i < 10; ++i) all.push_back(rt.go([] {}));
        ASSERT_EVENTUALLY(refuse.met() > 3);
        std::this_thread::sleep_for(100ms);   // a monitor that backs off has done so
        const auto before = process_cpu_time();
        std::this_thread::sleep_for(400ms);
        EXPECT_LT(process_cpu_time() - before, with_sanitizer ? 200ms : 100ms);
    }
    for (auto& h : all) h.join();
}

TEST(stacks, some_can_be_had_and_some_not) {
    set_seed(seeded_random("stacks")());
    leaves_nothing_behind(12, [] {
        runtime rt({.procs = 3, .stack_size = 32u << 20});   // two in a mapping
        const hang_alarm alarm(&rt);
        const injection refuse(site::stack_mapping, {.error = ENOMEM, .chance = 0.8});
        std::atomic<unsigned> ran{0};
        std::vector<handoff::join_handle<void>> all;
        for (unsigned i = 0; i < 40; ++i)
            all.push_back(rt.go(handoff::spawn_options{.stack_size = i % 2 == 0 ? 0u : 128u * 1024}, [&ran] {
                handoff::this_goroutine::sleep_for(100us);
                ++ran;
            }));
        EXPECT_EQ(do_some_of_everything(rt, 40), 40u);
        for (auto& h : all) h.join();
        EXPECT_EQ(ran, 40u);
    });
}

TEST(stacks, that_take_long_to_map_hold_nobody_up_for_good) {
    const injection slow(site::stack_mapping, {.delay = 2ms}), slower(site::guard_install, {.delay = 200us});
    runtime rt({.procs = 3});
    const hang_alarm alarm(&rt);
    EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
    EXPECT_GT(slow.met(), 0u);
    EXPECT_GT(slower.met(), 0u);
}

// Whether the kernel has light guards is learnt once, so each of these needs a process of its own.
struct guards {
    std::uint64_t mapped, unguarded, mprotects;
};
guards guards_of_work(int light_error, int protect_error) {
    const injection no_light(site::guard_install, {.error = light_error}), protect(site::protect, {.error = protect_error});
    runtime rt({.procs = 2});
    EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
    const handoff::stats s = rt.stats();
    return {s.stacks_mapped, s.stacks_without_guard, protect.calls()};
}

bool takes_mprotect(int light_error) {
    const guards g = guards_of_work(light_error, 0);
    return g.mapped > 0 && g.unguarded == 0 && g.mprotects == g.mapped;
}
bool goes_without(int light_error) {
    const guards g = guards_of_work(light_error, ENOMEM);
    return g.mapped > 0 && g.unguarded == g.mapped;
}

TEST(guards, by_mprotect_where_there_are_no_light_ones) {
    EXPECT_IN_CHILD(takes_mprotect(EINVAL), "");   // the kernel does not know them
    EXPECT_IN_CHILD(takes_mprotect(ENOMEM), "");   // it does, but this once
}

TEST(guards, none_and_a_counter_where_mprotect_fails_too) {
    EXPECT_IN_CHILD(goes_without(EINVAL), "");
    EXPECT_IN_CHILD(goes_without(ENOMEM), "");
}

// A budget is given back by those that fail: else guards would run out after as many.
bool failures_cost_no_budget() {
    for (int i = 0; i < 100; ++i) {   // more than the budget, a quarter of vm.max_map_count
        const injection no_light(site::guard_install, {.error = EINVAL}), refuse(site::protect, {.error = ENOMEM});
        handoff::context::stack_pool pool(64 * 1024);
        if (!pool.take(1000) || pool.unguarded() != 1000) return false;
    }
    const injection no_light(site::guard_install, {.error = EINVAL});
    handoff::context::stack_pool pool(64 * 1024);
    return pool.take(100) && pool.unguarded() == 0;
}
TEST(guards, that_failed_cost_no_budget) { EXPECT_IN_CHILD(failures_cost_no_budget(), ""); }

// An overflow in the thread's default state still finds its guard page, made by mprotect.
[[gnu::noinline]] unsigned use_stack(unsigned depth) {
    volatile char page[4096];
    page[0] = static_cast<char>(depth);
    const unsigned below = depth == 0 ? 0 : use_stack(depth - 1);
    __asm__ volatile("" ::"r"(page) : "memory");   // clang would make a loop of it, and keep but one byte
    return below + static_cast<unsigned>(page[0]);
}
void overflow_with_mprotect() {
    const injection no_light(site::guard_install, {.error = EINVAL});
    runtime rt({.procs = 1, .stack_size = 64 * 1024});
    rt.run([] { return use_stack(1000); });
}
TEST(guards, by_mprotect_catch_overflows) {
    if (with_asan) GTEST_SKIP() << "AddressSanitizer reports overflows itself";
    EXPECT_EXIT(overflow_with_mprotect(), testing::KilledBySignal(SIGSEGV), "has overflowed its stack of 64 KiB");
}

// Soon after the last goroutine has ended, and once; then it sleeps.
TEST(stacks, idle_runtime_gives_their_memory_back) {
    runtime rt({.procs = 2});
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(do_some_of_everything(rt, 200), 200u);
        const injection count(site::give_back, {.times = 0});
        EXPECT_EVENTUALLY(count.calls() > 0);
    }
}

TEST(stacks, memory_that_is_not_given_back_does_no_harm) {
    leaves_nothing_behind(20, [] {
        const injection huge(site::no_huge_page, {.error = EINVAL}), keep(site::give_back, {.error = EAGAIN});
        runtime rt({.procs = 2});
        EXPECT_EQ(do_some_of_everything(rt, 40), 40u);
        EXPECT_GT(huge.met(), 0u);
        ASSERT_EVENTUALLY(keep.met() > 0);   // an idle runtime trims
        EXPECT_EQ(do_some_of_everything(rt, 40), 40u);
    });
}

}  // namespace
