// operator new fails: what needs memory throws std::bad_alloc, has done nothing, and goes on later. Each test lets the
// first allocation of an operation fail, then the second, until it needs no more.
#include "fault.hpp"

#include "timer/timer_heap.hpp"

#include <array>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <system_error>
#include <vector>

namespace {

using namespace fault;

// fail_each calls op() with its first, second, ... allocation on this thread refused, until it gets by; returns how many
// could be refused. What it throws then must be bad_alloc. After each attempt it calls check().
template <class Op, class Check>
unsigned fail_each(Op op, Check check) {
    for (unsigned n = 0;; ++n) {
        bool refused = false, other = false;
        {
            const injection refuse(site::allocation, {.error = ENOMEM, .skip = n, .times = 1, .only_here = true});
            try {
                op();
            } catch (const std::bad_alloc&) {
            } catch (...) {
                other = true;
            }
            refused = refuse.met() != 0;
        }
        EXPECT_FALSE(other) << "another exception at allocation " << n;
        check();
        if (!refused || n > 10'000) return n;
    }
}
template <class Op>
unsigned fail_each(Op op) {
    return fail_each(op, [] {});
}

// on_goroutine runs f as a goroutine that stays on its thread.
template <class F>
void on_goroutine(runtime& rt, F f) {
    const hang_alarm alarm(&rt);
    rt.run([&f] {
        handoff::lock_os_thread();
        f();
        handoff::unlock_os_thread();
    });
}

struct closure_tag {};
struct large_closure {
    counted<closure_tag> c;
    std::array<char, 200> bytes{};
    std::atomic<unsigned>* ran;
    void operator()() const { ++*ran; }
};

// spawn_many spawns n goroutines, more than the free Gs that there are; counts those that were spawned, and waits for them.
void spawn_many(runtime& rt, unsigned n, std::atomic<unsigned>& spawned, std::atomic<unsigned>& ran) {
    const large_closure f{{}, {}, &ran};
    std::vector<handoff::join_handle<void>> all;
    struct joiner {
        std::vector<handoff::join_handle<void>>& all;
        ~joiner() {
            for (auto& h : all) h.join();
        }
    } at_end{all};
    all.reserve(2 * n);
    for (unsigned i = 0; i < n; ++i) {
        all.push_back(rt.go(handoff::spawn_options{.name = "a name that does not fit into a small string"}, f));
        ++spawned;
        all.push_back(rt.go(f));
        ++spawned;
    }
}

TEST(allocation, spawn_throws_and_has_spawned_nothing) {
    // From outside, and from a goroutine; with fresh stores of Gs, so that these grow.
    for (const bool inside : {false, true}) {
        std::atomic<unsigned> spawned{0}, ran{0};
        const auto try_it = [&](unsigned n) {
            runtime rt({.procs = 1});
            const hang_alarm alarm(&rt);
            bool refused = false;
            const auto body = [&] {
                const injection refuse(site::allocation, {.error = ENOMEM, .skip = n, .times = 1, .only_here = true});
                try {
                    spawn_many(rt, 100, spawned, ran);
                } catch (const std::bad_alloc&) {
                }
                refused = refuse.met() != 0;
            };
            if (inside) on_goroutine(rt, body);
            else body();
            return refused;
        };
        unsigned n = 0;
        for (; try_it(n); ++n) {
            EXPECT_EQ(spawned, ran);
            EXPECT_EQ(counted<closure_tag>::alive, 0);
        }
        EXPECT_GT(n, 300u);   // two closures and a name each, and some chunks
        EXPECT_EQ(spawned, ran);
    }
}

// A value whose move may throw lives in a box.
struct boxed_value {
    boxed_value() = default;
    boxed_value(const boxed_value&) = default;
    boxed_value(boxed_value&& other) noexcept(false) : c(other.c), number(other.number) {}
    boxed_value& operator=(const boxed_value&) = default;
    counted<boxed_value> c;
    int number = 7;
};

TEST(allocation, channels_throw_and_lose_no_value) {
    runtime rt({.procs = 1});
    on_goroutine(rt, [] {
        EXPECT_EQ(fail_each([] { handoff::channel<int>(4); }), 2u);
        handoff::channel<boxed_value> ch(2);
        boxed_value v;
        v.number = 42;
        EXPECT_GE(fail_each([&] { ch.send(v); }, [&] { EXPECT_LE(ch.len(), 1u); }), 1u);
        EXPECT_EQ(ch.len(), 1u);
        EXPECT_EQ(ch.recv().value_or(boxed_value{}).number, 42);
        EXPECT_EQ(counted<boxed_value>::alive, 1);
    });
}

// ---- Waiting with a limit needs a place in the heap of timers -----------------------------------------------------------

TEST(allocation, timed_waits_throw_or_keep_their_time) {
    // A fresh runtime for each, whose heaps are empty; more goroutines than the heap grows by at once.
    handoff::channel<int> never(0);
    handoff::mutex held, lock;
    handoff::condition_variable cv;
    handoff::counting_semaphore<> none(0);
    std::lock_guard hold(held);
    const std::vector<std::function<void()>> waits = {
        [] { handoff::this_goroutine::sleep_for(1ms); },
        [&] { (void)never.recv_for(1ms); },
        [&] { (void)never.send_for(1, 1ms); },
        [&] { (void)held.try_lock_for(1ms); },
        [&] { (void)none.try_acquire_for(1ms); },
        [&] {
            std::unique_lock own(lock);
            cv.wait_for(own, 1ms);
            EXPECT_TRUE(own.owns_lock());
        },
        [&] { handoff::select(handoff::on_recv(never), handoff::on_timeout(1ms)); },
        [] {
            auto h = handoff::go([] {
                for (const auto end = steady::now() + 3ms; steady::now() < end;) handoff::this_goroutine::yield();
            });
            (void)h.wait_for(1ms);
            h.join();
        },
    };
    for (const auto& wait : waits) {
        std::atomic<unsigned> waited{0}, threw{0};
        constexpr unsigned n = 40;
        for (unsigned skip = 0; skip < 6; ++skip) {
            runtime rt({.procs = 2});
            const hang_alarm alarm(&rt);
            std::vector<handoff::join_handle<void>> all;
            for (unsigned i = 0; i < n; ++i)
                all.push_back(rt.go([&] {
                    try {
                        wait();
                        ++waited;
                    } catch (const std::bad_alloc&) {
                        ++threw;
                    }
                }));
            const injection refuse(site::allocation, {.error = ENOMEM, .skip = skip, .times = 3});
            for (auto& h : all) h.join();
        }
        EXPECT_EQ(waited + threw, 6 * n);
    }
}

TEST(allocation, timers_throw_and_are_stopped_then) {
    runtime rt({.procs = 1});
    std::atomic<unsigned> ran{0};
    on_goroutine(rt, [&] {
        EXPECT_GE(fail_each([&] {
            std::vector<handoff::timer> all;
            for (int i = 0; i < 20; ++i) all.emplace_back(1h, [&ran, pad = std::array<char, 64>{}] { ran += 1 + pad[0]; });
        }), 20u);
        EXPECT_GE(fail_each([] {
            handoff::ticker every(1h);
            (void)handoff::after(1h);
        }), 2u);
        // One that could not be started is stopped; started again it works.
        handoff::timer t(1h);
        fail_each([&] { t.reset(1ms); });
        EXPECT_TRUE(t.chan().recv());
    });
    EXPECT_EQ(ran, 0u);
}

// A timer's function needs a goroutine; where there is no memory for one it is tried again.
TEST(allocation, timer_functions_run_once_there_is_memory) {
    std::atomic<unsigned> ran{0};
    constexpr unsigned n = 200;
    runtime rt({.procs = 1});
    const hang_alarm alarm(&rt);
    rt.run([&] {
        std::vector<handoff::timer> all;
        handoff::latch refused(1);   // until then each keeps its G: those that end leave one for others
        for (unsigned i = 0; i < n; ++i)
            all.emplace_back(1h, [&] {
                refused.wait();
                ++ran;
            });
        {
            const injection refuse(site::allocation, {.error = ENOMEM});
            for (auto& t : all) t.reset(0ns);
            for (int i = 0; i < 20; ++i) handoff::this_goroutine::yield();
            EXPECT_GT(refuse.met(), 0u);
        }
        refused.count_down();
        EXPECT_EVENTUALLY(ran == n);
    });
    EXPECT_EQ(ran, n);
}

// ---- Groups, variables, select -------------------------------------------------------------------------------------------

TEST(allocation, task_groups_throw_and_keep_what_was_started) {
    runtime rt({.procs = 1});
    std::atomic<int> started{0}, ended{0};
    on_goroutine(rt, [&] {
        EXPECT_GE(fail_each(
                      [&] {
                          handoff::task_group g(1h);
                          for (int i = 0; i < 30; ++i) {
                              g.go([&ended, pad = std::array<char, 100>{}] { ended += 1 + pad[0]; });
                              ++started;
                          }
                          g.wait();
                      },
                      [&] {
                          // Those of a group that did not get to wait() may not have begun.
                          EXPECT_LE(ended, started);
                      }),
                  30u);
    });
    EXPECT_GE(ended, 30);
}

// What a child throws comes out of wait(), also where there is no memory for the report.
TEST(allocation, exceptions_come_out_of_a_group_without_memory) {
    runtime rt({.procs = 1});
    const hang_alarm alarm(&rt);
    rt.run([] {
        handoff::task_group g;
        g.go(handoff::spawn_options{.name = "a name that does not fit into a small string"}, [] { throw 42; });
        int got = 0;
        {
            const injection refuse(site::allocation, {.error = ENOMEM});
            try {
                g.wait();
            } catch (int i) {
                got = i;
            }
        }
        EXPECT_EQ(got, 42);
    });
}

TEST(allocation, unhandled_exceptions_are_reported_without_memory) {
    std::atomic<int> got{0};
    std::atomic<handoff::goroutine_id> whose{0};
    runtime rt({.procs = 1, .on_unhandled_exception = [&](const handoff::goroutine_name& who, std::exception_ptr e) {
                    whose = who.id;
                    try {
                        std::rethrow_exception(e);
                    } catch (int i) {
                        got = i;
                    }
                }});
    const hang_alarm alarm(&rt);
    std::atomic<bool> runs{false}, go_on{false};
    auto h = rt.go(handoff::spawn_options{.name = "a name that does not fit into a small string"}, [&runs, &go_on] {
        runs = true;
        while (!go_on) handoff::this_goroutine::yield();
        throw 42;
    });
    const handoff::goroutine_id id = h.id();
    h.detach();
    ASSERT_EVENTUALLY(runs);
    {
        const injection refuse(site::allocation, {.error = ENOMEM});
        go_on = true;
        block_until([&got] { return got != 0; });
    }
    EXPECT_EQ(got, 42);
    EXPECT_EQ(whose, id);
}

// Unguarded calls are counted, and reported, where there is memory for it.
TEST(allocation, unguarded_calls_are_survived_without_memory) {
    std::atomic<unsigned> reported{0};
    runtime rt({.procs = 1, .retake_running_after = 1ms, .on_unguarded_call = [&](const auto&) { ++reported; }});
    const hang_alarm alarm(&rt);
    const handoff_test::pipe_pair pipe;
    // A call that is over once it has lost its processor; again if the thread was kept from running before the call, and
    // lost it there.
    const auto block = [&](bool without_memory) {
        for (bool taken = false; !taken;) {
            const auto before = rt.stats();
            auto call = rt.go([&] {
                std::optional<injection> refuse;
                if (without_memory) refuse.emplace(site::allocation, fault::plan{.error = ENOMEM});
                pipe.read();
                handoff::this_goroutine::yield();   // settles up
            });
            EXPECT_EVENTUALLY(rt.stats().handoffs_unguarded + rt.stats().handoffs_computing >
                              before.handoffs_unguarded + before.handoffs_computing);
            pipe.write();
            call.join();
            taken = rt.stats().handoffs_unguarded > before.handoffs_unguarded;
        }
    };
    block(true);
    EXPECT_EQ(reported, 0u);
    EXPECT_TRUE(rt.stats().unguarded.empty());
    const auto untold = rt.stats().handoffs_unguarded;
    block(false);
    EXPECT_EQ(reported, rt.stats().handoffs_unguarded - untold);
    EXPECT_EQ(rt.stats().unguarded.size(), 1u);
}

TEST(allocation, goroutine_locals_throw) {
    static handoff::goroutine_local<counted<int>> a;
    static handoff::goroutine_local<std::string> b([] { return std::string(100, 'x'); });
    runtime rt({.procs = 1});
    on_goroutine(rt, [] {
        EXPECT_GE(fail_each([] {
            a.get();
            EXPECT_EQ(b.get().size(), 100u);
        }), 4u);
        EXPECT_TRUE(a.has() && b.has());
    });
    EXPECT_EQ(counted<int>::alive, 0);
}

TEST(allocation, select_throws_and_has_done_nothing) {
    runtime rt({.procs = 1});
    on_goroutine(rt, [] {
        std::vector<handoff::channel<int>> all;
        for (int i = 0; i < 100; ++i) all.emplace_back(1);
        all[50].send(5);
        int got = 0;
        fail_each([&] {
            if (got != 0) return;
            std::vector<handoff::select_case> cases;
            for (auto& ch : all) cases.emplace_back(handoff::on_recv(ch, [&got](std::optional<int> v) { got = v.value_or(-1); }));
            handoff::select(cases);
        });
        EXPECT_EQ(got, 5);
    });
}

// ---- Runtimes --------------------------------------------------------------------------------------------------------------

TEST(allocation, constructor_throws_and_leaves_nothing_behind) {
    const auto try_all = [] {
        unsigned n = 0;
        for (;; ++n) {
            bool refused = false, threw = false;
            {
                const injection refuse(site::allocation, {.error = ENOMEM, .skip = n, .times = 1, .only_here = true});
                try {
                    runtime rt({.procs = 3});
                } catch (const std::bad_alloc&) {
                    threw = true;
                } catch (const std::system_error& e) {
                    threw = e.code().value() == ENOMEM;   // of a thread
                }
                refused = refuse.met() != 0;
            }
            if (!refused) break;
            // Otherwise it could do without, as after reading files.
            EXPECT_TRUE(threw) << n;
        }
        EXPECT_GT(n, 5u);
    };
    leaves_nothing_behind(static_cast<unsigned>(scaled(20, 5)), try_all);
}

TEST(allocation, set_procs_throws_and_may_be_called_again) {
    for (unsigned n = 0;; ++n) {
        runtime rt({.procs = 1});
        const hang_alarm alarm(&rt);
        bool refused = false;
        std::vector<handoff::join_handle<void>> sleepers;
        for (int i = 0; i < 20; ++i) sleepers.push_back(rt.go([] { handoff::this_goroutine::sleep_for(20ms); }));
        for (const unsigned procs : {5u, 2u, 7u, 1u}) {
            {
                const injection refuse(site::allocation, {.error = ENOMEM, .skip = n, .times = 1, .only_here = true});
                try {
                    rt.set_procs(procs);
                } catch (const std::bad_alloc&) {
                }
                refused |= refuse.met() != 0;
            }
            EXPECT_EQ(do_some_of_everything(rt, 16), 16u);
            rt.set_procs(procs);
            EXPECT_EQ(rt.procs(), procs);
        }
        for (auto& h : sleepers) h.join();
        if (!refused) break;
    }
}

// A heap that takes over another's timers without memory for them keeps them all the same: they are due in time, can be
// removed, and move on.
TEST(allocation, heaps_of_timers_merge_without_memory) {
    using handoff::detail::timer;
    using handoff::detail::timer_heap;
    constexpr int n = 100;
    const auto count_due = [](timer_heap& h, std::int64_t now) {
        unsigned none;
        int due = 0;
        for (timer* t = h.take_due(now, 2 * n, nullptr, none); t; t = t->next_due) {
            EXPECT_LE(t->when, now);
            ++due;
        }
        return due;
    };
    std::vector<timer> all(n + 1);
    timer_heap from, to, last;
    for (int i = 0; i < n; ++i) {
        all[i].when = 1000 + i;
        from.add(&all[i]);
    }
    all[n].when = 1050;
    to.add(&all[n]);
    {
        const injection refuse(site::allocation, {.error = ENOMEM});
        from.move_all(to);
        EXPECT_GT(refuse.met(), 0u);
    }
    EXPECT_EQ(from.first(), handoff::os::never);
    EXPECT_EQ(from.size(), 0u);
    EXPECT_EQ(to.first(), 1000);
    EXPECT_EQ(to.size(), n + 1u);
    EXPECT_EQ(count_due(to, 1009), 10);
    EXPECT_EQ(to.first(), 1010);
    for (int i = 10; i < 20; ++i) EXPECT_TRUE(to.remove(&all[i]));
    EXPECT_FALSE(to.remove(&all[10]));
    EXPECT_EQ(to.first(), 1020);
    {
        const injection refuse(site::allocation, {.error = ENOMEM});
        to.move_all(last);
    }
    EXPECT_EQ(last.size(), n + 1u - 20);
    EXPECT_EQ(count_due(last, 1059), 41);   // one of `to` among them
    EXPECT_TRUE(timer_heap::remove_anywhere(&all[60]));
    EXPECT_EQ(count_due(last, 2000), 39);
    EXPECT_EQ(last.first(), handoff::os::never);
    EXPECT_EQ(last.size(), 0u);
    for (timer& t : all) EXPECT_EQ(t.heap.load(std::memory_order_relaxed), nullptr);
}

// Timers of a processor that goes are not lost.
TEST(allocation, surplus_processors_leave_their_timers_without_memory) {
    runtime rt({.procs = 4});
    const hang_alarm alarm(&rt);
    for (int round = 0; round < 20; ++round) {
        std::atomic<unsigned> woke{0};
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 64; ++i)
            all.push_back(rt.go([&woke, i] {
                for (;;) try {
                        handoff::this_goroutine::sleep_for(std::chrono::milliseconds(2 + i % 8));
                        break;
                    } catch (const std::bad_alloc&) {   // it came late, when memory was short already
                        handoff::this_goroutine::yield();
                    }
                ++woke;
            }));
        std::this_thread::sleep_for(1ms);
        {
            const injection refuse(site::allocation, {.error = ENOMEM});
            try {
                rt.set_procs(1);
            } catch (const std::bad_alloc&) {
            }
            block_until([&woke, began = steady::now()] { return woke == 64 || steady::now() - began > 5ms; });
        }
        for (auto& h : all) h.join();
        EXPECT_EQ(woke, 64u);
        rt.set_procs(4);
    }
}

TEST(allocation, reports_throw) {
    runtime rt({.procs = 2});
    handoff::channel<int> end(0);   // they are there for as long as it takes
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 40; ++i) all.push_back(rt.go([end]() mutable { (void)end.recv(); }));
    EXPECT_GT(fail_each([&] { (void)rt.snapshot(); }), 3u);
    fail_each([&] { (void)rt.stats(); });
    fail_each([&] {
        std::ostringstream text;
        text.exceptions(std::ios::badbit);
        rt.dump(text);
    });
    end.close();
    for (auto& h : all) h.join();
}

