// Goroutines that are tied to their thread, and what a forked child may do.
#include "testing.hpp"

#include <cerrno>
#include <cstring>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using handoff::runtime;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// Everything that a tied goroutine may do: it stays on its thread.
void use_everything(runtime& rt, int round) {
    switch (round % 7) {
        case 0: this_goroutine::yield(); break;
        case 1: this_goroutine::sleep_for(50us); break;
        case 2: handoff::go([] { this_goroutine::yield(); }).join(); break;
        case 3: handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(50); }); break;
        case 4: handoff::blocking_call([] {}); break;
        case 5: rt.run([] { this_goroutine::sleep_for(10us); }); break;
        case 6: block_until([ends = steady::now() + 200us] { return steady::now() > ends; }); break;
    }
}

TEST(lock_os_thread, keeps_the_goroutine_on_its_thread) {
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt({.procs = procs, .retake_running_after = 1ms});
        std::vector<handoff::join_handle<void>> all;
        for (int g = 0; g < 6; ++g)
            all.push_back(rt.go([&, g] {
                if (g % 3 == 2) {   // others move about
                    for (int i = 0; i < 100; ++i) use_everything(rt, i + g);
                    return;
                }
                handoff::lock_os_thread();
                const pid_t tid = this_tid();
                for (int i = 0; i < 100; ++i) {
                    use_everything(rt, i + g);
                    ASSERT_EQ(this_tid(), tid) << i;
                }
                handoff::unlock_os_thread();
            }));
        for (auto& h : all) h.join();
    }
}

