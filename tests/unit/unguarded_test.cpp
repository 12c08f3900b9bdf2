// Goroutines that stay away from the library without a guard, blocked or computing. README, promise 1: their
// processors go on.
#include "testing.hpp"

#include <functional>
#include <mutex>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using handoff::handoff_policy;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class call_log {
public:
    handoff::options options() {
        handoff::options o;
        o.procs = 1;
        o.on_unguarded_call = [this](const handoff::unguarded_call& c) {
            const std::lock_guard hold(lock_);
            calls_.push_back(c);
            ids_.push_back(handoff::this_goroutine::id());
        };
        return o;
    }
    std::vector<handoff::unguarded_call> calls() {
        const std::lock_guard hold(lock_);
        return calls_;
    }
    std::vector<handoff::goroutine_id> callers() {
        const std::lock_guard hold(lock_);
        return ids_;
    }

private:
    std::mutex lock_;
    std::vector<handoff::unguarded_call> calls_;
    std::vector<handoff::goroutine_id> ids_;
};

TEST(unguarded, call_loses_its_processor_and_is_named) {
    call_log log;
    runtime rt(log.options());
    pipe_pair pipe;
    std::atomic<pid_t> tid{0};
    const unsigned line = __LINE__ + 1;
    auto reader = rt.go(handoff::spawn_options{.name = "reader"}, [&] {
        tid = this_tid();
        return pipe.read();
    });
    const auto id = reader.id();
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    const auto start = steady::now();
    const auto ran_at = rt.go([] { return steady::now(); }).join();
    const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(ran_at - start);
    RecordProperty("waited_us", static_cast<int>(waited.count()));
    EXPECT_LT(waited, 300ms);   // 30 ms on a machine of its own
    EXPECT_FALSE(reader.done());
    EXPECT_EQ(rt.stats().handoffs_unguarded, 1u);
    EXPECT_TRUE(log.calls().empty());   // it is not over
    pipe.write();
    EXPECT_EQ(reader.join(), 1);

    const auto s = rt.stats();
    const std::string created = "unguarded_test.cpp:" + std::to_string(line);
    ASSERT_EQ(s.unguarded.size(), 1u);
    EXPECT_EQ(s.unguarded[0].call, "read");
    EXPECT_EQ(s.unguarded[0].created, created);
    EXPECT_EQ(s.unguarded[0].count, 1u);
    EXPECT_GE(s.unguarded[0].longest, 50us);
    EXPECT_EQ(s.unguarded[0].longest, s.unguarded[0].total);
    EXPECT_LE(s.handoff_latency_unguarded.count(), 1u);   // none if the waiting goroutine came after the retake
    const auto calls = log.calls();
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_EQ(calls[0].call, "read");
    EXPECT_EQ(calls[0].who.id, id);
    EXPECT_EQ(calls[0].who.name, "reader");
    EXPECT_EQ(calls[0].who.created, created);
    EXPECT_EQ(calls[0].blocked, s.unguarded[0].total);
    EXPECT_EQ(log.callers()[0], id);
}

