// Locks under load: no wake-up is lost, whoever gives up leaves no damage, and no timed wait is early.
//
// In the storms everybody is mixed: goroutines of two runtimes and threads, waits with and without a deadline. A wake-up
// that is lost leaves somebody waiting for ever, and the watchdog ends the test.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <shared_mutex>

namespace {

using namespace stress;
namespace this_goroutine = handoff::this_goroutine;

// crowd starts functions on goroutines and threads, and waits for them. Each gets a generator of its own. None begins
// before join(), when all are there: the first would have done it all alone.
class crowd {
public:
    crowd() = default;
    ~crowd() { join(); }
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;

    template <class F>
    void go(handoff::runtime& rt, F f) {
        goroutines_.push_back(rt.go([this, f = std::move(f), n = ++streams_]() mutable {
            rng r(n);
            begin();
            f(r);
        }));
    }
    template <class F>
    void thread(F f) {
        threads_.emplace_back([this, f = std::move(f), n = ++streams_]() mutable {
            rng r(n);
            begin();
            f(r);
        });
    }
    // everybody starts `goroutines` of them, on two runtimes in turn, and `threads`.
    template <class F>
    void everybody(handoff::runtime& a, handoff::runtime& b, unsigned goroutines, unsigned threads, F f) {
        for (unsigned i = 0; i < goroutines; ++i) go(i % 4 == 3 ? b : a, f);
        for (unsigned i = 0; i < threads; ++i) thread(f);
    }
    // open lets those begin that are there.
    void open() {
        while (here_ < goroutines_.size() + threads_.size()) this_goroutine::sleep_for(200us);
        open_ = true;
    }
    void join() {
        open();
        for (auto& g : goroutines_) g.join();
        for (auto& t : threads_) t.join();
        goroutines_.clear();
        threads_.clear();
    }

private:
    void begin() {
        ++here_;
        while (!open_) this_goroutine::sleep_for(200us);
    }

