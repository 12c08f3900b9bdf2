// What happens to a process from outside: signals, stops, fewer cores, limits, a filter for system calls. (Limits on
// threads and address space while it works: tests/stress/limits_test.cpp.)
#include "../unit/signals.hpp"
#include "fault.hpp"

#include <csignal>
#include <cstddef>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <memory>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace {

using namespace fault;

// ---- Signals ---------------------------------------------------------------------------------------------------------

// A thousand signals a second, on all threads in turn, with and without SA_RESTART.
TEST(signals, interrupt_no_wait) {
    for (const bool restarts : {true, false}) {
        const std::uint64_t before = signal_storm::delivered();
        const signal_storm storm(1000, restarts);
        runtime rt({.procs = 2, .retake_running_after = 1ms, .idle_thread_timeout = 5ms});
        const hang_alarm alarm(&rt);
        handoff::channel<int> ch(0);
        do {
            EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
            const auto began = steady::now();
            EXPECT_FALSE(ch.recv_for(3ms));   // a thread that is no goroutine
            EXPECT_GE(steady::now() - began, 3ms);
            rt.run([] {
                const auto start = steady::now();
                handoff::this_goroutine::sleep_for(3ms);
                EXPECT_GE(steady::now() - start, 3ms);
            });
        } while (signal_storm::delivered() < before + 400);
    }
}

// A guarded call that ends by EINTR says so, wherever the goroutine goes on.
TEST(signals, end_guarded_calls_with_their_errno) {
    if (with_tsan) GTEST_SKIP() << "ThreadSanitizer delivers signals at its own time";
    const signal_storm storm(1000, false);
    runtime rt({.procs = 2});
    const hang_alarm alarm(&rt);
    for (const auto policy : {handoff_policy::sysmon, handoff_policy::immediate})
        rt.run([policy] {
            for (int interrupted = 0; interrupted < 5;) {
                const timespec t{1, 0};
                if (handoff::blocking_call(policy, [&t] { return ::nanosleep(&t, nullptr); }) == 0) continue;
                EXPECT_EQ(handoff::last_errno(), EINTR);
                ++interrupted;
            }
        });
}

// ---- Stops -----------------------------------------------------------------------------------------------------------

// The process is stopped, and goes on, at any moment; whole rounds of the monitor, and deadlines, fall into the gap.
bool survives_stops() {
    const pid_t self = ::getpid();
    const pid_t stopper = ::fork();   // before there are goroutines
    if (stopper == 0) {
        for (int i = 0; i < 25; ++i) {
            ::usleep(7'000 + 1'300 * static_cast<unsigned>(i % 5));
            if (::kill(self, SIGSTOP) != 0) break;
            ::usleep(15'000);
            ::kill(self, SIGCONT);
        }
        std::_Exit(0);
    }
    runtime rt({.procs = 2, .retake_running_after = 2ms, .idle_thread_timeout = 5ms});
    const hang_alarm alarm(&rt);
    bool all_done = true;
    int rounds = 0, status = 0;
    for (; ::waitpid(stopper, &status, WNOHANG) == 0; ++rounds) {
        all_done &= do_some_of_everything(rt, 80) == 80;
        rt.run([&all_done] {
            const auto start = steady::now();
            handoff::this_goroutine::sleep_for(2ms);
            all_done &= steady::now() - start >= 2ms;
        });
    }
    return all_done && rounds > 1;
}
TEST(process, goes_on_after_it_was_stopped) { EXPECT_IN_CHILD(survives_stops(), ""); }

// ---- Cores -----------------------------------------------------------------------------------------------------------

void set_affinity_of_all(const cpu_set_t& to) {
    for (const pid_t tid : threads()) ::sched_setaffinity(tid, sizeof to, &to);   // one that is gone does not mind
}

TEST(process, works_on_when_it_loses_its_cores) {
    cpu_set_t all, one;
    ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
    if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "there is only one core";
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
            break;
        }
    runtime rt({.procs = 4, .retake_running_after = 1ms});
    const hang_alarm alarm(&rt);
    EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
    std::atomic<bool> stop{false};
    std::vector<handoff::join_handle<void>> hogs;
    for (int i = 0; i < 3; ++i) hogs.push_back(rt.go([&stop] { compute_until([&stop] { return stop.load(); }); }));
    for (int round = 0; round < 4; ++round) {
        set_affinity_of_all(round % 2 == 0 ? one : all);
        EXPECT_EQ(do_some_of_everything(rt, 40), 40u);
    }
    stop = true;
    for (auto& h : hogs) h.join();
    set_affinity_of_all(all);
}

// ---- Limits ----------------------------------------------------------------------------------------------------------

