// Blocking calls that a task group or a stop token cancels: who calls the canceller, when, and how often; what
// blocking_call then throws; repetitions; the end.
#include "locks.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <pthread.h>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>

using handoff::blocking_call;
using handoff::cancel_with;
using handoff::cancelled;
using handoff::runtime;
using handoff::syscall_guard;
using handoff::task_group;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class cancellable_calls : public with_procs {};
INSTANTIATE_WITH_PROCS(cancellable_calls);

// throws_cancelled says whether f throws it.
template <class F>
bool throws_cancelled(F f) {
    try {
        f();
    } catch (const cancelled&) {
        return true;
    }
    return false;
}

// in_group runs f as the only goroutine of a group, which is given to f, and waits.
template <class F>
void in_group(runtime& rt, F f) {
    task_group g(rt);
    g.go([&] { f(g); });
    try {
        g.wait();
    } catch (const cancelled&) {
    }
}

// ---- Calls that nobody stops ---------------------------------------------------------------------------------------

TEST_P(cancellable_calls, are_as_others_if_nobody_stops_them) {
    int stops = 0;
    const auto by_all = [&](auto f) {
        std::stop_source source;
        const auto stop = [&] { ++stops; };
        f(cancel_with(stop));
        f(cancel_with(source.get_token(), stop));
        f(cancel_with(std::stop_token(), stop));
        f(cancel_with(stop).every(1ms));
        f(cancel_with(source.get_token(), stop).every(1h));
        source.request_stop();
    };
    const auto all = [&] {
        by_all([](auto by) { EXPECT_EQ(blocking_call(by, [](int a, int b) { return a + b; }, 1, 2), 3); });
        by_all([](auto by) {
            int n = 5;
            int& r = blocking_call(by, [](int& x) -> int& { return x; }, n);
            EXPECT_EQ(&r, &n);
            int&& moved = blocking_call(by, [&]() -> int&& { return std::move(n); });
            EXPECT_EQ(&moved, &n);
        });
        by_all([](auto by) {
            EXPECT_EQ(*blocking_call(by, [](std::unique_ptr<int> x) { return x; }, std::make_unique<int>(7)), 7);
        });
        by_all([](auto by) { static_assert(std::is_void_v<decltype(blocking_call(by, [] {}))>); });
        by_all([](auto by) { EXPECT_THROW(blocking_call(by, [] { throw std::range_error("call"); }), std::range_error); });
        by_all([](auto by) {
            EXPECT_EQ(blocking_call(by, ::rmdir, "/no/such/directory"), -1);
            EXPECT_EQ(handoff::last_errno(), ENOENT);
        });
        by_all([](auto by) { EXPECT_EQ(blocking_call(by, &std::string::size, std::string("four")), 4u); });
    };
    on_both(rt_, all);
    in_group(rt_, [&](task_group&) { all(); });
    EXPECT_EQ(stops, 0);
}

TEST_P(cancellable_calls, are_made_under_a_guard) {
    pipe_pair pipe;
    crowd all;
    all.go(rt_, [&] { EXPECT_EQ(blocking_call(cancel_with([] {}), [&] { return pipe.read(); }), 1); });
    const auto in_call = [&] {
        const auto now = rt_.snapshot().goroutines;
        return now.size() == 1 && now[0].state == handoff::goroutine_state::syscall;
    };
    EXPECT_EVENTUALLY(in_call());
    pipe.write();
    all.join();
}

// ---- Stops ---------------------------------------------------------------------------------------------------------

TEST_P(cancellable_calls, are_not_begun_after_a_stop) {
    int calls = 0, stops = 0;
    const auto call = [&] { ++calls; };
    const auto stop = [&] { ++stops; };
    on_both(rt_, [&] {
        std::stop_source source;
        source.request_stop();
        EXPECT_THROW(blocking_call(cancel_with(source.get_token(), stop), call), cancelled);
        EXPECT_THROW(blocking_call(cancel_with(source.get_token(), stop).every(1us), call), cancelled);
    });
    in_group(rt_, [&](task_group& g) {
        g.cancel();
        EXPECT_TRUE(throws_cancelled([&] { blocking_call(cancel_with(stop), call); }));
        blocking_call(cancel_with(std::stop_token(), stop), call);   // a token of its own
    });
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(stops, 0);
}