    std::vector<handoff::join_handle<void>> goroutines_;
    std::vector<std::thread> threads_;
    std::uint64_t streams_ = 0;
    std::atomic<std::size_t> here_{0};
    std::atomic<bool> open_{false};
};

// How many goroutines and threads, and how many rounds all of them have together with one number of processors.
constexpr unsigned many = pick(1'000u, 400u, 300u), few = pick(100u, 60u, 40u), threads = pick(16u, 8u, 6u);
constexpr unsigned total = pick(120'000u, 60'000u, 40'000u);

std::chrono::microseconds some_time(rng& r) {
    // Mostly about as long as it takes until it is one's turn.
    return std::chrono::microseconds(r.one_in(4) ? r.below(5'000) : r.below(100));
}

// A little work under a lock, now and then with a wait.
void work(rng& r) {
    if (r.one_in(2'000)) this_goroutine::sleep_for(20us);
    else if (r.one_in(200)) this_goroutine::yield();
    else if (r.one_in(2'000)) handoff::blocking_call(sleep_in_kernel, 10us);
}

// rounds takes a round out of what is left of them; false if there is none.
class rounds {
public:
    explicit rounds(unsigned n) : left_(n) {}
    bool next() noexcept { return left_.fetch_sub(1, std::memory_order_relaxed) > 0; }

private:
    std::atomic<std::int64_t> left_;
};

class Locks : public testing::TestWithParam<unsigned> {
protected:
    handoff::runtime rt_{{.procs = GetParam()}};
    handoff::runtime other_{{.procs = 2}};
    watchdog dog_{&rt_, 200s};
};
INSTANTIATE_TEST_SUITE_P(Procs, Locks, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

// ---- Storms ----------------------------------------------------------------------------------------------------------

// Nobody leaves before everybody has had the lock as often as all of them together shall.
TEST_P(Locks, MutexLosesNoWakeUp) {
    handoff::mutex m;
    rounds left(total);
    std::uint64_t entered = 0;   // under m
    bool inside = false;
    std::atomic<std::uint64_t> got{0}, late{0}, collisions{0};
    crowd all;
    all.everybody(rt_, other_, many, threads, [&](rng& r) {
        while (left.next()) {
            switch (r.below(8)) {
                case 0:
                    if (!m.try_lock_for(some_time(r))) {
                        ++late;
                        continue;
                    }
                    break;
                case 1:
                    if (!m.try_lock()) {
                        m.lock();
                    }
                    break;
                default: m.lock();
            }
            if (std::exchange(inside, true)) ++collisions;
            ++entered;
            ++got;
            work(r);
            inside = false;
            m.unlock();
        }
    });
    all.join();
    std::printf("%llu times locked, %llu times given up\n", static_cast<unsigned long long>(entered),
                static_cast<unsigned long long>(late.load()));
    EXPECT_EQ(entered, got);
    EXPECT_EQ(entered + late, total);
    EXPECT_EQ(collisions, 0u);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
}

// All but one wait at any time, so that each round goes through the queue; the owner parks while it holds the lock.
TEST_P(Locks, MutexHandsOverToAThousand) {
    handoff::mutex m;
    rounds left(total / 50);
    std::uint64_t entered = 0;
    crowd all;
    all.everybody(rt_, other_, many, threads, [&](rng& r) {
        while (left.next()) {
            if (r.one_in(3)) {
                while (!m.try_lock_for(some_time(r) * 20)) {
                }
            } else {
                m.lock();
            }
            ++entered;
            this_goroutine::yield();
            m.unlock();
        }
    });
    all.join();
    EXPECT_EQ(entered, total / 50);
}

TEST_P(Locks, SharedMutexLosesNoWakeUp) {
    handoff::shared_mutex m;
    rounds left(total / 2);
    std::uint64_t plain[2] = {0, 0};
    std::atomic<std::uint64_t> writes{0}, reads{0}, late{0}, wrong{0};
    std::atomic<int> readers{0};
    crowd all;
    all.everybody(rt_, other_, many, threads, [&](rng& r) {
        while (left.next()) {
            const auto how = r.below(3);
            if (r.one_in(5)) {
                if (how == 0 && !m.try_lock_for(some_time(r))) {
                    ++late;
                    continue;
                }
                if (how != 0) m.lock();
                if (readers != 0 || plain[0] != plain[1]) ++wrong;
                ++plain[0];
                work(r);
                ++plain[1];
                ++writes;
                m.unlock();
            } else {
                if (how == 0 && !m.try_lock_shared_for(some_time(r))) {
                    ++late;
                    continue;
                }
                if (how != 0) m.lock_shared();
                ++readers;
                if (plain[0] != plain[1]) ++wrong;
                work(r);
                --readers;
                ++reads;
                m.unlock_shared();
            }
        }
    });
    all.join();
    std::printf("%llu writes, %llu reads, %llu times given up\n", static_cast<unsigned long long>(writes.load()),
                static_cast<unsigned long long>(reads.load()), static_cast<unsigned long long>(late.load()));
    EXPECT_EQ(writes + reads + late, total / 2);
    EXPECT_EQ(plain[0], writes);
    EXPECT_EQ(wrong, 0u);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
}

// Permits go round; some ask for a while only, some until a stop.
TEST_P(Locks, SemaphoreLosesNoPermit) {
    constexpr int permits = 5;
    handoff::counting_semaphore<permits> s(permits);
    rounds left(total / 2);
    std::atomic<int> inside{0};
    std::atomic<std::uint64_t> too_many{0}, late{0}, stopped{0}, got{0};
    crowd all;
    all.everybody(rt_, other_, many, threads, [&](rng& r) {
        while (left.next()) {
            const auto how = r.below(8);
            if (how == 0) {
                if (!s.try_acquire_for(some_time(r))) {
                    ++late;
                    continue;
                }
            } else if (how == 1 && r.one_in(8)) {
                std::stop_source source;
                auto stopper = rt_.go([&source] { source.request_stop(); });
                const bool acquired = [&] {
                    try {
                        s.acquire(source.get_token());
                        return true;
                    } catch (const handoff::cancelled&) {
                        return false;
                    }
                }();
                stopper.join();
                if (!acquired) {
                    ++stopped;
                    continue;
                }
            } else {
                s.acquire();
            }
            if (inside.fetch_add(1) >= permits) ++too_many;
            ++got;
            work(r);
            inside.fetch_sub(1);
            s.release();
        }
    });
    all.join();
    std::printf("%llu times acquired, %llu times given up, %llu times stopped\n", static_cast<unsigned long long>(got.load()),
                static_cast<unsigned long long>(late.load()), static_cast<unsigned long long>(stopped.load()));
    EXPECT_EQ(got + late + stopped, total / 2);
    EXPECT_EQ(too_many, 0u);
    for (int i = 0; i < permits; ++i) EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
}

// A bounded buffer with one notification for each item: one that is lost leaves a taker beside a full buffer.
TEST_P(Locks, ConditionVariableLosesNoNotification) {
    constexpr std::size_t room = 7;
    constexpr std::uint64_t items = total / 5;
    handoff::mutex m;
    handoff::condition_variable not_full, not_empty;
    std::deque<std::uint64_t> buffer;
    std::uint64_t made = 0, taken = 0, sum = 0;
    std::atomic<std::uint64_t> late{0};
    const auto wait = [&](handoff::condition_variable& cv, std::unique_lock<handoff::mutex>& lock, rng& r) {
        if (!r.one_in(4)) return cv.wait(lock);
        if (cv.wait_for(lock, some_time(r)) == std::cv_status::timeout) ++late;
    };
    crowd all;
    all.everybody(rt_, other_, many / 2, threads / 2, [&](rng& r) {
        for (;;) {
            std::unique_lock lock(m);
            while (buffer.size() == room && made < items) wait(not_full, lock, r);
            if (made == items) return;
            buffer.push_back(made++);
            if (made == items) not_full.notify_all();
            work(r);
            if (r.one_in(2)) lock.unlock();
            not_empty.notify_one();
        }
    });
    all.everybody(rt_, other_, many / 2, threads / 2, [&](rng& r) {
        for (;;) {
            std::unique_lock lock(m);
            while (buffer.empty() && taken < items) wait(not_empty, lock, r);
            if (buffer.empty()) return;
            sum += buffer.front();
            buffer.pop_front();
            if (++taken == items) not_empty.notify_all();
            work(r);
            if (r.one_in(2)) lock.unlock();
            not_full.notify_one();
        }
    });
    all.join();
    std::printf("%llu items, %llu waits given up\n", static_cast<unsigned long long>(taken),
                static_cast<unsigned long long>(late.load()));
    EXPECT_EQ(taken, items);
    EXPECT_EQ(sum, items * (items - 1) / 2);
}

// Phase after phase, some of the waits ended by a stop; nobody is ahead of anybody.
TEST_P(Locks, BarrierKeepsPhasesTogether) {
    constexpr unsigned n = few + threads, phases = total / 5 / n;
    std::vector<unsigned> at(n, 0);   // each writes his own, all read all
    std::atomic<std::uint64_t> wrong{0}, stopped{0};
    unsigned completed = 0;
    handoff::barrier arrived(n, [&] {
        ++completed;
        for (const unsigned phase : at)
            if (phase != completed) ++wrong;
    });
    handoff::barrier<> looked(n);
    crowd all;
    std::atomic<unsigned> ids{0};
    all.everybody(rt_, other_, few, threads, [&](rng& r) {
        const unsigned me = ids.fetch_add(1);
        for (unsigned phase = 1; phase <= phases; ++phase) {
            at[me] = phase;
            if (r.one_in(20)) {
                std::stop_source source;
                auto stopper = rt_.go([&source] { source.request_stop(); });
                try {
                    arrived.wait(arrived.arrive(), source.get_token());
                    if (completed != phase) ++wrong;
                } catch (const handoff::cancelled&) {
                    ++stopped;   // it has arrived all the same
                }
                stopper.join();
            } else {
                arrived.arrive_and_wait();
                if (completed != phase || at[r.below(n)] != phase) ++wrong;
            }
            work(r);
            looked.arrive_and_wait();
        }
    });
    all.join();
    std::printf("%u phases of %u, %llu waits stopped\n", completed, n, static_cast<unsigned long long>(stopped.load()));
    EXPECT_EQ(completed, phases);
    EXPECT_EQ(wrong, 0u);
}

// Wait groups and latches that live for one round each, destroyed as soon as wait() has returned.
TEST_P(Locks, CountdownsOfOneRound) {
    rounds left(total / 20);
    std::atomic<std::uint64_t> wrong{0};
    crowd all;
    all.everybody(rt_, other_, few, threads / 2, [&](rng& r) {
        while (left.next()) {
            const auto n = static_cast<std::ptrdiff_t>(r.between(1, 4));
            std::atomic<std::ptrdiff_t> done{0};
            const bool with_latch = r.one_in(2);
            auto group = std::make_unique<handoff::wait_group>();
            auto latch = std::make_unique<handoff::latch>(n);
            group->add(n);
            std::vector<handoff::join_handle<void>> workers;
            for (std::ptrdiff_t i = 0; i < n; ++i)
                workers.push_back((r.one_in(2) ? rt_ : other_).go([&, g = group.get(), l = latch.get(), with_latch] {
                    ++done;
                    if (with_latch) l->count_down();
                    else g->done();
                }));
            const auto d = some_time(r);
            if (with_latch) {
                if (!r.one_in(2) || !latch->wait_for(d)) latch->wait();
                latch.reset();
            } else {
                if (!r.one_in(2) || !group->wait_for(d)) group->wait();
                group.reset();
            }
            if (done != n) ++wrong;
            for (auto& w : workers) w.join();
        }
    });
    all.join();
    EXPECT_EQ(wrong, 0u);
}

// ---- Timed waits -----------------------------------------------------------------------------------------------------

// Each waits for something that does not come, for d.
struct timed_wait {
    const char* name;
    std::function<bool(std::chrono::nanoseconds)> wait;   // true if it says that something came
};

std::vector<timed_wait> timed_waits() {
    struct objects {
        handoff::mutex locked;
        handoff::shared_mutex written;
        handoff::condition_variable cv;
        handoff::counting_semaphore<> permits{0};
        handoff::wait_group group;
        handoff::latch latch{1};
        handoff::channel<int> empty{1}, full{0};
        objects() {
            locked.lock();
            written.lock();
            group.add();
        }
    };
    auto o = std::make_shared<objects>();
    return {
        {"sleep_for", [](auto d) { this_goroutine::sleep_for(d); return false; }},
        {"sleep_until", [](auto d) { this_goroutine::sleep_until(steady::now() + d); return false; }},
        {"recv_for", [o](auto d) { return o->empty.recv_for(d).has_value(); }},
        {"send_for", [o](auto d) { return o->full.send_for(1, d); }},
        {"select", [o](auto d) {
             bool came = false;
             handoff::select(handoff::on_recv(o->empty, [&](std::optional<int>) { came = true; }),
                             handoff::on_send(o->full, 1, [&] { came = true; }), handoff::on_timeout(d, [] {}));
             return came;
         }},
        {"mutex", [o](auto d) { return o->locked.try_lock_for(d); }},
        {"shared_mutex, writer", [o](auto d) { return o->written.try_lock_for(d); }},
        {"shared_mutex, reader", [o](auto d) { return o->written.try_lock_shared_for(d); }},
        {"condition_variable", [o](auto d) {
             handoff::mutex m;
             std::unique_lock lock(m);
             return o->cv.wait_for(lock, d) == std::cv_status::no_timeout;
         }},
        {"semaphore", [o](auto d) { return o->permits.try_acquire_for(d); }},
        {"wait_group", [o](auto d) { return o->group.wait_for(d); }},
        {"latch", [o](auto d) { return o->latch.wait_for(d); }},
    };
}

// A quiet machine gives a median of tens of microseconds; a busy one must not fail this.
constexpr double latest_median_ms = pick(20.0, 60.0, 100.0);

void expect_on_time(const char* where, const timed_wait& t, times& late) {
    late.print((std::string(where) + ", " + t.name).c_str());
    EXPECT_GE(late.quantile(0), 0) << where << ", " << t.name << ": early";
    EXPECT_LT(late.quantile(0.5), latest_median_ms) << where << ", " << t.name;
}

void measure(const timed_wait& t, times& late, unsigned n, std::uint64_t stream) {
    rng r(stream);
    for (unsigned i = 0; i < n; ++i) {
        const std::chrono::nanoseconds d(r.between(1, 2'000'000));
        const auto due = steady::now() + d;
        EXPECT_FALSE(t.wait(d)) << t.name;
        late.add(steady::now() - due);
    }
}

TEST_P(Locks, TimedWaitsAreOnTime) {
    constexpr unsigned n = pick(100u, 50u, 30u);
    std::uint64_t stream = 0;
    for (const timed_wait& t : timed_waits()) {
        times on_goroutine, on_thread;
        ++stream;
        rt_.run([&] { measure(t, on_goroutine, n, stream); });
        expect_on_time("goroutine", t, on_goroutine);
        measure(t, on_thread, n, ++stream);
        expect_on_time("thread", t, on_thread);
    }
}

// Many at once, of all kinds, and beside them a goroutine that computes and one that blocks its thread.
TEST_P(Locks, TimedWaitsAreNeverEarlyUnderLoad) {
    const auto kinds = timed_waits();
    std::vector<times> late(few * 2);
    std::atomic<bool> stop{false};
    crowd load, all;
    load.go(rt_, [&](rng&) {
        while (!stop) {
            compute(500us);
            this_goroutine::yield();
        }
    });
    load.go(rt_, [&](rng&) {
        while (!stop) sleep_in_kernel(1ms);
    });
    load.open();
    for (unsigned i = 0; i < late.size(); ++i) {
        const auto body = [&, i](rng&) { measure(kinds[i % kinds.size()], late[i], 10, 1'000 + i); };
        if (i % 10 == 9) all.thread(body);
        else all.go(i % 4 == 0 ? other_ : rt_, body);
    }
    all.join();
    stop = true;
    load.join();
    for (unsigned i = 0; i < late.size(); ++i) EXPECT_GE(late[i].quantile(0), 0) << kinds[i % kinds.size()].name;
}

}  // namespace
