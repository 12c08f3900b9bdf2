// chan_*: what goes through channels between two goroutines.
//
//   chan_unbuffered    a value there over one channel without a buffer, and back over another, on 1 P. The value is the
//                      time per round trip.
//   chan_buffered      a producer and a consumer at a channel that holds 128 items, on 1 P. The value is the time per
//                      item.
//   chan_buffered_2p   the same on 2 Ps.
//
// The goroutine that measures is one of the two. To start the other, to close the channel and to join is part of it,
// once a sample.

#include "on_runtime.hpp"

#include <cstdint>

namespace {

using items = handoff::channel<std::int64_t>;

void round_trips(std::size_t n) {
    items there(0), back(0);
    auto echo = handoff::go([there, back]() mutable {
        for (std::int64_t v : there) back.send(v);
    });
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        there.send(static_cast<std::int64_t>(i));
        sum += *back.recv();
    }
    there.close();
    echo.join();
    bench::check_sum(sum, n);
}

void produce_and_consume(std::size_t n) {
    items channel(128);
    auto producer = handoff::go([channel, n]() mutable {
        for (std::size_t i = 0; i < n; ++i) channel.send(static_cast<std::int64_t>(i));
        channel.close();
    });
    std::int64_t sum = 0;
    for (std::int64_t v : channel) sum += v;
    producer.join();
    bench::check_sum(sum, n);
}

std::vector<bench::figure> measure_unbuffered(const bench::settings& s) {
    return bench::operations_on(1, "chan_unbuffered", s, 250'000, round_trips);
}

std::vector<bench::figure> measure_buffered(const bench::settings& s) {
    return bench::operations_on(1, "chan_buffered", s, 1'000'000, produce_and_consume);
}

std::vector<bench::figure> measure_buffered_2p(const bench::settings& s) {
    return bench::operations_on(2, "chan_buffered_2p", s, 1'000'000, produce_and_consume);
}

const bench::register_workload unbuffered({{"chan_unbuffered"}, "handoff", measure_unbuffered});
const bench::register_workload buffered({{"chan_buffered"}, "handoff", measure_buffered});
const bench::register_workload buffered_2p({{"chan_buffered_2p"}, "handoff", measure_buffered_2p});

void chan_unbuffered(benchmark::State& state) { bench::batches_on(1, state, 10'000, round_trips); }
BENCHMARK(chan_unbuffered)->MeasureProcessCPUTime()->UseRealTime();

void chan_buffered(benchmark::State& state) { bench::batches_on(1, state, 10'000, produce_and_consume); }
BENCHMARK(chan_buffered)->MeasureProcessCPUTime()->UseRealTime();

void chan_buffered_2p(benchmark::State& state) { bench::batches_on(2, state, 10'000, produce_and_consume); }
BENCHMARK(chan_buffered_2p)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
