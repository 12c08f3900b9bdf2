// Cancellation: which waits it ends, which it leaves alone, and that nothing gets lost when it comes at the same moment
// as what was waited for.
#include "locks.hpp"

#include <functional>
#include <optional>
#include <stdexcept>

using handoff::cancellation_blocker;
using handoff::cancelled;
using handoff::channel;
using handoff::runtime;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// Something to wait for of each kind. Nothing of it ever happens by itself.
struct things {
    channel<int> empty{0}, full{1}, never = channel<int>::nil();
    handoff::mutex m{};
    handoff::condition_variable cv{};
    handoff::counting_semaphore<> semaphore{0};
    handoff::wait_group group{};
    handoff::latch latch{1};
    handoff::event event{};
    handoff::auto_reset_event auto_reset_event{};
    handoff::barrier<> barrier{2};
    handoff::join_handle<int> handle{};
    std::stop_source stop{};

    explicit things(runtime& rt) {
        full.send(7);
        group.add();
        handle = rt.go([ch = go_on]() mutable { return *ch.recv(); });
    }
    ~things() {
        go_on.send(5);
        if (handle.joinable()) {
            EXPECT_EQ(handle.join(), 5);
        }
    }
    things(const things&) = delete;
    things& operator=(const things&) = delete;

private:
    channel<int> go_on{0};
};

// A wait for a condition variable must have the lock again in the end, however it ends.
template <class F>
void with_lock(things& t, F wait) {
    std::unique_lock lock(t.m);
    try {
        wait(lock);
    } catch (...) {
        EXPECT_TRUE(lock.owns_lock());
        EXPECT_FALSE(t.m.try_lock());
        throw;
    }
}

struct point {
    const char* name;
    const char* waits_for;   // as snapshots call it
    void (*wait)(things&);
};