bool limit(int what, rlim_t to) {
    rlimit now{};
    if (::getrlimit(static_cast<__rlimit_resource_t>(what), &now) != 0) return false;
    now.rlim_cur = to;
    return ::setrlimit(static_cast<__rlimit_resource_t>(what), &now) == 0;
}

bool works_with_limit(int what, rlim_t to) {
    if (!limit(what, to)) return false;
    runtime rt({.procs = 3, .retake_running_after = 1ms});
    const hang_alarm alarm(&rt);
    return do_some_of_everything(rt, 160) == 160;
}

// The stacks of threads and goroutines have sizes of their own.
TEST(limits, on_the_main_stack_do_not_matter) {
    if (with_sanitizer) GTEST_SKIP() << "sanitizers need a larger stack for the main thread";
    EXPECT_IN_CHILD(works_with_limit(RLIMIT_STACK, 64 * 1024), "");
    EXPECT_IN_CHILD(works_with_limit(RLIMIT_STACK, RLIM_INFINITY), "");
}

// Without descriptors the monitor can't ask the kernel what a thread does: it still takes the processors of those that
// block without a guard.
bool takes_processors_without_descriptors() {
    runtime rt({.procs = 1, .retake_running_after = 1ms});
    const hang_alarm alarm(&rt);
    pipe_pair pipe;
    if (!limit(RLIMIT_NOFILE, 0)) return false;
    auto blocked = rt.go([&pipe] { pipe.read(); });
    auto other = rt.go([&pipe] { pipe.write(); });
    other.join();
    blocked.join();
    return do_some_of_everything(rt, 80) == 80;
}
TEST(limits, on_descriptors_do_not_stop_handoffs) {
    if (with_asan) GTEST_SKIP() << "UndefinedBehaviorSanitizer looks at types through a pipe of its own";
    EXPECT_IN_CHILD(takes_processors_without_descriptors(), "");
}

// Not enough address space for a thread's stack: the constructor says so, and works once there is.
bool constructor_throws_without_address_space() {
    rlimit before{};
    ::getrlimit(RLIMIT_AS, &before);
    // The heap has room for the runtime itself.
    auto room = std::make_unique<char[]>(100'000);
    __asm__ volatile("" : : "r"(room.get()) : "memory");   // else the compiler leaves both out
    room.reset();
    if (!limit(RLIMIT_AS, 1 << 20)) return false;   // less than there is already
    int error = 0;
    try {
        runtime rt({.procs = 2});
    } catch (const std::system_error& e) {
        error = e.code().value();
    }
    ::setrlimit(RLIMIT_AS, &before);
    runtime rt({.procs = 2});
    return (error == EAGAIN || error == ENOMEM) && do_some_of_everything(rt, 40) == 40;
}
TEST(limits, on_address_space_are_reported) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer's own memory does not bear the limit";
    EXPECT_IN_CHILD(constructor_throws_without_address_space(), "");
}

// ---- Filters ---------------------------------------------------------------------------------------------------------

// forbid makes a system call fail with EPERM from now on, in all threads.
bool forbid(unsigned number) {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{sizeof steps / sizeof *steps, steps};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

// All calls that the library makes only to be better: membarrier, the timer slack, what a thread does, how often it slept,
// a stack for overflow reports. A sandbox that knows none of them is enough.
bool works_in_a_sandbox(bool with_files) {
    const environment_variable as_usual("HANDOFF_NO_MEMBARRIER", nullptr);
    if (!with_files && !forbid(SYS_openat)) return false;
    for (const unsigned number : {SYS_membarrier, SYS_getrusage, SYS_sigaltstack, SYS_sched_getaffinity, SYS_prctl})
        if (!forbid(number)) return false;
    runtime rt({.procs = 2, .retake_running_after = 1ms});
    const hang_alarm alarm(&rt);
    bool all_done = true;
    for (int i = 0; i < 5; ++i) all_done &= do_some_of_everything(rt, 80) == 80;
    std::atomic<bool> stop{false};
    auto hog = rt.go([&stop] { compute_until([&stop] { return stop.load(); }); });
    auto other = rt.go([&stop] { compute_until([&stop] { return stop.load(); }); });
    rt.run([&stop] { stop = true; });
    hog.join();
    other.join();
    return all_done;
}
TEST(filters, of_all_that_is_optional_are_borne) {
    if (with_sanitizer) GTEST_SKIP() << "sanitizers make these calls themselves";
    EXPECT_IN_CHILD(works_in_a_sandbox(true), "");
    EXPECT_IN_CHILD(works_in_a_sandbox(false), "");
}

}  // namespace