// A read from a pipe, which the canceller ends by writing to it.
TEST_P(cancellable_calls, are_ended_by_their_group) {
    pipe_pair pipe;
    std::atomic<pid_t> reader{0};
    std::atomic<int> stops{0};
    handoff::goroutine_id stopper = 0;
    ssize_t got = 0;
    rt_.run([&] {
        task_group g;
        g.go([&] {
            const auto stop = [&] {
                ++stops;
                stopper = this_goroutine::id();
                pipe.write();
            };
            const auto read = [&] {
                reader = this_tid();
                return got = pipe.read();
            };
            EXPECT_TRUE(throws_cancelled([&] { blocking_call(cancel_with(stop), read); }));
            EXPECT_THROW(this_goroutine::check_cancelled(), cancelled);
        });
        EXPECT_EVENTUALLY(reader != 0 && asleep(reader));
        EXPECT_EQ(stops, 0);
        g.cancel();
        EXPECT_EQ(stops, 1);
        EXPECT_EQ(stopper, this_goroutine::id());
        g.wait();
    });
    EXPECT_EQ(got, 1);   // stored by the function
    EXPECT_EQ(stops, 1);
}

// The other end is closed. On goroutines and threads, by goroutines and threads.
TEST_P(cancellable_calls, are_ended_through_a_token) {
    for (int way = 0; way < 4; ++way) {
        SCOPED_TRACE(way);
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        std::stop_source source;
        std::atomic<pid_t> reader{0};
        std::atomic<int> stops{0};
        crowd all;
        all.start(rt_, way % 2 != 0, [&] {
            const auto stop = [&] {
                ++stops;
                ::close(ends[1]);
            };
            ssize_t got = -1;
            EXPECT_TRUE(throws_cancelled([&] {
                blocking_call(cancel_with(source.get_token(), stop), [&] {
                    reader = this_tid();
                    char c;
                    do got = ::read(ends[0], &c, 1);
                    while (got < 0 && errno == EINTR);
                });
            }));
            EXPECT_EQ(got, 0);
        });
        EXPECT_EVENTUALLY(reader != 0 && asleep(reader));
        all.start(rt_, way / 2 != 0, [&] { EXPECT_TRUE(handoff::request_stop(source)); });
        all.join();
        EXPECT_EQ(stops, 1);
        ::close(ends[0]);
    }
}

TEST_P(cancellable_calls, are_ended_by_their_groups_deadline) {
    pipe_pair pipe;
    rt_.run([&] {
        const auto began = steady::now();
        steady::time_point stopped, returned;
        task_group g(20ms);
        g.go([&] {
            const auto stop = [&] {
                stopped = steady::now();
                pipe.write();
            };
            EXPECT_TRUE(throws_cancelled([&] { blocking_call(cancel_with(stop), [&] { pipe.read(); }); }));
            returned = steady::now();
        });
        EXPECT_THROW(g.wait(), handoff::deadline_exceeded);
        EXPECT_GE(stopped - began, 20ms);
        EXPECT_GE(returned, stopped);
        std::printf("deadline after 20 ms: the canceller came after %.3f ms, the call returned %.3f ms later\n",
                    std::chrono::duration<double, std::milli>(stopped - began).count(),
                    std::chrono::duration<double, std::milli>(returned - stopped).count());
    });
}

TEST_P(cancellable_calls, pass_the_exception_of_the_function) {
    std::stop_source source;
    std::atomic<bool> stopped{false};
    on_both(rt_, [&] {
        std::stop_source mine;
        const auto f = [&] {
            mine.request_stop();
            throw std::range_error("call");
        };
        EXPECT_THROW(blocking_call(cancel_with(mine.get_token(), [&] { stopped = true; }), f), std::range_error);
        EXPECT_TRUE(stopped.exchange(false));
    });
}

TEST_P(cancellable_calls, destroy_the_result_of_a_call_that_was_stopped) {
    using result = counted<struct of_calls>;
    on_both(rt_, [&] {
        std::stop_source source;
        const auto f = [&] {
            handoff::request_stop(source);
            return result();
        };
        const int made = result::made;
        EXPECT_THROW(blocking_call(cancel_with(source.get_token(), [] {}), f), cancelled);
        EXPECT_GT(result::made, made);
        EXPECT_EQ(result::alive, 0);
    });
}

TEST_P(cancellable_calls, keep_errno_when_they_are_stopped) {
    on_both(rt_, [&] {
        std::stop_source source;
        const auto f = [&] {
            handoff::request_stop(source);
            errno = EDOM;
        };
        int e = 0;
        try {
            blocking_call(cancel_with(source.get_token(), [] { errno = EBADF; }).every(1us), f);
        } catch (const cancelled&) {
            e = handoff::last_errno();
        }
        EXPECT_EQ(e, EDOM);
    });
}