// Where others wait, a call loses its processor long before a slice is over.
TEST(unguarded, call_keeps_nobody_waiting_for_a_slice) {
    runtime rt({.procs = 1, .retake_running_after = 1h});
    pipe_pair pipe;
    std::atomic<pid_t> tid{0};
    auto reader = rt.go([&] {
        tid = this_tid();
        pipe.read();
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    std::atomic<bool> ran{false};
    auto other = rt.go([&] { ran = true; });
    EXPECT_EVENTUALLY(ran);
    pipe.write();
    reader.join();
    other.join();
}

// Its thread sleeps before anybody waits for the processor: whenever that is taken, it is not from a computation.
TEST(unguarded, call_is_never_taken_for_a_computation) {
    runtime rt({.procs = 1, .retake_running_after = 5ms});
    pipe_pair pipe;
    constexpr unsigned rounds = 30;
    for (unsigned i = 1; i <= rounds; ++i) {
        std::atomic<pid_t> tid{0};
        auto reader = rt.go([&] {
            tid = this_tid();
            pipe.read();
        });
        ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
        rt.run([] {});
        // Once they are known to block, the thread of the one before may begin the next without a processor.
        EXPECT_GE(rt.stats().handoffs_unguarded + rt.stats().started_without, i);
        pipe.write();
        reader.join();
    }
    EXPECT_EQ(rt.stats().handoffs_computing, 0u);
}

TEST(unguarded, calls_are_counted_by_place_and_call) {
    call_log log;
    auto o = log.options();
    o.retake_running_after = 1ms;
    runtime rt(o);
    pipe_pair pipe;
    // On a loaded machine the thread may be kept from its core just before the call: then it is taken for computing.
    std::uint64_t reads_expected = 0;
    const auto blocks_in_read = [&] {
        std::atomic<bool> reads{false};
        handoff::stats before;
        std::thread writer([&] {
            ASSERT_EVENTUALLY(reads.load());
            ASSERT_EVENTUALLY(rt.stats().handoffs_unguarded + rt.stats().handoffs_computing !=
                              before.handoffs_unguarded + before.handoffs_computing);
            reads_expected += rt.stats().handoffs_unguarded != before.handoffs_unguarded;
            pipe.write();
        });
        enter_library();   // the thread's start may have taken so long that the processor is gone
        before = rt.stats();
        reads = true;
        pipe.read();
        enter_library();   // it settles up
        writer.join();
    };
    const auto sleeps = [&] {
        const auto before = rt.stats().handoffs_unguarded;
        block_until([&] { return rt.stats().handoffs_unguarded != before; });
    };
    const auto both = [&] {
        blocks_in_read();
        sleeps();
    };
    const unsigned line = __LINE__ + 1;
    for (int i = 0; i < 3; ++i) rt.go(both).join();
    const auto created = "unguarded_test.cpp:" + std::to_string(line);
    std::uint64_t reads = 0, all = 0;
    for (const auto& site : rt.stats().unguarded) {
        EXPECT_EQ(site.created, created);
        EXPECT_LE(site.longest, site.total);
        if (site.call == "read") reads = site.count;
        all += site.count;
    }
    EXPECT_EQ(reads, reads_expected);
    EXPECT_GE(all, reads + 3);
    EXPECT_EQ(log.calls().size(), all);
    EXPECT_EQ(rt.stats().handoffs_unguarded, all);
}

// The callback is the program's: it may use the library, and the goroutine may lose its processor there again.
TEST(unguarded, callback_may_use_the_library) {
    std::atomic<int> called{0};
    handoff::options o;
    o.procs = 1;
    o.retake_running_after = 1ms;
    o.on_unguarded_call = [&](const handoff::unguarded_call&) {
        if (called.fetch_add(1) == 0) {
            EXPECT_EQ(handoff::go([] { return 1; }).join(), 1);
            handoff::this_goroutine::sleep_for(100us);
            const handoff::syscall_guard g;
        }
    };
    runtime rt(o);
    rt.run([&] {
        block_until([&] { return rt.stats().handoffs_unguarded != 0; });
        handoff::this_goroutine::yield();
        EXPECT_EQ(called.load(), 1);
    });
}

// A guard that begins after the processor was lost ends the unguarded stay.
TEST(unguarded, call_ends_in_a_guard) {
    for (const auto policy : {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate}) {
        call_log log;
        runtime rt(log.options());
        rt.run([&] {
            block_until([&] { return rt.stats().handoffs_unguarded != 0; });
            { const handoff::syscall_guard g(policy); }
            EXPECT_EQ(log.calls().size(), 1u);
        });
    }
}

// Many that block again and again on one processor: each is found, and goes on without one; nobody waits for them to end.
TEST(unguarded, sleepers_do_not_wait_for_each_other) {
    runtime rt({.procs = 1});
    constexpr int sleepers = 50;
    std::atomic<int> asleep_now{0}, most{0};
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < sleepers; ++i)
        all.push_back(rt.go([&] {
            const int n = ++asleep_now;
            for (int m = most; m < n && !most.compare_exchange_weak(m, n);) {
            }
            EXPECT_TRUE(block_until([&] { return most == sleepers; }));
            --asleep_now;
        }));
    for (auto& h : all) h.join();
    const auto s = rt.stats();
    EXPECT_GE(s.handoffs_unguarded + s.handoffs_computing + s.started_without, std::uint64_t{sleepers - 1});
    EXPECT_EQ(rt.stats().computing_without_processor, 0u);
}

// Where no descriptor is left the thread's processor clock tells.
TEST(unguarded, call_is_found_without_a_descriptor) {
    runtime rt({.procs = 1});
    pipe_pair pipe;
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 0;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    constexpr unsigned readers = 16;
    std::atomic<unsigned> began{0};
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < readers; ++i)
        all.push_back(rt.go([&] {
            ++began;
            pipe.read();
        }));
    const auto last = rt.go([] { return 1; }).join();
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(last, 1);
    EXPECT_EQ(began.load(), readers);
    EXPECT_EQ(rt.stats().handoffs_unguarded, readers);
    EXPECT_EQ(rt.stats().handoffs_computing, 0u);
    pipe.write(readers);
    for (auto& h : all) h.join();
    ASSERT_EQ(rt.stats().unguarded.size(), 1u);
    EXPECT_EQ(rt.stats().unguarded[0].call, "unknown call");
}

