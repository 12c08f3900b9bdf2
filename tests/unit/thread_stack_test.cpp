// call_on_thread_stack: deep code on the stack of the goroutine's thread, as any call: results, exceptions, waiting in it; and the
// thread that it runs on stays the goroutine's.
#include "testing.hpp"

#include <cfenv>
#include <csignal>
#include <functional>
#include <memory>
#include <pthread.h>
#include <regex>
#include <sys/resource.h>
#include <thread>

using handoff::call_on_thread_stack;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

constexpr std::size_t kib = 1024, mib = 1024 * kib;

bool on_thread_stack() {
    pthread_attr_t attr;
    void* lo = nullptr;
    std::size_t size = 0;
    ::pthread_getattr_np(::pthread_self(), &attr);
    ::pthread_attr_getstack(&attr, &lo, &size);
    ::pthread_attr_destroy(&attr);
    const auto* here = static_cast<const char*>(__builtin_frame_address(0));
    return here >= static_cast<char*>(lo) && here < static_cast<char*>(lo) + size;
}

// Calls f below frames of `bytes` in all, which it then finds as it has left them.
[[gnu::noinline]] bool below(std::size_t bytes, const std::function<void()>& f) {
    constexpr std::size_t frame = 4 * kib;
    volatile unsigned char block[frame];
    const auto mark = static_cast<unsigned char>(bytes / frame);
    for (const std::size_t at : {std::size_t{0}, frame / 2, frame - 1}) block[at] = mark;
    bool right = true;
    if (bytes > frame) right = below(bytes - frame, f);
    else f();
    return right && block[0] == mark && block[frame / 2] == mark && block[frame - 1] == mark;
}

handoff::options small_stacks(unsigned procs) { return {.procs = procs, .stack_size = 64 * kib}; }

TEST(thread_stack, is_where_the_call_runs) {
    runtime rt(small_stacks(1));
    rt.run([] {
        EXPECT_FALSE(on_thread_stack());
        EXPECT_TRUE(call_on_thread_stack(on_thread_stack));
        EXPECT_FALSE(on_thread_stack());
    });
}

TEST(thread_stack, has_the_room_of_a_thread) {
    runtime rt(small_stacks(2));
    rt.run([] {
        for (int i = 0; i < 3; ++i) EXPECT_TRUE(call_on_thread_stack([] { return below(4 * mib, [] {}); }));
    });
    // What overflows a goroutine's stack.
    const std::string text(with_sanitizer ? 400 : 4'000, 'a');
    EXPECT_TRUE(rt.run([&] {
        return call_on_thread_stack([&] { return std::regex_match(text, std::regex("(a|b)*")); });
    }));
}

bool has_what_the_limit_says() {
    rlimit limit{};
    ::getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = 64 * mib;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < limit.rlim_cur) return true;
    ::setrlimit(RLIMIT_STACK, &limit);
    runtime rt(small_stacks(1));
    return rt.run([] { return call_on_thread_stack([] { return below(48 * mib, [] {}); }); });
}

TEST(thread_stack, is_as_large_as_the_limit_says) { EXPECT_IN_CHILD(has_what_the_limit_says(), ""); }

// Address space for nothing but small threads: they are made all the same.
bool starts_with_less() {
    rlimit stack{};
    ::getrlimit(RLIMIT_STACK, &stack);
    stack.rlim_cur = 4096 * mib;
    if (stack.rlim_max != RLIM_INFINITY && stack.rlim_max < stack.rlim_cur) return true;
    ::setrlimit(RLIMIT_STACK, &stack);
    const rlimit space{2048 * mib, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &space);
    runtime rt(small_stacks(2));
    return rt.run([] { return call_on_thread_stack([] { return below(32 * kib, [] {}); }); });
}

TEST(thread_stack, is_smaller_where_memory_is_short) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer maps memory of its own";
    EXPECT_IN_CHILD(starts_with_less(), "");
}