// ---- Where a group cancels nothing ---------------------------------------------------------------------------------

struct in_a_destructor {
    std::function<void()> f;
    ~in_a_destructor() { f(); }
};

TEST_P(cancellable_calls, are_left_alone_by_the_group_where_it_cancels_nothing) {
    int stops = 0, returned = 0;
    const auto stop = [&] { ++stops; };
    in_group(rt_, [&](task_group& g) {
        const auto call = [&] { EXPECT_EQ(blocking_call(cancel_with(stop), [&] { return g.cancel(), ++returned; }), returned); };
        {
            const handoff::cancellation_blocker not_now;
            call();
        }
        {
            const syscall_guard outer;   // the frames of a C library may be below
            call();
        }
        try {
            const in_a_destructor unwinding{call};
            throw 7;
        } catch (int) {
        }
        EXPECT_TRUE(throws_cancelled([&] { blocking_call(cancel_with(stop), call); }));
    });
    EXPECT_EQ(returned, 3);
    EXPECT_EQ(stops, 0);
}

TEST_P(cancellable_calls, are_ended_within_a_guard_through_a_token_of_their_own) {
    rt_.run([&] {
        std::stop_source source;
        int stops = 0;
        const syscall_guard outer;
        const pid_t tid = this_tid();
        EXPECT_TRUE(throws_cancelled([&] {
            blocking_call(cancel_with(source.get_token(), [&] { ++stops; }), [&] { handoff::request_stop(source); });
        }));
        EXPECT_EQ(stops, 1);
        EXPECT_EQ(this_tid(), tid);
    });
}

// ---- Repetitions ---------------------------------------------------------------------------------------------------

std::atomic<int> interruptions{0};
static_assert(std::atomic<int>::is_always_lock_free);   // for a signal handler

// interrupts makes SIGUSR1 end system calls with EINTR.
class interrupts {
public:
    interrupts() {
        struct sigaction ours {};
        ours.sa_handler = [](int) { ++interruptions; };
        ::sigaction(SIGUSR1, &ours, &before_);
    }
    ~interrupts() { ::sigaction(SIGUSR1, &before_, nullptr); }
    interrupts(const interrupts&) = delete;
    interrupts& operator=(const interrupts&) = delete;

private:
    struct sigaction before_ {};
};

// The first signal comes before the call blocks, and is lost.
void is_interrupted(const pipe_pair& pipe, std::stop_source& source, std::atomic<bool>& inside) {
    std::atomic<pthread_t> self{};
    std::atomic<int> stops{0};
    int e = 0;
    const auto read = [&] {
        const int before = interruptions;
        self = ::pthread_self();
        inside = true;
        // Not compute_until: a thread sanitizer holds signals back there.
        EXPECT_TRUE(block_until([&] { return interruptions != before; }));
        EXPECT_EQ(pipe.read(), -1);
        e = errno;
    };
    const auto signal = [&] {
        ++stops;
        ::pthread_kill(self, SIGUSR1);
    };
    EXPECT_TRUE(throws_cancelled([&] { blocking_call(cancel_with(source.get_token(), signal).every(1ms), read); }));
    EXPECT_EQ(e, EINTR);
    EXPECT_GE(stops, 2);
}

TEST_P(cancellable_calls, are_stopped_again_until_they_return) {
    if (std::getenv("HANDOFF_TEST_SIGNALS")) GTEST_SKIP() << "other signals end the call";
    const interrupts by_signals;
    handoff::default_runtime();
    pipe_pair pipe;
    for (const bool on_thread : {false, true}) {
        SCOPED_TRACE(on_thread);
        std::stop_source source;
        std::atomic<bool> inside{false};
        crowd all;
        all.start(rt_, on_thread, [&] { is_interrupted(pipe, source, inside); });
        EXPECT_EVENTUALLY(inside.load());
        source.request_stop();
        all.join();
    }
}

