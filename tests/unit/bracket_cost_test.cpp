// README, promise 4: brackets in which nothing blocks cost a few plain stores: no atomic read-modify-write, no
// lock, no system call.
#include "os/membarrier.hpp"
#include "testing.hpp"

#include <csignal>
#include <cstddef>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>
#include <ucontext.h>
#include <unistd.h>

using namespace handoff_test;

namespace {

// From here on any system call of this thread but these kills the process.
bool forbid_system_calls() noexcept {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{sizeof code / sizeof code[0], code};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

[[noreturn]] void use_brackets_without_system_calls() {
    handoff::runtime rt(no_retakes(2));
    rt.run([] {
        if (!forbid_system_calls()) std::_Exit(3);
        for (int i = 0; i < 10'000; ++i) {
            const handoff::syscall_guard outer;
            const handoff::syscall_guard inner(handoff::handoff_policy::sysmon);
        }
        std::_Exit(0);
    });
    std::_Exit(4);
}

TEST(brackets, make_no_system_call) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer makes some of its own";
    EXPECT_EXIT(use_brackets_without_system_calls(), testing::ExitedWithCode(0), "");
}

#if defined(__x86_64__)

// What the processor executes while it is told to stop after each instruction.
struct {
    std::atomic<unsigned> instructions, locked, fences, system_calls;
} seen;

void look_at_instruction(int, siginfo_t*, void* context) {
    const auto* at = reinterpret_cast<const unsigned char*>(
        static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    ++seen.instructions;
    bool locked = false;
    const auto is_prefix = [](unsigned char b) {
        return b == 0xF0 || b == 0xF2 || b == 0xF3 || b == 0x2E || b == 0x36 || b == 0x3E || b == 0x26 || b == 0x64 ||
               b == 0x65 || b == 0x66 || b == 0x67;
    };
    for (; is_prefix(*at); ++at) locked |= *at == 0xF0;
    if ((*at & 0xF0) == 0x40) ++at;                                              // REX
    if ((at[0] == 0x86 || at[0] == 0x87) && at[1] < 0xC0) locked = true;         // xchg with memory
    if (locked) ++seen.locked;
    if (at[0] == 0x0F && at[1] == 0xAE && at[2] >= 0xE8) ++seen.fences;
    if (at[0] == 0x0F && at[1] == 0x05) ++seen.system_calls;
}

// The flag is changed below the red zone.
#define HANDOFF_TEST_STEPPING(instruction)                                                          \
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\tpushfq\n\t" instruction "\n\tpopfq\n\tleaq 128(%%rsp), %%rsp" \
                     ::: "memory", "cc")

template <class F>
void step_through(F f) {
    for (auto* n : {&seen.instructions, &seen.locked, &seen.fences, &seen.system_calls}) *n = 0;
    struct sigaction look {}, before {};
    look.sa_sigaction = look_at_instruction;
    look.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigaction(SIGTRAP, &look, &before);
    HANDOFF_TEST_STEPPING("orq $0x100, (%%rsp)");
    f();
    HANDOFF_TEST_STEPPING("andq $-0x101, (%%rsp)");
    ::sigaction(SIGTRAP, &before, nullptr);
}

TEST(brackets, execute_a_few_plain_instructions) {
#ifndef __OPTIMIZE__
    GTEST_SKIP() << "without optimization gcc takes each order of memory for the strongest";
#endif
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer adds to the code";
    if (!handoff::os::membarrier_available()) GTEST_SKIP() << "without membarrier there is a fence";
    handoff::runtime rt(no_retakes(2));
    rt.run([] {
        const auto expect_plain = [](auto f) {
            f();   // what is done once has been done
            step_through(f);
            EXPECT_EQ(seen.locked.load(), 0u);
            EXPECT_EQ(seen.fences.load(), 0u);
            EXPECT_EQ(seen.system_calls.load(), 0u);
            EXPECT_GT(seen.instructions.load(), 10u);
            EXPECT_LT(seen.instructions.load(), 150u);
        };
        expect_plain([] { const handoff::syscall_guard g; });
        testing::Test::RecordProperty("instructions", static_cast<int>(seen.instructions.load()));
        expect_plain([] { const handoff::syscall_guard g(handoff::handoff_policy::sysmon); });
        expect_plain([] {
            handoff::entersyscall();
            handoff::exitsyscall();
        });
        // That the tracer sees what it looks for.
        std::atomic<int> n{0};
        step_through([&] {
            n.fetch_add(1);
            n.exchange(2);
            (void)this_tid();
        });
        EXPECT_GE(seen.locked.load(), 2u);
        EXPECT_GE(seen.system_calls.load(), 1u);
    });
}

#endif

// A lock would be one that the monitor or a snapshot may hold.
TEST(brackets, do_not_wait_for_those_who_look) {
    handoff::runtime rt(no_retakes(1));
    std::atomic<bool> over{false};
    std::thread observer([&] {
        while (!over) (void)rt.snapshot();
    });
    rt.run([&] {
        for (std::size_t i = 0; i < scaled(200'000); ++i) const handoff::syscall_guard g;
    });
    over = true;
    observer.join();
    EXPECT_EQ(rt.stats().exits_own, scaled(200'000));
}

}  // namespace