const point points[] = {
    {"sleep_for", "sleep", [](things&) { this_goroutine::sleep_for(1h); }},
    {"sleep_until", "sleep", [](things&) { this_goroutine::sleep_until(steady::now() + 1h); }},
    {"sleep_until by another clock", "sleep", [](things&) { this_goroutine::sleep_until(std::chrono::system_clock::now() + 1h); }},
    {"sleep_for with a token", "sleep", [](things& t) { this_goroutine::sleep_for(1h, t.stop.get_token()); }},
    {"send", "send", [](things& t) { t.empty.send(1); }},
    {"send on a full one", "send", [](things& t) { t.full.send(1); }},
    {"send with a token", "send", [](things& t) { t.full.send(1, t.stop.get_token()); }},
    {"send_for", "send", [](things& t) { t.full.send_for(1, 1h); }},
    {"recv", "receive", [](things& t) { t.empty.recv(); }},
    {"recv with a token", "receive", [](things& t) { t.empty.recv(t.stop.get_token()); }},
    {"recv_until", "receive", [](things& t) { t.empty.recv_until(steady::now() + 1h); }},
    {"for", "receive", [](things& t) { for ([[maybe_unused]] int i : t.empty) ADD_FAILURE(); }},
    {"recv of a channel that is never ready", "a channel that is never ready", [](things& t) { t.never.recv(); }},
    {"send on a channel that is never ready", "a channel that is never ready", [](things& t) { t.never.send_for(1, 1h); }},
    {"select", "select", [](things& t) { handoff::select(handoff::on_recv(t.empty), handoff::on_send(t.full, 1), handoff::on_recv(t.never)); }},
    {"select with a limit", "select", [](things& t) { handoff::select(handoff::on_recv(t.empty), handoff::on_timeout(1h), handoff::on_stop(t.stop.get_token())); }},
    {"select of nothing", "select", [](things&) { handoff::select(); }},
    {"join", "join", [](things& t) { t.handle.join(); }},
    {"join with a limit", "join", [](things& t) { t.handle.wait_for(1h); }},
    {"wait of a condition variable", "condition_variable", [](things& t) { with_lock(t, [&](auto& lock) { t.cv.wait(lock); }); }},
    {"wait with a predicate", "condition_variable", [](things& t) { with_lock(t, [&](auto& lock) { t.cv.wait(lock, [] { return false; }); }); }},
    {"wait with a token", "condition_variable", [](things& t) { with_lock(t, [&](auto& lock) { t.cv.wait(lock, t.stop.get_token(), [] { return false; }); }); }},
    {"wait_for of a condition variable", "condition_variable", [](things& t) { with_lock(t, [&](auto& lock) { t.cv.wait_for(lock, 1h); }); }},
    {"wait_for with a predicate", "condition_variable", [](things& t) { with_lock(t, [&](auto& lock) { t.cv.wait_for(lock, t.stop.get_token(), 1h, [] { return false; }); }); }},
    {"acquire", "semaphore", [](things& t) { t.semaphore.acquire(); }},
    {"acquire with a token", "semaphore", [](things& t) { t.semaphore.acquire(t.stop.get_token()); }},
    {"try_acquire_for", "semaphore", [](things& t) { EXPECT_TRUE(t.semaphore.try_acquire_for(1h)); }},
    {"acquire of several", "semaphore", [](things& t) { t.semaphore.acquire(2); }},
    {"try_acquire_for several", "semaphore", [](things& t) { EXPECT_TRUE(t.semaphore.try_acquire_for(2, 1h)); }},
    {"wait of an event", "event", [](things& t) { t.event.wait(); }},
    {"wait with a token of an event", "event", [](things& t) { t.event.wait(t.stop.get_token()); }},
    {"wait of an auto_reset_event", "event", [](things& t) { t.auto_reset_event.wait(); }},
    {"wait_for of an auto_reset_event", "event", [](things& t) { EXPECT_TRUE(t.auto_reset_event.wait_for(1h)); }},
    {"wait of a wait group", "wait_group", [](things& t) { t.group.wait(); }},
    {"wait_for of a wait group", "wait_group", [](things& t) { EXPECT_TRUE(t.group.wait_for(1h)); }},
    {"wait of a latch", "latch", [](things& t) { t.latch.wait(); }},
    {"wait_for of a latch", "latch", [](things& t) { EXPECT_TRUE(t.latch.wait_for(1h)); }},
    {"wait of a barrier", "barrier", [](things& t) { t.barrier.arrive_and_wait(); }},
};

// Nobody stands in a queue any more, and nothing was taken.
void expect_untouched(things& t) {
    EXPECT_FALSE(t.empty.try_send(1));
    EXPECT_FALSE(t.empty.try_recv());
    EXPECT_EQ(t.full.len(), 1u);
    EXPECT_EQ(t.full.try_recv(), 7);
    EXPECT_FALSE(t.full.try_recv());
    EXPECT_TRUE(t.m.try_lock());
    t.m.unlock();
    t.cv.notify_all();
    t.semaphore.release();
    EXPECT_TRUE(t.semaphore.try_acquire());
    EXPECT_FALSE(t.semaphore.try_acquire());
    t.group.done();
    t.group.wait();
    t.latch.count_down();
    t.latch.wait();
    t.event.set();
    t.event.wait();
    t.auto_reset_event.set();
    EXPECT_TRUE(t.auto_reset_event.try_wait());
    EXPECT_TRUE(t.handle.joinable());
}

// Runs f as the one goroutine of a task group of its own, made by a goroutine of rt. `during(group)` is called there
// after f has been started.
template <class F, class During>
void in_group(runtime& rt, F f, During during) {
    rt.run([&] {
        task_group g;
        g.go(std::ref(f));
        during(g);
        g.wait();
    });
}

class cancellation : public with_procs {};
INSTANTIATE_WITH_PROCS(cancellation);

