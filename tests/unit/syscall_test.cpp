// The brackets around calls that may block. Rule 3: a goroutine that comes back needs no processor until it enters the
// library; then the ways to get one, in their order.
#include "sched/section.hpp"
#include "testing.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <unistd.h>

using handoff::blocking_call;
using handoff::handoff_policy;
using handoff::runtime;
using handoff::syscall_guard;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// The ways back that were taken, but for the fast one.
struct exits {
    std::uint64_t old_idle, any_idle, queued;
    explicit exits(const runtime& rt) {
        const auto s = rt.stats();
        old_idle = s.exits_old_idle;
        any_idle = s.exits_any_idle;
        queued = s.exits_queued;
    }
    exits(std::uint64_t o, std::uint64_t a, std::uint64_t q) : old_idle(o), any_idle(a), queued(q) {}
    bool operator==(const exits&) const = default;
    friend void PrintTo(const exits& e, std::ostream* out) {
        *out << "old idle " << e.old_idle << ", any idle " << e.any_idle << ", queued " << e.queued;
    }
};

std::uint64_t handoffs(const runtime& rt) {
    const auto s = rt.stats();
    return s.handoffs_sysmon + s.handoffs_immediate + s.handoffs_unguarded + s.handoffs_computing;
}

// The processor that the calling thread holds, or -1.
int my_processor(const runtime& rt) {
    for (const auto& m : rt.snapshot().threads)
        if (m.tid == this_tid()) return m.processor;
    return -1;
}

// ---- Rule 3 --------------------------------------------------------------------------------------------------------

TEST(exitsyscall, keeps_the_processor_if_nobody_took_it) {
    runtime rt(no_retakes(2));
    rt.run([&] {
        const int p = my_processor(rt);
        for (int i = 0; i < 100; ++i) {
            { const syscall_guard g; }
            { const syscall_guard g(handoff_policy::sysmon); }
        }
        EXPECT_EQ(my_processor(rt), p);
    });
    EXPECT_EQ(rt.stats().exits_own, 200u);
    EXPECT_EQ(exits(rt), exits(0, 0, 0));
    EXPECT_EQ(handoffs(rt), 0u);
}

TEST(entering, takes_the_old_processor_if_it_is_idle) {
    runtime rt(no_retakes(2));
    rt.run([&] {
        const int p = my_processor(rt);
        occupant other(rt);
        ASSERT_TRUE(other.await_start());
        {
            const syscall_guard g(handoff_policy::immediate);
            EXPECT_TRUE(block_until([&] { return idle_processors(rt) == 1; }));
            other.release();   // its processor becomes idle later than ours, and must not be preferred
            EXPECT_TRUE(block_until([&] { return idle_processors(rt) == 2; }));
        }
        EXPECT_EQ(exits(rt), exits(0, 0, 0));   // it needs none
        EXPECT_EQ(my_processor(rt), -1);
        enter_library();
        EXPECT_EQ(exits(rt), exits(1, 0, 0));
        EXPECT_EQ(my_processor(rt), p);
    });
}

TEST(entering, takes_the_old_processor_after_the_monitor_took_it) {
    auto o = no_retakes(1);
    o.syscall_grace = 1us;
    o.syscall_retake_after = 1ms;
    runtime rt(o);
    rt.run([&] {
        {
            const syscall_guard g(handoff_policy::sysmon);
            EXPECT_TRUE(block_until([&] { return rt.stats().handoffs_sysmon == 1 && idle_processors(rt) == 1; }));
        }
        enter_library();
        EXPECT_EQ(exits(rt), exits(1, 0, 0));
    });
}