// blocking_call does not return while a canceller runs: neither the first one, on the stopper's thread, nor a repetition. And
// it keeps no processor meanwhile: the canceller needs the only one.
TEST(cancellable_call, waits_for_a_canceller_that_runs) {
    auto only_from_calls = no_retakes(1);
    only_from_calls.syscall_grace = 50ms;   // longer than an exception takes to reach the end of the guard
    runtime rt(only_from_calls), elsewhere({.procs = 1});
    for (const int last : {1, 2}) {
        SCOPED_TRACE(last);
        std::stop_source source;
        std::atomic<bool> inside{false}, in_last{false}, returns{false}, over{false};
        std::atomic<int> stops{0}, overlaps{0};
        crowd all;
        all.go(rt, [&] {
            const auto stop = [&] {
                if (++stops != last) {
                    overlaps += in_last && !over;
                    return;
                }
                in_last = true;
                EXPECT_TRUE(eventually([&] { return returns.load(); }));
                for (std::size_t i = 0; i < scaled(1000); ++i) rt.run([] {});
                over = true;
            };
            const auto f = [&] {
                inside = true;
                EXPECT_TRUE(block_until([&] { return in_last.load(); }));
                returns = true;
            };
            auto by = cancel_with(source.get_token(), stop);
            EXPECT_TRUE(throws_cancelled([&] { blocking_call(last == 1 ? by : std::move(by).every(100us), f); }));
            EXPECT_TRUE(over);
        });
        EXPECT_EVENTUALLY(inside.load());
        all.start(elsewhere, last == 1, [&] { handoff::request_stop(source); });
        all.join();
        EXPECT_EQ(overlaps, 0);   // never two at a time
    }
}

// The wait for the canceller is interrupted by a signal, which errno would tell.
TEST_P(cancellable_calls, keep_errno_while_they_wait_for_a_canceller) {
    if (with_tsan) GTEST_SKIP() << "it holds signals back until the wait is over";
    const interrupts by_signals;
    for (const bool on_thread : {false, true}) {
        SCOPED_TRACE(on_thread);
        std::stop_source source;
        std::atomic<pid_t> tid{0};
        std::atomic<pthread_t> self{};
        std::atomic<bool> in_stop{false}, returns{false};
        int e = 0;
        crowd all;
        all.start(rt_, on_thread, [&] {
            const auto stop = [&] {
                in_stop = true;
                EXPECT_EVENTUALLY(returns && asleep(tid));
                const int before = interruptions;
                ::pthread_kill(self, SIGUSR1);
                EXPECT_EVENTUALLY(interruptions != before && asleep(tid));
            };
            const auto f = [&] {
                self = ::pthread_self();
                tid = this_tid();
                EXPECT_TRUE(block_until([&] { return in_stop.load(); }));
                errno = EDOM;
                returns = true;
            };
            try {
                blocking_call(cancel_with(source.get_token(), stop), f);
            } catch (const cancelled&) {
                e = handoff::last_errno();
            }
        });
        EXPECT_EVENTUALLY(tid != 0);
        source.request_stop();   // on this thread
        all.join();
        EXPECT_EQ(e, EDOM);
    }
}

TEST(cancellable_call, needs_a_runtime_to_stop_a_call_again) {
    const auto call = [](auto by) { blocking_call(std::move(by), [] {}); };
    const auto all = [&] {
        std::stop_source source;
        call(cancel_with(source.get_token(), [] {}));
        if (thrown_by<usage_error>([&] { call(cancel_with(source.get_token(), [] {}).every(1ms)); }) !=
            "handoff: cancel_with().every() off a goroutine needs the default runtime: call default_runtime() before")
            return false;
        handoff::default_runtime();
        call(cancel_with(source.get_token(), [] {}).every(1ms));
        return true;
    };
    EXPECT_IN_CHILD(all(), "");
    EXPECT_THROW(cancel_with([] {}).every(0ms), usage_error);
    EXPECT_THROW(cancel_with([] {}).every(-1ns), usage_error);
}

// ---- Races ---------------------------------------------------------------------------------------------------------

void yield_times(std::uint64_t n) {
    for (; n > 0; --n) this_goroutine::yield();
}

// What must hold whichever comes first, the stop or the call's end. The canceller refers to what is gone when blocking_call
// has returned.
class raced_calls {
public:
    // The call ends by itself, or, if it blocks, by the canceller. `again`: that is called again and again.
    void run(std::stop_source& source, std::uint64_t r, bool blocks, bool again) {
        std::optional<pipe_pair> pipe;
        if (blocks) pipe.emplace();
        auto alive = std::make_unique<std::atomic<bool>>(true);
        int stops = 0, calls = 0;
        const auto stop = [&] {
            ++stops;
            if (!*alive) ++wrong;
            if (pipe) pipe->write();
        };
        const auto f = [&] {
            ++calls;
            busy(r);
            yield_times(r / 256 % 4);
            if (pipe) pipe->read();
        };
        auto by = cancel_with(source.get_token(), stop);
        yield_times(r / 1024 % 3);
        const bool was_stopped = throws_cancelled([&] { blocking_call(again ? std::move(by).every(1us) : std::move(by), f); });
        *alive = false;
        const bool right = was_stopped ? (calls == 0 ? stops == 0 : stops == 1 || (again && stops > 1))
                                       : calls == 1 && stops == 0 && !blocks;
        wrong += !right;
        ++(was_stopped ? (calls == 0 ? before : during) : after);
    }
    std::atomic<int> wrong{0}, before{0}, during{0}, after{0};
};

