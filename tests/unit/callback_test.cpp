// Code under a guard that enters the library, as the callbacks of C libraries do, and what a goroutine may rely on around
// a guard: from its beginning to the goroutine's next call of the library after its end it stays on its thread.
#include "testing.hpp"

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <unistd.h>

using handoff::blocking_call;
using handoff::channel;
using handoff::runtime;
using handoff::syscall_guard;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// What a C library keeps per thread. As a library would, in functions of their own.
thread_local long last_error = 0;
[[gnu::noipa]] void set_last_error(long e) { last_error = e; }
[[gnu::noipa]] long get_last_error() { return last_error; }
[[gnu::noipa]] void set_errno(int e) { errno = e; }

class with_procs : public testing::TestWithParam<unsigned> {};

// Many goroutines in calls that block, beside some that keep the processors: most come back without one.
TEST_P(with_procs, what_is_per_thread_is_right_after_a_guard) {
    runtime rt({.procs = GetParam()});
    const std::size_t tries = scaled(10'000) / 100;
    std::atomic<std::size_t> wrong_error{0}, wrong_errno{0}, moved{0};
    rt.run([&] {
        task_group all;
        for (int i = 0; i < 100; ++i) {
            all.go([&, i] {
                for (std::size_t k = 0; k < tries; ++k) {
                    const long mine = 1000L * i + static_cast<long>(k) % 1000;
                    pid_t tid = 0;
                    {
                        const syscall_guard g(policies[k % 3]);
                        tid = this_tid();
                        set_last_error(mine);
                        ::usleep(k % 4 == 0 ? 100 : 0);
                        set_errno(1 + i);
                    }
                    const int e = errno;
                    wrong_errno += e != 1 + i;
                    wrong_error += get_last_error() != mine;
                    moved += this_tid() != tid;
                    if (k % 8 == 0) this_goroutine::yield();
                }
            });
        }
        all.wait();
    });
    EXPECT_EQ(wrong_errno.load(), 0u);
    EXPECT_EQ(wrong_error.load(), 0u);
    EXPECT_EQ(moved.load(), 0u);
}

// Their time slices are over all the time: who is to give way does so at the beginning of a call, not at its end.
TEST_P(with_procs, goroutine_stays_on_its_thread_when_its_slice_is_over) {
    auto o = no_retakes(GetParam());
    o.retake_running_after = 100us;
    runtime rt(o);
    std::atomic<std::size_t> moved{0}, calls{0};
    std::atomic<bool> stop{false};
    rt.run([&] {
        task_group all;
        for (int i = 0; i < 8; ++i) {
            all.go([&] {
                while (!stop) {
                    pid_t tid = 0;
                    {
                        const syscall_guard g(handoff::handoff_policy::sysmon);
                        tid = this_tid();
                    }
                    moved += this_tid() != tid;
                    if (++calls % 64 == 0) this_goroutine::yield();
                }
            });
        }
        this_goroutine::sleep_for(200ms);
        stop = true;
        all.wait();
    });
    EXPECT_EQ(moved.load(), 0u);
}

// A C function that calls back, and has a lock that belongs to the thread.
struct c_library {
    pthread_mutex_t lock;
    c_library() {
        pthread_mutexattr_t a;
        pthread_mutexattr_init(&a);
        pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);   // unlocked elsewhere it says so
        pthread_mutex_init(&lock, &a);
        pthread_mutexattr_destroy(&a);
    }
    ~c_library() { pthread_mutex_destroy(&lock); }
    // rows calls f(arg, i) for each i < n, and returns what went wrong.
    int rows(int n, void (*f)(void*, int), void* arg) {
        if (const int e = pthread_mutex_lock(&lock)) return e;
        for (int i = 0; i < n; ++i) f(arg, i);
        return pthread_mutex_unlock(&lock);
    }
};

TEST_P(with_procs, a_callback_may_use_the_library_and_stays_on_its_thread) {
    runtime rt({.procs = GetParam()});
    constexpr int callers = 50, rows = 20;
    for (const bool shared : {false, true}) {
        rt.run([&] {
            c_library shared_one;
            channel<int> out(3);
            std::atomic<int> wrong{0};
            task_group all;
            for (int c = 0; c < callers; ++c) {
                all.go([&, c] {
                    c_library own;
                    const auto row = [&](int i) {
                        const pid_t tid = this_tid();
                        switch (i % 5) {
                            case 0: this_goroutine::yield(); break;
                            case 1: this_goroutine::sleep_for(50us); break;
                            case 2: handoff::go([] {}).join(); break;
                            case 3: blocking_call(::usleep, 10u); break;
                            default: break;
                        }
                        out.send(c * rows + i);
                        wrong += this_tid() != tid;
                    };
                    const int e = blocking_call([&] {
                        return (shared ? shared_one : own).rows(
                            rows, [](void* f, int i) { (*static_cast<decltype(&row)>(f))(i); }, const_cast<void*>(static_cast<const void*>(&row)));
                    });
                    wrong += e != 0;
                });
            }
            long long sum = 0;
            for (int i = 0; i < callers * rows; ++i) sum += *out.recv();
            all.wait();
            EXPECT_EQ(sum, static_cast<long long>(callers * rows) * (callers * rows - 1) / 2);
            EXPECT_EQ(wrong.load(), 0);
        });
    }
}