TEST(entering, takes_any_idle_processor_if_the_old_one_is_busy) {
    runtime rt(no_retakes(2));
    rt.run([&] {
        const int p = my_processor(rt);
        occupant elsewhere(rt);
        ASSERT_TRUE(elsewhere.await_start());
        occupant here(rt);   // queued on our processor, and nobody is free to steal it
        {
            const syscall_guard g(handoff_policy::immediate);
            ASSERT_TRUE(here.await_start());
            elsewhere.release();
            EXPECT_TRUE(block_until([&] { return idle_processors(rt) == 1; }));
        }
        enter_library();
        EXPECT_TRUE(here.runs());
        EXPECT_EQ(exits(rt), exits(0, 1, 0));
        EXPECT_NE(my_processor(rt), p);
    });
}

TEST(entering, queues_if_no_processor_is_idle_and_its_thread_sleeps) {
    runtime rt(no_retakes(1));
    std::atomic<pid_t> before{0}, after{0};
    std::atomic<bool> over{false};
    auto h = rt.go([&] {
        before = this_tid();
        blocking_call(handoff_policy::immediate, [&] { block_until([&] { return over.load(); }); });
        EXPECT_EQ(this_tid(), before.load());
        enter_library();
        after = this_tid();
    });
    ASSERT_EVENTUALLY(before.load() != 0 && idle_processors(rt) == 1);
    {
        occupant other(rt);
        ASSERT_TRUE(other.await_start());
        over = true;
        ASSERT_EVENTUALLY(rt.stats().exits_queued == 1);
        // It does not spin, nor wait for its old processor: its thread is one of the idle ones.
        ASSERT_EVENTUALLY(asleep(before.load()));
        ASSERT_EVENTUALLY([&] {
            for (const auto& m : rt.snapshot().threads)
                if (m.tid == before.load()) return m.state == handoff::thread_state::idle && m.goroutine == 0;
            return false;
        }());
        const auto s = rt.snapshot();
        ASSERT_EQ(s.queued_globally, 1u);
        EXPECT_EQ(after.load(), 0);
    }
    h.join();
    EXPECT_NE(after.load(), before.load());
    EXPECT_EQ(exits(rt), exits(0, 0, 1));
}

// ---- Without a processor ---------------------------------------------------------------------------------------------

handoff::goroutine_state state_of(const runtime& rt, handoff::goroutine_id id) {
    for (const auto& g : rt.snapshot().goroutines)
        if (g.who.id == id) return g.state;
    return handoff::goroutine_state::waiting;
}

// The only processor is somebody else's for good. The goroutine comes back from call after call, computes, and never waits.
TEST(without_a_processor, goes_on_after_each_call) {
    for (const handoff_policy policy : {handoff_policy::immediate, handoff_policy::sysmon, handoff_policy::adaptive}) {
        auto o = no_retakes(1);
        if (policy != handoff_policy::immediate) o.syscall_grace = 20us;
        runtime rt(o);
        pipe_pair pipe;
        std::atomic<bool> calls{false}, back{false}, go_on{false};
        std::atomic<pid_t> tid{0};
        auto g = rt.go([&] {
            calls = true;
            tid = this_tid();
            blocking_call(policy, [&] { return pipe.read(); });
            back = true;
            for (int i = 0; i < 1000; ++i) {
                const syscall_guard again(policies[i % 3]);
                const syscall_guard nested;
                EXPECT_EQ(this_tid(), tid.load());
            }
            EXPECT_EQ(my_processor(rt), -1);
            compute_until([&] { return go_on.load(); });
            EXPECT_EQ(this_tid(), tid.load());
        });
        ASSERT_EVENTUALLY(calls.load() && asleep(tid.load()));
        {
            occupant other(rt);
            ASSERT_TRUE(other.await_start());
            pipe.write();
            ASSERT_EVENTUALLY(rt.stats().exits_without == 1001);
            EXPECT_EQ(state_of(rt, g.id()), handoff::goroutine_state::without_processor);
            bool shown = false;
            for (const auto& m : rt.snapshot().threads)
                shown |= m.tid == tid.load() && m.state == handoff::thread_state::without_processor && m.processor == -1;
            EXPECT_TRUE(shown);
            go_on = true;
            ASSERT_EVENTUALLY(g.done());   // its end needs none either
        }
        g.join();
        EXPECT_EQ(rt.stats().exits_own, 0u);
        EXPECT_EQ(exits(rt), exits(0, 0, 0));
        EXPECT_EQ(rt.stats().ended_without, 1u);
        EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
    }
}

