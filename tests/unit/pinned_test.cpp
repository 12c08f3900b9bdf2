// What must not be switched away: stop callbacks, moves of a channel's values, and who starts a goroutine.
#include "locks.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <unistd.h>

using handoff::channel;
using handoff::go;
using handoff::runtime;
using handoff::task_group;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class with_short_slices : public testing::TestWithParam<unsigned> {
protected:
    static handoff::options short_slices() {
        handoff::options o;
        o.procs = GetParam();
        o.retake_running_after = 200us;
        return o;
    }
    // Goroutines that compute and yield for as long as it lives, so that others always wait.
    class crowd_of_yielders {
    public:
        crowd_of_yielders() {
            for (int i = 0; i < 4; ++i)
                group_.go([this] {
                    while (!stop_) {
                        compute_for(100us);
                        count_here();
                        this_goroutine::yield();
                    }
                });
        }
        ~crowd_of_yielders() {
            stop_ = true;
            group_.wait();
        }

    private:
        std::atomic<bool> stop_{false};
        task_group group_;
    };
    static void compute_for(std::chrono::nanoseconds d) {
        const auto until = steady::now() + d;
        while (steady::now() < until) {
        }
    }
    // How often any of the crowd has run on the calling thread.
    [[gnu::noipa]] static long& turns_here() {
        static thread_local long turns = 0;
        __asm__ volatile("");
        return turns;
    }
    [[gnu::noipa]] static void count_here() { ++turns_here(); }
};
class stop_callbacks : public with_short_slices {
protected:
    struct session {
        channel<int> outbox{1};
        handoff::counting_semaphore<> woken{0};
        std::atomic<bool> ended{false};
    };
    // What a callback does; false if its goroutine has moved, or another has run on its thread.
    static bool use_library(session& s, bool waits) {
        const pid_t tid = this_tid();
        const long turns = turns_here();
        bool stayed = true;
        s.woken.release();
        const auto until = steady::now() + 2ms;
        for (int i = 0; steady::now() < until; ++i) {
            (void)s.outbox.try_send(i);
            if (i % 16 == 0) this_goroutine::yield();
            stayed &= this_tid() == tid;
        }
        if (waits) this_goroutine::sleep_for(500us);
        stayed &= this_tid() == tid && turns_here() == turns;
        s.ended = true;
        return stayed;
    }
    // run: `request` is called by one goroutine; another has registered a callback by `Callback`, and destroys it as soon as it is
    // told of the stop, while the callback is at work.
    template <template <class> class Callback, class Request>
    void run(std::stop_token token, Request request, bool waits) {
        session s;
        s.outbox.send(0);
        handoff::latch ready(1);
        std::atomic<bool> stayed{false};
        auto owner = go([&] {
            {
                auto f = [&] { stayed = use_library(s, waits); };
                const Callback<decltype(f)> callback(token, f);
                ready.count_down();
                s.woken.acquire();
            }
            EXPECT_TRUE(s.ended) << "the destructor has returned before the callback";
        });
        ready.wait();
        request();
        owner.join();
        EXPECT_TRUE(stayed);
    }
};
INSTANTIATE_WITH_PROCS(stop_callbacks);

TEST_P(stop_callbacks, of_groups_stay_on_their_thread) {
    runtime rt(short_slices());
    rt.run([&] {
        const crowd_of_yielders others;
        for (int i = 0; i < 10; ++i) {
            task_group g;
            run<std::stop_callback>(g.stop_token(), [&] { g.cancel(); }, i % 2 != 0);
            // Of a group inside of the one that is cancelled.
            task_group outer;
            std::optional<std::stop_token> token;
            handoff::latch made(1), done(1);
            outer.go([&] {
                const task_group inner;
                token = inner.stop_token();
                made.count_down();
                done.wait();
            });
            made.wait();
            {
                const handoff::cancellation_blocker not_now;
                run<std::stop_callback>(*token, [&] { outer.cancel(); }, i % 2 != 0);
            }
            done.count_down();
            try {
                outer.wait();
            } catch (const handoff::cancelled&) {
            }
        }
    });
}

TEST_P(stop_callbacks, of_any_source_stay_if_the_library_requests_the_stop) {
    runtime rt(short_slices());
    rt.run([&] {
        const crowd_of_yielders others;
        for (int i = 0; i < 20; ++i) {
            std::stop_source source;
            run<std::stop_callback>(source.get_token(), [&] { EXPECT_TRUE(handoff::request_stop(source)); }, i % 2 != 0);
            EXPECT_FALSE(handoff::request_stop(source));
        }
    });
}

