// Events, and semaphores of which some want several permits: who gives up, who is destroyed, and what goes to whom.
#include "explore_runtime.hpp"
#include "wait/parking_lot.hpp"

#include <cstddef>
#include <new>
#include <vector>

using namespace explore;
using handoff::join_handle;
using handoff::runtime;

namespace {

// One waits for two, and may give up while permits come one by one; another for one, behind it or before it. No permit is lost,
// and there are never more than there may be, though some are refused. Between its rounds who gives up is still in the queue.
EXPLORE_SCENARIO(collected_permits, "semaphore.collected", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    constexpr std::ptrdiff_t most = 3;
    handoff::counting_semaphore<most> s(0);
    std::ptrdiff_t taken = 0, released = 0;
    std::vector<join_handle<void>> takers;
    for (const std::ptrdiff_t n : {2, 1, 2})
        takers.push_back(rt.go([&, n, waits = n == 1 && perhaps()] {
            if (waits) s.acquire(n);
            else if (!s.try_acquire_for(n, std::chrono::nanoseconds(choose(3'000)))) return;
            taken += n;
        }));
    const auto release = [&](std::ptrdiff_t n) {
        try {
            s.release(n);
            released += n;
        } catch (const handoff::usage_error&) {   // there were too many already
        }
    };
    thread outside([&] {
        for (int i = 0; i < 3; ++i) {
            release(1);
            compute(choose(20));
        }
    });
    if (perhaps()) release(most);
    outside.join();
    takers[0].join();
    takers[2].join();
    release(1);   // they may have had all
    takers[1].join();
    std::ptrdiff_t left = 0;
    while (s.try_acquire()) ++left;
    EXPLORE_CHECK(left <= most && taken + left == released && released >= most);
}

// More wait behind one that gives up than it passes permits on to in a round. It may destroy the semaphore, once all have theirs.
EXPLORE_SCENARIO(passed_on, "semaphore.passed_on", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    using semaphore = handoff::counting_semaphore<>;
    alignas(semaphore) std::byte place[sizeof(semaphore)];
    auto* const s = new (place) semaphore(0);
    constexpr int many = 5;
    int left = many;
    bool queued = false, gave_up = false;
    thread collector([&] {
        EXPLORE_CHECK(!s->try_acquire_for(many + 3, std::chrono::nanoseconds(choose(10'000))));
        gave_up = true;
    });
    while (!queued && !gave_up) {   // until then it may not be destroyed
        handoff::detail::with_parked(s, [&](auto waiting, auto&) { queued = !waiting.empty(); });
        compute(20);
    }
    std::vector<join_handle<void>> takers;
    for (int i = 0; i < many; ++i)
        takers.push_back(rt.go([&] {
            s->acquire();
            --left;
        }));
    for (unsigned i = choose(60); i > 0; --i) step();
    s->release(many - 1);
    for (unsigned i = choose(60); i > 0; --i) step();
    s->release(1);
    for (auto& t : takers) t.join();
    EXPLORE_CHECK(left == 0 && !s->try_acquire());
    s->~semaphore();
    auto* const word = new (place) std::uint64_t(0x1234);
    collector.join();
    EXPLORE_CHECK(*word == 0x1234);
}

// Each set of an event lets one through, unless it found it set; nobody who waits is forgotten.
EXPLORE_SCENARIO(auto_events, "event.one_by_one", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    handoff::auto_reset_event ready;
    int produced = 0, consumed = 0, through = 0, sets = 0;
    const auto consume = [&] {   // the event protects the numbers from the other who consumes
        ++through;
        EXPLORE_CHECK(consumed <= produced);
        consumed = produced;
    };
    auto consumer = rt.go([&] {
        while (consumed < 4) {
            if (perhaps()) ready.wait();
            else if (!ready.wait_for(std::chrono::nanoseconds(choose(3'000)))) continue;
            consume();
        }
    });
    const auto produce = [&] {
        for (int i = 0; i < 2; ++i) {
            ++produced;
            ++sets;
            ready.set();
            linger();
        }
    };
    thread outside([&] {
        for (int i = 0; i < 2; ++i) {
            ++produced;
            ++sets;
            ready.set();
            compute(choose(20));
        }
    });
    produce();
    outside.join();
    consumer.join();
    EXPLORE_CHECK(produced == 4 && through <= sets);
}

// All that wait when an event is set go on, also if it is reset at once; who comes later waits for the next time. Some give up.
EXPLORE_SCENARIO(manual_events, "event.all", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    alignas(handoff::event) std::byte place[sizeof(handoff::event)];
    auto* const e = new (place) handoff::event;
    constexpr int many = 5;
    int through = 0;
    std::vector<join_handle<void>> all;
    for (int i = 0; i < many; ++i)
        all.push_back(rt.go([&, impatient = choose(4) == 0] {
            if (!impatient || !e->wait_for(std::chrono::nanoseconds(choose(3'000)))) e->wait();
            ++through;
        }));
    const bool resets = perhaps();
    thread outside([&] {
        for (unsigned i = choose(60); i > 0; --i) step();
        if (resets) {
            e->set();
            e->reset();
            compute(choose(20));
        }
        e->set();
    });
    for (auto& h : all) h.join();
    EXPLORE_CHECK(through == many);
    if (resets) outside.join();
    e->~event();
    auto* const word = new (place) std::uint32_t(0x1234);
    if (!resets) outside.join();
    EXPLORE_CHECK(*word == 0x1234);
}

}  // namespace
