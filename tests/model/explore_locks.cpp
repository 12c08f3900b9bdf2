// Locks: one at a time, nobody left waiting, with deadlines and hand-over.
#include "explore_runtime.hpp"
#include "wait/parking_lot.hpp"

#include <cstddef>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <utility>
#include <vector>

using namespace explore;
using handoff::join_handle;
using handoff::runtime;

namespace {

// inside_alone finds two in one section.
class alone {
public:
    void pass() {
        EXPLORE_CHECK(!inside_);
        inside_ = true;
        for (unsigned i = choose(4); i > 0; --i) step();
        if (choose(8) == 0) block(1'500'000);   // the others starve meanwhile
        if (choose(8) == 0) linger();
        EXPLORE_CHECK(inside_);
        inside_ = false;
        ++passed;
    }
    unsigned passed = 0;

private:
    bool inside_ = false;
};

EXPLORE_SCENARIO(mutex_excludes, "mutex.exclusion", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(3)));
    handoff::mutex m;
    alone section;
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            const std::scoped_lock hold(m);
            section.pass();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body)};
    thread outside(body);
    for (auto& h : all) h.join();
    outside.join();
    EXPLORE_CHECK(section.passed == 6 && m.try_lock());
    m.unlock();
}

EXPLORE_SCENARIO(mutex_times_out, "mutex.timed", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    handoff::mutex m;
    alone section;
    unsigned given_up = 0;
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            if (perhaps()) {
                m.lock();
            } else if (!m.try_lock_for(std::chrono::nanoseconds(choose(3'000)))) {
                ++given_up;
                continue;
            }
            section.pass();
            m.unlock();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(section.passed + given_up == 6 && m.try_lock());
    m.unlock();
}

EXPLORE_SCENARIO(shared_excludes, "mutex.shared", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(3)));
    handoff::shared_mutex m;
    alone section;
    unsigned readers = 0, given_up = 0;
    const auto soon = [] { return std::chrono::nanoseconds(choose(3'000)); };
    const auto write = [&] {
        for (int i = 0; i < 2; ++i) {
            std::unique_lock hold(m, std::defer_lock);
            if (perhaps()) hold.lock();
            else if (!hold.try_lock_for(soon())) {
                ++given_up;
                continue;
            }
            EXPLORE_CHECK(readers == 0);
            section.pass();
            EXPLORE_CHECK(readers == 0);
        }
    };
    const auto read = [&] {
        for (int i = 0; i < 2; ++i) {
            std::shared_lock hold(m, std::defer_lock);
            if (choose(4) != 0) hold.lock();
            else if (!hold.try_lock_for(soon())) continue;
            ++readers;
            linger();
            --readers;
        }
    };
    join_handle<void> all[] = {rt.go(write), rt.go(read), rt.go(read), rt.go(write)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(section.passed + given_up == 4 && m.try_lock());   // nobody is counted any more
    m.unlock();
}

// The last reader looks for who waits when it has given the mutex away already: it may be gone, and something else in its
// place.
EXPLORE_SCENARIO(shared_is_destroyed, "mutex.shared_gone", 100'000, .length = 1'000) {
    runtime rt(quiet(1 + choose(3)));
    constexpr std::uint32_t pattern = 0x8000'0002;
    alignas(8) std::byte place[8];
    auto* const m = new (place) handoff::shared_mutex;
    m->lock_shared();
    std::uint32_t* word = nullptr;
    const auto call_once = [&rt](handoff::once_flag* flag) {
        bool called = false;
        const auto body = [&] {
            handoff::call_once(*flag, [&] {
                for (int i = 0; i < 8; ++i) linger();
                EXPLORE_CHECK(!std::exchange(called, true));
            });
            EXPLORE_CHECK(called);
        };
        join_handle<void> all[] = {rt.go(body), rt.go(body)};
        for (auto& h : all) h.join();
    };
    join_handle<void> writer = rt.go([&] {
        if (!m->try_lock_for(std::chrono::nanoseconds(choose(3'000)))) m->lock();
        m->unlock();
        m->~shared_mutex();
        if (perhaps()) word = new (place) std::uint32_t(pattern);
        else call_once(new (place) handoff::once_flag);
    });
    for (unsigned i = choose(40); i > 0; --i) step();
    m->unlock_shared();
    writer.join();
    EXPLORE_CHECK(!word || *word == pattern);
}

// Readers behind a writer are let in together, in rounds, though some give up. Once all have been in the mutex may be
// destroyed, and something else be in its place.
EXPLORE_SCENARIO(many_readers, "mutex.shared_many", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(3)));
    constexpr std::uint32_t pattern = 0x8000'0002;
    alignas(8) std::byte place[8];
    auto* const m = new (place) handoff::shared_mutex;
    m->lock();
    constexpr int many = 6;
    int inside = 0, queued = 0;
    const auto read = [&](bool impatient) {
        ++queued;
        if (!impatient || !m->try_lock_shared_for(std::chrono::nanoseconds(choose(3'000)))) m->lock_shared();
        ++inside;
        while (inside < many) handoff::this_goroutine::yield();
        m->unlock_shared();
    };
    std::vector<join_handle<void>> all;
    for (int i = 0; i < many; ++i) all.push_back(rt.go([&, impatient = choose(4) == 0] { read(impatient); }));
    thread writer([&] {
        while (queued < many) compute(20);
        compute(choose(100));
        m->unlock();
    });
    for (auto& h : all) h.join();
    m->~shared_mutex();
    auto* const word = new (place) std::uint32_t(pattern);
    writer.join();
    EXPLORE_CHECK(inside == many && *word == pattern);
}

// A queue of one place: notify_one must not reach somebody who has no use for it only.
EXPLORE_SCENARIO(condition, "condition.wait", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    handoff::mutex m;
    handoff::condition_variable changed;
    int ready = 0, taken = 0;
    const auto take = [&] {
        std::unique_lock hold(m);
        while (ready == 0) {
            if (perhaps()) changed.wait(hold);
            else changed.wait_for(hold, std::chrono::nanoseconds(choose(3'000)));
        }
        --ready;
        ++taken;
    };
    join_handle<void> takers[] = {rt.go(take), rt.go(take)};
    thread outside(take);
    for (int i = 0; i < 3; ++i) {
        {
            const std::scoped_lock hold(m);
            ++ready;
        }
        if (perhaps()) changed.notify_one();
        else changed.notify_all();
    }
    for (auto& h : takers) h.join();
    outside.join();
    EXPLORE_CHECK(ready == 0 && taken == 3);
}

// A notification that finds one that has just given up is for the next.
EXPLORE_SCENARIO(condition_gives_up, "condition.gives_up", 100'000, .length = 1'000) {
    runtime rt(quiet(1 + choose(2)));
    handoff::mutex m;
    handoff::condition_variable changed;
    bool said = false;
    auto first = rt.go([&] {
        std::unique_lock hold(m);
        const bool told = said || changed.wait_for(hold, std::chrono::nanoseconds(choose(3'000))) == std::cv_status::no_timeout;
        hold.unlock();
        if (told) changed.notify_one();
    });
    auto second = rt.go([&] {
        std::unique_lock hold(m);
        while (!said) changed.wait(hold);
    });
    {
        const std::scoped_lock hold(m);
        said = true;
    }
    changed.notify_one();
    first.join();
    second.join();
}

// All that wait are notified in one moment, though they are told in rounds: who waits again at once is none of them, and the
// next notification is for one like him. Some give up meanwhile. Once all are told the condition may be destroyed.
EXPLORE_SCENARIO(all_of_a_condition, "condition.all", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    handoff::mutex m;
    alignas(handoff::condition_variable) std::byte place[sizeof(handoff::condition_variable)];
    auto* const changed = new (place) handoff::condition_variable;
    constexpr int many = 5;
    int waiting = 0, phase = 0, again = 0, tokens = 0;
    const auto body = [&](bool waits_again) {
        std::unique_lock hold(m);
        ++waiting;
        while (phase == 0) {
            if (choose(4) != 0) changed->wait(hold);
            else changed->wait_for(hold, std::chrono::nanoseconds(choose(3'000)));
        }
        --waiting;
        if (!waits_again) return;
        ++again;
        while (tokens == 0) changed->wait(hold);
        --tokens;
    };
    std::vector<join_handle<void>> all;
    for (int i = 0; i < many; ++i) all.push_back(rt.go([&, i] { body(i < 2); }));
    thread notifier([&] {
        const auto seen = [&](const auto& what) {
            const std::scoped_lock hold(m);
            return what();
        };
        while (!seen([&] { return waiting == many; })) compute(20);
        m.lock();
        phase = 1;
        m.unlock();
        changed->notify_all();
    });
    for (int i = 0; i < 2; ++i) {
        for (bool ready = false; !ready; handoff::this_goroutine::yield()) {
            const std::scoped_lock hold(m);
            ready = again == i + 1 || again == 2;
            if (ready) ++tokens;
        }
        changed->notify_one();
    }
    for (auto& h : all) h.join();
    changed->~condition_variable();
    auto* const word = new (place) std::uint32_t(0x1234);
    notifier.join();
    EXPLORE_CHECK(waiting == 0 && again == 2 && tokens == 0 && *word == 0x1234);
}

// The same of a count: who comes back at once, and waits for the next one, is not woken with the others.
EXPLORE_SCENARIO(wait_groups_again, "wait_group.again", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    handoff::wait_group wg;
    wg.add(1);
    bool begun = false, done = false;
    const auto body = [&] {
        if (choose(4) == 0 && !wg.wait_for(std::chrono::nanoseconds(choose(3'000)))) return;
        wg.wait();
        if (std::exchange(begun, true)) return;
        wg.add(1);
        auto second = rt.go([&] {
            linger();
            done = true;
            wg.done();
        });
        wg.wait();
        EXPLORE_CHECK(done);
        second.join();
    };
    std::vector<join_handle<void>> all;
    for (int i = 0; i < 6; ++i) all.push_back(rt.go(body));
    for (unsigned i = choose(40); i > 0; --i) step();
    wg.done();
    for (auto& h : all) h.join();
    EXPLORE_CHECK(done == begun);
}

// Objects that share a tree, whose queues come and go as their waiters do.
EXPLORE_SCENARIO(objects_in_a_tree, "parking.objects", 50'000, .length = 1'500) {
    using namespace handoff::detail;
    runtime rt(quiet(1 + choose(3)));
    // That they share one is by chance for most objects: here what is waited for is numbers that do.
    std::uint64_t inverse = 1;
    for (int i = 0; i < 6; ++i) inverse *= 2 - 0x9E3779B97F4A7C15u * inverse;
    const auto object = [inverse](std::uint64_t number) { return reinterpret_cast<const void*>((number << 44) * inverse); };
    unsigned left = 0;
    const auto body = [&](std::uint64_t number, bool gives_up) {
        park_request r{.address = object(number), .why = wait_reason::mutex};
        if (gives_up) r.limits.deadline = static_cast<std::int64_t>(choose(3'000));
        M* m = enter_current();
        const park_result result = park_if(m, r, [] { return true; });
        leave_current(m);
        EXPLORE_CHECK(result.end == wait_end::timed_out ? gives_up : result.token == number);
        --left;
    };
    std::vector<join_handle<void>> all;
    for (std::uint64_t i = 0; i < 8; ++i) {
        ++left;
        all.push_back(rt.go([&, i, gives_up = choose(3) == 0] { body(1 + i % 5, gives_up); }));
    }
    while (left != 0) {
        const std::uint64_t number = 1 + choose(5);
        with_parked(object(number), [&](parked_waiters waiting, wake_list& won) {
            if (perhaps()) waiting.release_first(static_cast<std::uint32_t>(number), won);
            else waiting.release_all(static_cast<std::uint32_t>(number), won);
        });
        compute(20);
    }
    for (auto& h : all) h.join();
}

EXPLORE_SCENARIO(permits, "semaphore.permits", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    handoff::counting_semaphore<> s(2);
    int inside = 0;
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            if (perhaps() || !s.try_acquire_for(std::chrono::nanoseconds(choose(3'000)))) s.acquire();
            EXPLORE_CHECK(++inside <= 2);
            linger();
            --inside;
            s.release();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(s.try_acquire() && s.try_acquire() && !s.try_acquire());
}

// One release serves several, in rounds, while some give up. Who knows that all are through may destroy the semaphore.
EXPLORE_SCENARIO(many_permits, "semaphore.many", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    using semaphore = handoff::counting_semaphore<>;
    alignas(semaphore) std::byte place[sizeof(semaphore)];
    semaphore* s = new (place) semaphore(0);
    unsigned left = 5;
    std::vector<join_handle<void>> takers;
    const unsigned n = 2 + choose(3);
    for (unsigned i = 0; i < n; ++i)
        takers.push_back(rt.go([&, waits = i == 0 || perhaps()] {
            if (waits) s->acquire();
            else if (!s->try_acquire_for(std::chrono::nanoseconds(choose(3'000)))) return;
            --left;
        }));
    thread releaser([&] { s->release(5); });
    for (auto& t : takers) t.join();
    for (; s->try_acquire(); --left) {
    }
    EXPLORE_CHECK(left == 0);
    s->~semaphore();
    s = new (place) semaphore(7);
    releaser.join();
    for (left = 0; s->try_acquire(); ++left) {
    }
    EXPLORE_CHECK(left == 7);   // release has not come back to it
    s->~semaphore();
}

EXPLORE_SCENARIO(wait_groups, "wait_group.wait", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    handoff::wait_group wg;
    unsigned done = 0;
    wg.add(3);
    const auto work = [&] {
        linger();
        ++done;
        wg.done();
    };
    auto waiter = rt.go([&] {
        wg.wait();
        EXPLORE_CHECK(done == 3);
    });
    for (int i = 0; i < 3; ++i) rt.go(work).detach();
    wg.wait();
    EXPLORE_CHECK(done == 3);
    waiter.join();
}

}  // namespace
