// pthread_create fails, or takes its time; a thread gets no signal stack.
#include "fault.hpp"

#include <system_error>
#include <vector>

namespace {

using namespace fault;

// What the constructor throws if the n-th thread can't be had.
std::system_error error_of_constructor(long n, int error) {
    const injection refuse(site::thread_create, {.error = error, .skip = n, .times = 1});
    try {
        runtime rt({.procs = 2});
    } catch (const std::system_error& e) {
        return e;
    }
    return {std::error_code(), "nothing was thrown"};
}

TEST(threads, constructor_names_the_thread_that_could_not_be_had) {
    for (const int error : {EAGAIN, ENOMEM, EPERM}) {
        const std::system_error monitor = error_of_constructor(0, error), worker = error_of_constructor(1, error);
        EXPECT_EQ(monitor.code().value(), error);
        EXPECT_NE(std::strstr(monitor.what(), "the monitor thread could not be created"), nullptr) << monitor.what();
        EXPECT_EQ(worker.code().value(), error);
        EXPECT_NE(std::strstr(worker.what(), "the first worker thread could not be created"), nullptr) << worker.what();
    }
}

TEST(threads, failed_constructor_leaves_nothing_behind) {
    leaves_nothing_behind(static_cast<unsigned>(scaled(200, 50)), [] {
        EXPECT_EQ(error_of_constructor(0, EAGAIN).code().value(), EAGAIN);
        EXPECT_EQ(error_of_constructor(1, EAGAIN).code().value(), EAGAIN);
    });
}

// None can be had for a while. The goroutines that wait for one go on once it can, and the counters tell.
void wait_for_threads(const handoff::options& o) {
    runtime rt(o);
    const hang_alarm alarm(&rt);
    std::vector<handoff::join_handle<void>> all;
    std::atomic<unsigned> ran{0};
    pipe_pair pipe;
    constexpr unsigned readers = 4;
    {
        const injection refuse(site::thread_create, {.error = EAGAIN});
        // More calls that block than threads; then goroutines that nobody can run.
        for (unsigned i = 0; i < readers; ++i) {
            all.push_back(rt.go([&] { handoff::blocking_call(handoff_policy::immediate, [&] { pipe.read(); }); }));
            if (i != 0) continue;
            ASSERT_TRUE(all_others_sleep_for(50ms));   // the monitor, too
        }
        for (int i = 0; i < 10; ++i) all.push_back(rt.go([&ran] { ++ran; }));
        ASSERT_EVENTUALLY(refuse.met() > 3);   // it has tried again and again
        EXPECT_EQ(ran, 0u);
        const handoff::stats s = rt.stats();
        EXPECT_GT(s.thread_create_failures, 0u);
        EXPECT_EQ(s.thread_create_errno, EAGAIN);
        EXPECT_EVENTUALLY(rt.stats().threads == 2);   // but for the moments in which another one is tried
    }
    EXPECT_EVENTUALLY(ran == 10);
    pipe.write(readers);
    for (auto& h : all) h.join();
}

TEST(threads, work_goes_on_once_threads_can_be_had) { wait_for_threads({.procs = 2}); }

// Whoever lets calls last as long as they like does not want to wait as long for a thread.
TEST(threads, work_goes_on_soon_however_long_the_grace) { wait_for_threads(no_retakes(2)); }

// A refusal does not cost a core, however long it lasts.
TEST(threads, refusal_burns_no_cpu) {
    runtime rt({.procs = 2});
    const hang_alarm alarm(&rt);
    pipe_pair pipe;
    const injection refuse(site::thread_create, {.error = EAGAIN});
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 4; ++i)
        all.push_back(rt.go([&] { handoff::blocking_call(handoff_policy::immediate, [&] { pipe.read(); }); }));
    ASSERT_EVENTUALLY(refuse.met() > 3);
    std::this_thread::sleep_for(100ms);   // a monitor that backs off has done so
    const auto before = process_cpu_time();
    std::this_thread::sleep_for(400ms);
    EXPECT_LT(process_cpu_time() - before, with_sanitizer ? 200ms : 100ms);
    pipe.write(4);
    for (auto& h : all) h.join();
}

TEST(threads, some_can_be_had_and_some_not) {
    set_seed(seeded_random("threads")());
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt({.procs = procs, .idle_thread_timeout = 1ms});
        const hang_alarm alarm(&rt);
        const injection refuse(site::thread_create, {.error = EAGAIN, .chance = 0.7});
        for (int round = 0; round < 5; ++round) EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
        EXPECT_EQ(rt.stats().thread_create_failures, refuse.met());
    }
}

TEST(threads, tied_goroutines_wait_for_a_thread) {
    runtime rt({.procs = 2});
    const hang_alarm alarm(&rt);
    const injection refuse(site::thread_create, {.error = EAGAIN, .times = 20});
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 8; ++i)
        all.push_back(rt.go([] {
            handoff::lock_os_thread();
            handoff::this_goroutine::sleep_for(1ms);   // a thread that waits for its goroutine runs no other
            // It takes the thread with it: another is needed.
        }));
    for (auto& h : all) h.join();
    EXPECT_GT(refuse.met(), 0u);
}

TEST(threads, that_take_long_to_make_hold_nobody_up_for_good) {
    for (const unsigned procs : {1u, 3u}) {
        const injection slow(site::thread_create, {.delay = 3ms});
        runtime rt({.procs = procs, .idle_thread_timeout = 1ms});
        const hang_alarm alarm(&rt);
        for (int round = 0; round < 3; ++round) EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
        EXPECT_GT(slow.met(), 2u);
    }
}

TEST(threads, runtime_ends_while_threads_are_refused) {
    leaves_nothing_behind(static_cast<unsigned>(scaled(40, 10)), [] {
        runtime rt({.procs = 3});
        const injection refuse(site::thread_create, {.error = EAGAIN, .times = 10});
        for (int i = 0; i < 8; ++i)
            rt.go([] { handoff::blocking_call(handoff_policy::immediate, [] { std::this_thread::sleep_for(200us); }); });
        // It waits for them.
    });
}

TEST(threads, without_a_signal_stack_run_goroutines) {
    if (with_asan) GTEST_SKIP() << "AddressSanitizer brings signal stacks of its own";
    leaves_nothing_behind(20, [] {
        const injection refuse(site::signal_stack, {.error = ENOMEM});
        runtime rt({.procs = 2});
        EXPECT_EQ(do_some_of_everything(rt, 16), 16u);
        EXPECT_GE(refuse.met(), 2u);
    });
}

}  // namespace