// Readers that block without a guard do not keep a sleeper from going on; returns whether all was as it should be.
bool a_sleeper_goes_on_beside_readers(unsigned procs, bool descriptors = true) {
    runtime rt({.procs = procs});
    pipe_pair pipe;
    if (!descriptors) {
        const rlimit few{64, 64};
        if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return false;
        while (::dup(pipe.read_end()) >= 0) {
        }
    }
    constexpr unsigned readers = 8;
    std::atomic<unsigned> slept{0};
    std::atomic<bool> over{false};
    auto sleeper = rt.go([&] {
        while (!over) {
            this_goroutine::sleep_for(1ms);
            ++slept;
        }
    });
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < readers; ++i) all.push_back(rt.go([&] { pipe.read(); }));
    // Found one after the other, with a P or two.
    const bool found = block_until([&] { return rt.stats().handoffs_unguarded + procs > readers; });
    const unsigned then = slept;
    const bool goes_on = block_until([&] { return slept > then + 20; });
    over = true;
    pipe.write(readers);
    for (auto& h : all) h.join();
    sleeper.join();
    return found && goes_on;
}

// In a process whose main thread has left: /proc/self is that of a zombie.
[[noreturn]] void after_main(unsigned procs) {
    std::thread([procs] {
        if (!block_until([] { return thread_letter(::getpid()) == 'Z'; })) std::_Exit(2);
        std::_Exit(a_sleeper_goes_on_beside_readers(procs) ? 0 : 1);
    }).detach();
    for (;;) ::syscall(SYS_exit, 0);   // this thread alone
}

TEST(unguarded, calls_let_others_on_whatever_the_kernel_tells) {
    for (const unsigned procs : {1u, 2u, 4u}) {
        EXPECT_IN_CHILD(a_sleeper_goes_on_beside_readers(procs), "");
        EXPECT_IN_CHILD(a_sleeper_goes_on_beside_readers(procs, false), "");
        EXPECT_EXIT(after_main(procs), testing::ExitedWithCode(0), "");
    }
}

TEST(unguarded, watching_leaves_no_descriptor_behind) {
    const std::size_t before = descriptor_count();
    {
        runtime rt({.procs = 1});
        rt.run([&] {
            auto other = handoff::go([] {});
            EXPECT_TRUE(block_until([&] { return other.done(); }));
        });
        EXPECT_GE(descriptor_count(), before);
    }
    EXPECT_EQ(descriptor_count(), before);
}

// ---- Computing -----------------------------------------------------------------------------------------------------