TEST(thread_stack, results_and_arguments_pass) {
    runtime rt(small_stacks(1));
    rt.run([] {
        int x = 1;
        int& same = call_on_thread_stack([&]() -> int& { return x; });
        EXPECT_EQ(&same, &x);
        EXPECT_EQ(call_on_thread_stack([](int a, int& b) { return a + ++b; }, 5, x), 7);
        auto moved = call_on_thread_stack([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(9));
        EXPECT_EQ(*moved, 9);
        EXPECT_EQ(call_on_thread_stack([&](const std::string& s) { return s + "!"; }, "text"), "text!");
        call_on_thread_stack([&] { x = 0; });
        EXPECT_EQ(x, 0);
    });
    struct tracked : counted<struct results_of_deep_calls> {};
    rt.run([] { call_on_thread_stack([] { return tracked(); }); });
    EXPECT_EQ(tracked::alive, 0);
}

TEST(thread_stack, exceptions_pass_through) {
    runtime rt(small_stacks(1));
    rt.run([] {
        const auto throws = [] {
            below(256 * kib, [] { throw std::runtime_error("from below"); });
        };
        for (int i = 0; i < 3; ++i) {
            try {
                call_on_thread_stack(throws);
                ADD_FAILURE() << "nothing was thrown";
            } catch (const std::runtime_error& e) {
                EXPECT_STREQ(e.what(), "from below");
                // One in flight, and others beside it on the other stack.
                call_on_thread_stack([&] {
                    EXPECT_EQ(std::uncaught_exceptions(), 0);
                    EXPECT_NE(std::current_exception(), nullptr);
                    EXPECT_THROW(throws(), std::runtime_error);
                    this_goroutine::yield();
                });
                EXPECT_STREQ(e.what(), "from below");
            }
        }
        EXPECT_FALSE(on_thread_stack());
        EXPECT_EQ(std::current_exception(), nullptr);
    });
    EXPECT_FALSE(rt.run([&] { return rt.snapshot().goroutines.at(0).locked_to_thread; }));
}

TEST(thread_stack, calls_nest) {
    runtime rt(small_stacks(1));
    rt.run([&] {
        const auto locked = [&] { return rt.snapshot().goroutines.at(0).locked_to_thread; };
        call_on_thread_stack([&] {
            const auto* outer = static_cast<const char*>(__builtin_frame_address(0));
            call_on_thread_stack([&] {
                EXPECT_TRUE(on_thread_stack());
                EXPECT_LT(static_cast<const char*>(__builtin_frame_address(0)), outer);
                EXPECT_THROW(call_on_thread_stack([] { throw 1; }), int);
            });
            EXPECT_TRUE(locked());
        });
        EXPECT_FALSE(locked());
    });
}

TEST(thread_stack, off_a_goroutine_it_is_a_call) {
    const auto self = std::this_thread::get_id();
    EXPECT_EQ(call_on_thread_stack([&] { return std::this_thread::get_id() == self ? 3 : 4; }), 3);
    EXPECT_THROW(call_on_thread_stack([] { throw 1; }), int);
}

// As a guard: also what is done after it, until the library is entered.
TEST(thread_stack, the_goroutine_keeps_its_thread) {
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt({.procs = procs, .stack_size = 64 * kib, .retake_running_after = 1ms});
        std::atomic<bool> over{false};
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 3; ++i)
            all.push_back(rt.go([&] {
                while (!over) {
                    this_goroutine::yield();
                    handoff::blocking_call([] { ::usleep(20); });
                }
            }));
        for (int i = 0; i < 6; ++i)
            all.push_back(rt.go([&, i] {
                for (std::size_t round = 0; round < scaled(60, 20); ++round) {
                    const pid_t before = this_tid();
                    pid_t inside = 0, last = 0;
                    call_on_thread_stack([&] {
                        inside = this_tid();
                        below(4 * kib * (1 + round % 50), [&] {
                            switch ((round + static_cast<std::size_t>(i)) % 6) {
                                case 0: this_goroutine::yield(); break;
                                case 1: this_goroutine::sleep_for(50us); break;
                                case 2: handoff::go([] { this_goroutine::yield(); }).join(); break;
                                case 3: handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(50); }); break;
                                case 4: rt.run([] { this_goroutine::sleep_for(10us); }); break;
                                case 5: block_until([ends = steady::now() + 2ms] { return steady::now() > ends; }); break;
                            }
                        });
                        last = this_tid();
                    });
                    EXPECT_EQ(before, inside);
                    EXPECT_EQ(inside, last);
                    EXPECT_EQ(this_tid(), last);
                    this_goroutine::yield();
                }
            }));
        for (std::size_t i = 3; i < all.size(); ++i) all[i].join();
        over = true;
        for (std::size_t i = 0; i < 3; ++i) all[i].join();
    }
}

// Many are deep at a time, at depths that change, and wait for each other there.
TEST(thread_stack, frames_survive_waiting) {
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt(small_stacks(procs));
        const int n = static_cast<int>(scaled(30, 8));
        std::vector<handoff::channel<int>> ring;
        for (int i = 0; i < n; ++i) ring.emplace_back(0);
        std::atomic<int> wrong{0};
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < n; ++i)
            all.push_back(rt.go([&, i] {
                call_on_thread_stack([&, i] {
                    for (int round = 0; round < 10; ++round) {
                        const std::size_t depth = 4 * kib * static_cast<std::size_t>(1 + (i * 7 + round * 31) % 100);
                        const bool right = below(depth, [&] {
                            if (i == 0 && round == 0) ring[1].send(0);
                            else if (i != 0 || round != 0) {
                                const int value = *ring[static_cast<std::size_t>(i)].recv();
                                if (i != n - 1 || round != 9) ring[static_cast<std::size_t>((i + 1) % n)].send(value + 1);
                            }
                        });
                        if (!right) ++wrong;
                    }
                });
            }));
        for (auto& h : all) h.join();
        EXPECT_EQ(wrong, 0);
    }
}

