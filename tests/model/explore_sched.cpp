// The scheduler: goroutines that are spawned or readied from inside or outside are run, once, whoever is idle then.
#include "explore_runtime.hpp"
#include "sched/schedule.hpp"

using namespace explore;
using namespace handoff::detail;
using handoff::join_handle;
using handoff::runtime;

namespace {

// From outside, while everybody goes idle: no wake-up is lost.
EXPLORE_SCENARIO(from_outside, "wake.outside", 100'000, .length = 800) {
    runtime rt(quiet(1 + choose(3)));
    unsigned ran = 0;
    for (int i = 0; i < 3; ++i) {
        auto h = rt.go([&] { ++ran; });
        if (perhaps()) h.join();
    }
    rt.go([&] { ++ran; }).join();
}

// From inside: more than the ring holds, by two goroutines at once, which then end at once or wait.
EXPLORE_SCENARIO(from_inside, "wake.inside", 100'000, .length = 1'500) {
    unsigned ran = 0, all = 0;
    {
        runtime rt(quiet(1 + choose(3)));
        const auto spawner = [&ran] {
            const unsigned n = 1 + choose(7);
            for (unsigned i = 0; i < n; ++i) handoff::go([&ran] { ++ran; }).detach();
            if (perhaps()) handoff::go([&ran] { ++ran; }).join();
            else ++ran;
            return n + 1;
        };
        auto a = rt.go(spawner), b = rt.go(spawner);
        all = a.join() + b.join();
        if (perhaps())
            while (ran != all) relax();   // the end of the runtime must not be what wakes them
    }
    EXPLORE_CHECK(ran == all);
}

// One goroutine spawns others and keeps its processor: an idle one has to take each of them at once, though it may just
// be giving up.
EXPLORE_SCENARIO(busy_spawner, "wake.busy", 100'000, .length = 1'500) {
    runtime rt(quiet(2 + choose(2)));
    unsigned ran = 0;
    rt.go([&] {
          for (unsigned i = 0; i < 4; ++i) {
              const unsigned n = 1 + choose(2), before = ran;
              for (unsigned k = 0; k < n; ++k) {
                  handoff::go([&] { ++ran; }).detach();
                  if (perhaps()) compute(choose(60));
              }
              while (ran != before + n) relax();   // away from the library
          }
      }).join();
}

// As many goroutines as processors, each of which waits until all run: no processor stays idle.
EXPLORE_SCENARIO(all_at_once, "wake.all", 100'000, .length = 1'500) {
    const unsigned procs = 2 + choose(2);
    runtime rt(quiet(procs));
    unsigned there = 0;
    const auto meet = [&] {
        ++there;
        while (there < procs) relax();
    };
    if (perhaps()) rt.go([] {}).detach();
    if (perhaps()) {
        rt.go([&] {
              for (unsigned i = 1; i < procs; ++i) handoff::go(meet).detach();
              meet();
          }).join();
    } else {
        for (unsigned i = 0; i < procs; ++i) rt.go(meet).detach();
    }
}

// The pick that puts what is in `next` behind the rest: another processor takes it from there, though it may just be going idle.
EXPLORE_SCENARIO(put_behind, "wake.put_behind", 100'000, .length = 800) {
    runtime rt(quiet(2));
    bool ran = false;
    for (unsigned i = 1 + choose(3); i > 0; --i) rt.go([] {}).detach();   // so that another is awake
    rt.go([&] {
          compute(choose(60));
          handoff::go([&] { ran = true; }).detach();   // in `next`
          handoff::go([&] {
              while (!ran) relax();
          }).detach();
          M* m = enter(current_m());
          P* p = m->p.load(std::memory_order_relaxed);
          p->until_global = 1;   // it is one of 61
          p->chain.until = 1;    // and `next` has had its time
          leave(m);
      }).join();
    while (!ran) relax();   // the end of the runtime must not be what wakes it
}

// A goroutine that yields to one that keeps the processor: another takes it.
EXPLORE_SCENARIO(yields_to_busy, "wake.yield", 100'000, .length = 800) {
    runtime rt(quiet(2));
    if (perhaps()) rt.go([] {}).detach();
    rt.go([] {
          bool back = false, began = false;
          auto busy = handoff::go([&] {
              began = true;
              while (!back) relax();
          });
          while (!began) handoff::this_goroutine::yield();
          back = true;
          busy.join();
      }).join();
}

// The same of one whose slice is over, and which is spent. The other can't lose its processor: it stays in the library.
EXPLORE_SCENARIO(spent_yields_to_busy, "wake.spent", 100'000, .length = 1'500) {
    runtime rt(greedy(2));
    if (perhaps()) rt.go([] {}).detach();
    rt.go([] {
          bool back = false, began = false;
          auto busy = handoff::go([&] {
              M* m = enter(current_m());
              began = true;
              while (!back) relax();
              leave(m);
          });
          while (!began) {
              compute(choose(30));
              handoff::this_goroutine::yield();
          }
          back = true;
          busy.join();
      }).join();
}

// Goroutines that yield to each other on few processors, while others come.
EXPLORE_SCENARIO(yields, "sched.yield", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    owners check;
    unsigned rounds = 0;
    const auto body = [&] {
        for (int i = 0; i < 3; ++i) {
            handoff::this_goroutine::yield();
            check.check();
            ++rounds;
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(rounds == 9);
}

// Time slices that end soon: who has used up one, in the library or out of it, waits behind the others, and is run.
EXPLORE_SCENARIO(slices, "sched.slices", 100'000, .length = 2'000) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    handoff::channel<int> ch(0);
    const auto poll = [&] {
        for (unsigned n = 1 + choose(6); n > 0; --n) {
            ch.try_recv();
            if (perhaps()) compute(choose(20));
            if (perhaps()) check.check();
        }
    };
    const auto play = [&] {
        handoff::channel<int> there(0);
        auto other = handoff::go([&] {
            for (int i = 0; i < 2; ++i) EXPLORE_CHECK(there.recv() == i);
        });
        for (int i = 0; i < 2; ++i) {
            there.send(i);
            if (perhaps()) check.check();
        }
        other.join();
    };
    join_handle<void> all[] = {rt.go(poll), rt.go(play), rt.go(poll)};
    for (auto& h : all) h.join();
}

// One that keeps its processor until a spent one has run, on the other, which may just be giving up.
EXPLORE_SCENARIO(spent, "sched.spent", 100'000, .length = 2'000) {
    runtime rt(greedy(2));
    handoff::base::atomic<bool> done{false};
    auto polls = rt.go([&] {
        for (unsigned n = 1 + choose(8); n > 0; --n) {
            handoff::this_goroutine::yield();
            compute(choose(20));
        }
        done.store(true, std::memory_order_relaxed);
    });
    auto busy = rt.go([&] {
        if (perhaps()) handoff::this_goroutine::yield();
        while (!done.load(std::memory_order_relaxed)) relax();
    });
    auto brief = rt.go([] { compute(choose(60)); });
    polls.join();
    busy.join();
    brief.join();
}

// Where a goroutine that parks shows itself to those who ready it.
struct meeting_place {
    handoff::base::atomic<G*> parked{nullptr};

    void wait() {
        M* m = park(enter(current_m()), wait_reason::forever,
                    [](M*, G* g, void* self) {
                        // release: its context.
                        static_cast<meeting_place*>(self)->parked.store(g, std::memory_order_release);
                    },
                    this);
        leave(m);
    }
    // wake readies whoever parks, once it does; a goroutine or a thread.
    void wake() {
        G* g;
        while (!(g = parked.exchange(nullptr, std::memory_order_acquire))) {
            if (current_m()) handoff::this_goroutine::yield();
            else relax();
        }
        M* m = current_m();
        if (m) m = enter(m);
        ready(m, g);
        if (m) leave(m);
    }
};

// Parked once, readied once, by a goroutine or a thread; no waiter is seen before its context is saved.
EXPLORE_SCENARIO(park_ready, "sched.park", 100'000, .length = 1'000) {
    runtime rt(quiet(1 + choose(2)));
    meeting_place place;
    unsigned rounds = 0;
    auto h = rt.go([&] {
        volatile unsigned on_stack = 7;
        for (unsigned i = 0; i < 3; ++i) {
            place.wait();
            EXPLORE_CHECK(on_stack == 7 + i);
            on_stack = on_stack + 1;
            ++rounds;
        }
    });
    auto w = rt.go([&] { place.wake(); });
    place.wake();
    w.join();
    rt.go([&] { place.wake(); }).join();
    h.join();
    EXPLORE_CHECK(rounds == 3);
}

// Joins that race with the end, with timeouts and with handles that are dropped.
EXPLORE_SCENARIO(joins, "sched.join", 100'000, .length = 1'200) {
    runtime rt(quiet(2));
    const auto work = [] {
        linger();
        return 42;
    };
    auto joined = rt.go(work), dropped = rt.go(work);
    auto joiner = rt.go([&] {
        if (perhaps() && !joined.wait_for(std::chrono::nanoseconds(choose(2'000)))) linger();
        return joined.join();
    });
    if (perhaps()) dropped.wait_for(std::chrono::nanoseconds(1 + choose(2'000)));
    dropped.detach();
    EXPLORE_CHECK(joiner.join() == 42);
}

// The number of processors changes under goroutines that come and go.
EXPLORE_SCENARIO(resized, "sched.set_procs", 100'000, .length = 2'000) {
    runtime rt(perhaps() ? quiet(2) : greedy(2));
    owners check;
    unsigned ran = 0;
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            linger();
            check.check();
        }
        ++ran;
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    rt.set_procs(1 + choose(3));
    rt.set_procs(1 + choose(3));
    for (auto& h : all) h.join();
    EXPLORE_CHECK(ran == 3);
}

}  // namespace