TEST_P(cancellation, ends_each_wait_that_is_a_cancellation_point) {
    for (const point& p : points) {
        SCOPED_TRACE(p.name);
        things t(other_);
        bool thrown = false;
        in_group(
            rt_,
            [&] {
                EXPECT_FALSE(this_goroutine::cancelled());
                EXPECT_NE(thrown_by<cancelled>([&] { p.wait(t); }).find("cancelled"), std::string::npos);
                thrown = true;
                EXPECT_TRUE(this_goroutine::cancelled());
            },
            [&](task_group& g) {
                EXPECT_EVENTUALLY(waiting(rt_, p.waits_for) == 1);
                g.cancel();
            });
        EXPECT_TRUE(thrown);
        expect_untouched(t);
    }
}

TEST_P(cancellation, ends_waits_that_begin_after_it) {
    for (const point& p : points) {
        SCOPED_TRACE(p.name);
        things t(other_);
        const int times = p.waits_for == std::string_view("barrier") ? 1 : 2;   // there it has arrived all the same
        std::atomic<bool> begun{false};
        int thrown = 0;
        in_group(
            rt_,
            [&] {
                begun = true;
                while (!this_goroutine::cancelled()) this_goroutine::yield();
                for (int i = 0; i < times; ++i) {
                    EXPECT_THROW(p.wait(t), cancelled);
                    ++thrown;
                }
            },
            [&](task_group& g) {
                EXPECT_EVENTUALLY(begun.load());
                g.cancel();
            });
        EXPECT_EQ(thrown, times);
        expect_untouched(t);
    }
}

// The same object's other waiters are none of its business.
TEST_P(cancellation, leaves_others_waiting) {
    for (const point& p : points) {
        if (p.waits_for == std::string_view("join")) continue;   // one at a time
        SCOPED_TRACE(p.name);
        things t(other_);
        rt_.run([&] {
            task_group outsiders;
            {
                task_group g;
                outsiders.go([&] { p.wait(t); });
                EXPECT_EVENTUALLY(waiting(rt_, p.waits_for) == 1);
                if (p.waits_for == std::string_view("barrier")) g.go([&] { this_goroutine::sleep_for(1h); });
                else g.go([&] { p.wait(t); });
                EXPECT_EVENTUALLY(rt_.snapshot().goroutines.size() == 3 && waiting(rt_, p.waits_for) + waiting(rt_, "sleep") >= 2);
                g.cancel();
                g.wait();
            }
            EXPECT_EVENTUALLY(rt_.snapshot().goroutines.size() == 2);
            EXPECT_EQ(waiting(rt_, p.waits_for), 1u);
            outsiders.cancel();
            outsiders.wait();
        });
    }
}

TEST_P(cancellation, does_not_touch_goroutines_of_no_group) {
    rt_.run([&] {
        channel<int> ch(0);
        task_group g;
        handoff::join_handle<int> plain;
        g.go([&] {
            // Started by one of the group, but not of it.
            plain = handoff::go([ch]() mutable {
                const auto v = ch.recv();
                EXPECT_FALSE(this_goroutine::cancelled());
                EXPECT_FALSE(this_goroutine::stop_token().stop_possible());
                return *v;
            });
        });
        g.wait();
        g.cancel();
        EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
        ch.send(3);
        EXPECT_EQ(plain.join(), 3);
        EXPECT_FALSE(this_goroutine::cancelled());   // nor the owner
        this_goroutine::check_cancelled();
    });
}

TEST_P(cancellation, is_never_seen_without_a_group) {
    on_both(rt_, [] {
        EXPECT_FALSE(this_goroutine::cancelled());
        this_goroutine::check_cancelled();
        EXPECT_FALSE(this_goroutine::stop_token().stop_possible());
        const cancellation_blocker a, b;
        EXPECT_FALSE(this_goroutine::cancelled());
        this_goroutine::check_cancelled();
        this_goroutine::sleep_for(1ms);
    });
}