// Those that like them have blocked are begun by the thread of one that has ended, as by a pool's worker, and queue for nobody.
TEST(without_a_processor, begins_what_will_block) {
    runtime rt({.procs = 2});
    constexpr int tasks = 2'000;
    std::atomic<int> ran{0};
    rt.run([&] {
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < tasks; ++i)
            all.push_back(handoff::go([&] {
                blocking_call(::usleep, 200u);
                ++ran;
            }));
        for (auto& h : all) h.join();
    });
    EXPECT_EQ(ran.load(), tasks);
    const auto s = rt.stats();
    EXPECT_GT(s.started_without, 0u);
    EXPECT_GE(s.ended_without, s.started_without);   // none of them used the library
    EXPECT_GE(s.switches, s.spawned);
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
}

// One of them that uses the library has a processor from then on; detached ones are freed, and their outcome is destroyed.
TEST(without_a_processor, what_it_begins_may_use_the_library) {
    auto rng = seeded_random("without_a_processor.what_it_begins_may_use_the_library");
    struct tag {};
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt({.procs = procs});
        std::atomic<int> sum{0};
        handoff::channel<int> out(8);
        const int tasks = static_cast<int>(scaled(2'000));
        rt.run([&] {
            for (int i = 0; i < tasks; ++i) {
                auto h = handoff::go([&, what = rng() % 4, alive = counted<tag>()] {
                    blocking_call(::usleep, 50u);
                    if (what == 0) out.send(1);
                    else if (what == 1) handoff::go([&] { out.send(1); });
                    else if (what == 2) {
                        this_goroutine::sleep_for(10us);
                        out.send(1);
                    } else {
                        handoff::lock_os_thread();
                        out.send(1);
                        handoff::unlock_os_thread();
                    }
                });
                if (i % 2) h.detach();
            }
            for (int i = 0; i < tasks; ++i) sum += out.recv().value_or(0);
        });
        EXPECT_EQ(sum.load(), tasks);
        EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
        EXPECT_EVENTUALLY(idle_processors(rt) == procs);
    }
    EXPECT_EQ(counted<tag>::alive.load(), 0);
}

// What computes instead unlearns it. Others whose calls do block end beside them, on threads that look for more of such kinds.
TEST(without_a_processor, kinds_that_no_longer_block_are_begun_with_one_again) {
    runtime rt({.procs = 2});
    std::atomic<bool> block{true};
    std::atomic<unsigned> begun_without{0};
    const auto may_block = [&] {
        if (block) {
            blocking_call(::usleep, 200u);
            return;
        }
        // Not by a snapshot, which may wait for a lock, and so be a call that blocks.
        if (handoff::detail::is_without_p(handoff::detail::current_m()->taken.seen())) ++begun_without;
    };
    const auto wave = [&](int n) {
        begun_without = 0;
        rt.run([&] {
            std::vector<handoff::join_handle<void>> all;
            for (int i = 0; i < n; ++i) {
                all.push_back(handoff::go([] { blocking_call(::usleep, 200u); }));
                all.push_back(handoff::go([&] { may_block(); }));
            }
            for (auto& h : all) h.join();
        });
        return begun_without.load();
    };
    wave(1'000);
    block = false;
    EXPECT_EVENTUALLY(wave(100) == 0 && wave(100) == 0 && wave(100) == 0);
}

// What it learns it learns from calls that had a processor to lose.
TEST(without_a_processor, later_calls_teach_nothing) {
    auto o = no_retakes(1);
    o.syscall_grace = 20us;
    o.syscall_retake_after = 20us;
    runtime rt(o);
    rt.run([&] {
        blocking_call([&] { block_until([&] { return rt.stats().handoffs_sysmon == 1; }); });
        for (int i = 0; i < 10; ++i) const syscall_guard g;
        enter_library();
        blocking_call([&] { block_until([&] { return rt.stats().handoffs_sysmon == 2; }); });   // not handed off at once
        EXPECT_EQ(rt.stats().handoffs_immediate, 0u);
    });
}

// It has no processor to give away to others by yielding, and needs none as long as it blocks between its yields, as one that
// touches the pages of a file does; one that computes and yields takes one.
TEST(without_a_processor, yields_nothing_while_it_blocks) {
    runtime rt(no_retakes(1));
    std::atomic<bool> called{false}, occupied{false}, computes{false}, over{false};
    auto g = rt.go([&] {
        blocking_call(handoff_policy::immediate, [&] {
            called = true;
            block_until([&] { return occupied.load(); });
            ::usleep(100);   // it may have been occupied already
        });
        for (int i = 0; i < 20; ++i) {
            this_goroutine::yield();
            ::usleep(100);
        }
        EXPECT_EQ(my_processor(rt), -1);
        this_goroutine::yield();
        computes = true;
        this_goroutine::yield();
        over = true;
    });
    ASSERT_EVENTUALLY(called.load());
    {
        occupant other(rt);
        ASSERT_TRUE(other.await_start());
        occupied = true;
        ASSERT_EVENTUALLY(computes.load());
        ASSERT_EVENTUALLY(rt.stats().exits_queued == 1);
        EXPECT_FALSE(over.load());
    }
    g.join();
    EXPECT_EQ(exits(rt), exits(0, 0, 1));
}

// Where threads are short one that made call after call would keep its own from all who wait: it gives way before a call.
TEST(without_a_processor, gives_way_before_a_call_where_threads_are_short) {
    auto o = no_retakes(1);
    o.max_threads = 2;   // the monitor's, and one more
    runtime rt(o);
    rt.run([&] {
        std::atomic<bool> ran{false};
        auto other = handoff::go([&] { ran = true; });
        int calls = 0;
        for (const auto began = steady::now(); !ran && steady::now() - began < patience; ++calls)
            const syscall_guard g(handoff_policy::immediate);
        EXPECT_TRUE(ran.load());
        other.join();
    });
    EXPECT_GT(rt.stats().thread_cap_hits, 0u);
}

// For one processor that is handed off by `policy` alone. The monitor may take it also from a goroutine that is about to
// give it up, and loses its core before: there it has to wait for ever.
handoff::options handed_off_by(handoff_policy policy) {
    handoff::options o = no_retakes(1);
    if (policy == handoff_policy::sysmon) o.syscall_grace = handoff::options().syscall_grace;
    return o;
}

// Rule 1: a processor whose goroutine blocks in a guarded call goes on, whoever hands it off.
TEST(handoff, of_a_guarded_call) {
    for (const handoff_policy policy : {handoff_policy::sysmon, handoff_policy::immediate}) {
        runtime rt(handed_off_by(policy));
        pipe_pair pipe;
        std::atomic<bool> calls{false};
        auto reader = rt.go([&] {
            calls = true;
            return blocking_call(policy, [&] { return pipe.read(); });
        });
        ASSERT_EVENTUALLY(calls.load());
        for (int i = 0; i < 10; ++i) EXPECT_EQ(rt.go([] { return 1; }).join(), 1);
        EXPECT_FALSE(reader.done());
        pipe.write();
        EXPECT_EQ(reader.join(), 1);
        const auto s = rt.stats();
        const bool immediate = policy == handoff_policy::immediate;
        EXPECT_EQ(s.handoffs_immediate, immediate ? 1u : 0u);
        EXPECT_EQ(s.handoffs_sysmon, immediate ? 0u : 1u);
    }
}

TEST(handoff, latency_is_recorded) {
    for (const handoff_policy policy : {handoff_policy::sysmon, handoff_policy::immediate}) {
        runtime rt(handed_off_by(policy));
        rt.run([&] {
            std::atomic<bool> ran{false};
            auto next = handoff::go([&] { ran = true; });
            blocking_call(policy, [&] { block_until([&] { return ran.load(); }); });
        });
        const auto s = rt.stats();
        const bool immediate = policy == handoff_policy::immediate;
        EXPECT_EQ(s.handoff_latency_immediate.count(), immediate ? 1u : 0u);
        EXPECT_EQ(s.handoff_latency_sysmon.count(), immediate ? 0u : 1u);
        const auto& h = immediate ? s.handoff_latency_immediate : s.handoff_latency_sysmon;
        EXPECT_GT(h.quantile(1), 0ns);
        EXPECT_LT(h.quantile(1), patience);
    }
}

// With no work waiting the processor stays for syscall_retake_after.
TEST(handoff, waits_longer_if_nobody_needs_the_processor) {
    runtime rt({.procs = 1, .syscall_retake_after = 300ms, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        const auto start = steady::now();
        blocking_call(handoff_policy::sysmon,
                      [&] { block_until([&] { return rt.stats().handoffs_sysmon != 0; }); });
        EXPECT_GE(steady::now() - start, 300ms);
    });
    EXPECT_EQ(rt.stats().handoffs_sysmon, 1u);
}

// ---- Policies ------------------------------------------------------------------------------------------------------

// Blocks in a guarded call until its processor was given to a goroutine that waits for it.
void call_that_lasts(handoff_policy policy, std::chrono::nanoseconds at_least = 0ns) {
    enter_library();   // go() does without a processor, and then there is none to give
    std::atomic<bool> ran{false};
    auto next = handoff::go([&] { ran = true; });
    const auto start = steady::now();
    blocking_call(policy, [&] { block_until([&] { return ran.load() && steady::now() - start > at_least; }); });
    next.join();
}

TEST(adaptive_guard, learns_from_two_calls_that_lasted) {
    runtime rt({.procs = 1, .syscall_grace = 20ms, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        for (unsigned i = 1; i <= 2; ++i) {
            call_that_lasts(handoff_policy::adaptive);
            EXPECT_EQ(rt.stats().handoffs_sysmon, i);
            EXPECT_EQ(rt.stats().handoffs_immediate, 0u);
        }
        for (unsigned i = 1; i <= 5; ++i) {   // this one and all further ones
            call_that_lasts(handoff_policy::adaptive, 1ms);
            EXPECT_EQ(rt.stats().handoffs_sysmon, 2u);
            EXPECT_EQ(rt.stats().handoffs_immediate, i);
        }
        // The other policies do as they are told.
        call_that_lasts(handoff_policy::sysmon);
        EXPECT_EQ(rt.stats().handoffs_sysmon, 3u);
        // What one goroutine has learnt is nobody else's.
        handoff::go([] { call_that_lasts(handoff_policy::adaptive); }).join();
        EXPECT_EQ(rt.stats().handoffs_sysmon, 4u);
        EXPECT_EQ(rt.stats().handoffs_immediate, 5u);
    });
}

// What was learnt of a kind is expected of its next one, and of no other: here of one closure type, started at one place.
TEST(adaptive_guard, learns_of_the_kinds_that_the_program_tells) {
    runtime rt({.procs = 1, .syscall_grace = 20ms, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        const auto predicted = [&](std::uintptr_t kind) {
            const auto before = rt.stats().handoffs_immediate;
            handoff::go(handoff::spawn_options{.kind = kind}, [] { call_that_lasts(handoff_policy::adaptive); }).join();
            return rt.stats().handoffs_immediate - before;
        };
        EXPECT_EQ(predicted(1), 0u);
        EXPECT_EQ(predicted(1), 0u);
        EXPECT_EQ(predicted(1), 1u);
        EXPECT_EQ(predicted(2), 0u);
        EXPECT_EQ(predicted(1), 1u);
    });
}

TEST(adaptive_guard, unlearns_from_calls_that_return_at_once) {
    runtime rt({.procs = 1, .syscall_grace = 20ms, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        for (int i = 0; i < 4; ++i) call_that_lasts(handoff_policy::adaptive, 25ms);
        ASSERT_EQ(rt.stats().handoffs_immediate, 2u);
        int calls = 0;
        // On a machine that is busy elsewhere one or another may seem to last.
        EXPECT_TRUE(eventually([&] {
            const auto before = rt.stats().handoffs_immediate;
            { const syscall_guard g; }
            ++calls;
            return rt.stats().handoffs_immediate == before;
        }));
        EXPECT_GE(calls, 3);   // from 3 down to 1
        const auto before = handoffs(rt);
        const auto own = rt.stats().exits_own;
        for (int i = 0; i < 100; ++i) const syscall_guard g;
        EXPECT_EQ(handoffs(rt) - before + rt.stats().exits_own - own, 100u);
    });
}

TEST(adaptive_guard, does_not_unlearn_from_calls_that_end_because_they_were_handed_off) {
    runtime rt({.procs = 1, .syscall_grace = 20ms, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        const auto learn = [] { for (int i = 0; i < 4; ++i) call_that_lasts(handoff_policy::adaptive, 25ms); };
        learn();
        for (int quick = 0; quick < 20;) {
            enter_library();   // neither a join of who has ended nor go() gets it a processor to hand off
            const auto before = rt.stats().handoffs_immediate;
            std::atomic<bool> has_run{false};
            auto other = handoff::go([&] { has_run.store(true); });
            const auto start = steady::now();
            {
                const syscall_guard g;
                while (!has_run.load()) {}   // it can only run on the processor that is handed off
            }
            const bool was_quick = steady::now() - start < 5ms;   // a quarter of the grace
            other.join();
            ASSERT_EQ(rt.stats().handoffs_immediate, before + 1) << "in call " << quick;
            // The other thread did not get a core for so long: the library takes it for a computation, and is right.
            if (was_quick) ++quick;
            else learn();
        }
    });
}

void compute_for(std::chrono::nanoseconds d) {
    compute_until([until = steady::now() + d] { return steady::now() >= until; });
}

TEST(adaptive_guard, unlearns_from_calls_that_compute) {
    runtime rt({.procs = 1, .syscall_grace = 20ms, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        for (int i = 0; i < 4; ++i) call_that_lasts(handoff_policy::adaptive, 25ms);
        const auto before = rt.stats().handoffs_immediate;
        for (int i = 0; i < 20; ++i) {
            enter_library();
            std::atomic<bool> has_run{false};
            auto other = handoff::go([&] { has_run.store(true); });   // a call that was merely quick would tell little
            blocking_call([] { compute_for(6ms); });
            other.join();
        }
        // From 3 down to 1; more, if the machine kept one of them for ten times the grace.
        EXPECT_GE(rt.stats().handoffs_immediate - before, 2u);
        EXPECT_LT(rt.stats().handoffs_immediate - before, 15u);
    });
}

TEST(adaptive_guard, keeps_handing_off_long_computations) {
    runtime rt({.procs = 1, .syscall_grace = 100us, .unguarded_grace = 1h, .retake_running_after = 1h});
    rt.run([&] {
        for (int i = 0; i < 4; ++i) call_that_lasts(handoff_policy::adaptive, 1ms);
        for (int i = 0; i < 10; ++i) {
            const auto before = rt.stats().handoffs_immediate;
            blocking_call([] { compute_for(2ms); });
            enter_library();   // it needs a processor to give away
            EXPECT_EQ(rt.stats().handoffs_immediate, before + 1) << "in call " << i;
        }
    });
}

// ---- Nesting, and the library inside a call ------------------------------------------------------------------------

TEST(guard, nests) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        for (const handoff_policy outer : policies)
            for (const handoff_policy inner : policies) {
                enter_library();
                const auto before = rt.stats().exits_own + rt.stats().exits_without;
                const auto given = rt.stats().handoffs_immediate;
                {
                    const syscall_guard a(outer);
                    {
                        const syscall_guard b(inner);
                        const syscall_guard c;
                    }
                    EXPECT_EQ(rt.stats().exits_own + rt.stats().exits_without, before) << "the inner one ended the call";
                    EXPECT_EQ(idle_processors(rt), outer == handoff_policy::immediate ? 1u : 0u);
                }
                EXPECT_EQ(rt.stats().handoffs_immediate - given, outer == handoff_policy::immediate ? 1u : 0u);
            }
    });
}

