// Timers: sleeps end, never early, also where all is idle; what ends a wait and what times it out settle who was first.
#include "explore_runtime.hpp"

using namespace explore;
using handoff::join_handle;
using handoff::runtime;
using steady = std::chrono::steady_clock;

namespace {

// Several sleepers on one or two processors, spawned before and while the others sleep.
EXPLORE_SCENARIO(sleeps, "timer.sleep", 100'000, .length = 2'000) {
    runtime rt(perhaps() ? quiet(1 + choose(2)) : greedy(1 + choose(2)));
    const auto body = [](std::int64_t ns) {
        const auto until = steady::now() + std::chrono::nanoseconds(ns);
        handoff::this_goroutine::sleep_until(until);
        EXPLORE_CHECK(steady::now() >= until);
    };
    join_handle<void> all[] = {rt.go(body, choose(40'000)), rt.go(body, choose(400)), rt.go(body, choose(40'000))};
    if (perhaps()) block(choose(20'000));
    rt.go(body, choose(4'000)).join();
    for (auto& h : all) h.join();
}

// A sleeper wakes in time, not when somebody happens to look: also when who would have woken it is called to work, and its
// processor is handed off. The monitor's pause is 10 ms.
EXPLORE_SCENARIO(in_time, "timer.in_time", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    const auto sleep = [](std::chrono::nanoseconds d) {
        const auto until = steady::now() + d;
        handoff::this_goroutine::sleep_until(until);
        EXPLORE_CHECK(steady::now() >= until);
        if (time_is_even()) EXPLORE_CHECK(steady::now() < until + 2ms);
    };
    auto h = rt.go([&] {
        sleep(3ms);
        sleep(40ms);
    });
    if (perhaps()) block(choose(3'000'000));
    auto other = rt.go([&] {
        if (perhaps()) sleep(std::chrono::nanoseconds(choose(10'000'000)));
        const handoff::syscall_guard g(handoff::handoff_policy::immediate);   // else a timer may wait for the grace
        block(choose(100'000'000));
    });
    h.join();
    other.join();
}

// Two sleepers on two processors, both of which are idle; who woke for the first timer stays away with its goroutine, and
// somebody else has to wake for the second. (For those of its own processor the monitor looks in its time.)
EXPLORE_SCENARIO(beside, "timer.beside", 100'000, .length = 1'500) {
    using handoff::detail::current_m;
    runtime rt(quiet(2));
    const auto here = [] { return current_m()->p.load(std::memory_order_relaxed); };
    const handoff::detail::P* of_the_first = nullptr;
    auto first = rt.go([&] {
        of_the_first = here();
        handoff::this_goroutine::sleep_for(3ms);
        block(100'000'000);
    });
    if (perhaps()) block(choose(100'000));
    auto second = rt.go([&] {
        if (perhaps()) compute(choose(30));
        const bool apart = of_the_first && here() != of_the_first;
        const auto until = steady::now() + 3ms + std::chrono::nanoseconds(choose(1'000'000));
        handoff::this_goroutine::sleep_until(until);
        EXPLORE_CHECK(steady::now() >= until);
        if (apart && time_is_even()) EXPLORE_CHECK(steady::now() < until + 2ms);
    });
    second.join();
    first.join();
}

// A wait with a deadline that comes as somebody ends it.
EXPLORE_SCENARIO(races, "timer.race", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    const handoff::channel<int> ch(0);
    int got = 0, sent = 0;
    const auto receive = [&] {
        for (int i = 0; i < 2; ++i)
            if (ch.recv_for(std::chrono::nanoseconds(choose(2'500)))) ++got;
    };
    const auto send = [&] {
        for (int i = 0; i < 2; ++i)
            if (ch.send_for(i, std::chrono::nanoseconds(choose(2'500)))) ++sent;
    };
    join_handle<void> all[] = {rt.go(receive), rt.go(send)};
    thread outside(perhaps() ? std::function<void()>(receive) : std::function<void()>(send));
    for (auto& h : all) h.join();
    outside.join();
    EXPLORE_CHECK(got == sent);
}

// Timer objects: stopped, reset and dropped while they fire.
EXPLORE_SCENARIO(objects, "timer.objects", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    rt.go([] {
          handoff::timer t(std::chrono::nanoseconds(choose(3'000)));
          linger();
          bool was = t.stop();
          EXPLORE_CHECK(was);   // nobody has received
          EXPLORE_CHECK(!t.chan().try_recv());
          t.reset(std::chrono::nanoseconds(choose(3'000)));
          if (perhaps()) EXPLORE_CHECK(t.chan().recv());
          unsigned called = 0;
          {
              handoff::timer f(std::chrono::nanoseconds(choose(3'000)), [&] { ++called; });
              linger();
              was = f.stop();
          }
          linger();
          if (was) EXPLORE_CHECK(called == 0);
          else
              while (called == 0) handoff::this_goroutine::yield();
          EXPLORE_CHECK(called <= 1);
          handoff::ticker ticks(std::chrono::nanoseconds(500 + choose(2'000)));
          for (int i = 0; i < 2; ++i) EXPLORE_CHECK(ticks.chan().recv());
      }).join();
}

// Those of after(), whose channel goes while they fire.
EXPLORE_SCENARIO(afters, "timer.after", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    handoff::channel<steady::time_point> ch;
    handoff::detail::sched* s = nullptr;
    rt.go([&] {
          s = handoff::detail::current_m()->s;
          ch = handoff::after(std::chrono::nanoseconds(choose(3'000)));
      }).join();
    const auto drop = [&] {
        linger();
        if (perhaps()) (void)ch.try_recv();
        ch = {};
    };
    if (perhaps()) {
        thread outside(drop);
        outside.join();
    } else {
        rt.go(drop).join();
    }
    // One that was due is out of the heap, for stop, a moment before the heap's size says so: both change in one hold of its
    // lock, by whoever fires it. So have that lock once; no time passes in which a timer that was left could fire and be gone.
    s->procs.for_each([](handoff::detail::P& p) {
        unsigned none;
        p.timers.take_due(0, 0, nullptr, none);
    });
    for (const auto& p : rt.snapshot().processors) EXPLORE_CHECK(p.timers == 0);
}

}  // namespace
