// The workloads of handoff_bench in Boost.Fiber, as far as it has them. Here: its default round-robin scheduler on one
// thread, or on two that share a channel or a mutex, but no fibers. What blocks is in blocking.hpp, what two threads
// steal from each other in stealing.hpp. See the .cpp file of each workload in bench/workloads/ for what is timed.

#include "blocking.hpp"
#include "stealing.hpp"
#include "subject.hpp"

#include <boost/version.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

namespace {

namespace fibers = boost::fibers;
using peer::pooled_stacks;

// yield: see workloads/yield.cpp.
void yield_pair(std::size_t n) {
    const auto half = [n] {
        for (std::size_t i = 0; i < n / 2; ++i) boost::this_fiber::yield();
    };
    fibers::fiber a(fibers::launch::post, half);
    fibers::fiber b(fibers::launch::post, half);
    a.join();
    b.join();
}

// spawn: see workloads/spawn.cpp. The pooled stacks are the fastest that Boost.Fiber offers.
void spawn_batches(std::size_t n) {
    constexpr std::size_t batch = 128;
    static fibers::pooled_fixedsize_stack stacks;
    std::atomic<std::size_t> done{0};
    for (std::size_t started = 0; started < n;) {
        for (std::size_t i = 0; i < batch; ++i) {
            fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, [&done] {
                done.fetch_add(1, std::memory_order_relaxed);
            }).detach();
        }
        started += batch;
        while (done.load(std::memory_order_relaxed) < started) boost::this_fiber::yield();
    }
}

// chan_unbuffered, chan_buffered, chan_buffered_2p: see workloads/channels.cpp.
void round_trips(std::size_t n) {
    fibers::unbuffered_channel<std::int64_t> there, back;
    fibers::fiber echo(fibers::launch::post, [&] {
        for (std::int64_t v : there) back.push(v);
    });
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        there.push(static_cast<std::int64_t>(i));
        sum += back.value_pop();
    }
    there.close();
    echo.join();
    bench::check_sum(sum, n);
}

// A ring of Boost's with 128 places holds 127 items, and their number must be a power of two.
using item_channel = fibers::buffered_channel<std::int64_t>;
constexpr std::size_t channel_places = 128;

void produce(item_channel& items, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) items.push(static_cast<std::int64_t>(i));
    items.close();
}

void consume(item_channel& items, std::size_t n) {
    std::int64_t sum = 0;
    for (std::int64_t v : items) sum += v;
    bench::check_sum(sum, n);
}

void produce_and_consume(std::size_t n) {
    item_channel items(channel_places);
    fibers::fiber producer(fibers::launch::post, [&] { produce(items, n); });
    consume(items, n);
    producer.join();
}

void produce_and_consume_2p(std::size_t n) {
    item_channel items(channel_places);
    std::thread producer([&] { produce(items, n); });
    consume(items, n);
    producer.join();
}

// mutex_uncontended, mutex_contended: see workloads/locks.cpp.
void lock_pairs(std::size_t n) {
    fibers::mutex m;
    for (std::size_t i = 0; i < n; ++i) {
        m.lock();
        m.unlock();
    }
}

struct guarded {
    fibers::mutex mutex;
    std::size_t pairs = 0;
    std::uint32_t state = 1;

    void step() {
        mutex.lock();
        ++pairs;
        bench::scramble(state);
        mutex.unlock();
    }
};

void contend(std::size_t n) {
    guarded shared;
    const auto four_fibers = [&] {
        std::array<fibers::fiber, 4> all;
        for (auto& f : all) {
            f = fibers::fiber(fibers::launch::post, [&] {
                for (std::size_t i = 0; i < n / 8; ++i) shared.step();
            });
        }
        for (auto& f : all) f.join();
    };
    std::thread other(four_fibers);
    four_fibers();
    other.join();
    if (shared.pairs != n) throw std::runtime_error("pairs were lost");
}

// wait_group: see workloads/wait_group.cpp. There is none; the batch is joined.
void join_batches(std::size_t n) {
    constexpr std::size_t batch = 1000;
    std::vector<fibers::fiber> all(batch);
    for (std::size_t started = 0; started < n; started += batch) {
        for (auto& f : all) f = peer::start_here([] {});
        for (auto& f : all) f.join();
    }
}

// skynet: see workloads/skynet.cpp. A child runs as soon as it is launched, so that leaves end before more of them
// start; launched with `post`, all million would be there at once.
void skynet_node(item_channel& to, std::int64_t number, std::int64_t leaves) {
    if (leaves == 1) {
        to.push(number);
        return;
    }
    item_channel from(16);  // ten, and what a ring of Boost's needs
    for (std::int64_t i = 0; i < 10; ++i) {
        fibers::fiber(fibers::launch::dispatch, std::allocator_arg, pooled_stacks(), [&from, number, leaves, i] {
            skynet_node(from, number + i * (leaves / 10), leaves / 10);
        }).detach();
    }
    std::int64_t sum = 0;
    for (int i = 0; i < 10; ++i) sum += from.value_pop();
    to.push(sum);
}