TEST(guard, lets_its_goroutine_use_the_library) {
    for (const handoff_policy policy : policies) {
        runtime rt({.procs = 1, .unguarded_grace = 1h, .retake_running_after = 1h});
        rt.run([&] {
            for (int i = 0; i < 20; ++i) {
                const syscall_guard outer(policy);
                EXPECT_EQ(handoff::go([] { return 5; }).join(), 5);
                this_goroutine::yield();
                this_goroutine::sleep_for(100us);
                std::atomic<bool> ran{false};   // under a guard we go on beside the others, also with one processor
                handoff::go([&] { ran = true; });
                while (!ran) this_goroutine::yield();
                EXPECT_THROW(handoff::go([] { throw 1; }).join(), int);
                EXPECT_EQ(rt.run([] { return blocking_call([] { return 6; }); }), 6);
                {
                    const syscall_guard inner;
                    this_goroutine::yield();
                }
                EXPECT_NE(this_goroutine::id(), 0u);
                // Still in the call: a goroutine that waits for the processor gets it.
                std::atomic<bool> other_ran{false};
                auto other = handoff::go([&] { other_ran = true; });
                EXPECT_TRUE(block_until([&] { return other_ran.load(); }));
            }
            // And no longer: only the fast path is left.
            const auto before = handoffs(rt);
            handoff::go([] {}).join();
            EXPECT_EQ(handoffs(rt), before);
        });
    }
}

