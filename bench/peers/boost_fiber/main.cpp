// The works of handoff_bench in Boost.Fiber, as far as it has them: its default round-robin scheduler on one thread, or
// on two that share a channel or a mutex, but no fibers. See the .cpp file of each work for what is timed.

#include "../../figures.hpp"

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace {

namespace fibers = boost::fibers;

// yield: see ../../yield.cpp.
void yield_pair(std::size_t n) {
    const auto half = [n] {
        for (std::size_t i = 0; i < n / 2; ++i) boost::this_fiber::yield();
    };
    fibers::fiber a(fibers::launch::post, half);
    fibers::fiber b(fibers::launch::post, half);
    a.join();
    b.join();
}

// spawn: see ../../spawn.cpp. The pooled stacks are the fastest that Boost.Fiber offers.
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

// chan_unbuffered, chan_buffered, chan_buffered_2p: see ../../channels.cpp.
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

// mutex_uncontended, mutex_contended: see ../../locks.cpp.
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

// Stacks of the default size, for a hundred thousand fibers and more, would take 13 GB of address space.
fibers::pooled_fixedsize_stack& small_stacks() {
    static fibers::pooled_fixedsize_stack stacks(16 * 1024);
    return stacks;
}

// skynet: see ../../skynet.cpp. A child runs as soon as it is launched, so that leaves end before more of them start;
// launched with `post`, all million would be there at once.
void skynet_node(item_channel& to, std::int64_t number, std::int64_t leaves) {
    if (leaves == 1) {
        to.push(number);
        return;
    }
    item_channel from(16);  // ten, and what a ring of Boost's needs
    for (std::int64_t i = 0; i < 10; ++i) {
        fibers::fiber(fibers::launch::dispatch, std::allocator_arg, small_stacks(), [&from, number, leaves, i] {
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
    fibers::fiber(fibers::launch::dispatch, std::allocator_arg, small_stacks(), [&result] {
        skynet_node(result, 0, leaves);
    }).detach();
    bench::check_sum(result.value_pop(), leaves);
}

// sleep_100k: see ../../timers.cpp.
void sleep_all() {
    std::vector<fibers::fiber> all;
    all.reserve(100'000);
    for (std::size_t i = 0; i < 100'000; ++i) {
        all.emplace_back(fibers::launch::post, std::allocator_arg, small_stacks(),
                         [] { boost::this_fiber::sleep_for(std::chrono::milliseconds(1)); });
    }
    for (auto& f : all) f.join();
}

struct work {
    std::string_view name;
    unsigned threads;
    std::vector<double> (*measure)(const bench::settings&);
    const char* unit = "ns";
};

template <std::size_t operations, void (*run)(std::size_t)>
std::vector<double> operations_of(const bench::settings& s) {
    return bench::per_operation(s, operations, run);
}

template <void (*run)()>
std::vector<double> rounds_of(const bench::settings& s) {
    return bench::per_round(s, run);
}

constexpr work works[] = {
    {"yield", 1, operations_of<1'000'000, yield_pair>},
    {"spawn", 1, operations_of<128 * 4096, spawn_batches>},
    {"chan_unbuffered", 1, operations_of<250'000, round_trips>},
    {"chan_buffered", 1, operations_of<1'000'000, produce_and_consume>},
    {"chan_buffered_2p", 2, operations_of<1'000'000, produce_and_consume_2p>},
    {"mutex_uncontended", 1, operations_of<4'000'000, lock_pairs>},
    {"mutex_contended", 2, operations_of<2'000'000, contend>},
    {"skynet", 1, rounds_of<skynet>, "ms"},
    {"sleep_100k", 1, rounds_of<sleep_all>, "ms"},
};

int measure(std::string_view name, const bench::settings& s) {
    for (const work& w : works) {
        if (w.name != name) continue;
        const std::vector<double> samples = w.measure(s);
        bench::figure f{std::string(name),      "boost_fiber", w.threads,
                        bench::median(samples), w.unit,        bench::spread_of(samples)};
        f.extra.emplace_back("version", BOOST_VERSION / 100);
        bench::print(f);
        return 0;
    }
    std::fprintf(stderr, "usage: handoff_bench_boost_fiber --work NAME [--quick]; NAME is one of");
    for (const work& w : works) std::fprintf(stderr, " %.*s", static_cast<int>(w.name.size()), w.name.data());
    std::fputc('\n', stderr);
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    std::string_view name;
    bench::settings s;
    for (int i = 1; i < argc; ++i) {
        if (!std::strcmp(argv[i], "--quick")) s.quick = true;
        else if (!std::strcmp(argv[i], "--work") && i + 1 < argc) name = argv[++i];
    }
    try {
        return measure(name, s);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "handoff_bench_boost_fiber: %s\n", e.what());
        return 1;
    }
}