void skynet() {
    constexpr std::size_t leaves = 1'000'000;
    item_channel result(2);
    fibers::fiber(fibers::launch::dispatch, std::allocator_arg, pooled_stacks(), [&result] {
        skynet_node(result, 0, leaves);
    }).detach();
    bench::check_sum(result.value_pop(), leaves);
}

// sleep_100k: see workloads/timers.cpp.
void sleep_all() {
    std::vector<fibers::fiber> all;
    all.reserve(100'000);
    for (std::size_t i = 0; i < 100'000; ++i) {
        all.emplace_back(fibers::launch::post, std::allocator_arg, pooled_stacks(),
                         [] { boost::this_fiber::sleep_for(std::chrono::milliseconds(1)); });
    }
    for (auto& f : all) f.join();
}

template <unsigned threads, std::size_t operations, void (*run)(std::size_t)>
peer::figures operations_on(const char* work, const bench::settings& s) {
    return {peer::figure_of(work, threads, bench::per_operation(s, operations, run), "ns")};
}

template <unsigned threads, void (*run)()>
peer::figures rounds_on(const char* work, const bench::settings& s) {
    return {peer::figure_of(work, threads, bench::per_round(s, run), "ms")};
}

struct workload {
    const char* name;
    peer::measure measure;
};

constexpr workload workloads[] = {
    {"yield", operations_on<1, 1'000'000, yield_pair>},
    {"spawn", operations_on<1, 128 * 4096, spawn_batches>},
    {"chan_unbuffered", operations_on<1, 250'000, round_trips>},
    {"chan_buffered", operations_on<1, 1'000'000, produce_and_consume>},
    {"chan_buffered_2p", operations_on<2, 1'000'000, produce_and_consume_2p>},
    {"mutex_uncontended", operations_on<1, 4'000'000, lock_pairs>},
    {"mutex_contended", operations_on<2, 2'000'000, contend>},
    {"wait_group", operations_on<1, 400'000, join_batches>},
    {"skynet", rounds_on<1, skynet>},
    {"sleep_100k", rounds_on<1, sleep_all>},
    {"fib", peer::measure_fib},
    {"nqueens", peer::measure_queens},
    {"scale_parked", peer::scale_parked},
    {"scale_ready", peer::scale_ready},
    {"scale_sleeping", peer::scale_sleeping},
    {"blocking_storm", peer::storm<bench::storm_1000x1ms>},
    {"blocking_storm_warm", peer::storm<bench::storm_1000x1ms>},
    {"blocking_storm_busy", peer::storm_busy},
    {"storm_10000x100us", peer::storm<bench::storm_10000x100us>},
    {"storm_100x50ms", peer::storm<bench::storm_100x50ms>},
    {"compute_beside_blocking", peer::compute_beside},
    {"call_not_blocking", peer::call_not_blocking},
    {"recovery", peer::recovery},
    {"file_reads", peer::file_reads},
    {"getaddrinfo", peer::lookups},
};

int complain(const std::string& what) {
    std::fprintf(stderr,
                 "handoff_bench_boost_fiber: %s\n"
                 "usage: handoff_bench_boost_fiber --work NAME [--quick] [--goroutines N]; NAME is one of",
                 what.c_str());
    for (const workload& w : workloads) std::fprintf(stderr, " %s", w.name);
    std::fputc('\n', stderr);
    return 2;
}

int measure(std::string_view name, const bench::settings& s) {
    for (const workload& w : workloads) {
        if (name != w.name) continue;
        for (bench::figure& f : w.measure(w.name, s)) {
            f.extra.emplace_back("version", BOOST_VERSION / 100);
            bench::print(f);
        }
        return 0;
    }
    return complain("no workload '" + std::string(name) + "'");
}

bool parse(std::string_view text, std::size_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && value > 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string_view name;
    bench::settings s;
    for (int i = 1; i < argc; ++i) {
        const std::string arg = argv[i];
        const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
        if (arg == "--quick") {
            s.quick = true;
        } else if (arg == "--work" || arg == "--goroutines") {
            if (!value) return complain(arg + " wants a value");
            if (arg == "--work") name = value;
            else if (!parse(value, s.goroutines))
                return complain("--goroutines: not a number above 0: " + std::string(value));
            ++i;
        } else {
            return complain("unknown argument " + arg);
        }
    }
    try {
        return measure(name, s);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "handoff_bench_boost_fiber: %s\n", e.what());
        return 1;
    }
}