TEST(guard, ends_with_its_goroutine) {
    for (const handoff_policy policy : policies) {
        for (const bool retaken : {false, true}) {
            runtime rt({.procs = 1, .unguarded_grace = 1h, .retake_running_after = 1h});
            const auto body = [&](bool fails) {
                handoff::entersyscall(policy);
                std::atomic<bool> ran{!retaken};
                auto other = retaken ? rt.go([] {}) : handoff::join_handle<void>();
                // Inside the call spawning took the processor back; wait for its loss.
                block_until([&] { return !retaken || other.done(); });
                if (fails) throw std::runtime_error("in the call");
                return this_goroutine::id();
            };
            for (int i = 0; i < 10; ++i) {
                auto h = rt.go(body, false);
                const auto id = h.id();
                EXPECT_EQ(h.join(), id);
                EXPECT_THROW(rt.run(body, true), std::runtime_error);
                // The next goroutine on that thread is in no call.
                rt.run([&] {
                    const auto before = rt.stats().exits_own;
                    { const syscall_guard g(handoff_policy::sysmon); }
                    EXPECT_EQ(rt.stats().exits_own, before + 1);
                });
            }
        }
    }
}

TEST(guard, exit_without_enter_is_said_and_does_nothing) {
    runtime rt({.procs = 1});
    testing::internal::CaptureStderr();
    const auto id = rt.run([] {
        handoff::exitsyscall();
        { const syscall_guard g; }
        handoff::exitsyscall();
        return this_goroutine::id();
    });
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(said, "handoff: exitsyscall without entersyscall in goroutine " + std::to_string(id) + "\n");
    EXPECT_EQ(rt.run([] { return blocking_call([] { return 1; }); }), 1);
}

