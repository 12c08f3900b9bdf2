// The explorer itself: what its machine may do it does within a few schedules (`broken.*`, which have to fail), and what
// it may not do it never does.
#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "explore.hpp"
#include "os/membarrier.hpp"
#include "os/note.hpp"

#include <memory>

using namespace explore;
namespace base = handoff::base;

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// Two threads that each store and then look for the other's store: true if both missed it.
template <class Store>
bool both_miss(Store store_and_fence) {
    base::atomic<int> x{0}, y{0};
    int saw_x = 1, saw_y = 1;
    thread other([&] {
        store_and_fence(y);
        saw_x = x.load(relaxed);
    });
    store_and_fence(x);
    saw_y = y.load(relaxed);
    other.join();
    return saw_x == 0 && saw_y == 0;
}

EXPLORE_BROKEN(no_fence, "broken.no_fence") {
    EXPLORE_CHECK(!both_miss([](auto& a) { a.store(1, relaxed); }));
}
EXPLORE_BROKEN(compiler_fence, "broken.compiler_fence") {
    EXPLORE_CHECK(!both_miss([](auto& a) {
        a.store(1, std::memory_order_release);
        base::compiler_fence();
    }));
}
EXPLORE_SCENARIO(full, "model.full_fence", 20'000, .length = 30) {
    EXPLORE_CHECK(!both_miss([](auto& a) {
        a.store(1, relaxed);
        base::full_fence();
    }));
}
EXPLORE_SCENARIO(exchange, "model.exchange", 20'000, .length = 30) {
    EXPLORE_CHECK(!both_miss([](auto& a) { a.exchange(1, std::memory_order_seq_cst); }));
}
EXPLORE_SCENARIO(seq_cst, "model.seq_cst", 20'000, .length = 30) {
    EXPLORE_CHECK(!both_miss([](auto& a) { a.store(1, std::memory_order_seq_cst); }));
}

// One side pays for both. Each thread has its barrier at a time of its own.
EXPLORE_SCENARIO(barrier, "model.membarrier", 20'000, .length = 30) {
    base::atomic<int> x{0}, y{0};
    int saw_x = 1, saw_y = 1;
    thread other([&] {
        y.store(1, relaxed);
        base::compiler_fence();
        saw_x = x.load(relaxed);
    });
    x.store(1, relaxed);
    handoff::os::membarrier_all();
    saw_y = y.load(relaxed);
    other.join();
    EXPLORE_CHECK(saw_x == 1 || saw_y == 1);
}

// A value, and a flag that says that it is there: what was seen of the value where the flag was.
int seen_with_flag(std::memory_order order) {
    base::atomic<int> value{0}, flag{0};
    int seen = 1;
    thread reader([&] {
        if (flag.load(std::memory_order_acquire)) seen = value.load(relaxed);
    });
    value.store(1, relaxed);
    flag.store(1, order);
    reader.join();
    return seen;
}
EXPLORE_BROKEN(relaxed_flag, "broken.relaxed_flag") { EXPLORE_CHECK(seen_with_flag(relaxed) == 1); }
EXPLORE_SCENARIO(release_flag, "model.release", 20'000, .length = 30) {
    EXPLORE_CHECK(seen_with_flag(std::memory_order_release) == 1);
}

// Adding without a read-modify-write.
EXPLORE_BROKEN(lost_update, "broken.lost_update") {
    base::atomic<int> n{0};
    const auto add = [&] { n.store(n.load(relaxed) + 1, relaxed); };
    thread other(add);
    add();
    other.join();
    EXPLORE_CHECK(n.load(relaxed) == 2);
}

EXPLORE_BROKEN(deadlock, "broken.deadlock") {
    base::mutex a, b;
    thread other([&] {
        base::lock_guard first(b);
        base::lock_guard second(a);
    });
    {
        base::lock_guard first(a);
        base::lock_guard second(b);
    }
    other.join();
}

// It looks, finds nothing, and sleeps: the wake-up came in between.
EXPLORE_BROKEN(lost_wake, "broken.lost_wake") {
    base::atomic<bool> there{false}, sleeps{false};
    handoff::os::note n;
    thread waiter([&] {
        if (there.load(std::memory_order_acquire)) return;
        sleeps.store(true, std::memory_order_seq_cst);
        n.wait();
    });
    there.store(true, std::memory_order_seq_cst);
    if (sleeps.load(std::memory_order_seq_cst)) n.wake();
    waiter.join();
}

EXPLORE_BROKEN(livelock, "broken.livelock") {
    base::atomic<bool> never{false};
    while (!never.load(relaxed)) relax();
}

EXPLORE_BROKEN(freed, "broken.freed") {
    auto n = std::make_unique<base::atomic<int>>(0);
    base::atomic<int>* const raw = n.get();
    thread other([&] { raw->fetch_add(1, relaxed); });
    n.reset();
    other.join();
}

// Under the lock what the one before wrote is seen, and nobody else is there.
EXPLORE_SCENARIO(locked, "model.mutex", 20'000, .length = 30) {
    base::mutex m;
    base::atomic<int> n{0};
    const auto add = [&] {
        for (int i = 0; i < 2; ++i) {
            base::lock_guard hold(m);
            n.store(n.load(relaxed) + 1, relaxed);
        }
    };
    thread other(add);
    add();
    other.join();
    EXPLORE_CHECK(n.load(relaxed) == 4);
}

}  // namespace
