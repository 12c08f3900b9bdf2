// The pieces of the chaos run: each does one thing at random, for some milliseconds, and checks what came of it.
#pragma once

#include "chaos.hpp"

#include <cerrno>
#include <sstream>
#include <sys/syscall.h>

namespace chaos {

namespace this_goroutine = handoff::this_goroutine;
using std::chrono::microseconds;

inline microseconds some_us(rng& rnd, unsigned most) { return microseconds(rnd.below(most + 1)); }

// in_a_call runs f under one of the policies, or without a guard.
template <class F>
auto in_a_call(rng& rnd, F f) {
    constexpr handoff_policy policies[] = {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate};
    const std::uint64_t which = rnd.below(4);
    return which == 3 ? f() : handoff::blocking_call(policies[which], f);
}

// ---- Spawning --------------------------------------------------------------------------------------------------------

inline std::uint64_t grow(round& r, std::uint64_t id, unsigned depth);

inline void grow_child(round& r, rng& rnd, std::uint64_t id, unsigned depth) {
    switch (rnd.below(6)) {
        case 0: r.go([&r, id, depth] { grow(r, id, depth); }).detach(); break;
        case 1: {   // dropped, maybe after its end; nobody hears of what it throws
            r.thrown.fetch_add(1);
            auto h = r.go([id] { throw oddity(id); });
            if (rnd.one_in(2)) this_goroutine::yield();
            break;
        }
        case 2: {
            auto h = r.go([id]() -> std::string {
                this_goroutine::yield();
                throw oddity(id);
            });
            std::uint64_t got = ~id;
            try {
                h.join();
            } catch (const oddity& o) {
                this_goroutine::yield();   // inside the handler
                got = o.id;
            }
            CHAOS_CHECK(got == id, "an exception of another");
            break;
        }
        case 3: {
            r.spawned.fetch_add(1);
            auto h = r.rt->go(handoff::spawn_options{.name = "named", .stack_size = 64 * 1024 + rnd.below(2) * 192 * 1024},
                              r.counted([&r, id, depth] { return grow(r, id, depth); }));
            CHAOS_CHECK(h.join() == id * 2 + 1, "a result of another");
            break;
        }
        default: {
            auto h = r.go([&r, id, depth] { return grow(r, id, depth); });
            while (rnd.one_in(2) && !h.wait_for(some_us(rnd, 50))) {
            }
            CHAOS_CHECK(h.join() == id * 2 + 1, "a result of another");
        }
    }
}

inline std::uint64_t grow(round& r, std::uint64_t id, unsigned depth) {
    rng rnd(id);
    if (rnd.one_in(4)) this_goroutine::yield();
    if (rnd.one_in(8)) this_goroutine::sleep_for(some_us(rnd, 100));
    if (rnd.one_in(16)) in_a_call(rnd, [d = some_us(rnd, 100)] { sleep_in_kernel(d); });
    if (depth != 0)
        for (std::uint64_t n = rnd.below(4); n > 0; --n) grow_child(r, rnd, rnd(), depth - 1);
    return id * 2 + 1;
}

inline void spawn_trees(player& p) {
    const std::uint64_t id = p.rnd();
    CHAOS_CHECK(grow(p.r, id, 3) == id * 2 + 1, "a result of another");
}

// ---- Calls that block, and goroutines that compute -------------------------------------------------------------------

// Bytes go back and forth through two pipes.
inline void ping_pong(player& p) {
    pipe_ends there, back;
    const unsigned n = static_cast<unsigned>(p.rnd.between(1, 40));
    const std::uint64_t stream = p.rnd();
    auto echo = p.r.go([&there, &back, n, stream] {
        rng rnd(stream);
        for (unsigned i = 0; i < n; ++i) {
            char c = 0;
            const ssize_t got = in_a_call(rnd, [&] { return ::read(there.fd[0], &c, 1); });
            CHAOS_CHECK(got == 1, "errno %d", handoff::last_errno());
            ++c;
            in_a_call(rnd, [&] { return ::write(back.fd[1], &c, 1); });
        }
    });
    for (unsigned i = 0; i < n; ++i) {
        char c = static_cast<char>(i), answer = 0;
        in_a_call(p.rnd, [&] { return ::write(there.fd[1], &c, 1); });
        in_a_call(p.rnd, [&] { return ::read(back.fd[0], &answer, 1); });
        CHAOS_CHECK(answer == static_cast<char>(i + 1), "another byte");
    }
    echo.join();
}

inline void block_in_calls(player& p) {
    std::vector<handoff::join_handle<void>> all;
    for (std::uint64_t n = p.rnd.between(1, 12); n > 0; --n)
        all.push_back(p.r.go([&r = p.r, stream = p.rnd()] {
            rng rnd(stream);
            const auto d = some_us(rnd, rnd.one_in(8) ? 25'000 : 1000);
            const auto began = steady::now();
            in_a_call(rnd, [d] {
                sleep_in_kernel(d);
                errno = EXDEV;
            });
            const int error = handoff::last_errno();
            CHAOS_CHECK(error == EXDEV, "errno %d", error);
            CHAOS_CHECK(steady::now() - began >= d, "an early end");
            // What is called under a guard may use the runtime.
            if (rnd.one_in(4)) in_a_call(rnd, [&r] { r.go([] {}).join(); });
        }));
    for (auto& h : all) h.join();
}

inline void hog(player& p) {
    compute(some_us(p.rnd, p.rnd.one_in(4) ? 30'000 : 3'000));
    if (p.rnd.one_in(2)) this_goroutine::yield();
    else this_goroutine::sleep_for(some_us(p.rnd, 5'000));
}

// ---- Channels and select ---------------------------------------------------------------------------------------------

// Numbered messages through a channel, some over a second one, which may be closed while others send.
struct transport {
    explicit transport(unsigned n, std::size_t capacity) : sent(n), seen(n), first(capacity), second(capacity / 2) {}
    std::vector<std::atomic<unsigned char>> sent, seen;
    handoff::channel<std::unique_ptr<unsigned>> first, second;
    std::atomic<unsigned> producers{0}, relays{0};
    handoff::channel<int> quit{0};   // nobody sends

    void arrived(std::optional<std::unique_ptr<unsigned>> v) {
        if (v) seen[**v].fetch_add(1);
    }
};

inline void produce(transport& t, rng& rnd, unsigned from, unsigned to) {
    for (unsigned id = from; id < to; ++id) {
        auto value = std::make_unique<unsigned>(id);
        try {
            switch (rnd.below(4)) {
                case 0:
                    while (!t.first.try_send(std::move(value))) this_goroutine::yield();
                    break;
                case 1:
                    while (!t.first.send_for(std::move(value), some_us(rnd, 200))) {
                    }
                    break;
                case 2: {
                    bool went = false;
                    while (!went) {
                        auto send = handoff::on_send(t.first, std::move(value), [&went] { went = true; });
                        handoff::select(send, handoff::on_timeout(some_us(rnd, 300)), handoff::on_recv(t.quit));
                        if (!went) value = std::move(*send.value());
                    }
                    break;
                }
                default: t.first.send(std::move(value));
            }
            t.sent[id].store(1);
        } catch (const handoff::channel_closed&) {
            return;   // it is not to be seen, nor are those that follow
        }
    }
}

inline void consume(transport& t, rng& rnd, const handoff::channel<std::unique_ptr<unsigned>>& from) {
    for (;;) {
        switch (rnd.below(4)) {
            case 0:
                for (unsigned n = 0; n < 8; ++n) {
                    auto v = from.try_recv();
                    if (!v) break;
                    t.arrived(std::move(v));
                }
                this_goroutine::yield();
                break;
            case 1: t.arrived(from.recv_for(some_us(rnd, 200))); break;
            case 2:
                handoff::select(handoff::on_recv(from, [&t](auto v) { t.arrived(std::move(v)); }), handoff::on_recv(t.quit),
                                handoff::on_timeout(some_us(rnd, 300)));
                break;
            default:
                if (auto v = from.recv()) t.arrived(std::move(v));
                else return;
        }
    }
}

// Takes from the first channel what it can put into the second.
inline void relay(transport& t, rng& rnd) {
    while (auto v = rnd.one_in(2) ? t.first.recv() : t.first.recv_for(some_us(rnd, 500))) {
        if (rnd.one_in(2)) {
            t.second.send(std::move(*v));
            continue;
        }
        bool went = false;
        while (!went) {
            auto send = handoff::on_send(t.second, std::move(*v), [&went] { went = true; });
            handoff::select(send, handoff::on_timeout(some_us(rnd, 200)));
            if (!went) v = send.value();
        }
    }
    // Closed and drained, or it took too long: then the others go on.
    if (t.relays.fetch_sub(1) == 1) {
        for (auto& v : t.first) t.second.send(std::move(v));
        t.second.close();
    }
}

inline void send_through(player& p) {
    constexpr std::size_t capacities[] = {0, 0, 1, 3, 16};
    const unsigned producers = static_cast<unsigned>(p.rnd.between(1, 4)), consumers = static_cast<unsigned>(p.rnd.between(1, 3)),
                   each = static_cast<unsigned>(p.rnd.between(1, 40)), relays = static_cast<unsigned>(p.rnd.below(3));
    transport t(producers * each, capacities[p.rnd.below(5)]);
    const bool closes_early = p.rnd.one_in(4);
    t.producers = producers;
    t.relays = relays;
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < producers; ++i)
        all.push_back(p.r.go([&t, i, each, closes_early, stream = p.rnd()] {
            rng rnd(stream);
            produce(t, rnd, i * each, (i + 1) * each);
            if (t.producers.fetch_sub(1) == 1 && !closes_early) t.first.close();
        }));
    for (unsigned i = 0; i < relays; ++i)
        all.push_back(p.r.go([&t, stream = p.rnd()] {
            rng rnd(stream);
            relay(t, rnd);
        }));
    for (unsigned i = 0; i < consumers; ++i)
        all.push_back(p.r.go([&t, relays, stream = p.rnd()] {
            rng rnd(stream);
            consume(t, rnd, relays != 0 ? t.second : t.first);
        }));
    if (closes_early) {
        this_goroutine::sleep_for(some_us(p.rnd, 2'000));
        t.first.close();
    }
    for (auto& h : all) h.join();
    CHAOS_CHECK(t.first.len() == 0 && t.second.len() == 0, "left in a drained channel");
    for (unsigned i = 0; i < producers * each; ++i)
        CHAOS_CHECK(t.sent[i] == t.seen[i], "message %u was sent %d times, received %d times", i, t.sent[i].load(),
                    t.seen[i].load());
}

inline void trade(player& p) {
    for (std::uint64_t n = p.rnd.between(1, 20); n > 0; --n)
        if (p.rnd.one_in(2)) p.r.goods.offer(p.rnd(), some_us(p.rnd, 2'000));
        else p.r.goods.buy(some_us(p.rnd, 2'000));
}

// ---- Locks -----------------------------------------------------------------------------------------------------------

inline void transfer_money(player& p) {
    for (int n = 0; n < 50; ++n) p.r.money.transfer(p.rnd, true);
    if (p.rnd.one_in(8)) p.r.money.audit();
    this_goroutine::yield();
}

// A store of bounded size behind a mutex and condition variables, which both sides sometimes leave in time.
inline void fill_and_empty(player& p) {
    struct store {
        handoff::mutex lock;
        handoff::condition_variable more, fewer;
        unsigned in_it = 0, most = 0, open = 0;   // `open`: who still puts in
        std::uint64_t put = 0, taken = 0;
    } s;
    s.most = static_cast<unsigned>(p.rnd.between(1, 4));
    const unsigned putters = static_cast<unsigned>(p.rnd.between(1, 3)), takers = static_cast<unsigned>(p.rnd.between(1, 3));
    s.open = putters;
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < putters; ++i)
        all.push_back(p.r.go([&s, stream = p.rnd()] {
            rng rnd(stream);
            for (std::uint64_t n = rnd.below(40); n > 0; --n) {
                std::unique_lock hold(s.lock);
                const auto room = [&s] { return s.in_it < s.most; };
                if (rnd.one_in(2)) s.fewer.wait(hold, room);
                else if (!s.fewer.wait_for(hold, some_us(rnd, 500), room)) continue;
                ++s.in_it;
                ++s.put;
                s.more.notify_one();
            }
            std::unique_lock hold(s.lock);
            if (--s.open == 0) s.more.notify_all();
        }));
    for (unsigned i = 0; i < takers; ++i)
        all.push_back(p.r.go([&s, stream = p.rnd()] {
            rng rnd(stream);
            for (;;) {
                std::unique_lock hold(s.lock);
                const auto any = [&s] { return s.in_it != 0 || s.open == 0; };
                if (rnd.one_in(2)) s.more.wait(hold, any);
                else if (!s.more.wait_for(hold, some_us(rnd, 500), any)) continue;
                if (s.in_it == 0) return;
                --s.in_it;
                ++s.taken;
                s.fewer.notify_one();
            }
        }));
    for (auto& h : all) h.join();
    CHAOS_CHECK(s.put == s.taken && s.in_it == 0, "%llu put in, %llu taken out", static_cast<unsigned long long>(s.put),
                static_cast<unsigned long long>(s.taken));
}

// Permits, a wait group, and a plain counter under a mutex with timed locks.
inline void count_together(player& p) {
    handoff::counting_semaphore<> permits(2);
    handoff::wait_group running;
    handoff::mutex lock;
    std::atomic<int> inside{0};
    std::atomic<unsigned> expected{0};
    unsigned plain = 0;   // under the lock
    const unsigned n = static_cast<unsigned>(p.rnd.between(1, 16));
    running.add(n);
    for (unsigned i = 0; i < n; ++i)
        p.r.go([&, stream = p.rnd()] {
            rng rnd(stream);
            if (rnd.one_in(4) ? permits.try_acquire_for(some_us(rnd, 300)) : (permits.acquire(), true)) {
                CHAOS_CHECK(inside.fetch_add(1) < 2, "more than the permits");
                if (rnd.one_in(2)) this_goroutine::yield();
                inside.fetch_sub(1);
                permits.release();
            }
            for (int k = 0; k < 8; ++k) {
                if (!(rnd.one_in(4) ? lock.try_lock_for(some_us(rnd, 100)) : (lock.lock(), true))) continue;
                const unsigned seen = plain;
                if (rnd.one_in(16)) this_goroutine::yield();
                plain = seen + 1;
                expected.fetch_add(1);
                lock.unlock();
            }
            running.done();
        });
    running.wait();
    CHAOS_CHECK(plain == expected, "%u under the mutex, %u", plain, expected.load());
}

// ---- Time ------------------------------------------------------------------------------------------------------------

inline void sleep(player& p) {
    const auto d = some_us(p.rnd, p.rnd.one_in(8) ? 10'000 : 500);
    const auto began = steady::now();
    this_goroutine::sleep_for(d);
    CHAOS_CHECK(steady::now() - began >= d, "woke early");
}

inline void run_timers(player& p) {
    // Each timer is either stopped, or calls its function, and not both.
    const auto ran = std::make_shared<std::atomic<unsigned>>(0);
    const unsigned n = static_cast<unsigned>(p.rnd.between(1, 10));
    unsigned stopped = 0;
    {
        std::vector<handoff::timer> all;
        for (unsigned i = 0; i < n; ++i)
            all.emplace_back(some_us(p.rnd, 1'000), p.r.counted([ran] { ran->fetch_add(1); }));
        if (p.rnd.one_in(2)) this_goroutine::sleep_for(some_us(p.rnd, 1'000));
        for (auto& t : all)
            if (p.rnd.one_in(4) && t.reset(some_us(p.rnd, 500))) continue;
            else if (t.stop()) ++stopped;
        // Those that were reset run out; those that had fired already may have been started a second time.
        this_goroutine::sleep_for(some_us(p.rnd, 2'000));
    }
    CHAOS_CHECK(*ran <= 2 * n && *ran + stopped <= 2 * n, "%u timers ran %u times", n, ran->load());

    handoff::ticker ticks(microseconds(p.rnd.between(50, 1'000)));
    auto last = steady::time_point{};
    for (std::uint64_t k = p.rnd.below(5); k > 0; --k) {
        const auto t = ticks.chan().recv();
        CHAOS_CHECK(t && *t >= last, "time ran back");
        if (t) last = *t;
    }
    const auto d = some_us(p.rnd, 1'000);
    const auto began = steady::now();
    handoff::select(handoff::on_recv(handoff::after(d)), handoff::on_recv(handoff::channel<int>::nil()));
    CHAOS_CHECK(steady::now() - began >= d, "after() was early");
}

// ---- Cancellation ----------------------------------------------------------------------------------------------------

struct alive_token {
    explicit alive_token(std::atomic<int>& a) : alive(a) { alive.fetch_add(1); }
    ~alive_token() { alive.fetch_sub(1); }
    std::atomic<int>& alive;
};

// Waits in one of many ways for what never comes.
inline void wait_for_ever(rng& rnd) {
    handoff::channel<int> never(0);
    switch (rnd.below(7)) {
        case 0: never.recv(); break;
        case 1: never.send(1); break;
        case 2: this_goroutine::sleep_for(24h); break;
        case 3: handoff::select(handoff::on_recv(never), handoff::on_timeout(24h)); break;
        case 4: {
            handoff::mutex lock;
            handoff::condition_variable cv;
            std::unique_lock hold(lock);
            for (;;) cv.wait(hold);
        }
        case 5: {
            handoff::counting_semaphore<> none(0);
            none.acquire();
            break;
        }
        default:
            for (;;) {
                this_goroutine::check_cancelled();
                handoff::blocking_call(sleep_in_kernel, some_us(rnd, 300));
            }
    }
    fail("what never comes came");
}

inline void cancel_group(player& p, unsigned depth);

inline void group_child(round& r, std::uint64_t stream, std::atomic<int>& alive, unsigned depth) {
    const alive_token token(alive);
    rng rnd(stream);
    if (rnd.one_in(16)) throw unsettled();
    if (rnd.one_in(4)) this_goroutine::sleep_for(some_us(rnd, 500));
    if (depth != 0 && rnd.one_in(4)) {
        player inner{r, rng(rnd())};
        cancel_group(inner, depth - 1);
    }
    if (rnd.one_in(2)) return;
    wait_for_ever(rnd);
}

inline void cancel_group(player& p, unsigned depth) {
    std::atomic<int> alive{0};
    {
        handoff::task_group g(some_us(p.rnd, 3'000));
        try {
            for (std::uint64_t n = p.rnd.below(10); n > 0; --n) {
                p.r.spawned.fetch_add(1);
                g.go([&r = p.r, &alive, depth, stream = p.rnd()] { group_child(r, stream, alive, depth); });
            }
            if (p.rnd.one_in(4)) this_goroutine::sleep_for(some_us(p.rnd, 1'000));
            if (p.rnd.one_in(4)) g.cancel();
            if (!p.rnd.one_in(8)) g.wait();   // else its destructor does
        } catch (const handoff::cancelled&) {
        } catch (const unsettled&) {
        }
    }
    CHAOS_CHECK(alive == 0, "%d live longer than their group", alive.load());
}
inline void cancel_groups(player& p) { cancel_group(p, 2); }

// ---- Variables of goroutines, and goroutines tied to threads ---------------------------------------------------------

inline long this_tid() { return ::syscall(SYS_gettid); }

constexpr unsigned most_tied = 3;   // of one player

inline void keep_variables(player& p) {
    static handoff::goroutine_local<std::unique_ptr<std::uint64_t>> own;
    std::vector<handoff::join_handle<void>> all;
    for (std::uint64_t n = p.rnd.between(1, 8); n > 0; --n)
        all.push_back(p.r.go([stream = p.rnd(), may_tie = n <= most_tied] {
            rng rnd(stream);
            CHAOS_CHECK(!own.has(), "inherited");
            *own = std::make_unique<std::uint64_t>(stream);
            const bool tied = may_tie && rnd.one_in(2);
            if (tied) handoff::lock_os_thread();
            const long tid = this_tid();
            for (std::uint64_t k = rnd.below(6); k > 0; --k) {
                switch (rnd.below(4)) {
                    case 0: this_goroutine::yield(); break;
                    case 1: this_goroutine::sleep_for(some_us(rnd, 300)); break;
                    case 2: in_a_call(rnd, [d = some_us(rnd, 200)] { sleep_in_kernel(d); }); break;
                    default: compute(some_us(rnd, 200));
                }
                CHAOS_CHECK(**own == stream, "the variable of another");
                CHAOS_CHECK(!tied || this_tid() == tid, "moved while tied");
            }
            if (tied && !rnd.one_in(4)) handoff::unlock_os_thread();   // else it takes the thread with it
        }));
    for (auto& h : all) h.join();
}

// ---- Runtimes, processors, threads -----------------------------------------------------------------------------------

// A runtime beside ours, whose goroutines trade with ours and wait for them; it ends while some of them still run.
inline void another_runtime(player& p) {
    round& r = p.r;
    handoff::options o;
    o.procs = static_cast<unsigned>(p.rnd.between(1, 3));
    o.idle_thread_timeout = some_us(p.rnd, 3'000);
    o.spin_before_sleep = some_us(p.rnd, 100);
    o.retake_running_after = microseconds(p.rnd.between(200, 10'000));
    if (p.rnd.one_in(3)) o.max_threads = static_cast<unsigned>(p.rnd.between(3, 8));
    const auto began = std::make_shared<std::atomic<unsigned>>(0), ended = std::make_shared<std::atomic<unsigned>>(0);
    unsigned n = static_cast<unsigned>(p.rnd.below(12));
    {
        watched_runtime rt(o);
        for (unsigned i = 0; i < n; ++i) {
            auto h = rt->go(r.counted([&r, began, ended, stream = p.rnd()] {
                rng rnd(stream);
                began->fetch_add(1);
                if (rnd.one_in(2)) r.goods.offer(rnd(), some_us(rnd, 1'000));
                if (rnd.one_in(2)) r.money.transfer(rnd, true);
                if (rnd.one_in(2)) r.goods.buy(some_us(rnd, 1'000));
                if (rnd.one_in(4)) CHAOS_CHECK(r.go([stream] { return stream; }).join() == stream, "a result of another");
                if (rnd.one_in(4)) in_a_call(rnd, [d = some_us(rnd, 500)] { sleep_in_kernel(d); });
                if (rnd.one_in(4)) this_goroutine::sleep_for(some_us(rnd, 500));
                ended->fetch_add(1);
            }));
            if (p.rnd.one_in(3)) h.join();
        }
        if (p.rnd.one_in(4)) rt->set_procs(static_cast<unsigned>(p.rnd.between(1, 4)));
        if (p.rnd.one_in(4)) CHAOS_CHECK(wait_for_end(*rt).spawned == n, "by another count");
        if (p.rnd.one_in(4) && this_goroutine::id() != 0) handoff::ticker beat(1ms);   // goes while it ticks
    }
    CHAOS_CHECK(*began == n && *ended == n, "%u goroutines, %u began, %u ended", n, began->load(), ended->load());
    r.runtimes.fetch_add(1);
}

inline void change_procs(player& p) {
    p.r.rt->set_procs(static_cast<unsigned>(p.rnd.between(1, 6)));
    std::this_thread::sleep_for(some_us(p.rnd, 20'000));
}

inline void visit(player& p) {
    for (std::uint64_t n = p.rnd.between(1, 10); n > 0; --n) {
        const std::uint64_t id = p.rnd();
        switch (p.rnd.below(5)) {
            case 0: p.r.goods.offer(id, some_us(p.rnd, 1'000)); break;
            case 1: p.r.goods.buy(some_us(p.rnd, 1'000)); break;
            case 2: p.r.money.transfer(p.rnd, false); break;
            case 3: CHAOS_CHECK(p.r.go([id] { return id; }).join() == id, "a result of another"); break;
            default: {
                auto h = p.r.go([&r = p.r, id] { return grow(r, id, 1); });
                if (h.wait_for(some_us(p.rnd, 500))) CHAOS_CHECK(h.join() == id * 2 + 1, "a result of another");
            }
        }
    }
}

// What the runtime tells about itself hangs together, while everything moves.
inline void observe(player& p) {
    const handoff::stats s = p.r.rt->stats();
    CHAOS_CHECK(s.threads <= s.threads_most, "%u threads", s.threads);
    CHAOS_CHECK(s.procs >= 1 && s.procs <= 6, "%u procs", s.procs);
    const handoff::scheduler_snapshot all = p.r.rt->snapshot();
    for (const auto& g : all.goroutines) CHAOS_CHECK(g.who.id != 0, "a goroutine without a number");
    CHAOS_CHECK(all.processors.size() <= 6, "%zu processors", all.processors.size());
    if (p.rnd.one_in(8)) {
        std::ostringstream text;
        p.r.rt->dump(text);
        CHAOS_CHECK(!text.str().empty(), "nothing to tell");
    }
    std::this_thread::sleep_for(some_us(p.rnd, 20'000));
}

}  // namespace chaos