TEST(computing, goroutine_lets_others_on) {
    runtime rt({.procs = 1});
    std::atomic<bool> runs{false}, over{false};
    auto hog = rt.go([&] {
        runs = true;
        compute_until([&] { return over.load(); });
        handoff::this_goroutine::yield();
        EXPECT_EQ(rt.stats().computing_without_processor, 0u);
    });
    ASSERT_EVENTUALLY(runs.load());
    EXPECT_EQ(rt.stats().handoffs_computing, 0u);   // nobody minds yet
    for (int i = 0; i < 10; ++i) rt.run([] {});
    auto s = rt.stats();
    EXPECT_EQ(s.handoffs_computing, 1u);
    EXPECT_EQ(s.computing_without_processor, 1u);
    EXPECT_TRUE(s.unguarded.empty());
    EXPECT_FALSE(hog.done());
    over = true;
    hog.join();
    EXPECT_EQ(rt.stats().computing_without_processor, 0u);
}

// A loop of calls into the library answers each attempt to take its processor before it can succeed, so it is asked.
template <class F>
void let_a_sleeper_on(F short_call) {
    runtime rt({.procs = 1});
    rt.run([&] {
        for (int i = 0; i < 5; ++i) {
            std::atomic<bool> stop{false};
            const auto began = steady::now();
            const auto had = process_cpu_time();   // others may want the cores
            auto sleeper = handoff::go([&] {
                handoff::this_goroutine::sleep_for(1ms);
                stop.store(true);
            });
            while (!stop.load() && steady::now() - began < 20s) short_call();
            EXPECT_LT(process_cpu_time() - had, 2s);   // without: up to 10 s
            sleeper.join();
        }
    });
}

TEST(computing, in_short_calls_lets_others_on) {
    let_a_sleeper_on([] { const handoff::syscall_guard guard; });
}

TEST(computing, with_a_mutex_lets_others_on) {
    handoff::mutex m;
    let_a_sleeper_on([&] { const std::lock_guard hold(m); });
}

// Loops that never enter the runtime, since all that they call is free or ready. One of them took its slice; with 16 a new
// goroutine waited for 3 s and more.
template <class F>
void let_a_new_one_on(F round) {
    runtime rt({.procs = 1});
    rt.run([&] {
        std::atomic<bool> stop{false};
        std::vector<handoff::join_handle<void>> loops;
        for (int i = 0; i < 16; ++i)
            loops.push_back(handoff::go([&] {
                for (const auto began = steady::now(); !stop && steady::now() - began < patience;) round();
            }));
        const auto began = process_cpu_time();   // others may want the cores
        handoff::go([&] { stop = true; }).join();
        EXPECT_LT(process_cpu_time() - began, 2s);
        for (auto& h : loops) h.join();
    });
}

TEST(computing, loops_of_free_locks_let_others_on) {
    let_a_new_one_on([] {
        static handoff::mutex m[64];
        static std::atomic<unsigned> next{0};
        thread_local unsigned mine = next++ % 64;
        const std::lock_guard hold(m[mine]);
    });
}

TEST(computing, loops_of_ready_channels_let_others_on) {
    let_a_new_one_on([ch = handoff::channel<int>(64)] {
        if (!ch.try_send(1)) (void)ch.try_recv();
    });
}

TEST(computing, loops_of_free_semaphores_let_others_on) {
    let_a_new_one_on([] {
        static handoff::counting_semaphore<> permits(1000);
        permits.acquire();
        permits.release();
    });
}

// Hogs come through one adaptor, as do goroutines that are none. A fresh one of another kind is not held up with theirs.
// `alike` and `other` start goroutines of two kinds, which have one closure type.
template <class Alike, class Other>
void keep_up_only_those_alike(Alike alike, Other other) {
    runtime rt({.procs = 2});
    std::atomic<bool> over{false}, other_ran{false}, alike_ran{false}, alike_was_first{false};
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 5; ++i) all.push_back(alike(rt, [&] { compute_until([&] { return over.load(); }); }));
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor >= 2);
    all.push_back(alike(rt, [&] {
        alike_ran = true;
        alike_was_first = !other_ran;
    }));
    all.push_back(other(rt, [&] { other_ran = true; }));
    EXPECT_TRUE(eventually([&] { return alike_ran && other_ran; }));
    EXPECT_FALSE(alike_was_first.load());
    over = true;
    for (auto& h : all) h.join();
}

