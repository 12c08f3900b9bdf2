// pipeline: numbers are generated, squared by several workers, and summed up, all at the same time.
//
// The stages are goroutines of one task group, connected by channels. The pipeline runs three times: to the end, until the
// consumer has enough, and until a stage fails. Each time all goroutines end, whatever they wait for: in the first case
// since each stage closes its channel, in the other two since the group is cancelled.
#include <handoff/handoff.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using numbers = handoff::channel<std::uint64_t>;

constexpr unsigned most = 1'000'000;   // the sum of their squares has 60 bits

struct plan {
    unsigned numbers;
    unsigned workers;
    std::uint64_t enough = 0;    // the number of results that the consumer wants; 0: all
    std::uint64_t unlucky = 0;   // a number that no worker can square; 0: none
};

struct result {
    std::uint64_t count = 0, sum = 0;
};

void generate(unsigned n, numbers out) {
    for (unsigned i = 1; i <= n; ++i) out.send(i);
    out.close();
}

void square(const plan& p, numbers in, numbers out) {
    for (const std::uint64_t n : in) {
        if (n == p.unlucky) throw std::runtime_error("cannot square " + std::to_string(n));
        out.send(n * n);
    }
}

// The workers are a group of their own, since `out` has to be closed when the last of them has ended. If one fails, wait()
// throws, so this stage fails, too. If the pipeline is cancelled, so are they.
void square_all(const plan& p, numbers in, numbers out) {
    handoff::task_group workers;
    for (unsigned i = 0; i < p.workers; ++i) workers.go([&p, in, out] { square(p, in, out); });
    workers.wait();
    out.close();
}

result run(const plan& p) {
    const numbers generated(16), squared(16);
    result r;
    handoff::task_group stages;
    stages.go([&] { generate(p.numbers, generated); });
    stages.go([&] { square_all(p, generated, squared); });
    stages.go([&, from = squared]() mutable {
        for (const std::uint64_t n : from) {
            r.sum += n;
            if (++r.count == p.enough) return stages.cancel();   // the other stages wait to send in vain
        }
    });
    stages.wait();   // until the last stage has ended; throws the first exception of a stage
    return r;
}

// The number of goroutines that are left: 0. After it was waited for, a goroutine may take a moment to leave the runtime.
unsigned long long goroutines_left(const handoff::runtime& rt) {
    for (int i = 0; i < 1000 && rt.stats().goroutines != 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return rt.stats().goroutines;
}

void show(handoff::runtime& rt, const char* title, const plan& p) {
    std::string outcome;
    try {
        const result r = rt.run(run, p);
        outcome = std::to_string(r.count) + " squares";
        if (!p.enough) outcome += ", their sum is " + std::to_string(r.sum);
    } catch (const std::runtime_error& e) {
        outcome = e.what();
    }
    std::printf("%-12s %s; %llu goroutines left\n", title, outcome.c_str(), goroutines_left(rt));
}

[[noreturn]] void wrong_usage() {
    std::fprintf(stderr,
                 "Usage: pipeline [NUMBERS [WORKERS]]\n"
                 "Squares and sums the numbers from 1 to NUMBERS (default 1000) with WORKERS goroutines (default 4).\n");
    std::exit(2);
}

unsigned parse(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    if (const auto [stop, error] = std::from_chars(text, end, n);
        error != std::errc() || stop != end || n < 1 || n > most) {
        std::fprintf(stderr, "pipeline: %s: not a number from 1 to %u\n", text, most);
        wrong_usage();
    }
    return n;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 3) wrong_usage();
    const unsigned n = argc > 1 ? parse(argv[1]) : 1000;
    const unsigned workers = argc > 2 ? parse(argv[2]) : 4;
    try {
        handoff::runtime rt;
        show(rt, "to the end:", {.numbers = n, .workers = workers});
        show(rt, "enough:", {.numbers = n, .workers = workers, .enough = (n + 1) / 2});
        show(rt, "failure:", {.numbers = n, .workers = workers, .unlucky = (n + 1) / 2});
        return std::fflush(stdout) == 0 ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "pipeline: %s\n", e.what());
        return 1;
    }
}
