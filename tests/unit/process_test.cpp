// Child processes: what they get, how they end, and who is told.
#include "locks.hpp"
#include "networks.hpp"
#include "processes.hpp"

#include <handoff/net/poll_fd.hpp>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::go;
using handoff::task_group;
using handoff::net::child_stream;
using handoff::net::exit_status;
using handoff::net::process;
using handoff::net::process_options;

namespace {

class processes : public with_procs {};
INSTANTIATE_WITH_PROCS(processes);

// ---- The end ----

TEST_P(processes, end_with_a_code_or_by_a_signal) {
    with_and_without_pidfd([this] {
        on_both(rt_, [] {
            process p = process::start(shell("exit 7"));
            EXPECT_GT(p.pid(), 0);
            const exit_status seven = p.wait();
            EXPECT_TRUE(seven.exited());
            EXPECT_FALSE(seven.success());
            EXPECT_EQ(seven.code(), 7);
            EXPECT_EQ(seven.signal(), 0);
            EXPECT_EQ(seven.to_string(), "exited with code 7");
            EXPECT_EQ(p.wait(), seven) << "as often as one likes";
            EXPECT_EQ(p.try_wait(), seven);
            EXPECT_TRUE(process::start({.program = "true"}).wait().success());

            const exit_status killed = process::start(shell("kill -TERM $$")).wait();
            EXPECT_FALSE(killed.exited());
            EXPECT_FALSE(killed.success());
            EXPECT_EQ(killed.code(), -1);
            EXPECT_EQ(killed.signal(), SIGTERM);
            EXPECT_EQ(killed.to_string(), "killed by SIGTERM");
        });
    });
}

TEST_P(processes, run_on_after_a_wait_that_ends_early) {
    with_and_without_pidfd([this] {
        rt_.run([this] {
            process p = process::start(waiter());
            EXPECT_FALSE(p.try_wait());
            EXPECT_TRUE(never_earlier_than(5ms, [&] { return error_of([&] { p.wait(5ms); }) == std::errc::timed_out; }));
            task_group g;
            std::atomic<bool> waits{false};
            g.go([&] {
                waits = true;
                EXPECT_THROW(p.wait(), handoff::cancelled);
            });
            ASSERT_EVENTUALLY(waits && waiting(rt_, network) + waiting(rt_, "sleep") >= 1);
            g.cancel();
            g.wait();
            EXPECT_FALSE(p.try_wait());
            auto waiter_of_it = go([&] { return p.wait(); });
            p.in().close();   // which is what it waits for
            EXPECT_EQ(waiter_of_it.join().code(), 3);
        });
    });
}

// All are told, though only one call gets it from the kernel.
TEST_P(processes, tell_all_who_wait) {
    with_and_without_pidfd([this] {
        handoff::default_runtime();
        process p = process::start(waiter());
        crowd c;
        std::atomic<int> threes{0};
        for (int i = 0; i < 10; ++i) c.start(i % 2 == 0 ? rt_ : other_, i >= 8, [&] { threes += p.wait().code() == 3; });
        if (handoff::net::has_pidfd) ASSERT_EVENTUALLY(waiting(rt_, network) + waiting(other_, network) == 8 && c.threads_sleep());
        p.in().close();
        c.join();
        EXPECT_EQ(threes, 10);
        EXPECT_FALSE(is_child(p.pid())) << "and the kernel has forgotten it";
    });
}

TEST_P(processes, may_end_while_all_look) {
    with_and_without_pidfd([this] {
        rt_.run([] {
            for (int i = 0; i < 20; ++i) {
                process p = process::start({.program = "true"});
                task_group g;
                for (int k = 0; k < 4; ++k) g.go([&] { EXPECT_TRUE(p.wait().success()); });
                for (int k = 0; k < 2; ++k)
                    g.go([&] {
                        ASSERT_EVENTUALLY(p.try_wait());
                    });
                g.wait();
            }
        });
    });
}

TEST_P(processes, are_polled_together_with_other_descriptors) {
    rt_.run([] {
        process p = process::start(waiter());
        pollfd all[] = {{p.native_handle(), POLLIN, 0}};
        EXPECT_EQ(handoff::net::poll(all, 0s), 0);
        p.in().close();
        EXPECT_EQ(handoff::net::poll(all), 1);
        EXPECT_EQ(p.try_wait()->code(), 3);
    });
}

TEST_P(processes, that_nobody_started) {
    rt_.run([] {
        process none;
        EXPECT_EQ(none.pid(), -1);
        EXPECT_EQ(none.native_handle(), -1);
        EXPECT_FALSE(none.kill());
        EXPECT_EQ(error_of([&] { none.wait(); }), std::errc::no_child_process);
        EXPECT_EQ(error_of([&] { (void)none.try_wait(); }), std::errc::no_child_process);
    });
}

// ---- Signals to it ----

TEST_P(processes, are_killed_and_no_others) {
    with_and_without_pidfd([this] {
        on_both(rt_, [] {
            process p = process::start(waiter());
            EXPECT_EQ(error_of([&] { p.kill(1000); }), std::errc::invalid_argument);
            EXPECT_TRUE(p.kill(0)) << "it is there";
            EXPECT_TRUE(p.kill(SIGTERM));
            EXPECT_EQ(p.wait().signal(), SIGTERM);
            EXPECT_FALSE(p.kill()) << "its number may be another's now";
            process ended = process::start({.program = "true"});
            ASSERT_EVENTUALLY(is_zombie(ended.pid()));
            EXPECT_TRUE(ended.kill());
            EXPECT_TRUE(ended.wait().success()) << "it had ended before";
        });
    });
}

// ---- The end of the object ----

TEST_P(processes, end_with_their_objects) {
    with_and_without_pidfd([this] {
        on_both(rt_, [] {
            pid_t first = 0, second = 0, third = 0;
            {
                process p = process::start(waiter());
                first = p.pid();
                process q = process::start(waiter());
                second = q.pid();
                p = std::move(q);
                EXPECT_FALSE(is_child(first));
                EXPECT_TRUE(is_child(second));
                EXPECT_EQ(p.pid(), second);
                EXPECT_TRUE(p.in().is_open());
                third = process::start({.program = "true"}).pid();   // perhaps a zombie
            }
            EXPECT_FALSE(is_child(second));
            EXPECT_FALSE(is_child(third));
        });
    });
}

TEST_P(processes, end_with_a_scope_that_is_cancelled) {
    rt_.run([this] {
        std::atomic<pid_t> pid{0};
        task_group g;
        g.go([&] {
            process p = process::start(waiter());
            pid = p.pid();
            p.wait();
        });
        ASSERT_EVENTUALLY(pid != 0 && waiting(rt_, network) == 1);
        g.cancel();
        g.wait();
        EXPECT_FALSE(is_child(pid));
    });
}

TEST_P(processes, leave_no_descriptor) {
    rt_.run([] {
        EXPECT_EQ(error_of([] { process::start(waiter()).wait(1ms); }), std::errc::timed_out);   // opens the runtime's own
        const std::size_t before = settled_descriptor_count();
        {
            process_options o = waiter();
            o.out = child_stream::pipe();
            o.err = child_stream::null();
            process p = process::start(o);
            EXPECT_EQ(settled_descriptor_count(), before + 3) << "two pipes and the pidfd";
            EXPECT_EQ(error_of([&] { p.wait(1ms); }), std::errc::timed_out);
        }
        EXPECT_EQ(settled_descriptor_count(), before);
    });
}

// ---- Programs that do as they like with SIGCHLD ----

TEST_P(processes, whose_end_was_taken_by_others) {
    with_and_without_pidfd([this] {
        rt_.run([] {
            process p = process::start(shell("exit 5"));
            int status = 0;
            pid_t got;
            do got = ::waitpid(p.pid(), &status, 0);
            while (got < 0 && errno == EINTR);
            EXPECT_EQ(got, p.pid());
            EXPECT_EQ(error_of([&] { p.wait(); }), std::errc::no_child_process);
            EXPECT_EQ(error_of([&] { (void)p.try_wait(); }), std::errc::no_child_process);
            EXPECT_FALSE(p.kill());
        });
    });
}

// The kernel tells of the end by the pidfd also where it keeps no zombie.
bool waits_while_sigchld_is_ignored() {
    ::signal(SIGCHLD, SIG_IGN);
    handoff::runtime rt;
    return rt.run([] {
        process p = process::start(waiter());
        if (error_of([&] { p.wait(1ms); }) != std::errc::timed_out) return false;
        p.in().close();
        const bool lost = error_of([&] { p.wait(); }) == std::errc::no_child_process && !p.kill();
        process::start(waiter());
        return lost;
    });
}
TEST(process, of_a_program_that_ignores_sigchld) { EXPECT_IN_CHILD(waits_while_sigchld_is_ignored(), ""); }

TEST(process, is_refused_in_a_simulation) {
    handoff::simulation sim(1);
    sim.run([] {
        const std::string said = thrown_by<handoff::usage_error>([] { process::start({.program = "true"}); });
        EXPECT_NE(said.find("not possible in a simulation: a child process"), std::string::npos) << said;
    });
}

}  // namespace
