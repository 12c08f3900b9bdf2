// The runtime's threads: what they are made with, and how they end. Head of src/sched/thread_pool.hpp.
#include "testing.hpp"

#include <fcntl.h>
#include <sched.h>
#include <string>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using handoff::handoff_policy;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// ---- What they inherit ---------------------------------------------------------------------------------------------

// What a thread has of its own in the kernel. As text, to be compared and shown.
std::string kernel_state() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    ::sched_getaffinity(0, sizeof cpus, &cpus);
    char directory[4096] = "?";
    if (!::getcwd(directory, sizeof directory)) directory[0] = '?';
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return std::to_string(CPU_COUNT(&cpus)) + " CPUs, niceness " +
           std::to_string(::getpriority(PRIO_PROCESS, static_cast<id_t>(this_tid()))) + ", policy " +
           std::to_string(::sched_getscheduler(0)) + ", slack " + std::to_string(::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)) +
           (::sigismember(&mask, SIGUSR2) == 1 ? ", masked" : "") + ", no new privileges " +
           std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) + ", in " + directory;
}

// Changes what it may, of the calling thread alone.
void change_kernel_state() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(::sched_getcpu(), &one);
    ::sched_setaffinity(0, sizeof one, &one);
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(this_tid()), 15);
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_BATCH, &none);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ::prctl(PR_SET_TIMERSLACK, 123'456, 0, 0, 0);
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &usr2, nullptr);
    if (::unshare(CLONE_FS) == 0) { EXPECT_EQ(::chdir("/"), 0); }
}

// Many threads are needed at once; returns what those have whose state is not `right`.
std::vector<std::string> states_of_many(runtime& rt, std::size_t n, const std::string& right) {
    std::atomic<std::size_t> inside{0};
    std::vector<handoff::join_handle<std::string>> all;
    for (std::size_t i = 0; i < n; ++i)
        all.push_back(rt.go([&] {
            return handoff::blocking_call(handoff_policy::immediate, [&] {
                ++inside;
                EXPECT_TRUE(block_until([&] { return inside == n; }));
                return kernel_state();
            });
        }));
    std::vector<std::string> wrong;
    for (auto& h : all)
        if (std::string state = h.join(); state != right) wrong.push_back(std::move(state));
    return wrong;
}

class inherited : public testing::TestWithParam<unsigned> {
protected:
    const std::string right_ = kernel_state();
};

TEST_P(inherited, nothing_from_a_tied_goroutine) {
    runtime rt({.procs = GetParam()});
    rt.run([&] {
        handoff::lock_os_thread();
        change_kernel_state();
        ASSERT_NE(kernel_state(), right_);
        EXPECT_EQ(states_of_many(rt, 12, right_), std::vector<std::string>{});
        handoff::blocking_call(handoff_policy::immediate, [] { ::usleep(1000); });
        this_goroutine::yield();
        EXPECT_EQ(states_of_many(rt, 24, right_), std::vector<std::string>{});
    });   // with its thread
    EXPECT_EQ(states_of_many(rt, 36, right_), std::vector<std::string>{});
}

// Each of them makes others run as it ends, with a thread that no longer is tied and goes.
TEST_P(inherited, nothing_from_threads_that_go_with_their_goroutines) {
    runtime rt({.procs = GetParam(), .idle_thread_timeout = 0ns});
    std::atomic<int> wrong{0};
    std::vector<handoff::join_handle<void>> all;
    for (std::size_t i = 0; i < scaled(100, 20); ++i) {
        all.push_back(rt.go([&] {
            handoff::go([&] {
                handoff::lock_os_thread();
                change_kernel_state();
            }).join();
            if (kernel_state() != right_) ++wrong;
            handoff::blocking_call(handoff_policy::immediate, [&] {
                ::usleep(100);
                if (kernel_state() != right_) ++wrong;
            });
        }));
    }
    for (auto& h : all) h.join();
    EXPECT_EQ(wrong, 0);
}

TEST_P(inherited, nothing_from_foreign_threads) {
    runtime rt({.procs = GetParam()});
    std::thread([&] {
        change_kernel_state();
        ASSERT_NE(kernel_state(), right_);
        EXPECT_EQ(states_of_many(rt, 12, right_), std::vector<std::string>{});
    }).join();
}

