// mutex_*, rwmutex_read: locks that goroutines take.
//
//   mutex_uncontended   a goroutine on 1 P locks and unlocks a mutex that nobody else wants. The value is the time per
//                       pair. The subject std_mutex is a std::mutex in the same place: in a process with threads, where
//                       it can't do without atomic operations.
//   mutex_contended     8 goroutines on 2 Ps lock the same mutex, do a few nanoseconds of work with what it guards, and
//                       unlock it. The value is the time in which one pair is done, whoever does it; the work is part
//                       of it.
//   rwmutex_read        as mutex_uncontended, but a shared_mutex that is locked for reading.

#include "on_runtime.hpp"

#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace {

template <class Mutex>
void lock_pairs(std::size_t n) {
    Mutex m;
    for (std::size_t i = 0; i < n; ++i) {
        m.lock();
        m.unlock();
    }
}

void read_lock_pairs(std::size_t n) {
    handoff::shared_mutex m;
    for (std::size_t i = 0; i < n; ++i) {
        m.lock_shared();
        m.unlock_shared();
    }
}

struct guarded {
    handoff::mutex mutex;
    std::size_t pairs = 0;
    std::uint32_t state = 1;

    void step() {
        mutex.lock();
        ++pairs;
        bench::scramble(state);
        mutex.unlock();
    }
};

constexpr std::size_t contenders = 8;

void contend(std::size_t n) {
    guarded shared;
    std::vector<handoff::join_handle<void>> all;
    for (std::size_t i = 0; i < contenders; ++i) {
        all.push_back(handoff::go([&shared, n] {
            for (std::size_t j = 0; j < n / contenders; ++j) shared.step();
        }));
    }
    for (auto& g : all) g.join();
    if (shared.pairs != n) throw std::runtime_error("pairs were lost");
}

constexpr std::size_t pairs = 4'000'000;

std::vector<bench::figure> measure_uncontended(const bench::settings& s) {
    return bench::operations_on(1, "mutex_uncontended", s, pairs, lock_pairs<handoff::mutex>);
}

std::vector<bench::figure> measure_uncontended_std(const bench::settings& s) {
    return bench::operations_on(1, "mutex_uncontended", s, pairs, lock_pairs<std::mutex>, "std_mutex");
}

std::vector<bench::figure> measure_contended(const bench::settings& s) {
    return bench::operations_on(2, "mutex_contended", s, 2'000'000, contend);
}

std::vector<bench::figure> measure_read_locks(const bench::settings& s) {
    return bench::operations_on(1, "rwmutex_read", s, pairs, read_lock_pairs);
}

const bench::register_workload uncontended({{"mutex_uncontended"}, "handoff", measure_uncontended});
const bench::register_workload uncontended_std({{"mutex_uncontended"}, "std_mutex", measure_uncontended_std});
const bench::register_workload contended({{"mutex_contended"}, "handoff", measure_contended});
const bench::register_workload read_locks({{"rwmutex_read"}, "handoff", measure_read_locks});

void mutex_uncontended(benchmark::State& state) { bench::batches_on(1, state, 10'000, lock_pairs<handoff::mutex>); }
BENCHMARK(mutex_uncontended)->MeasureProcessCPUTime()->UseRealTime();

void mutex_uncontended_std(benchmark::State& state) { bench::batches_on(1, state, 10'000, lock_pairs<std::mutex>); }
BENCHMARK(mutex_uncontended_std)->MeasureProcessCPUTime()->UseRealTime();

void mutex_contended(benchmark::State& state) { bench::batches_on(2, state, 80'000, contend); }
BENCHMARK(mutex_contended)->MeasureProcessCPUTime()->UseRealTime();

void rwmutex_read(benchmark::State& state) { bench::batches_on(1, state, 10'000, read_lock_pairs); }
BENCHMARK(rwmutex_read)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
