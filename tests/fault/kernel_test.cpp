// membarrier is refused; futex ends early, or late.
#include "fault.hpp"

#include "os/clock.hpp"
#include "os/membarrier.hpp"
#include "os/note.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace fault;

// Whether it can be had is asked once in a process.
bool works_with_fences(site refused, int error) {
    const environment_variable as_usual("HANDOFF_NO_MEMBARRIER", nullptr);
    const injection refuse(refused, {.error = error});
    if (handoff::os::membarrier_available() || refuse.met() != 1) return false;
    runtime rt({.procs = 2, .retake_running_after = 1ms});
    const injection none(site::membarrier_run, {});
    for (int i = 0; i < 5; ++i)
        if (do_some_of_everything(rt, 80) != 80) return false;
    // Processors are taken from goroutines that compute, too.
    std::atomic<bool> stop{false};
    auto hog = rt.go([&stop] { compute_until([&] { return stop.load(); }); });
    auto other = rt.go([&stop] { compute_until([&] { return stop.load(); }); });
    rt.run([&stop] { stop = true; });
    hog.join();
    other.join();
    return none.calls() == 0;
}

TEST(membarrier, refused_means_fences) {
    // Not by the library, which would remember the answer.
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) < 0) GTEST_SKIP() << "there is none to be refused";
    EXPECT_IN_CHILD(works_with_fences(site::membarrier_query, ENOSYS), "");
    EXPECT_IN_CHILD(works_with_fences(site::membarrier_register, EPERM), "");
    EXPECT_IN_CHILD(works_with_fences(site::membarrier_run, EPERM), "");
}

// The one that can't be survived: the protocol is in use and loses its barrier.
void lose_membarrier() {
    runtime rt({.procs = 1, .syscall_retake_after = 1ms});
    rt.run([] {});
    const injection refuse(site::membarrier_run, {.error = EPERM});
    rt.run([] { handoff::blocking_call(handoff_policy::sysmon, [] { std::this_thread::sleep_for(1s); }); });
}
TEST(membarrier, lost_while_in_use_ends_the_process_with_advice) {
    if (!handoff::os::membarrier_available()) GTEST_SKIP() << "there is none to be lost";
    EXPECT_EXIT(lose_membarrier(), testing::KilledBySignal(SIGABRT),
                "handoff: membarrier failed with errno 1 after it had worked; set HANDOFF_NO_MEMBARRIER=1");
}

TEST(membarrier, slow_ones_hold_nobody_up) {
    if (!handoff::os::membarrier_available()) GTEST_SKIP() << "there is none";
    runtime rt({.procs = 2, .syscall_grace = 1us, .retake_running_after = 200us});
    const hang_alarm alarm(&rt);
    const injection slow(site::membarrier_run, {.delay = 500us});
    for (int i = 0; i < 5; ++i) EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
    EXPECT_GT(slow.met(), 0u);
}

// ---- futex -----------------------------------------------------------------------------------------------------------

// Threads and goroutines of two runtimes hand each other numbers, with deadlines and without.
void pass_around(unsigned n) {
    runtime rt({.procs = 2, .spin_before_sleep = 0ns}), other({.procs = 1, .spin_before_sleep = 0ns});
    const hang_alarm alarm(&rt);
    handoff::channel<unsigned> there(0), back(0);
    handoff::mutex lock;
    unsigned guarded = 0;   // under the lock
    const auto forward = [&] {
        while (auto v = there.recv()) {
            {
                std::lock_guard hold(lock);
                ++guarded;
            }
            while (!back.send_for(unsigned{*v}, 300us)) {
            }
        }
    };
    auto in_other = other.go(forward), in_rt = rt.go(forward);
    std::thread outside(forward);
    unsigned sum = 0;
    for (unsigned i = 0; i < n; ++i) {
        const auto began = steady::now();
        there.send(i);
        std::optional<unsigned> v;
        while (!(v = back.recv_for(200us))) {
            EXPECT_GE(steady::now() - began, 200us) << "woke early";
        }
        sum += *v;
        const auto joined = rt.go([i] {
            handoff::this_goroutine::sleep_for(50us);
            return i;
        }).join();
        EXPECT_EQ(joined, i);
    }
    there.close();
    outside.join();
    in_other.join();
    in_rt.join();
    EXPECT_EQ(sum, n * (n - 1) / 2);
    EXPECT_EQ(guarded, n);
    EXPECT_EQ(do_some_of_everything(rt, 80), 80u);
}

TEST(futex, that_ends_early_is_waited_for_again) {
    set_seed(seeded_random("futex")());
    const unsigned n = static_cast<unsigned>(scaled(400, 100));
    for (const int error : {EINTR, EAGAIN}) {
        const injection early(site::futex_wait, {.error = error, .chance = 0.5});
        pass_around(n);
        EXPECT_GT(early.met(), 10u);
    }
    const injection spurious(site::futex_wait, {.chance = 0.5, .pretend = true});
    pass_around(n);
    EXPECT_GT(spurious.met(), 10u);
}

// Between the look at the word and the sleep, and between the word and the wake-up, anything can happen.
TEST(futex, that_takes_its_time_loses_nothing) {
    set_seed(seeded_random("futex delays")());
    const unsigned n = static_cast<unsigned>(scaled(150, 60));
    {
        const injection late(site::futex_wait, {.chance = 0.3, .delay = 300us});
        pass_around(n);
        EXPECT_GT(late.met(), 10u);
    }
    {
        const injection late(site::futex_wake, {.chance = 0.3, .delay = 300us});
        pass_around(n);
        EXPECT_GT(late.met(), 10u);
    }
    const injection late(site::futex_wait, {.chance = 0.2, .delay = 200us}), later(site::futex_wake, {.chance = 0.2, .delay = 300us});
    pass_around(n);
}

TEST(futex, early_ends_do_not_shorten_a_wait) {
    const injection early(site::futex_wait, {.error = EINTR, .times = 1000});
    handoff::os::note n;
    const std::int64_t deadline = handoff::os::nanotime() + 5'000'000;
    EXPECT_FALSE(n.wait_until(deadline));
    EXPECT_GE(handoff::os::nanotime(), deadline);
    EXPECT_EQ(early.met(), 1000u);
}

void wait_on_a_broken_futex() {
    const injection broken(site::futex_wait, {.error = ENOSYS, .only_here = true});
    handoff::os::note().wait();
}
TEST(futex, that_does_not_work_at_all_ends_the_process) {
    EXPECT_EXIT(wait_on_a_broken_futex(), testing::KilledBySignal(SIGABRT), "handoff: futex wait failed with errno 38");
}

}  // namespace