TEST_P(cancellation, is_seen_without_waiting) {
    std::atomic<bool> begun{false}, called{false};
    int checks = 0;
    in_group(
        rt_,
        [&] {
            const std::stop_token token = this_goroutine::stop_token();
            EXPECT_TRUE(token.stop_possible());
            EXPECT_FALSE(token.stop_requested());
            this_goroutine::check_cancelled();
            const std::stop_callback at_stop(token, [&] { called = true; });
            begun = true;
            compute_until([&] { return token.stop_requested(); });
            EXPECT_TRUE(this_goroutine::cancelled());
            for (int i = 0; i < 3; ++i) EXPECT_THROW(this_goroutine::check_cancelled(), cancelled);
            ++checks;
        },
        [&](task_group& g) {
            EXPECT_EVENTUALLY(begun.load());
            EXPECT_FALSE(called);
            g.cancel();
            EXPECT_TRUE(called);
        });
    EXPECT_EQ(checks, 1);
}

// Neither waiting for them, nor beginning to.
TEST_P(cancellation, does_not_end_locking) {
    struct kind {
        const char* waits_for;
        std::function<void()> hold, release, lock;
    };
    handoff::mutex m;
    handoff::shared_mutex s;
    const kind kinds[] = {
        {"mutex", [&] { m.lock(); }, [&] { m.unlock(); }, [&] { m.lock(); m.unlock(); }},
        {"mutex", [&] { m.lock(); }, [&] { m.unlock(); }, [&] { EXPECT_TRUE(m.try_lock_for(1h)); m.unlock(); }},
        {"shared_mutex", [&] { s.lock(); }, [&] { s.unlock(); }, [&] { s.lock(); s.unlock(); }},
        {"shared_mutex", [&] { s.lock(); }, [&] { s.unlock(); }, [&] { s.lock_shared(); s.unlock_shared(); }},
        {"shared_mutex", [&] { s.lock_shared(); }, [&] { s.unlock_shared(); }, [&] { s.lock(); s.unlock(); }},
    };
    for (const kind& k : kinds) {
        for (const bool cancelled_before : {false, true}) {
            SCOPED_TRACE(k.waits_for);
            std::atomic<bool> begun{false};
            bool got_it = false;
            k.hold();
            in_group(
                rt_,
                [&] {
                    begun = true;
                    if (cancelled_before)
                        while (!this_goroutine::cancelled()) this_goroutine::yield();
                    k.lock();
                    got_it = true;
                    EXPECT_THROW(this_goroutine::check_cancelled(), cancelled);
                },
                [&](task_group& g) {
                    EXPECT_EVENTUALLY(begun.load());
                    if (!cancelled_before) {
                        EXPECT_EVENTUALLY(waiting(rt_, k.waits_for) == 1);
                    }
                    g.cancel();
                    EXPECT_EVENTUALLY(waiting(rt_, k.waits_for) == 1);
                    EXPECT_FALSE(got_it);
                    k.release();
                });
            EXPECT_TRUE(got_it);
        }
    }
}

TEST_P(cancellation, does_not_end_calls) {
    for (const auto policy : {handoff::handoff_policy::sysmon, handoff::handoff_policy::immediate}) {
        pipe_pair pipe;
        std::atomic<bool> begun{false};
        ssize_t n = 0;
        in_group(
            rt_,
            [&] {
                begun = true;
                n = handoff::blocking_call(policy, [&] { return pipe.read(); });
                EXPECT_THROW(this_goroutine::sleep_for(1h), cancelled);
            },
            [&](task_group& g) {
                EXPECT_EVENTUALLY(begun.load());
                g.cancel();
                this_goroutine::sleep_for(1ms);
                EXPECT_EQ(n, 0);
                pipe.write();
            });
        EXPECT_EQ(n, 1);
    }
}