TEST(thread_stack, works_under_a_guard_and_around_one) {
    runtime rt(small_stacks(2));
    rt.run([] {
        handoff::blocking_call(handoff::handoff_policy::immediate, [] {
            call_on_thread_stack([] {
                handoff::go([] {}).join();   // a callback
                handoff::blocking_call([] { ::usleep(100); });
                EXPECT_TRUE(on_thread_stack());
            });
        });
        call_on_thread_stack([] {
            handoff::blocking_call(handoff::handoff_policy::immediate, [] {
                ::usleep(100);
                handoff::go([] {}).join();
            });
            this_goroutine::yield();
            EXPECT_TRUE(on_thread_stack());
        });
    });
    EXPECT_FALSE(rt.run([&] { return rt.snapshot().goroutines.at(0).locked_to_thread; }));
}

TEST(thread_stack, tie_is_not_the_callers_to_undo) {
    runtime rt(small_stacks(1));
    rt.run([&] {
        const auto locked = [&] { return rt.snapshot().goroutines.at(0).locked_to_thread; };
        call_on_thread_stack([&] {
            EXPECT_THROW(handoff::unlock_os_thread(), handoff::usage_error);
            this_goroutine::yield();
            EXPECT_TRUE(locked());
            handoff::lock_os_thread();
        });
        EXPECT_TRUE(locked());   // by its own lock
        call_on_thread_stack([&] {
            handoff::unlock_os_thread();
            EXPECT_TRUE(locked());
            EXPECT_THROW(handoff::unlock_os_thread(), handoff::usage_error);
        });
        EXPECT_FALSE(locked());
    });
}

TEST(thread_stack, cancellation_reaches_what_waits_there) {
    runtime rt(small_stacks(2));
    rt.run([] {
        handoff::task_group g;
        bool unwound = false;
        g.go([&] {
            call_on_thread_stack([&] {
                struct at_end {
                    bool& b;
                    ~at_end() { b = true; }
                } mark{unwound};
                handoff::channel<int>::nil().recv();
            });
        });
        this_goroutine::sleep_for(1ms);
        g.cancel();
        g.wait();
        EXPECT_TRUE(unwound);
    });
}

TEST(thread_stack, a_changed_rounding_mode_stays_as_after_any_call) {
    runtime rt(small_stacks(1));
    rt.run([] {
        std::fesetround(FE_UPWARD);
        call_on_thread_stack([] {
            EXPECT_EQ(std::fegetround(), FE_UPWARD);
            std::fesetround(FE_TOWARDZERO);
        });
        EXPECT_EQ(std::fegetround(), FE_TOWARDZERO);
    });
}

[[noreturn]] void overflow() {
    ::signal(SIGSEGV, SIG_DFL);   // not the sanitizer's
    runtime rt(small_stacks(1));
    handoff::spawn_options opts{.name = "digger"};
    opts.site = {"some/dir/deep.cc", 12};
    rt.go(opts, [] { call_on_thread_stack([] { below(std::size_t{1} << 40, [] {}); }); }).join();
    std::_Exit(3);
}

TEST(thread_stack, overflow_is_reported_with_the_goroutine) {
    EXPECT_EXIT(overflow(), testing::KilledBySignal(SIGSEGV),
                "goroutine [0-9]+ \"digger\" \\(deep\\.cc:12\\) has overflowed its thread's stack of [0-9]+ KiB; .*ulimit -s");
}

// There all have one thread: others run while one waits, deep, and go deep themselves.
TEST(thread_stack, in_a_simulation_others_run_meanwhile) {
    const auto run = [](std::uint64_t seed) {
        handoff::simulation sim(seed, {.stack_size = 64 * kib});
        std::string log;
        sim.run([&] {
            handoff::task_group g;
            for (int i = 0; i < 4; ++i)
                g.go([&, i] {
                    for (int round = 0; round < 3; ++round)
                        EXPECT_TRUE(call_on_thread_stack([&] {
                            return below(mib, [&] {
                                this_goroutine::sleep_for(std::chrono::seconds(1 + (i + round) % 3));
                                log += std::to_string(i);
                                this_goroutine::yield();
                            });
                        }));
                });
            g.wait();
            EXPECT_THROW(call_on_thread_stack([] { throw 1; }), int);
        });
        return log;
    };
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        const std::string log = run(seed);
        EXPECT_EQ(log.size(), 12u);
        EXPECT_EQ(run(seed), log);
    }
}

}  // namespace