TEST(computing, kinds_are_told_apart_as_the_program_says) {
    const auto of_kind = [](std::uintptr_t kind) {
        return [kind](runtime& rt, std::function<void()> f) {
            return rt.go(handoff::spawn_options{.kind = kind}, std::move(f));
        };
    };
    keep_up_only_those_alike(of_kind(1), of_kind(2));
}

// And without a word of the program's, by the place where they are started.
TEST(computing, kinds_are_told_apart_by_place) {
    keep_up_only_those_alike([](runtime& rt, std::function<void()> f) { return rt.go(std::move(f)); },
                             [](runtime& rt, std::function<void()> f) { return rt.go(std::move(f)); });
}

// Hogs and others that come through one function, as an executor's do, are of one kind. The others are held up with the hogs only
// until that is known, also those that were kept back before.
TEST(computing, kinds_that_mostly_do_not_are_let_on) {
    runtime rt({.procs = 2});
    std::atomic<bool> over{false};
    std::atomic<unsigned> ended{0};
    std::vector<handoff::join_handle<void>> all;
    const auto post = [&](std::function<void()> f) { all.push_back(rt.go([f = std::move(f)] { f(); })); };
    for (int i = 0; i < 4; ++i) post([&] { compute_until([&] { return over.load(); }); });
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor >= 2);
    const auto began = steady::now();
    constexpr unsigned at_once = 50, later = 20;   // of whom one would be started each 200 ms, or later
    for (unsigned i = 0; i < at_once; ++i) post([&] { ++ended; });
    EXPECT_EVENTUALLY(ended == at_once);
    for (unsigned i = 0; i < later; ++i) {
        post([&] { ++ended; });
        EXPECT_EVENTUALLY(ended == at_once + i + 1);
    }
    EXPECT_LT(steady::now() - began, 8s);
    over = true;
    for (auto& h : all) h.join();
}

// And if then hogs come, these are kept back again, and one of another kind finds a processor before one of theirs.
TEST(computing, kinds_that_mostly_do_again_are_not) {
    runtime rt({.procs = 2});
    std::atomic<bool> over{false}, other_ran{false}, alike_ran{false}, alike_was_first{false};
    std::atomic<unsigned> ended{0};
    std::vector<handoff::join_handle<void>> all;
    const auto post = [&](std::function<void()> f) { all.push_back(rt.go([f = std::move(f)] { f(); })); };
    const auto compute = [&] { compute_until([&] { return over.load(); }); };
    for (int i = 0; i < 4; ++i) post(compute);
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor >= 2);
    for (unsigned i = 0; i < 30; ++i) post([&] { ++ended; });
    EXPECT_EVENTUALLY(ended == 30);
    for (int i = 0; i < 8; ++i) post(compute);
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor >= 6);
    post([&] {
        alike_ran = true;
        alike_was_first = !other_ran;
    });
    all.push_back(rt.go([&] { other_ran = true; }));
    EXPECT_EVENTUALLY(alike_ran && other_ran);
    EXPECT_FALSE(alike_was_first.load());
    over = true;
    for (auto& h : all) h.join();
}

// Hogs that get little of the cores since others want them are hogs all the same.
TEST(computing, is_not_over_on_an_overloaded_machine) {
    runtime rt({.procs = 2});
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    for (unsigned i = 0; i < 16 * std::thread::hardware_concurrency(); ++i)
        others.emplace_back([&] { compute_until([&] { return over.load(); }); });
    std::vector<handoff::join_handle<void>> hogs;
    for (int i = 0; i < 5; ++i) hogs.push_back(rt.go([&] { compute_until([&] { return over.load(); }); }));
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor >= 2);
    int fewer = 0, looks = 0;
    for (const auto end = steady::now() + 500ms; steady::now() < end; ++looks) {
        fewer += rt.stats().computing_without_processor < 2;
        std::this_thread::sleep_for(1ms);
    }
    over = true;
    for (auto& t : others) t.join();
    for (auto& h : hogs) h.join();
    EXPECT_LT(fewer, looks / 4 + 1) << "of " << looks;
}

