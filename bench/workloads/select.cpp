// select2: one goroutine sends on two channels in turn, each of which holds 128 items; another selects between
// receiving from the one and from the other. On 1 P. The value is the time per select, with the send of what it
// receives.

#include "on_runtime.hpp"

#include <cstdint>
#include <optional>

namespace {

using items = handoff::channel<std::int64_t>;

void select_items(std::size_t n) {
    items a(128), b(128);
    auto producer = handoff::go([a, b, n]() mutable {
        for (std::size_t i = 0; i < n; i += 2) {
            a.send(static_cast<std::int64_t>(i));
            b.send(static_cast<std::int64_t>(i + 1));
        }
    });
    std::int64_t sum = 0;
    const auto take = [&sum](std::optional<std::int64_t> v) { sum += *v; };
    for (std::size_t i = 0; i < n; ++i) handoff::select(handoff::on_recv(a, take), handoff::on_recv(b, take));
    producer.join();
    bench::check_sum(sum, n);
}

std::vector<bench::figure> measure(const bench::settings& s) {
    return bench::operations_on(1, "select2", s, 400'000, select_items);
}

const bench::register_workload registered({{"select2"}, "handoff", measure});

void select2(benchmark::State& state) { bench::batches_on(1, state, 10'000, select_items); }
BENCHMARK(select2)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