TEST_P(cancellation, does_not_end_what_does_not_wait) {
    std::atomic<bool> begun{false};
    bool over = false;
    in_group(
        rt_,
        [&] {
            begun = true;
            while (!this_goroutine::cancelled()) this_goroutine::yield();
            for (int i = 0; i < 100; ++i) this_goroutine::yield();
            handoff::go([] {}).detach();
            handoff::lock_os_thread();
            handoff::unlock_os_thread();
            channel<int> ch(1);
            EXPECT_FALSE(ch.try_recv());
            EXPECT_TRUE(ch.try_send(1));
            EXPECT_FALSE(ch.try_send(1));
            EXPECT_EQ(handoff::select(handoff::on_send(ch, 1), handoff::otherwise()), 1u);
            EXPECT_EQ(ch.try_recv(), 1);
            ch.close();
            handoff::counting_semaphore<> s(0);
            EXPECT_FALSE(s.try_acquire());
            handoff::latch l(1);
            EXPECT_FALSE(l.try_wait());
            l.count_down();
            handoff::blocking_call([] {});
            this_goroutine::sleep_for(0s);   // a yield
            over = true;
        },
        [&](task_group& g) {
            EXPECT_EVENTUALLY(begun.load());
            g.cancel();
        });
    EXPECT_TRUE(over);
}

// ---- Clean-up --------------------------------------------------------------------------------------------------------

// Waits as it dies.
template <class F>
struct at_end {
    F f;
    ~at_end() { f(); }
};
template <class F>
at_end(F) -> at_end<F>;

TEST_P(cancellation, lets_destructors_wait_while_it_unwinds) {
    std::atomic<int> cleaned{0};
    channel<int> ch(0);
    in_group(
        rt_,
        [&] {
            const at_end last{[&] {
                this_goroutine::sleep_for(1ms);
                ++cleaned;
            }};
            const at_end first{[&] {
                EXPECT_TRUE(this_goroutine::cancelled());
                this_goroutine::check_cancelled();
                EXPECT_EQ(ch.recv(), 4);
                ++cleaned;
            }};
            this_goroutine::sleep_for(1h);
        },
        [&](task_group& g) {
            EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 1);
            g.cancel();
            EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
            ch.send(4);
        });
    EXPECT_EQ(cleaned, 2);
}

// It comes while another exception is on its way, and its destructors wait.
TEST_P(cancellation, that_comes_during_unwinding_waits_for_its_end) {
    struct own {};
    std::atomic<int> steps{0};
    channel<int> ch(0);
    in_group(
        rt_,
        [&] {
            try {
                const at_end waits{[&] {
                    EXPECT_EQ(ch.recv(), 4);
                    EXPECT_EQ(ch.recv_for(1h), 5);
                    ++steps;
                }};
                throw own();
            } catch (const own&) {
                // Nothing is on its way any more.
                EXPECT_THROW(this_goroutine::check_cancelled(), cancelled);
                EXPECT_THROW(ch.recv(), cancelled);
                ++steps;
            }
        },
        [&](task_group& g) {
            EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
            g.cancel();
            ch.send(4);
            ch.send(5);
        });
    EXPECT_EQ(steps, 2);
}

// Unwinding is the goroutine's own: not that of others on its thread.
TEST_P(cancellation, is_not_held_up_by_others_that_unwind) {
    channel<int> ch(0);
    rt_.run([&] {
        task_group g;
        std::atomic<int> ended{0};
        g.go([&] {
            const at_end waits{[&] {
                cancellation_blocker b;
                ch.recv();
            }};
            this_goroutine::sleep_for(1h);
        });
        EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 1);
        for (int i = 0; i < 10; ++i)
            g.go([&] {
                const at_end counts{[&] { ++ended; }};
                if (g.cancelled()) return;
                this_goroutine::sleep_for(1h);
                ADD_FAILURE();
            });
        EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 11);
        g.cancel();
        EXPECT_EVENTUALLY(ended == 10);
        EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
        ch.send(1);
        g.wait();
    });
}