TEST_P(stop_callbacks, of_ours_stay_whoever_requests_the_stop) {
    runtime rt(short_slices());
    rt.run([&] {
        const crowd_of_yielders others;
        for (int i = 0; i < 20; ++i) {
            std::stop_source source;
            run<handoff::stop_callback>(source.get_token(), [&] { source.request_stop(); }, i % 2 != 0);
        }
    });
}

TEST_P(stop_callbacks, of_ours_are_like_the_standards) {
    runtime({.procs = GetParam()}).run([] {
        std::stop_source source;
        int called = 0;
        {
            const handoff::stop_callback gone(source.get_token(), [&] { called += 100; });
        }
        const handoff::stop_callback first(source.get_token(), [&] { ++called; });
        auto byref = [&] { ++called; };
        const handoff::stop_callback<decltype(byref)&> second(source.get_token(), byref);
        source.request_stop();
        EXPECT_EQ(called, 2);
        const handoff::stop_callback late(source.get_token(), [&] { ++called; });
        EXPECT_EQ(called, 3);
        const handoff::stop_callback never(std::stop_token(), [&] { ++called; });
        EXPECT_EQ(called, 3);
    });
}

// One that destroys its own object in a callback is told apart as ever.
TEST_P(stop_callbacks, may_destroy_themselves) {
    runtime({.procs = GetParam()}).run([] {
        task_group g;
        std::optional<std::stop_callback<std::function<void()>>> callback;
        bool called = false;
        callback.emplace(g.stop_token(), [&] {
            callback.reset();
            called = true;
        });
        g.cancel();
        EXPECT_TRUE(called);
    });
}

// With one processor, and nobody to take it away: the other is ready, and runs when the callbacks are over.
TEST(stop_callback, gives_no_way) {
    runtime rt(no_retakes(1));
    rt.run([] {
        bool ran = false, ran_before_the_end = false;
        task_group g;
        const std::stop_callback callback(g.stop_token(), [&] {
            for (int i = 0; i < 100; ++i) this_goroutine::yield();
            ran_before_the_end = ran;
        });
        auto other = go([&] { ran = true; });
        g.cancel();
        EXPECT_FALSE(ran_before_the_end);
        this_goroutine::yield();
        EXPECT_TRUE(ran);   // it may be switched again
        other.join();
    });
}

bool is_tied(const runtime& rt) {
    const auto all = rt.snapshot().goroutines;
    return std::any_of(all.begin(), all.end(), [](const auto& g) { return g.who.id == this_goroutine::id() && g.locked_to_thread; });
}

// Ends of other ties, in a callback: the thread stays the goroutine's until all are over.
TEST_P(stop_callbacks, nest_with_other_ties) {
    runtime rt(short_slices());
    rt.run([&] {
        const crowd_of_yielders others;
        const pid_t tid = this_tid();
        task_group g;
        bool moved = false;
        const std::stop_callback callback(g.stop_token(), [&] {
            const pid_t here = this_tid();
            handoff::lock_os_thread();
            handoff::unlock_os_thread();
            EXPECT_TRUE(is_tied(rt));
            for (int i = 0; i < 20; ++i) {
                {
                    const handoff::syscall_guard guard;
                    this_goroutine::sleep_for(50us);
                }
                EXPECT_TRUE(is_tied(rt));
                this_goroutine::sleep_for(50us);
                moved |= this_tid() != here;
            }
        });
        g.cancel();
        EXPECT_FALSE(moved);
        EXPECT_FALSE(is_tied(rt));
        // And it is free afterwards: where another has this thread and computes for longer than a slice, it goes on elsewhere.
        EXPECT_TRUE(eventually([&] {
            go([] { compute_for(2ms); }).detach();
            this_goroutine::yield();
            return this_tid() != tid;
        }));
    });
}

// ---- Moves ---------------------------------------------------------------------------------------------------------

// What a `loud` does in its move.
enum class in_move { nothing, yield, lock_twice, spawn, guard, free_lock, sleep };

