// README, promise 8: a stack overflow is reported with the goroutine's name; any other fault goes to the
// handler that was there before.
#include "testing.hpp"

#include <atomic>
#include <csignal>
#include <memory>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using handoff::runtime;
using namespace handoff_test;

namespace {

// Uses 100 MiB of stack.
[[gnu::noinline]] int recurse(int depth) {
    volatile char block[1024];
    block[0] = static_cast<char>(depth);
    return depth == 100'000 ? 0 : recurse(depth + 1) + block[0];
}

[[noreturn]] void overflow(handoff::spawn_options opts) {
    ::signal(SIGSEGV, SIG_DFL);   // not the sanitizer's
    runtime rt({.procs = 1, .stack_size = 64 * 1024});
    opts.site = {"some/dir/deep.cc", 12};
    rt.go(opts, [] { recurse(0); }).join();
    std::_Exit(3);
}

TEST(overflow, is_reported_with_the_goroutine) {
    EXPECT_EXIT(overflow({}), testing::KilledBySignal(SIGSEGV),
                "handoff: goroutine [0-9]+ \\(deep\\.cc:12\\) has overflowed its stack of 64 KiB");
    EXPECT_EXIT(overflow({.name = "digger"}), testing::KilledBySignal(SIGSEGV),
                "handoff: goroutine [0-9]+ \"digger\" \\(deep\\.cc:12\\) has overflowed its stack of 64 KiB");
    EXPECT_EXIT(overflow({.name = "large", .stack_size = 1 << 20}), testing::KilledBySignal(SIGSEGV),
                "\"large\" \\(deep\\.cc:12\\) has overflowed its stack of 1024 KiB");
}

// A function with a large frame, of which it touches the lowest bytes alone.
template <std::size_t Bytes>
[[gnu::noinline]] int large_frame() {
    volatile char line[Bytes];
    line[0] = 1;
    return line[0];
}

// Others wait, with data of theirs on stacks that lie right below.
[[noreturn]] void step_over(std::size_t stack_size, int (*f)()) {
    ::signal(SIGSEGV, SIG_DFL);
    runtime rt({.procs = 1, .stack_size = 64 * 1024});
    handoff::channel<int> never(0);
    for (int i = 0; i < 30; ++i)
        rt.go([&] {
            volatile char mine[8 * 1024];
            for (volatile char& c : mine) c = 7;
            never.recv();
            for (volatile char& c : mine)
                if (c != 7) std::_Exit(4);
        }).detach();
    rt.run([] {});
    rt.go(handoff::spawn_options{.name = "wide", .stack_size = stack_size}, f).join();
    never.close();
    rt.run([] { handoff::this_goroutine::sleep_for(1ms); });
    std::_Exit(3);
}

TEST(overflow, of_a_large_frame_is_reported) {
    if (with_asan) GTEST_SKIP() << "it has reports of its own, and large variables elsewhere";
    constexpr std::size_t kib = 1024;
    const char* const said = "\"wide\" .* has overflowed its stack of [0-9]+ KiB";
    EXPECT_EXIT(step_over(0, large_frame<65 * kib>), testing::KilledBySignal(SIGSEGV), said);
    EXPECT_EXIT(step_over(0, large_frame<80 * kib>), testing::KilledBySignal(SIGSEGV), said);
    EXPECT_EXIT(step_over(0, large_frame<(64 + 58) * kib>), testing::KilledBySignal(SIGSEGV), said);
    EXPECT_EXIT(step_over(512 * kib, large_frame<(512 + 58) * kib>), testing::KilledBySignal(SIGSEGV), said);
}

// It has stepped over its own guard, or follows a stray pointer: into another's.
[[noreturn]] void touch_the_guard_of_another() {
    ::signal(SIGSEGV, SIG_DFL);
    runtime rt({.procs = 1, .stack_size = 64 * 1024});
    std::atomic<char*> there{nullptr};
    auto waits = rt.go([&] {
        there = static_cast<char*>(__builtin_frame_address(0));
        handoff::channel<int>(0).recv();
    });
    rt.go(handoff::spawn_options{.name = "stray"}, [&] {
        while (!there) handoff::this_goroutine::yield();
        *static_cast<volatile char*>(there.load() - 80 * 1024) = 1;   // 64 of stack, and a quarter of the guard
    }).join();
    std::_Exit(3);
}

TEST(overflow, of_another_stack_names_who_did_it) {
    EXPECT_EXIT(touch_the_guard_of_another(), testing::KilledBySignal(SIGSEGV),
                "goroutine [0-9]+ \"stray\" .* has touched the guard of a stack that is not its own");
}

// The handler is there for as long as there are runtimes, whichever was the first.
[[noreturn]] void overflow_beside_other_runtimes() {
    ::signal(SIGSEGV, SIG_DFL);
    auto first = std::make_unique<runtime>(handoff::options{.procs = 1});
    runtime second({.procs = 1, .stack_size = 64 * 1024});
    first.reset();
    second.run([] { recurse(0); });
    std::_Exit(3);
}

TEST(overflow, is_reported_after_another_runtime_ended) {
    EXPECT_EXIT(overflow_beside_other_runtimes(), testing::KilledBySignal(SIGSEGV), "has overflowed its stack");
}

// ---- Other faults --------------------------------------------------------------------------------------------------

void fault() {
    static void* const nowhere =
        ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *static_cast<volatile char*>(nowhere) = 1;
}

template <class Handler>
void install(int signal, Handler handler) {
    struct sigaction a {};
    if constexpr (std::is_invocable_v<Handler, int, siginfo_t*, void*>) {
        a.sa_sigaction = handler;
        a.sa_flags = SA_SIGINFO;
    } else {
        a.sa_handler = handler;
    }
    ::sigaction(signal, &a, nullptr);
}

[[noreturn]] void fault_with_handler(bool with_info, bool on_goroutine) {
    if (with_info)
        install(SIGSEGV, [](int, siginfo_t* info, void* context) {
            std::_Exit(info->si_addr && context ? 55 : 56);
        });
    else
        install(SIGSEGV, [](int signal) { std::_Exit(signal == SIGSEGV ? 57 : 58); });
    runtime rt({.procs = 1});
    if (on_goroutine) rt.run(fault);
    fault();
    std::_Exit(3);
}

TEST(other_fault, goes_to_the_handler_that_was_there) {
    for (const bool on_goroutine : {true, false}) {
        EXPECT_EXIT(fault_with_handler(true, on_goroutine), testing::ExitedWithCode(55), "^$");
        EXPECT_EXIT(fault_with_handler(false, on_goroutine), testing::ExitedWithCode(57), "^$");
    }
}

[[noreturn]] void fault_without_handler(bool on_goroutine) {
    ::signal(SIGSEGV, SIG_DFL);
    runtime rt({.procs = 1});
    if (on_goroutine) rt.run(fault);
    fault();
    std::_Exit(3);
}

TEST(other_fault, ends_the_process_as_before) {
    EXPECT_EXIT(fault_without_handler(true), testing::KilledBySignal(SIGSEGV), "^$");
    EXPECT_EXIT(fault_without_handler(false), testing::KilledBySignal(SIGSEGV), "^$");
}

// A signal that somebody sent is not lost either.
[[noreturn]] void be_sent(int signal) {
    ::signal(signal, SIG_DFL);
    runtime rt({.procs = 1});
    ::raise(signal);
    std::_Exit(3);
}

TEST(other_fault, sent_by_somebody_ends_the_process_as_before) {
    EXPECT_EXIT(be_sent(SIGSEGV), testing::KilledBySignal(SIGSEGV), "^$");
    EXPECT_EXIT(be_sent(SIGBUS), testing::KilledBySignal(SIGBUS), "^$");
}

TEST(other_fault, handler_is_restored_by_the_last_runtime) {
    struct sigaction before {}, during {}, after {};
    ASSERT_EQ(::sigaction(SIGSEGV, nullptr, &before), 0);
    const bool others = before.sa_flags & SA_ONSTACK;   // the default runtime of other tests is there already
    {
        runtime rt({.procs = 1});
        ::sigaction(SIGSEGV, nullptr, &during);
    }
    ::sigaction(SIGSEGV, nullptr, &after);
    if (!others) {
        EXPECT_NE(during.sa_sigaction, before.sa_sigaction);
    }
    EXPECT_EQ(after.sa_sigaction, before.sa_sigaction);
}

// No signal is used by the runtime, and its threads block none: the program's own calls see no EINTR.
TEST(signals, are_left_to_the_program) {
    static std::atomic<int> delivered{0};
    struct sigaction count {}, before {};
    count.sa_handler = [](int) { ++delivered; };
    ::sigaction(SIGUSR1, &count, &before);
    runtime rt({.procs = 1, .retake_running_after = 1ms});
    pipe_pair pipe;
    auto reader = rt.go([&] {
        sigset_t mask;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        EXPECT_EQ(sigismember(&mask, SIGUSR1), 0);
        return pipe.read();   // unguarded: its processor is taken
    });
    ASSERT_EVENTUALLY(rt.stats().handoffs_unguarded == 1);
    auto hog = rt.go([&] { compute_until([&] { return rt.stats().handoffs_computing == 1; }); });
    rt.run([] {});
    pipe.write();
    EXPECT_EQ(reader.join(), 1);   // not -1 and EINTR
    hog.join();
    EXPECT_EQ(delivered, 0);
    ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