TEST_P(cancellation, is_kept_off_by_blockers) {
    channel<int> ch(0);
    int steps = 0;
    in_group(
        rt_,
        [&] {
            std::optional<cancellation_blocker> outer(std::in_place);
            EXPECT_EQ(ch.recv(), 1);   // it comes here
            EXPECT_TRUE(this_goroutine::cancelled());
            this_goroutine::check_cancelled();
            {
                const cancellation_blocker inner;
                EXPECT_EQ(ch.recv(), 2);
                this_goroutine::sleep_for(1ms);
            }
            EXPECT_EQ(ch.recv_for(1h), 3);   // one is left
            handoff::go([] { this_goroutine::sleep_for(1ms); }).join();
            EXPECT_TRUE(this_goroutine::stop_token().stop_requested());
            ++steps;
            outer.reset();
            EXPECT_THROW(this_goroutine::check_cancelled(), cancelled);
            EXPECT_THROW(this_goroutine::sleep_for(1h), cancelled);
            outer.emplace();
            EXPECT_EQ(ch.recv(), 4);   // and again
            outer.reset();
            ++steps;
            ch.recv();
            ADD_FAILURE();
        },
        [&](task_group& g) {
            EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
            g.cancel();
            EXPECT_EQ(waiting(rt_, "receive"), 1u);
            for (int i = 1; i <= 4; ++i) ch.send(i);
        });
    EXPECT_EQ(steps, 2);
}

// A token of the program's own still ends waits under a blocker.
TEST_P(cancellation, by_a_token_is_not_blocked) {
    std::stop_source stop;
    in_group(
        rt_,
        [&] {
            const cancellation_blocker b;
            EXPECT_THROW(this_goroutine::sleep_for(1h, stop.get_token()), cancelled);
            EXPECT_FALSE(this_goroutine::cancelled());
        },
        [&](task_group&) {
            EXPECT_EVENTUALLY(waiting(rt_, "sleep") == 1);
            stop.request_stop();
        });
}

// ---- At the same moment ----------------------------------------------------------------------------------------------

// Waits for a moment in user code, to meet others at ever different places.
void spin(std::uint64_t n) {
    for (; n > 0; --n) __asm__ volatile("" ::: "memory");
}

// Senders and receivers are cancelled while they meet. What was sent was received, or lies in the channel.
TEST_P(cancellation, loses_and_doubles_no_value) {
    auto rng = seeded_random("cancellation.loses_and_doubles_no_value");
    for (std::size_t round = 0; round < scaled(300, 60); ++round) {
        channel<std::uint64_t> a(rng() % 3), b(rng() % 2);
        std::atomic<std::uint64_t> sent{0}, received{0}, sum_sent{0}, sum_received{0}, next{1};
        const bool selects = rng() % 2 == 0;
        const auto pause = rng() % 20'000;
        const auto first = rng() % 2, both_at_once = rng() % 2;
        rt_.run([&] {
            task_group senders, receivers;
            for (int i = 0; i < 3; ++i) {
                senders.go([&, a, b]() mutable {
                    for (;;) {
                        const std::uint64_t v = next++;
                        if (selects) handoff::select(handoff::on_send(a, v), handoff::on_send(b, v));
                        else (v % 2 == 0 ? a : b).send(v);
                        ++sent;
                        sum_sent += v;
                    }
                });
                receivers.go([&, a, b, i]() mutable {
                    for (;;) {
                        std::optional<std::uint64_t> v;
                        if (selects || i == 2) handoff::select(handoff::on_recv(a, v), handoff::on_recv(b, v));
                        else v = (i == 0 ? a : b).recv();
                        ++received;
                        sum_received += v.value();
                    }
                });
            }
            if (pause % 4 == 0) this_goroutine::yield();
            spin(pause);
            (first ? senders : receivers).cancel();
            if (!both_at_once) (first ? senders : receivers).wait();
            (first ? receivers : senders).cancel();
            senders.wait();
            receivers.wait();
        });
        for (channel<std::uint64_t>* ch : {&a, &b}) {
            ASSERT_FALSE(ch->try_send(0) && ch->cap() == 0);
            while (auto v = ch->try_recv()) {
                if (*v == 0) continue;   // ours
                ++received;
                sum_received += *v;
            }
        }
        ASSERT_EQ(sent, received) << "round " << round;
        ASSERT_EQ(sum_sent, sum_received) << "round " << round;
    }
}