TEST(guard, exits_without_enter_are_said_ever_more_rarely) {
    runtime rt({.procs = 2});
    testing::internal::CaptureStderr();
    {
        handoff::task_group all(rt);
        for (int i = 0; i < 8; ++i)
            all.go([] {
                for (int n = 0; n < 25; ++n) handoff::exitsyscall();
            });
        all.wait();
    }
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 3) << said;
    EXPECT_NE(said.find(" (10 times so far)\n"), said.npos) << said;
    EXPECT_NE(said.find(" (100 times so far)\n"), said.npos) << said;
}

// Rule 5: on a thread that is no goroutine the brackets do nothing.
TEST(guard, does_nothing_on_a_foreign_thread) {
    runtime rt({.procs = 1});
    testing::internal::CaptureStderr();
    std::thread foreign([&] {
        for (const handoff_policy policy : policies) {
            const syscall_guard g(policy);
            const syscall_guard nested(policy);
            EXPECT_EQ(rt.run([] { return 1; }), 1);
            EXPECT_EQ(blocking_call(policy, [] { return 2; }), 2);
        }
        handoff::entersyscallblock();
        handoff::exitsyscall();
        handoff::exitsyscall();
        errno = EDOM;
        { const syscall_guard g; }
        EXPECT_EQ(errno, EDOM);
    });
    foreign.join();
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(rt.stats().exits_own, 0u);
    EXPECT_EQ(handoffs(rt), 0u);
}

