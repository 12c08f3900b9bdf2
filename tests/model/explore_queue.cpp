// The run queue and the note by themselves.
#include "explore.hpp"
#include "os/note.hpp"
#include "sched/g.hpp"
#include "sched/runq.hpp"

#include <array>
#include <memory>

using handoff::detail::G;
using handoff::detail::run_queue;

namespace {

constexpr unsigned most_gs = 16;

// Who has taken which goroutine.
struct ledger {
    std::array<G, most_gs> gs;
    std::array<unsigned, most_gs> taken{};
    unsigned made = 0;

    G* make() { return &gs[made++]; }
    void take(const G* g) {
        const auto i = static_cast<std::size_t>(g - gs.data());
        if (i >= made) explore::fail("no goroutine was queued that is %p", static_cast<const void*>(g));
        if (++taken[i] != 1) explore::fail("goroutine %zu was taken twice", i);
    }
    void check_all_taken() const {
        for (unsigned i = 0; i < made; ++i)
            if (taken[i] != 1) explore::fail("goroutine %u of %u was lost", i, made);
    }
    void empty(run_queue& q) {
        for (G* g; (g = q.take_next()) || (g = q.pop());) take(g);
    }
};

void steal_all(run_queue& from, ledger& l, unsigned tries) {
    run_queue own;
    for (; tries > 0; --tries) {
        unsigned moved = 0;
        if (G* g = own.steal_from(from, explore::perhaps(), moved)) l.take(g);
        l.empty(own);
    }
}

// The owner pushes, pops, sets `next` and overflows, two others steal: each goroutine is taken once.
EXPLORE_SCENARIO(steal, "runq.steal", 500'000, .length = 150) {
    auto l = std::make_unique<ledger>();
    auto q = std::make_unique<run_queue>();
    explore::thread a([&] { steal_all(*q, *l, 3); });
    explore::thread b([&] { steal_all(*q, *l, 2); });
    while (l->made < most_gs) {
        switch (explore::choose(5)) {
            case 0: {
                if (G* g = q->pop()) l->take(g);
                break;
            }
            case 1: {
                if (G* g = q->take_next()) l->take(g);
                break;
            }
            case 2: {
                G* g = l->make();
                if (!q->set_next(g) && !q->push(g)) l->take(g);
                break;
            }
            default: {
                G* g = l->make();
                while (!q->push(g)) {
                    G* half[run_queue::capacity / 2];
                    if (!q->take_half(half)) continue;
                    for (const G* h : half) l->take(h);
                    l->take(g);
                    break;
                }
            }
        }
    }
    a.join();
    b.join();
    l->empty(*q);
    EXPLORE_CHECK(q->empty());
    l->check_all_taken();
}

// empty() never says so of a queue that was not empty all the while: the owner moves its goroutine between `next` and the
// ring, and always holds at least one there.
EXPLORE_SCENARIO(never_empty, "runq.empty", 500'000, .length = 80) {
    auto l = std::make_unique<ledger>();
    auto q = std::make_unique<run_queue>();
    G* first = l->make();
    G* second = l->make();
    q->push(first);
    explore::thread looks([&] {
        for (int i = 0; i < 4; ++i) EXPLORE_CHECK(!q->empty());
    });
    G* spare = second;
    for (int i = 0; i < 6; ++i) {
        if (!explore::perhaps() || !q->set_next(spare)) EXPLORE_CHECK(q->push(spare));
        spare = explore::perhaps() ? q->take_next() : nullptr;
        if (!spare) spare = q->pop();
        if (!spare) spare = q->take_next();
    }
    looks.join();
}

// A lone owner takes without CAS until it shares its queue; thieves that come at any time get each goroutine once.
EXPLORE_SCENARIO(alone, "runq.alone", 500'000, .length = 80) {
    auto l = std::make_unique<ledger>();
    auto q = std::make_unique<run_queue>();
    q->set_alone();
    explore::thread thief([&] { steal_all(*q, *l, 4); });
    const unsigned shares_at = explore::choose(6);
    for (unsigned i = 0; i < 6; ++i) {
        if (i == shares_at) q->share();
        G* g = l->make();
        if (!q->set_next(g) && !q->push(g)) l->take(g);
        if (explore::perhaps()) {
            if (G* t = explore::perhaps() ? q->take_next() : q->pop()) l->take(t);
        }
    }
    thief.join();
    q->share();
    l->empty(*q);
    l->check_all_taken();
}

// Each wake ends one wait, early, late or in between, with and without a deadline.
EXPLORE_SCENARIO(note_wakes, "note.wake", 500'000, .length = 60) {
    handoff::os::note ping, pong;
    int turns = 0;
    explore::thread other([&] {
        for (int i = 0; i < 3; ++i) {
            ping.wait(explore::perhaps() ? 500 : 0);
            ++turns;
            pong.wake();
        }
    });
    for (int i = 0; i < 3; ++i) {
        ping.wake();
        while (!pong.wait_until(explore::perhaps() ? handoff::os::never : 1'000'000'000 + explore::choose(20'000))) {
        }
        EXPLORE_CHECK(turns == i + 1);
    }
    other.join();
}

}  // namespace
