// shared_mutex: the standard's requirements, exclusion, the order of service, and what it does when it is used wrongly.
#include "locks.hpp"

#include <shared_mutex>

using handoff::runtime;
using handoff::shared_mutex;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(sizeof(shared_mutex) == 4);
static_assert(!std::is_copy_constructible_v<shared_mutex> && !std::is_copy_assignable_v<shared_mutex>);
static_assert(std::is_nothrow_default_constructible_v<shared_mutex>);

constinit shared_mutex global;

class shared_mutexes : public with_procs {};
INSTANTIATE_WITH_PROCS(shared_mutexes);

TEST_P(shared_mutexes, work_with_the_standards_locks) {
    on_both(rt_, [] {
        shared_mutex a, b;
        { const std::lock_guard hold(global); EXPECT_FALSE(global.try_lock_shared()); }
        { const std::scoped_lock hold(a, b); EXPECT_FALSE(a.try_lock() || b.try_lock_shared()); }
        {
            std::shared_lock<shared_mutex> one(a), two(a, std::defer_lock), three(a, std::try_to_lock);
            EXPECT_TRUE(one.owns_lock() && !two.owns_lock() && three.owns_lock());
            EXPECT_TRUE(two.try_lock());
            EXPECT_FALSE(a.try_lock());
            const std::unique_lock<shared_mutex> none(a, 1ms), none_either(a, steady::now() + 1ms);
            EXPECT_FALSE(none.owns_lock() || none_either.owns_lock());
            two.unlock();
            EXPECT_TRUE(two.try_lock_for(1ms));
            two.unlock();
            EXPECT_TRUE(two.try_lock_until(std::chrono::system_clock::now() + 1ms));
        }
        {
            const std::unique_lock<shared_mutex> one(a);
            const std::shared_lock<shared_mutex> none(a, 1ms), none_either(a, steady::now() + 1ms), nor(a, std::try_to_lock);
            EXPECT_FALSE(none.owns_lock() || none_either.owns_lock() || nor.owns_lock());
        }
        std::shared_lock<shared_mutex> left(a, std::defer_lock), right(b, std::defer_lock);
        std::lock(left, right);
        EXPECT_TRUE(a.try_lock_shared() && b.try_lock_shared());
        a.unlock_shared();
        b.unlock_shared();
    });
}

// All of them are inside at the same time, or nobody gets out.
TEST_P(shared_mutexes, let_readers_in_together) {
    shared_mutex m;
    constexpr int readers = 12;
    std::atomic<int> inside{0};
    crowd all;
    for (int i = 0; i < readers; ++i)
        all.start(i % 2 == 0 ? rt_ : other_, i >= 9, [&] {
            const std::shared_lock hold(m);
            ++inside;
            EXPECT_EVENTUALLY(inside == readers);
        });
    all.join();
    EXPECT_TRUE(m.try_lock());
}

// The same of more than are woken in one round (wait/parking_lot.hpp), behind a writer.
TEST_P(shared_mutexes, let_in_all_readers_behind_a_writer) {
    shared_mutex m;
    constexpr int readers = 200;
    std::atomic<int> begun{0}, inside{0};
    crowd all;
    m.lock();
    for (int i = 0; i < readers; ++i)
        all.go(i % 2 == 0 ? rt_ : other_, [&] {
            ++begun;
            const std::shared_lock hold(m);
            ++inside;
            for (const auto until = steady::now() + 20s; inside < readers && steady::now() < until;) this_goroutine::yield();
            EXPECT_EQ(inside, readers);
        });
    EXPECT_EVENTUALLY(begun == readers);
    m.unlock();
    all.join();
    EXPECT_TRUE(m.try_lock());
}

// ---- Exclusion -----------------------------------------------------------------------------------------------------