TEST_P(cancellation, swallows_no_permit) {
    auto rng = seeded_random("cancellation.swallows_no_permit");
    for (std::size_t round = 0; round < scaled(500, 100); ++round) {
        handoff::counting_semaphore<> s(0);
        std::atomic<int> acquired{0};
        const int permits = static_cast<int>(1 + rng() % 6);
        const auto pause = rng() % 5'000, between = rng() % 1'000;
        const bool by_thread = rng() % 8 == 0;
        rt_.run([&] {
            task_group g;
            for (int i = 0; i < 4; ++i)
                g.go([&, i] {
                    if (i % 2 == 0) s.acquire();
                    else if (!s.try_acquire_for(1h)) return;
                    ++acquired;
                });
            const auto release = [&] {
                for (int i = 0; i < permits; ++i) {
                    s.release();
                    spin(between);
                }
            };
            std::thread thread;
            handoff::join_handle<void> h;
            if (by_thread) thread = std::thread(release);
            else h = other_.go(release);
            spin(pause);
            g.cancel();
            g.wait();
            if (by_thread) thread.join();
            else h.join();
        });
        int left = 0;
        while (s.try_acquire()) ++left;
        ASSERT_EQ(acquired + left, permits) << "round " << round;
    }
}

// The first of two that wait is cancelled as one is notified: either it returns, or the other one does.
TEST_P(cancellation, swallows_no_notification) {
    auto rng = seeded_random("cancellation.swallows_no_notification");
    int first_won = 0, second_won = 0;
    for (std::size_t round = 0; round < scaled(400, 80); ++round) {
        handoff::mutex m;
        handoff::condition_variable cv;
        std::atomic<bool> notified_first{false}, notified_second{false};
        const auto pause = rng() % 3'000;
        const bool cancel_here = rng() % 2 == 0;
        rt_.run([&] {
            task_group g;
            g.go([&] {
                std::unique_lock lock(m);
                cv.wait(lock);
                notified_first = true;
            });
            EXPECT_EVENTUALLY(waiting(rt_, "condition_variable") == 1);
            auto second = handoff::go([&] {
                std::unique_lock lock(m);
                cv.wait(lock);
                notified_second = true;
            });
            EXPECT_EVENTUALLY(waiting(rt_, "condition_variable") == 2);
            auto elsewhere = other_.go([&] { cancel_here ? cv.notify_one() : g.cancel(); });
            spin(pause);
            cancel_here ? g.cancel() : cv.notify_one();
            elsewhere.join();
            g.wait();
            if (notified_first) {
                ++first_won;
                EXPECT_EQ(waiting(rt_, "condition_variable"), 1u);
                EXPECT_FALSE(notified_second);
                cv.notify_one();
            } else {
                ++second_won;
            }
            EXPECT_TRUE(second.wait_for(patience));
            EXPECT_TRUE(notified_second);
        });
        if (HasFailure()) break;
    }
    std::printf("the first was notified %d times, the second %d times\n", first_won, second_won);
}

// All at once, in waits of all kinds, some of them about to begin.
TEST_P(cancellation, reaches_everybody) {
    auto rng = seeded_random("cancellation.reaches_everybody");
    for (std::size_t round = 0; round < scaled(60, 15); ++round) {
        std::atomic<int> ends{0};
        std::vector<std::unique_ptr<things>> all;
        for (std::size_t i = 0; i < std::size(points); ++i) all.push_back(std::make_unique<things>(other_));
        const auto pause = rng() % 200'000;
        rt_.run([&] {
            task_group g;
            for (std::size_t i = 0; i < std::size(points); ++i)
                g.go([&, i] {
                    const at_end counts{[&] { ++ends; }};
                    points[i].wait(*all[i]);
                    ADD_FAILURE() << points[i].name;
                });
            spin(pause);
            if (pause % 2 == 0) this_goroutine::yield();
            g.cancel();
            g.wait();
        });
        EXPECT_LE(ends, static_cast<int>(std::size(points)));
        if (HasFailure()) break;
    }
}

}  // namespace
