// skynet: the known benchmark (github.com/atemerev/skynet) on 2 Ps. A goroutine starts ten, each of which starts ten,
// and so on to a million leaves. Each leaf answers with its number, each other goroutine with the sum of what its
// children answer. The value is the time until the sum of all is there, in milliseconds.
//
// Nobody joins: the answers go over a channel per parent. It has room for ten, so that no child waits for its parent;
// in the original it has none.

#include "on_runtime.hpp"

#include <cstdint>

namespace {

using answers = handoff::channel<std::int64_t>;

constexpr std::int64_t children = 10;
constexpr std::int64_t all_leaves = 1'000'000;

void node(answers& to, std::int64_t number, std::int64_t leaves) {
    if (leaves == 1) {
        to.send(number);
        return;
    }
    answers from(children);
    const std::int64_t each = leaves / children;
    for (std::int64_t i = 0; i < children; ++i)
        handoff::go([from, first = number + i * each, each]() mutable { node(from, first, each); });
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < children; ++i) sum += *from.recv();
    to.send(sum);
}

void whole_net() {
    answers result(1);
    handoff::go([result]() mutable { node(result, 0, all_leaves); });
    bench::check_sum(*result.recv(), all_leaves);
}

std::vector<bench::figure> measure(const bench::settings& s) { return bench::rounds_on(2, "skynet", s, whole_net); }

const bench::register_workload registered({{"skynet"}, "handoff", measure});

void skynet(benchmark::State& state) { bench::repeat_on(2, state, whole_net); }
BENCHMARK(skynet)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