struct loud {
    in_move what;
    int number;
    std::string text = "some text that lives on the heap";
    static inline std::atomic<bool> acts{true};
    static void act(in_move what) {
        if (!acts) return;
        handoff::mutex m;
        switch (what) {
            case in_move::nothing: break;
            case in_move::yield: this_goroutine::yield(); break;
            case in_move::lock_twice: {
                m.lock();
                const std::unique_lock again(m, 1ms);
                break;
            }
            case in_move::spawn: (void)go([] {}); break;
            case in_move::guard: handoff::blocking_call([] { ::usleep(10); }); break;
            case in_move::free_lock: {
                const std::lock_guard hold(m);
                break;
            }
            case in_move::sleep: this_goroutine::sleep_for(1ms); break;
        }
    }
    explicit loud(int n, in_move w = in_move::nothing) : what(w), number(n) {}
    loud(loud&& other) noexcept : what(other.what), number(other.number), text(std::move(other.text)) { act(what); }
    loud& operator=(loud&& other) noexcept = default;
    ~loud() = default;
};

// One whose destructor does it, of what was moved from.
struct loud_end {
    bool from = false;
    loud_end() = default;
    loud_end(loud_end&& other) noexcept { other.from = true; }
    loud_end& operator=(loud_end&&) noexcept { return *this; }
    ~loud_end() {
        if (from) this_goroutine::yield();
    }
};

// One that uses a channel of its own type.
struct sends_on {
    sends_on() = default;
    sends_on(sends_on&&) noexcept {
        static channel<sends_on> kept(1);
        (void)kept.try_recv();
    }
    sends_on& operator=(sends_on&&) noexcept { return *this; }
};

class channel_moves : public with_procs {
protected:
    // Those that send `n` values each, and one that takes them all.
    static long through(channel<loud> c, in_move what, int n, bool by_select) {
        long sum = 0;
        task_group senders;
        for (int s = 0; s < 4; ++s)
            senders.go([=] {
                for (int i = 1; i <= n; ++i) {
                    if (by_select) handoff::select(on_send(c, loud(i, what)), handoff::on_timeout(1h));
                    else c.send(loud(i, what));
                }
            });
        auto receiver = go([&] {
            while (std::optional<loud> v = c.recv()) sum += v->number;
        });
        senders.wait();
        c.close();
        receiver.join();
        return sum;
    }
};
INSTANTIATE_WITH_PROCS(channel_moves);

