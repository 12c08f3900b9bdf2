// What the kernel charges for waking a thread (the subject `linux`).

#include "registry.hpp"

#include <benchmark/benchmark.h>

#include <atomic>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace {

// ---- futex_wake: a thread wakes another that sleeps in a futex, and sleeps until that one wakes it in turn. The value
// is the time from just before FUTEX_WAKE until the woken thread runs; `call` is the waker's own share of it, the time
// in which FUTEX_WAKE returns. Between rounds the waker computes for 50 µs, so that the other is asleep by then.

class sleeper {
public:
    void wake() {
        word_.store(1, std::memory_order_release);
        ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
    void sleep() {
        while (word_.exchange(0, std::memory_order_acquire) == 0)
            ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
    }

private:
    alignas(64) std::atomic<std::uint32_t> word_{0};
};

class futex_pair {
public:
    ~futex_pair() {
        stop_.store(true, std::memory_order_relaxed);
        other_.wake();
        thread_.join();
    }
    struct times {
        double until_running;
        double call;
    };
    times round() {
        bench::spin_for(50'000);
        const double start = bench::now_ns();
        other_.wake();
        const double returned = bench::now_ns();
        self_.sleep();
        return {woken_at_ - start, returned - start};
    }

private:
    void answer() {
        for (;;) {
            other_.sleep();
            woken_at_ = bench::now_ns();
            if (stop_.load(std::memory_order_relaxed)) return;
            self_.wake();
        }
    }

    sleeper self_, other_;
    double woken_at_ = 0;  // ordered by self_
    std::atomic<bool> stop_{false};
    std::thread thread_{[this] { answer(); }};
};

std::vector<bench::figure> measure_futex(const bench::settings& s) {
    futex_pair pair;
    std::vector<double> until_running, calls;
    for (unsigned i = 0, warm_up = 100, n = s.quick ? 500 : 2000; i < warm_up + n; ++i) {
        const auto [woken, call] = pair.round();
        if (i < warm_up) continue;
        until_running.push_back(woken);
        calls.push_back(call);
    }
    bench::figure f{"futex_wake",
                    "linux",
                    std::thread::hardware_concurrency(),
                    bench::median(until_running),
                    "ns",
                    bench::spread_of(until_running)};
    f.extra.emplace_back("call", bench::median(calls));
    return {f};
}

const bench::register_workload futex({{"futex_wake"}, "linux", measure_futex});

void futex_wake(benchmark::State& state) {
    futex_pair pair;
    for (auto _ : state) state.SetIterationTime(pair.round().until_running * 1e-9);
}
BENCHMARK(futex_wake)->UseManualTime();

}  // namespace