// One whose processor was taken while it computed, and that then blocks without a word, is not counted for ever.
TEST(computing, is_over_in_an_unguarded_call) {
    runtime rt({.procs = 1});
    std::atomic<bool> over{false};
    pipe_pair pipe;
    auto hog = rt.go([&] {
        compute_until([&] { return over.load(); });
        pipe.read();
    });
    rt.run([] {});
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor == 1);
    over = true;
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor == 0);
    EXPECT_FALSE(hog.done());
    pipe.write();
    hog.join();
}

TEST(computing, keeps_its_processor_while_nobody_waits) {
    runtime rt({.procs = 1, .retake_running_after = 1ms});
    rt.run([&] {
        const auto start = steady::now();
        compute_until([&] { return steady::now() - start > 50ms; });
    });
    EXPECT_EQ(rt.stats().handoffs_computing, 0u);
}

// A goroutine that computed without a processor and now blocks in a guarded call computes no longer.
TEST(computing, is_over_in_a_guarded_call) {
    for (const auto policy : {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate}) {
        runtime rt({.procs = 1});
        pipe_pair pipe;
        std::atomic<bool> over{false};
        auto hog = rt.go([&] {
            compute_until([&] { return over.load(); });
            handoff::blocking_call(policy, [&] { return pipe.read(); });
        });
        rt.run([] {});
        EXPECT_EVENTUALLY(rt.stats().computing_without_processor == 1);
        over = true;
        EXPECT_TRUE(eventually([&] { return rt.stats().computing_without_processor == 0; }, 5s))
            << "policy " << static_cast<int>(policy);
        EXPECT_FALSE(hog.done());
        pipe.write();
        hog.join();
        EXPECT_EQ(rt.stats().computing_without_processor, 0u);
    }
}

// Rule 1: one goroutine computes without a processor. Others of the same kind, which do not, are not held up for long,
// neither while it goes on nor after it.
TEST(computing, does_not_starve_goroutines_of_the_same_kind) {
    for (const bool goes_on : {true, false}) {
        runtime rt({.procs = 1});
        std::atomic<bool> over{false};
        std::atomic<int> ran{0};
        const auto body = [&](bool hog) {   // one type for both
            if (hog) compute_until([&] { return over.load(); });
            else ++ran;
        };
        auto hog = rt.go(body, true);
        rt.run([] {});
        EXPECT_EVENTUALLY(rt.stats().computing_without_processor == 1);
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 200; ++i) all.push_back(rt.go(body, false));
        if (!goes_on) over = true;
        EXPECT_TRUE(eventually([&] { return ran == 200; }, 10s)) << ran << " of 200 ran";
        over = true;
        hog.join();
        EXPECT_TRUE(eventually([&] { return ran == 200; }, 10s)) << ran << " of 200 ran";
        for (auto& h : all) h.join();
    }
}

// Many hogs: at first only as many as there are processors compute without one, and later the others are not starved.
TEST(computing, goroutines_without_processors_are_few_at_first) {
    constexpr unsigned procs = 2, hogs = 8;
    constexpr auto slice = 50ms;
    runtime rt({.procs = procs, .retake_running_after = slice});
    std::atomic<bool> over{false};
    std::vector<handoff::join_handle<void>> all;
    const auto start = steady::now();
    for (unsigned i = 0; i < hogs; ++i)
        all.push_back(rt.go([&] { compute_until([&] { return over.load(); }); }));
    auto last = rt.go([] {});
    std::uint64_t most = 0;
    EXPECT_TRUE(eventually([&] {
        const auto now = rt.stats().computing_without_processor;
        if (steady::now() - start < 10 * slice) {
            EXPECT_LE(now, procs);
        }
        most = std::max(most, now);
        return last.done();
    }));
    EXPECT_LE(most, hogs);
    over = true;
    for (auto& h : all) h.join();
    last.join();
    EXPECT_EQ(rt.stats().computing_without_processor, 0u);
}

}  // namespace