TEST_P(channel_moves, by_the_programs_code_work) {
    const int n = static_cast<int>(scaled(1'000));
    for (const in_move what : {in_move::nothing, in_move::free_lock})
        for (const std::size_t cap : {0u, 1u, 8u})
            for (const bool by_select : {false, true})
                rt_.run([&] { EXPECT_EQ(through(channel<loud>(cap), what, n, by_select), 4L * n * (n + 1) / 2); });
    // A guard is no call of the kind: it blocks, as the move would without it.
    rt_.run([&] { EXPECT_EQ(through(channel<loud>(2), in_move::guard, 20, false), 4L * 210); });
}

constexpr const char* names_loud = "type .*loud calls the library while a channel";

TEST_P(channel_moves, that_call_the_library_end_by_the_types_name) {
    for (const in_move what : {in_move::yield, in_move::lock_twice, in_move::spawn, in_move::sleep}) {
        EXPECT_EXIT(runtime({.procs = GetParam()}).run([what] { channel<loud>(4).send(loud(1, what)); }),
                    testing::KilledBySignal(SIGABRT), names_loud)
            << static_cast<int>(what);
    }
}

// The value is in the channel before its move does anything.
template <class F>
void with_a_value_in(std::size_t cap, in_move what, F f) {
    channel<loud> c(cap);
    loud::acts = false;
    std::optional<handoff::join_handle<void>> sender;
    if (cap != 0) c.send(loud(1, what));
    else sender = go([c, what] { c.send(loud(1, what)); });
    this_goroutine::sleep_for(5ms);
    loud::acts = true;
    f(c);
}

TEST_P(channel_moves, that_call_the_library_are_found_on_each_way) {
    const auto in_child = [&](auto f) { runtime({.procs = GetParam()}).run(f); };
    for (const std::size_t cap : {0u, 1u}) {
        EXPECT_EXIT(in_child([=] { with_a_value_in(cap, in_move::yield, [](auto& c) { c.recv(); }); }),
                    testing::KilledBySignal(SIGABRT), names_loud);
        EXPECT_EXIT(in_child([=] { with_a_value_in(cap, in_move::yield, [](auto& c) { handoff::select(on_recv(c)); }); }),
                    testing::KilledBySignal(SIGABRT), names_loud);
        EXPECT_EXIT(with_a_value_in(cap, in_move::lock_twice, [](auto& c) { c.recv(); }),   // on a thread, which blocks
                    testing::KilledBySignal(SIGABRT), names_loud);
    }
    EXPECT_EXIT(in_child([] { handoff::select(on_send(channel<loud>(1), loud(1, in_move::yield))); }), testing::KilledBySignal(SIGABRT),
                names_loud);
    EXPECT_EXIT(in_child([] {
                    const channel<loud_end> c(1);
                    c.send(loud_end());
                    c.recv();
                }),
                testing::KilledBySignal(SIGABRT), "type .*loud_end calls the library");
    // Of its own channel, which is locked.
    EXPECT_EXIT(in_child([] { channel<sends_on>(4).send(sends_on()); }), testing::KilledBySignal(SIGABRT),
                "type .*sends_on calls the library");
}

TEST_P(channel_moves, of_closures_may_do_anything) {
    rt_.run([&] {
        const int n = static_cast<int>(scaled(200));
        for (const in_move what : {in_move::yield, in_move::lock_twice, in_move::spawn, in_move::guard, in_move::free_lock}) {
            std::atomic<long> sum{0};
            task_group g;
            for (int s = 0; s < 4; ++s)
                g.go([&] {
                    for (int i = 0; i < n; ++i) {
                        go([v = loud(1, what), &sum] { sum += v.number; }).join();
                        handoff::spawn_options named;
                        named.name = "named";
                        g.go(named, [v = loud(1, what), &sum] { sum += v.number; });
                        other_.go([v = loud(1, what), &sum] { sum += v.number; }).join();
                        go([&sum](const loud& v) { sum += v.number; }, loud(1, what)).join();
                    }
                });
            g.wait();
            EXPECT_EQ(sum, 16L * n) << static_cast<int>(what);
        }
    });
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

// ---- go() ----------------------------------------------------------------------------------------------------------

class starting : public with_short_slices {};
INSTANTIATE_WITH_PROCS(starting);

// After a computation that was longer than its slice the goroutine has no processor, or is asked to give it up.
TEST_P(starting, a_goroutine_does_not_switch) {
    runtime rt(short_slices());
    std::atomic<int> ran{0};
    int moved = 0, switched = 0, started = 0;
    rt.run([&] {
        const crowd_of_yielders others;
        task_group g;
        for (int i = 0; i < 50; ++i) {
            const pid_t tid = this_tid();
            const long turns = turns_here();
            compute_for(i % 2 == 0 ? 1ms : 3ms);
            for (int k = 0; k < 10; ++k) {
                go([&] { ++ran; });
                g.go([&] { ++ran; });
                handoff::join_handle<void> ended = go([&] { ++ran; });
                compute_for(20us);
                ended.detach();
                go([&, v = loud(1)] { ran += v.number; });
                started += 4;
            }
            // It enters the library all the time, where it is asked to yield.
            for (const auto end = steady::now() + 2ms; steady::now() < end; ++started) go([&] { ++ran; });
            moved += this_tid() != tid;
            switched += turns_here() != turns;
            this_goroutine::yield();
        }
        g.wait();
    });
    EXPECT_EVENTUALLY(ran == started);
    EXPECT_EQ(moved, 0);
    EXPECT_EQ(switched, 0);
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
}

// A call that blocks takes the processor; the new goroutine runs though its maker goes on without one.
TEST_P(starting, a_goroutine_after_a_call_does_not_wait_for_a_processor) {
    runtime rt(no_retakes(GetParam()));
    std::atomic<bool> ran{false};
    rt.run([&] {
        std::vector<std::unique_ptr<occupant>> all;
        for (unsigned i = 0; i < GetParam(); ++i) all.push_back(std::make_unique<occupant>(rt));
        pid_t tid = 0;
        handoff::blocking_call(handoff::handoff_policy::immediate, [&] {
            tid = this_tid();
            EXPECT_TRUE(block_until([&] { return std::all_of(all.begin(), all.end(), [](auto& o) { return o->runs(); }); }));
        });
        go([&] { ran = true; });
        EXPECT_EQ(this_tid(), tid);
        EXPECT_FALSE(ran);   // all processors are taken
        all.clear();
    });
    EXPECT_EVENTUALLY(ran.load());
}

}  // namespace