TEST_P(cancellable_calls, race_with_stops_and_leave_nothing_behind) {
    auto random = seeded_random("cancellable_calls.race");
    handoff::default_runtime();
    const auto descriptors = descriptor_count();
    raced_calls calls;
    const std::size_t rounds = scaled(10'000 / 8, 200);
    crowd all;
    for (int who = 0; who < 8; ++who) {
        all.start(who % 2 ? rt_ : other_, who >= 6, [&, seed = random(), who] {
            std::mt19937_64 mine(seed);
            for (std::size_t i = 0; i < rounds; ++i) {
                std::stop_source source;
                const std::uint64_t r = mine(), until_stop = mine();
                auto stopper = (i % 2 ? rt_ : other_).go([&] {
                    busy(until_stop);
                    yield_times(until_stop / 256 % 8);
                    handoff::request_stop(source);
                });
                calls.run(source, r, i % 8 == 0, who % 4 == 0);
                stopper.join();
            }
        });
    }
    all.join();
    EXPECT_EQ(calls.wrong, 0);
    std::printf("stops before the call: %d, during it: %d, after it: %d\n", calls.before.load(), calls.during.load(),
                calls.after.load());
    EXPECT_GT(calls.during, 0);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0 && other_.stats().goroutines == 0);
    EXPECT_LT(descriptor_count(), descriptors + rounds);   // there were twice as many; monitors keep some for a while
}

// ---- Simulations ---------------------------------------------------------------------------------------------------

// The function waits in the library, and lets others run meanwhile.
TEST(cancellable_call, in_simulations_comes_to_an_end_in_all_orders) {
    int before = 0, during = 0, after = 0;
    handoff::simulation::explore(handoff::exploration{.count = 600}, [&] {
        handoff::channel<int> ch(1);
        int calls = 0, stops = 0;
        bool thrown = false, over = false;
        task_group g;
        g.go([&] {
            const auto stop = [&] {
                if (over) throw std::logic_error("a canceller after its call");
                ++stops;
                ch.try_send(1);
            };
            const auto f = [&] {
                ++calls;
                this_goroutine::sleep_for(1ms);
                ch.recv();
            };
            thrown = throws_cancelled([&] { blocking_call(cancel_with(stop), f); });
            over = true;
        });
        auto sender = handoff::go([&] {
            this_goroutine::sleep_for(1ms);
            ch.try_send(2);
        });
        this_goroutine::yield();
        this_goroutine::sleep_for(std::chrono::milliseconds(calls));
        g.cancel();
        g.wait();
        sender.join();
        if (calls == 0 ? stops != 0 : thrown != (stops == 1)) throw std::logic_error("stops and exceptions do not agree");
        ++(calls == 0 ? before : thrown ? during : after);
    });
    EXPECT_GT(before, 0);
    EXPECT_GT(during, 0);
    EXPECT_GT(after, 0);
}

// A canceller whose effect is lost unless the call waits already.
TEST(cancellable_call, in_simulations_is_stopped_again_and_never_after_its_end) {
    // Repetitions come close upon each other, so that some are late.
    const handoff::exploration e{.count = 600, .each = {.time_per_step = 100us}};
    handoff::simulation::explore(e, [] {
        handoff::channel<int> ch(0);
        std::stop_source source;
        auto alive = std::make_shared<bool>(true);
        auto h = handoff::go([&] {
            {
                const auto stop = [&ch, alive] {
                    if (!*alive) throw std::logic_error("a canceller after its call");   // ends the process: it is noexcept
                    ch.try_send(1);
                };
                const auto f = [&] {
                    this_goroutine::sleep_for(3ms);
                    ch.recv();
                };
                EXPECT_TRUE(throws_cancelled([&] { blocking_call(cancel_with(source.get_token(), stop).every(1ms), f); }));
            }
            *alive = false;
            this_goroutine::sleep_for(5ms);
        });
        this_goroutine::sleep_for(1ms);
        handoff::request_stop(source);
        h.join();
    });
}

}  // namespace