TEST_P(inherited, nothing_from_another_runtimes_goroutine) {
    runtime rt({.procs = GetParam()});
    // Goroutines that are away in calls, until all threads but the monitor are: the next one needs a new thread.
    std::atomic<unsigned> inside{0};
    std::atomic<bool> over{false};
    std::vector<handoff::join_handle<void>> away;
    const auto one_more = [&] {
        away.push_back(rt.go([&] {
            handoff::blocking_call(handoff_policy::immediate, [&] {
                ++inside;
                EXPECT_TRUE(block_until([&] { return over.load(); }));
            });
        }));
        return block_until([&] { return inside == away.size(); });
    };
    do ASSERT_TRUE(one_more());
    while (rt.stats().threads != away.size() + 1);
    std::thread([&] {
        change_kernel_state();
        runtime other({.procs = 1});   // all of its threads have it
        other.run([&] { EXPECT_EQ(rt.go(kernel_state).join(), right_); });
    }).join();
    over = true;
    for (auto& h : away) h.join();
}

// But all from the thread that starts the runtime.
TEST_P(inherited, all_from_who_starts_the_runtime) {
    std::thread([] {
        change_kernel_state();
        const std::string changed = kernel_state();
        runtime rt({.procs = GetParam()});
        std::thread([&] {
            EXPECT_EQ(states_of_many(rt, 12, changed), std::vector<std::string>{});
        }).join();
    }).join();
}

INSTANTIATE_TEST_SUITE_P(procs, inherited, testing::Values(1u, 2u, 4u));

// ---- How they end --------------------------------------------------------------------------------------------------

// Its destructor, at a thread's end, does what the test wants.
struct at_thread_end {
    std::function<void()> last;
    ~at_thread_end() {
        if (last) last();
    }
};
thread_local at_thread_end end_of_thread;
[[gnu::noinline]] void at_this_threads_end(std::function<void()> f) { end_of_thread.last = std::move(f); }

// end_a_thread ends one of the runtime's, which does `last` at its end.
pid_t end_a_thread(runtime& rt, const std::function<void()>& last) {
    return rt.run([&] {
        handoff::lock_os_thread();
        at_this_threads_end(last);
        return this_tid();
    });
}

void use_many_threads(runtime& rt) { EXPECT_EQ(states_of_many(rt, 8, kernel_state()), std::vector<std::string>{}); }

class exiting : public testing::TestWithParam<unsigned> {};

TEST_P(exiting, threads_keep_nobody_waiting) {
    runtime rt({.procs = GetParam()});
    std::atomic<int> inside{0};
    std::atomic<bool> may_end{false};
    std::vector<pid_t> tids;
    for (int i = 0; i < 3; ++i)
        tids.push_back(end_a_thread(rt, [&] {
            ++inside;
            EXPECT_TRUE(block_until([&] { return may_end.load(); }));
        }));
    EXPECT_EVENTUALLY(inside == 3);
    use_many_threads(rt);   // new ones, while those three exit
    rt.run([] { this_goroutine::sleep_for(20ms); });   // and the monitor comes by
    use_many_threads(rt);
    EXPECT_EQ(inside, 3);
    may_end = true;
    for (const pid_t tid : tids) EXPECT_EVENTUALLY(thread_letter(tid) == '\0');
    use_many_threads(rt);
}

TEST_P(exiting, threads_may_wait_for_goroutines) {
    runtime rt({.procs = GetParam()});
    handoff::mutex held;
    handoff::channel<int> ch(0);
    std::atomic<bool> waits{false}, had_it{false};
    rt.run([&] {
        std::unique_lock lock(held);
        handoff::go([&] {
            handoff::lock_os_thread();
            at_this_threads_end([&] {
                waits = true;
                const std::lock_guard mine(held);
                EXPECT_EQ(ch.recv(), 7);
                had_it = true;
            });
        }).join();
        EXPECT_EVENTUALLY(waits.load());
        use_many_threads(rt);
        lock.unlock();
        ch.send(7);
        EXPECT_EVENTUALLY(had_it.load());
    });
}

TEST_P(exiting, threads_are_waited_for_by_the_runtimes_end) {
    std::atomic<int> ended{0};
    {
        runtime rt({.procs = GetParam()});
        for (int i = 0; i < 4; ++i)
            end_a_thread(rt, [&, i] {
                ::usleep(static_cast<useconds_t>(30'000 * i));
                ++ended;
            });
    }
    EXPECT_EQ(ended, 4);
}

INSTANTIATE_TEST_SUITE_P(procs, exiting, testing::Values(1u, 2u, 4u));

// A thread that takes for ever to exit does not keep an idle runtime awake.
TEST(exiting_threads, let_the_runtime_sleep) {
    runtime rt({.procs = 2});
    pipe_pair pipe;
    const pid_t tid = end_a_thread(rt, [&] { EXPECT_EQ(pipe.read(), 1); });
    EXPECT_EVENTUALLY(asleep(tid));
    EXPECT_TRUE(with_sanitizer || all_others_sleep_for(300ms));   // a sanitizer has a thread that wakes now and then
    pipe.write();
    EXPECT_EVENTUALLY(thread_letter(tid) == '\0');
    EXPECT_EQ(rt.run([] { return 1; }), 1);
}

}  // namespace