// Everything at once, and one allocation in twenty fails, on any thread. What fails is tried again.
TEST(allocation, all_is_done_in_the_end_however_often_it_fails) {
    auto random = seeded_random("allocation");
    set_seed(random());
    for (const unsigned procs : {1u, 3u}) {
        runtime rt({.procs = procs, .retake_running_after = 2ms, .idle_thread_timeout = 1ms});
        const hang_alarm alarm(&rt);
        std::atomic<unsigned> done{0};
        constexpr unsigned n = 100;
        {
            const injection refuse(site::allocation, {.error = ENOMEM, .chance = 0.05});
            const auto insist = [](auto f) {
                for (;;) try {
                        return f();
                    } catch (const std::bad_alloc&) {
                        handoff::this_goroutine::yield();
                    }
            };
            insist([&] {
                std::vector<handoff::join_handle<void>> all;
                insist([&] { all.reserve(n); });
                for (unsigned i = 0; i < n; ++i)
                    insist([&] {
                        all.push_back(rt.go([&, i, pad = std::array<char, 100>{}] {
                            insist([] { handoff::this_goroutine::sleep_for(300us); });
                            insist([&] { handoff::go([i, pad] { return i + static_cast<unsigned>(pad[0]); }).join(); });
                            insist([] {
                                handoff::task_group g(1h);
                                g.go([] { handoff::this_goroutine::yield(); });
                                g.wait();
                            });
                            insist([] { handoff::after(100us).recv(); });
                            insist([] {
                                handoff::channel<std::string> ch(1);
                                ch.send("a text that does not fit into a small string");
                                (void)ch.recv();
                            });
                            handoff::blocking_call(handoff_policy::immediate, [] { std::this_thread::sleep_for(100us); });
                            if (i % 8 == 0) insist([&] { rt.set_procs(1 + i % 5); });
                            if (i % 8 == 1) std::this_thread::sleep_for(3ms);   // without a guard
                            ++done;
                        }));
                    });
                for (auto& h : all) h.join();
            });
            EXPECT_GT(refuse.met(), 10u);
        }
        EXPECT_EQ(done, n);
    }
}

}  // namespace