// Go's HammerRWMutex: what they see is either all writers' doing or none's.
void hammer(std::initializer_list<runtime*> runtimes, unsigned threads, std::size_t rounds) {
    shared_mutex m;
    std::atomic<int> activity{0};   // a reader counts 1, a writer 10,000
    std::size_t written[2] = {0, 0};
    std::atomic<std::size_t> writes{0};
    std::atomic<int> bad{0};
    crowd all;
    const auto read = [&] {
        const int n = ++activity;
        if (n < 1 || n >= 10'000 || written[0] != written[1]) ++bad;
        busy(100);
        --activity;
        m.unlock_shared();
    };
    const auto write = [&] {
        if (activity.fetch_add(10'000) != 0) ++bad;
        ++written[0];
        busy(100);
        ++written[1];
        activity.fetch_sub(10'000);
        ++writes;
        m.unlock();
    };
    const auto body = [&m, read, write, rounds](std::size_t who) {
        return [&m, read, write, rounds, who] {
            for (std::size_t i = 0; i < rounds; ++i) {
                switch ((i * 5 + who) % 8) {
                    case 0: m.lock(); write(); break;
                    case 1: if (m.try_lock()) write(); break;
                    case 2: if (m.try_lock_for(20us)) write(); break;
                    case 3: if (m.try_lock_shared()) read(); break;
                    case 4: if (m.try_lock_shared_for(20us)) read(); break;
                    default: m.lock_shared(); read(); break;
                }
            }
        };
    };
    std::size_t n = 0;
    for (runtime* rt : runtimes)
        for (int i = 0; i < 8; ++i) all.go(*rt, body(n++));
    for (unsigned i = 0; i < threads; ++i) all.thread(body(n++));
    all.join();
    EXPECT_EQ(bad, 0);
    EXPECT_EQ(activity, 0);
    EXPECT_EQ(written[0], writes);
    EXPECT_EQ(written[1], writes);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
}

TEST_P(shared_mutexes, exclude_goroutines) { hammer({&rt_}, 0, scaled(4'000)); }
TEST_P(shared_mutexes, exclude_threads) { hammer({}, 4, scaled(4'000)); }
TEST_P(shared_mutexes, exclude_goroutines_of_two_runtimes) { hammer({&rt_, &other_}, 0, scaled(2'000)); }
TEST_P(shared_mutexes, exclude_everybody) { hammer({&rt_, &other_}, 3, scaled(2'000)); }

TEST_P(shared_mutexes, are_held_across_every_wait) {
    shared_mutex m;
    std::atomic<int> readers{0}, writers{0}, bad{0};
    crowd all;
    for (std::size_t who = 0; who < 6; ++who)
        all.start(rt_, who == 5, [&, who] {
            for (std::size_t i = 0; i < scaled(60, 15); ++i) {
                const bool writes = (who + i) % 3 == 0;
                if (writes) m.lock();
                else m.lock_shared();
                if (writes ? readers != 0 || writers.fetch_add(1) != 0 : writers != 0) ++bad;
                if (!writes) ++readers;
                switch ((who + i) % 4) {
                    case 0: this_goroutine::yield(); break;
                    case 1: this_goroutine::sleep_for(50us); break;
                    case 2: handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::usleep(50); }); break;
                    default: ::usleep(50); break;
                }
                if (writes ? readers != 0 || writers.fetch_sub(1) != 1 : writers != 0) ++bad;
                if (!writes) --readers;
                if (writes) m.unlock();
                else m.unlock_shared();
            }
        });
    all.join();
    EXPECT_EQ(bad, 0);
}

TEST_P(shared_mutexes, are_unlocked_by_others) {
    shared_mutex m;
    rt_.run([&] { m.lock(); });
    other_.run([&] { m.unlock(); });
    rt_.run([&] { m.lock_shared(); });
    std::thread([&] { m.lock_shared(); }).join();
    EXPECT_FALSE(m.try_lock());
    m.unlock_shared();
    auto writer = rt_.go([&] { m.lock(); });
    EXPECT_EVENTUALLY(waiting(rt_, "shared_mutex") == 1);
    other_.run([&] { m.unlock_shared(); });
    writer.join();
    EXPECT_FALSE(m.try_lock_shared());
    m.unlock();
    EXPECT_TRUE(m.try_lock());
}

// ---- Order ---------------------------------------------------------------------------------------------------------

// line has goroutines wait for `m` one behind the other: 'w' for a writer, 'r' for a reader. Each notes that it is in, and
// leaves when it is allowed to.
class line {
public:
    explicit line(runtime& rt) : rt_(rt) {}

    // stand makes one stand at the end of the line. Those before it may go in meanwhile.
    void stand(char kind) {
        const std::size_t i = let_go_.size();
        let_go_.push_back(std::make_unique<std::atomic<bool>>(false));
        all_.push_back(rt_.go([this, kind, i, &leave = *let_go_.back()] {
            if (kind == 'w') m.lock();
            else m.lock_shared();
            enter(i);
            while (!leave) this_goroutine::sleep_for(100us);
            if (kind == 'w') m.unlock();
            else m.unlock_shared();
        }));
        EXPECT_EVENTUALLY(waits(all_.back().id()));
    }
    void leave(std::size_t i) { *let_go_[i] = true; }
    void leave_all() {
        for (auto& l : let_go_) *l = true;
        for (auto& g : all_) g.join();
    }
    std::vector<std::size_t> entered() {
        const std::lock_guard hold(lock_);
        auto sorted = entered_;   // readers that go in together do so in any order
        std::sort(sorted.begin(), sorted.end());
        return sorted;
    }

    shared_mutex m;

private:
    bool waits(handoff::goroutine_id id) const {
        const handoff::scheduler_snapshot s = rt_.snapshot();
        return std::any_of(s.goroutines.begin(), s.goroutines.end(), [&](const auto& g) {
            return g.who.id == id && g.state == handoff::goroutine_state::waiting && g.object == &m;
        });
    }
    void enter(std::size_t i) {
        const std::lock_guard hold(lock_);
        entered_.push_back(i);
    }
    runtime& rt_;
    std::mutex lock_;
    std::vector<std::size_t> entered_;
    std::vector<std::unique_ptr<std::atomic<bool>>> let_go_;
    std::vector<handoff::join_handle<void>> all_;
};
using indices = std::vector<std::size_t>;

TEST_P(shared_mutexes, serve_in_order_of_coming) {
    line l(rt_);
    l.m.lock();
    for (const char kind : {'w', 'r', 'r', 'w', 'r', 'w'}) l.stand(kind);
    l.m.unlock();
    EXPECT_EVENTUALLY(l.entered() == indices({0}));
    EXPECT_EQ(waiting(rt_, "shared_mutex"), 5u);
    l.leave(0);
    EXPECT_EVENTUALLY(l.entered() == indices({0, 1, 2}));
    EXPECT_EQ(waiting(rt_, "shared_mutex"), 3u);
    l.leave(1);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 4);   // it is out; the other reader is in still
    EXPECT_EQ(l.entered(), indices({0, 1, 2}));
    l.leave(2);
    EXPECT_EVENTUALLY(l.entered() == indices({0, 1, 2, 3}));
    EXPECT_EQ(waiting(rt_, "shared_mutex"), 2u);
    l.leave(3);
    EXPECT_EVENTUALLY(l.entered() == indices({0, 1, 2, 3, 4}));
    EXPECT_EQ(waiting(rt_, "shared_mutex"), 1u);
    l.leave_all();
    EXPECT_EQ(l.entered(), indices({0, 1, 2, 3, 4, 5}));
}

// Once a writer waits, readers that come later stand behind it.
TEST_P(shared_mutexes, keep_later_readers_behind_a_writer) {
    line l(rt_);
    l.m.lock_shared();
    l.stand('w');
    EXPECT_FALSE(l.m.try_lock_shared());
    EXPECT_FALSE(l.m.try_lock_shared_for(1ms));
    l.stand('r');
    EXPECT_TRUE(l.entered().empty());
    l.m.unlock_shared();
    EXPECT_EVENTUALLY(l.entered() == indices({0}));
    l.leave_all();
    EXPECT_EQ(l.entered(), indices({0, 1}));
}

// A writer that gives up lets those in that stood behind it, up to the next writer, though the lock is never let go of.
TEST_P(shared_mutexes, let_readers_in_when_a_writer_gives_up) {
    for (const bool on_thread : {false, true}) {
        int seen_waiting = 0;
        for (int round = 0; round < 50 && seen_waiting < 3; ++round) {   // on a busy machine it gives up too early
            line l(rt_);
            l.m.lock_shared();
            std::atomic<bool> gave_up{false};
            crowd writer;
            writer.start(other_, on_thread, [&] {
                EXPECT_FALSE(l.m.try_lock_for(30ms));
                gave_up = true;
            });
            EXPECT_EVENTUALLY(gave_up || (on_thread ? writer.threads_sleep() : waiting(other_, "shared_mutex") == 1));
            std::atomic<int> in{0};
            crowd readers;
            for (int i = 0; i < 3; ++i)
                readers.go(rt_, [&] {
                    const std::shared_lock hold(l.m);
                    ++in;
                    EXPECT_EVENTUALLY(gave_up.load());
                });
            EXPECT_EVENTUALLY(gave_up || waiting(rt_, "shared_mutex") == 3);
            const bool all_wait = !gave_up;
            if (all_wait) {
                l.stand('w');
                l.stand('r');
                ++seen_waiting;
            }
            readers.join();
            EXPECT_EQ(in, 3);
            EXPECT_TRUE(gave_up);
            EXPECT_EQ(waiting(rt_, "shared_mutex"), all_wait ? 2u : 0u);
            EXPECT_TRUE(l.entered().empty());
            l.m.unlock_shared();
            l.leave_all();
            EXPECT_TRUE(l.m.try_lock());
        }
        EXPECT_EQ(seen_waiting, 3);
    }
}

// The only one that waited has given up: what it left behind keeps nobody out.
TEST_P(shared_mutexes, are_as_before_when_all_have_given_up) {
    on_both(rt_, [] {
        shared_mutex m;
        m.lock();
        std::thread([&] { EXPECT_FALSE(m.try_lock_for(1ms) || m.try_lock_shared_for(1ms)); }).join();
        m.unlock();
        EXPECT_TRUE(m.try_lock_shared());
        std::thread([&] { EXPECT_FALSE(m.try_lock_for(1ms)); }).join();
        EXPECT_TRUE(m.try_lock_shared());
        m.unlock_shared();
        std::thread([&] { EXPECT_FALSE(m.try_lock_for(1ms)); }).join();
        m.unlock_shared();
        EXPECT_TRUE(m.try_lock());
        m.unlock();
        m.lock_shared();
        m.unlock_shared();
    });
}

TEST_P(shared_mutexes, survive_waiters_that_give_up) {
    auto random = seeded_random("shared_mutexes.survive_waiters_that_give_up");
    for (std::size_t round = 0; round < scaled(20, 4); ++round) {
        shared_mutex m;
        std::atomic<unsigned> gave_up{0}, got{0};
        constexpr unsigned each = 8;
        m.lock();
        crowd all;
        for (unsigned i = 0; i < 4 * each; ++i)
            all.start(rt_, i % 8 >= 6, [&, i, d = std::chrono::microseconds(random() % 2000)] {
                switch (i % 4) {
                    case 0:
                        if (!m.try_lock_for(d)) return void(++gave_up);
                        break;
                    case 1:
                        if (!m.try_lock_shared_for(d)) return void(++gave_up);
                        break;
                    case 2: m.lock(); break;
                    default: m.lock_shared();
                }
                ++got;
                if (i % 2 == 0) m.unlock();
                else m.unlock_shared();
            });
        EXPECT_EVENTUALLY(gave_up == 2 * each);
        EXPECT_EQ(got, 0u);
        m.unlock();
        all.join();
        EXPECT_EQ(got, 2 * each);
        EXPECT_TRUE(m.try_lock());
    }
}

// ---- Waiting -------------------------------------------------------------------------------------------------------

TEST_P(shared_mutexes, timed_waits_are_never_early) {
    shared_mutex written, read;
    auto random = seeded_random("shared_mutexes.timed_waits_are_never_early");
    written.lock();
    read.lock_shared();
    crowd all;
    for (int who = 0; who < 6; ++who)
        all.start(rt_, who >= 4, [&, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < scaled(30, 10); ++i) {
                const std::chrono::nanoseconds d(r() % 2'000'000);
                EXPECT_FALSE(never_earlier_than(d, [&] { return written.try_lock_for(d); }));
                EXPECT_FALSE(never_earlier_than(d, [&] { return written.try_lock_shared_for(d); }));
                const auto until = steady::now() + d;
                EXPECT_FALSE(read.try_lock_until(until));
                EXPECT_GE(steady::now(), until);
                EXPECT_FALSE(written.try_lock_shared_until(until));
                EXPECT_FALSE(written.try_lock_shared_until(std::chrono::system_clock::now() - 1h));
            }
        });
    all.join();
    written.unlock();
    read.unlock_shared();
    EXPECT_TRUE(written.try_lock() && read.try_lock());
}

TEST_P(shared_mutexes, take_any_duration) {
    shared_mutex m;
    on_both(rt_, [&] {
        m.lock();
        EXPECT_FALSE(m.try_lock_for(-1s) || m.try_lock_for(0s) || m.try_lock_until(steady::time_point::min()));
        EXPECT_FALSE(m.try_lock_shared_for(std::chrono::hours::min()) || m.try_lock_shared_until(steady::now() - 1s));
        m.unlock();
        EXPECT_TRUE(m.try_lock_shared_for(-1s) && m.try_lock_shared_until(steady::time_point::min()));
        m.unlock_shared();
        m.unlock_shared();
    });
    m.lock();
    crowd all;
    for (const bool on_thread : {false, true}) {
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(m.try_lock_for(std::chrono::hours::max())); m.unlock(); });
        all.start(rt_, on_thread, [&] { EXPECT_TRUE(m.try_lock_shared_until(steady::time_point::max())); m.unlock_shared(); });
    }
    EXPECT_EVENTUALLY(waiting(rt_, "shared_mutex") == 2 && all.threads_sleep());
    m.unlock();
    all.join();
}

// ---- Fairness ------------------------------------------------------------------------------------------------------

std::chrono::nanoseconds median_wait(runtime& rt, bool waiter_writes, bool waiter_on_thread, bool others_on_threads) {
    shared_mutex m;
    std::atomic<bool> stop{false};
    std::atomic<int> others{0};
    crowd all;
    // The lock is never free, or free for readers, of its own accord: two of them overlap all the time.
    for (int i = 0; i < 2; ++i)
        all.start(rt, others_on_threads, [&] {
            bool first = true;
            while (!stop.load(std::memory_order_relaxed)) {
                if (waiter_writes) m.lock_shared();
                else m.lock();
                if (first) ++others;
                first = false;
                busy(255);
                if (waiter_writes) m.unlock_shared();
                else m.unlock();
            }
        });
    std::vector<std::chrono::nanoseconds> waits;
    all.start(rt, waiter_on_thread, [&] {
        EXPECT_EVENTUALLY(others == 2);
        for (int i = 0; i < 9; ++i) {
            const auto before = steady::now();
            if (waiter_writes) m.lock();
            else m.lock_shared();
            waits.push_back(steady::now() - before);
            if (waiter_writes) m.unlock();
            else m.unlock_shared();
        }
        stop = true;
    });
    all.join();
    std::sort(waits.begin(), waits.end());
    return waits[waits.size() / 2];
}

TEST_P(shared_mutexes, starve_nobody) {
    const auto most = with_sanitizer ? 2s : 100ms;
    for (const bool writer : {false, true})
        for (const bool on_thread : {false, true})
            for (const bool others_on_threads : {false, true})
                EXPECT_LT(median_wait(rt_, writer, on_thread, others_on_threads), most)
                    << "writer: " << writer << ", on a thread: " << on_thread << ", others: " << others_on_threads;
}

// ---- Its end -------------------------------------------------------------------------------------------------------

TEST_P(shared_mutexes, are_destroyed_by_their_last_owner) {
    struct object {
        shared_mutex m;
        int references = 0;
    };
    std::atomic<std::size_t> destroyed{0};
    const std::size_t rounds = scaled(10'000, 500);
    constexpr int owners = 4;
    std::vector<std::atomic<object*>> objects(rounds);
    for (auto& o : objects) {
        o = new object;
        o.load()->references = owners;
    }
    crowd all;
    for (int who = 0; who < owners; ++who)
        all.start(who == 0 ? other_ : rt_, who == 3, [&, who] {
            for (auto& slot : objects) {
                object* o = slot;
                {
                    const std::shared_lock hold(o->m);
                    EXPECT_GT(o->references, 0);
                }
                if (who == 1) EXPECT_TRUE(o->m.try_lock_for(1h));
                else o->m.lock();
                const bool last = --o->references == 0;
                o->m.unlock();
                if (!last) continue;
                delete o;
                ++destroyed;
            }
        });
    all.join();
    EXPECT_EQ(destroyed, rounds);
}

// ---- Misuse --------------------------------------------------------------------------------------------------------

void unlock_what_is_free() {
    shared_mutex m;
    m.unlock();
}
void unlock_what_readers_have() {
    shared_mutex m;
    m.lock_shared();
    m.unlock();
}
void unlock_shared_what_is_free() {
    shared_mutex m;
    m.lock_shared();
    m.unlock_shared();
    m.unlock_shared();
}
void unlock_shared_what_a_writer_has() {
    runtime rt({.procs = 1});
    rt.run([] {
        shared_mutex m;
        m.lock();
        m.unlock_shared();
    });
}
void unlock_what_readers_have_while_a_writer_waits() {
    runtime rt({.procs = 1});
    shared_mutex m;
    m.lock_shared();
    auto writer = rt.go([&] { m.lock(); });
    eventually([&] { return waiting(rt, "shared_mutex") == 1; });
    m.unlock();
    writer.join();
}

TEST(shared_mutex_death, unlock_of_what_is_not_locked_in_that_way) {
    const char* exclusive = "handoff: shared_mutex 0x[0-9a-f]+ is unlocked, and was not locked";
    const char* shared = "handoff: shared_mutex 0x[0-9a-f]+ is unlocked by a reader, and no reader had it";
    EXPECT_EXIT(unlock_what_is_free(), testing::KilledBySignal(SIGABRT), exclusive);
    EXPECT_EXIT(unlock_what_readers_have(), testing::KilledBySignal(SIGABRT), exclusive);
    EXPECT_EXIT(unlock_what_readers_have_while_a_writer_waits(), testing::KilledBySignal(SIGABRT), exclusive);
    EXPECT_EXIT(unlock_shared_what_is_free(), testing::KilledBySignal(SIGABRT), shared);
    EXPECT_EXIT(unlock_shared_what_a_writer_has(), testing::KilledBySignal(SIGABRT), shared);
}

TEST(shared_mutex, leaves_errno_alone_on_threads) {
    shared_mutex m;
    m.lock();
    errno = EDOM;
    EXPECT_FALSE(m.try_lock_for(2ms) || m.try_lock_shared_for(2ms));
    EXPECT_EQ(errno, EDOM);
}

}  // namespace
