// Objects that are destroyed by who has them next. While the fast paths are closed all give up what they have the slow path, also
// what nobody waits for. Once they are open again the next one needs no lock of a bucket to have it, so that who gave it up must
// not come back to it. (A condition is no such thing: who waits for one takes the lock of its bucket before he goes on.)
#include "explore_runtime.hpp"
#include "sched/fast_path.hpp"

using namespace explore;
using handoff::runtime;

namespace {

void some_steps(unsigned most) {
    for (unsigned i = choose(most); i > 0; --i) step();
}

// An access to what `get` has destroyed fails.
template <class T, class Give, class Get>
void is_given_up(T* thing, Give give, Get get) {
    runtime rt(quiet(1 + choose(2)));
    const auto next = [&] {
        get(*thing);
        delete thing;
    };
    thread monitor([] {
        some_steps(10);
        handoff::detail::close_fast_paths();
        some_steps(20);
        handoff::detail::open_fast_paths();
    });
    thread outside([&] {
        if (perhaps()) next();
        else rt.go(next).join();
    });
    some_steps(20);
    give(*thing);
    outside.join();
    monitor.join();
}

// until calls `tries` till it is true, or waits at once.
template <class Tries, class Wait>
void until(Tries tries, Wait wait) {
    if (choose(4) == 0) return wait();
    while (!tries()) step();
}

template <class Mutex>
void mutex_is_given_up() {
    auto* const m = new Mutex;
    m->lock();
    is_given_up(m, [](Mutex& held) { held.unlock(); },
                [](Mutex& wanted) {
                    until([&] { return wanted.try_lock(); }, [&] { wanted.lock(); });
                    wanted.unlock();
                });
}

EXPLORE_SCENARIO(mutex, "mutex.given_up", 100'000, .length = 300) { mutex_is_given_up<handoff::mutex>(); }

EXPLORE_SCENARIO(shared_mutex, "mutex.shared_given_up", 100'000, .length = 300) { mutex_is_given_up<handoff::shared_mutex>(); }

EXPLORE_SCENARIO(semaphore, "semaphore.given_up", 100'000, .length = 300) {
    using semaphore = handoff::counting_semaphore<>;
    is_given_up(new semaphore(0), [](semaphore& s) { s.release(); },
                [](semaphore& s) { until([&] { return s.try_acquire(); }, [&] { s.acquire(); }); });
}

EXPLORE_SCENARIO(latch, "wait_group.given_up", 100'000, .length = 300) {   // which count the same way
    using handoff::latch;
    is_given_up(new latch(1), [](latch& l) { l.count_down(); },
                [](latch& l) { until([&] { return l.try_wait(); }, [&] { l.wait(); }); });
}

EXPLORE_SCENARIO(event, "event.given_up", 100'000, .length = 300) {
    using handoff::event;
    is_given_up(new event, [](event& e) { e.set(); }, [](event& e) { until([&] { return e.try_wait(); }, [&] { e.wait(); }); });
}

EXPLORE_SCENARIO(auto_reset_event, "event.auto_given_up", 100'000, .length = 300) {
    using handoff::auto_reset_event;
    is_given_up(new auto_reset_event, [](auto_reset_event& e) { e.set(); },
                [](auto_reset_event& e) { until([&] { return e.try_wait(); }, [&] { e.wait(); }); });
}

EXPLORE_SCENARIO(once, "once.given_up", 100'000, .length = 300) {
    bool begun = false;
    is_given_up(new handoff::once_flag,
                [&](handoff::once_flag& f) {
                    handoff::call_once(f, [&] {
                        begun = true;
                        some_steps(20);
                    });
                },
                [&](handoff::once_flag& f) {
                    while (!begun) step();
                    handoff::call_once(f, [] { EXPLORE_CHECK(!"called twice"); });
                });
}

}  // namespace