INSTANTIATE_TEST_SUITE_P(procs, with_procs, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

bool is_tied(const runtime& rt) {
    for (const auto& g : rt.snapshot().goroutines)
        if (g.who.id == this_goroutine::id()) return g.locked_to_thread;
    return false;
}

TEST(callback, ties_its_goroutine_until_the_outermost_guard_ends) {
    runtime rt({.procs = 2});
    rt.run([&] {
        {
            const syscall_guard outer;
            EXPECT_FALSE(is_tied(rt));
            {
                const syscall_guard inner;
                this_goroutine::yield();
            }
            EXPECT_TRUE(is_tied(rt));
        }
        EXPECT_FALSE(is_tied(rt));
        // Also where it has been tied before, or ties itself inside.
        handoff::lock_os_thread();
        {
            const syscall_guard g;
            this_goroutine::yield();
        }
        EXPECT_TRUE(is_tied(rt));
        {
            const syscall_guard g;
            handoff::unlock_os_thread();
            EXPECT_TRUE(is_tied(rt));
        }
        EXPECT_FALSE(is_tied(rt));
        {
            const syscall_guard g;
            handoff::lock_os_thread();
        }
        EXPECT_TRUE(is_tied(rt));
        handoff::unlock_os_thread();
        EXPECT_FALSE(is_tied(rt));
    });
}

// One that ends in its call was tied by that alone, and leaves its thread to others.
TEST(callback, does_not_take_the_thread_along) {
    runtime rt({.procs = 1});
    for (int i = 0; i < 20; ++i)
        rt.run([] {
            handoff::entersyscall();
            this_goroutine::yield();
        });
    EXPECT_EQ(rt.stats().threads_retired, 0u);
    EXPECT_LE(rt.stats().threads_created, 4u);
}

TEST(callback, exception_passes) {
    runtime rt({.procs = 1});
    rt.run([&] {
        EXPECT_THROW(blocking_call([] {
                         this_goroutine::yield();
                         throw std::runtime_error("the callback's");
                     }),
                     std::runtime_error);
        EXPECT_FALSE(is_tied(rt));
    });
}

// ---- Cancellation ----------------------------------------------------------------------------------------------------

TEST(callback, is_not_cancelled_under_a_guard_but_after_it) {
    runtime rt({.procs = 2});
    rt.run([&] {
        task_group group;
        channel<int> ch(1);
        std::atomic<bool> ready{false};
        bool saw_it = false, waited = false, thrown = false;
        group.go([&] {
            {
                const syscall_guard g;
                ready = true;
                EXPECT_TRUE(eventually([] { return this_goroutine::cancelled(); }));   // sleeps meanwhile
                saw_it = this_goroutine::cancelled();
                EXPECT_EQ(ch.recv(), 7);
                this_goroutine::check_cancelled();
                handoff::go([] {}).join();
                {
                    const syscall_guard inner;
                    this_goroutine::sleep_for(1us);
                }
                this_goroutine::sleep_for(1us);   // the inner one's end is not the end
                waited = true;
            }
            try {
                this_goroutine::check_cancelled();
            } catch (const handoff::cancelled&) {
                thrown = true;
            }
        });
        EXPECT_EVENTUALLY(ready.load());
        group.cancel();
        ch.send(7);
        try {
            group.wait();
        } catch (const handoff::cancelled&) {
        }
        EXPECT_TRUE(saw_it);
        EXPECT_TRUE(waited);
        EXPECT_TRUE(thrown);
    });
}

// A wait that has begun under a guard goes on, too.
TEST(callback, wait_under_a_guard_outlasts_a_cancellation) {
    runtime rt({.procs = 2});
    rt.run([&] {
        task_group group;
        channel<int> ch(0);
        std::atomic<int> got{0};
        group.go([&] {
            const syscall_guard g;
            got = ch.recv().value_or(-1);
        });
        EXPECT_EVENTUALLY([&] {
            for (const auto& g : rt.snapshot().goroutines)
                if (std::string(g.waits_for) == "receive") return true;
            return false;
        }());
        group.cancel();
        this_goroutine::sleep_for(1ms);
        ch.send(5);
        try {
            group.wait();
        } catch (const handoff::cancelled&) {
        }
        EXPECT_EQ(got.load(), 5);
    });
}

// A stop token is the callback's own.
TEST(callback, stop_token_of_its_own_ends_a_wait) {
    runtime rt({.procs = 1});
    rt.run([&] {
        std::stop_source stop;
        stop.request_stop();
        const syscall_guard g;
        EXPECT_THROW(this_goroutine::sleep_for(1h, stop.get_token()), handoff::cancelled);
    });
}

}  // namespace