TEST(lock_os_thread, keeps_others_off_the_thread) {
    runtime rt({.procs = 2});
    std::atomic<pid_t> tied{0};
    std::atomic<bool> over{false};
    std::atomic<int> intruders{0};
    auto h = rt.go([&] {
        handoff::lock_os_thread();
        tied = this_tid();
        while (!over) {
            this_goroutine::yield();
            this_goroutine::sleep_for(100us);
        }
        tied = 0;
        handoff::unlock_os_thread();
    });
    ASSERT_EVENTUALLY(tied != 0);
    for (std::size_t i = 0; i < scaled(20'000); ++i)
        rt.go([&] {
            if (this_tid() == tied) ++intruders;
        });
    rt.run([&] {
        for (std::size_t i = 0; i < scaled(2'000); ++i)
            handoff::go([&] {
                this_goroutine::yield();
                if (this_tid() == tied) ++intruders;
            }).join();
    });
    over = true;
    h.join();
    EXPECT_EQ(intruders, 0);
}

// Rule 2: what waits behind a tied goroutine on its processor is not lost while that one yields.
TEST(lock_os_thread, yielding_lets_the_others_run) {
    runtime rt(no_retakes(1));
    rt.run([] {
        handoff::lock_os_thread();
        for (int round = 0; round < 20; ++round) {
            int ran = 0;
            std::vector<handoff::join_handle<void>> all;
            for (int i = 0; i < 10; ++i) all.push_back(handoff::go([&] { ++ran; }));
            EXPECT_TRUE(eventually(
                [&] {
                    this_goroutine::yield();
                    return ran == 10;
                },
                5s))
                << ran << " of 10 ran";
            for (auto& h : all) h.join();
        }
        handoff::unlock_os_thread();
    });
}

TEST(os_thread_lock, is_the_pair_as_a_scope) {
    static_assert(!std::is_copy_constructible_v<handoff::os_thread_lock>);
    runtime rt({.procs = 2});
    rt.run([&] {
        const auto locked = [&] { return rt.snapshot().goroutines.at(0).locked_to_thread; };
        {
            const handoff::os_thread_lock here;
            EXPECT_TRUE(locked());
            const pid_t tid = this_tid();
            for (int i = 0; i < 30; ++i) {
                use_everything(rt, i);
                ASSERT_EQ(this_tid(), tid) << i;
            }
            { const handoff::os_thread_lock again; }
            EXPECT_TRUE(locked());
        }
        EXPECT_FALSE(locked());
        try {
            const handoff::os_thread_lock here;
            throw 7;
        } catch (int) {
        }
        EXPECT_FALSE(locked());
    });
    EXPECT_THROW(handoff::os_thread_lock(), usage_error);
}

TEST(lock_os_thread, nests) {
    runtime rt({.procs = 1});
    rt.run([&] {
        const auto locked = [&] { return rt.snapshot().goroutines.at(0).locked_to_thread; };
        EXPECT_FALSE(locked());
        for (int i = 0; i < 3; ++i) handoff::lock_os_thread();
        for (int i = 0; i < 3; ++i) {
            EXPECT_TRUE(locked());
            handoff::unlock_os_thread();
        }
        EXPECT_FALSE(locked());
        EXPECT_THROW(handoff::unlock_os_thread(), usage_error);
        handoff::lock_os_thread();
        EXPECT_TRUE(locked());
        handoff::unlock_os_thread();
    });
}

TEST(lock_os_thread, misuse_is_an_error) {
    EXPECT_THROW(handoff::lock_os_thread(), usage_error);
    EXPECT_THROW(handoff::unlock_os_thread(), usage_error);
    runtime rt({.procs = 1});
    rt.run([] {
        EXPECT_THROW(handoff::unlock_os_thread(), usage_error);
        // The lock is the goroutine's own.
        handoff::lock_os_thread();
        handoff::go([] { EXPECT_THROW(handoff::unlock_os_thread(), usage_error); }).join();
        handoff::unlock_os_thread();
    });
}

TEST(lock_os_thread, goroutine_that_ends_takes_its_thread_with_it) {
    runtime rt({.procs = 2});
    for (int i = 0; i < 20; ++i) {
        const auto retired = rt.stats().threads_retired;
        const pid_t tid = rt.run([i] {
            handoff::lock_os_thread();
            if (i % 2) this_goroutine::sleep_for(100us);
            return this_tid();
        });
        EXPECT_EVENTUALLY(rt.stats().threads_retired == retired + 1);
        EXPECT_EVENTUALLY(thread_letter(tid) == '\0');
        EXPECT_EQ(rt.run([] { return 1; }), 1);
    }
    EXPECT_EVENTUALLY(rt.stats().threads <= 4);
}

TEST(lock_os_thread, many_at_once) {
    runtime rt({.procs = 2});
    std::vector<handoff::join_handle<void>> all;
    std::atomic<int> moved{0};
    for (std::size_t g = 0; g < scaled(200, 40); ++g)
        all.push_back(rt.go([&] {
            handoff::lock_os_thread();
            const pid_t tid = this_tid();
            for (int i = 0; i < 10; ++i) {
                this_goroutine::sleep_for(100us);
                if (this_tid() != tid) ++moved;
                this_goroutine::yield();
                if (this_tid() != tid) ++moved;
            }
        }));
    for (auto& h : all) h.join();
    EXPECT_EQ(moved, 0);
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
}

// ---- fork ----------------------------------------------------------------------------------------------------------

// Forks; the child returns body()'s result.
template <class F>
int in_forked_child(F body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

template <class F>
bool throws_usage_error(F f) {
    try {
        f();
    } catch (const usage_error& e) {
        return std::string(e.what()).find("fork") != std::string::npos;
    } catch (...) {
    }
    return false;
}

class fork_test : public testing::Test {
protected:
    // What a child may try, and is told; 0 if all was well.
    int try_everything() {
        if (!throws_usage_error([&] { rt_.go([] {}); })) return 1;
        if (!throws_usage_error([&] { rt_.run([] {}); })) return 2;
        if (!throws_usage_error([&] { handoff::go([] {}); })) return 3;
        if (!throws_usage_error([&] { waits_.join(); })) return 4;
        { const handoff::syscall_guard g(handoff::handoff_policy::immediate); }   // does nothing
        this_goroutine::yield();
        this_goroutine::sleep_for(1us);
        if (this_goroutine::id() != 0) return 5;
        if (handoff::blocking_call([] { return 7; }) != 7) return 6;
        return 0;
    }
    ~fork_test() override {
        over_ = true;
        if (waits_.joinable()) waits_.join();
    }

    std::atomic<bool> over_{false};
    runtime rt_{{.procs = 2}};
    handoff::join_handle<void> waits_ = rt_.go([this] {
        while (!over_) this_goroutine::sleep_for(1ms);
    });
};

TEST_F(fork_test, child_is_refused) { EXPECT_EQ(in_forked_child([&] { return try_everything(); }), 0); }

TEST_F(fork_test, child_of_a_goroutine_is_refused) {
    const int status = rt_.run([&] { return in_forked_child([&] { return try_everything(); }); });
    EXPECT_EQ(status, 0);
}

TEST_F(fork_test, child_can_not_start_a_runtime) {
    if (with_tsan) GTEST_SKIP() << "TSan forbids threads in a forked child";
    EXPECT_EQ(in_forked_child([] { return throws_usage_error([] { const runtime rt({.procs = 1}); }) ? 0 : 1; }), 0);
}

TEST_F(fork_test, child_may_destroy_what_it_has) {
    EXPECT_EQ(in_forked_child([&] {
        alignas(runtime) char copy[sizeof(runtime)];
        static_assert(sizeof(runtime) == sizeof(void*));
        std::memcpy(copy, static_cast<const void*>(&rt_), sizeof copy);
        reinterpret_cast<runtime*>(copy)->~runtime();
        return 0;
    }), 0);
}

TEST_F(fork_test, child_may_exec) {
    const auto exec = [] {
        ::execl("/bin/sh", "sh", "-c", "exit 42", static_cast<char*>(nullptr));
        return 1;
    };
    EXPECT_EQ(in_forked_child(exec), 42);
    EXPECT_EQ(rt_.run([&] { return handoff::blocking_call([&] { return in_forked_child(exec); }); }), 42);
}

TEST_F(fork_test, parent_goes_on) {
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(rt_.run([&] { return in_forked_child([] { return 3; }); }), 3);
        EXPECT_EQ(rt_.run([] { return handoff::go([] { return 4; }).join(); }), 4);
    }
}

}  // namespace