// ---- blocking_call -------------------------------------------------------------------------------------------------

TEST(blocking_call, returns_what_the_call_returned) {
    runtime rt({.procs = 2});
    rt.run([] {
        for (const handoff_policy policy : policies) {
            EXPECT_EQ(blocking_call(policy, [](int a, int b) { return a + b; }, 1, 2), 3);
            int n = 5;
            int& r = blocking_call(policy, [](int& x) -> int& { return x; }, n);
            EXPECT_EQ(&r, &n);
            const auto p = blocking_call(policy, [](std::unique_ptr<int> x) { return x; }, std::make_unique<int>(7));
            EXPECT_EQ(*p, 7);
            static_assert(std::is_void_v<decltype(blocking_call(policy, [] {}))>);
            EXPECT_THROW(blocking_call(policy, [] { throw std::range_error("call"); }), std::range_error);
        }
        EXPECT_EQ(blocking_call(::getpid), ::getpid());
        EXPECT_EQ(blocking_call(&std::string::size, std::string("four")), 4u);
    });
}

TEST(blocking_call, keeps_errno) {
    runtime rt(no_retakes(1));
    rt.run([] {
        for (const handoff_policy policy : policies) {
            EXPECT_EQ(blocking_call(policy, ::close, -1), -1);
            EXPECT_EQ(handoff::last_errno(), EBADF);
            EXPECT_EQ(blocking_call(policy, ::rmdir, "/no/such/directory"), -1);
            EXPECT_EQ(handoff::last_errno(), ENOENT);
        }
    });
}

TEST(blocking_call, brings_errno_to_the_thread_where_its_goroutine_goes_on) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        for (int i = 0; i < 10; ++i) {
            const pid_t before = this_tid();
            EXPECT_EQ(call_and_migrate(rt, [&] { return i % 2 ? ::close(-1) : ::rmdir("/no/such/directory"); }), -1);
            EXPECT_EQ(handoff::last_errno(), i % 2 ? EBADF : ENOENT);
            EXPECT_NE(this_tid(), before);
        }
    });
}

TEST(blocking_call, brings_an_exception_to_the_thread_where_its_goroutine_goes_on) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        const pid_t before = this_tid();
        EXPECT_THROW(call_and_migrate(rt, [] { throw std::runtime_error("from the call"); }), std::runtime_error);
        EXPECT_NE(this_tid(), before);
        EXPECT_EQ(std::uncaught_exceptions(), 0);
    });
}

}  // namespace
