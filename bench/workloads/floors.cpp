// floor_*: the hardware floors, which are what the processor and the kernel take, whatever the runtime (the subject
// `linux`). The goals in nanoseconds were set on another machine, whose floors are in driver/workloads.py. By comparing
// the two, a figure can be judged on any machine.
//
//   floor_switch   from one stack to another and back by Boost.Context, halved.
//   floor_cas      a compare-and-exchange of a word in the own cache.
//   floor_clock    a look at the steady clock.
//   floor_call     getppid(2).
//   floor_page     the first touch of a page of fresh memory.

#include "registry.hpp"

#include <benchmark/benchmark.h>
#include <boost/context/detail/fcontext.hpp>

#include <atomic>
#include <memory>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

namespace fcontext = boost::context::detail;

void jump_back(fcontext::transfer_t t) {
    for (;;) t = fcontext::jump_fcontext(t.fctx, nullptr);
}

class other_stack {
public:
    void there_and_back() { other_ = fcontext::jump_fcontext(other_, nullptr).fctx; }

private:
    static constexpr std::size_t size = 64 * 1024;
    std::unique_ptr<std::byte[]> memory_{new std::byte[size]};
    fcontext::fcontext_t other_ = fcontext::make_fcontext(memory_.get() + size, size, jump_back);
};

void switches(std::size_t n) {
    other_stack other;
    for (std::size_t i = 0; i < n; i += 2) other.there_and_back();
}

void exchanges(std::size_t n) {
    std::atomic<std::size_t> word{0};
    for (std::size_t i = 0; i < n; ++i) {
        std::size_t expected = i;
        benchmark::DoNotOptimize(word.compare_exchange_strong(expected, i + 1));
    }
}

void clock_reads(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) benchmark::DoNotOptimize(bench::now_ns());
}

void calls(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) ::syscall(SYS_getppid);
}

void page_touches(std::size_t n) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* memory = ::mmap(nullptr, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory, n * page, MADV_NOHUGEPAGE);   // as stacks are
    for (std::size_t i = 0; i < n; ++i) static_cast<volatile char*>(memory)[i * page] = 1;
    ::munmap(memory, n * page);
}

struct floor {
    const char* name;
    std::size_t operations;
    void (*run)(std::size_t);
};
constexpr floor floors[] = {
    {"floor_switch", 1'000'000, switches}, {"floor_cas", 1'000'000, exchanges}, {"floor_clock", 200'000, clock_reads},
    {"floor_call", 50'000, calls},         {"floor_page", 4'000, page_touches},
};

std::vector<bench::figure> measure(const bench::settings& s) {
    std::vector<bench::figure> all;
    for (const floor& f : floors) {
        const auto samples = bench::per_operation(s, f.operations, f.run);
        all.push_back({f.name, "linux", 1, bench::median(samples), "ns", bench::spread_of(samples)});
    }
    return all;
}

void under_google_benchmark(benchmark::State& state, const floor& f) {
    constexpr std::size_t batch = 4'000;
    while (state.KeepRunningBatch(batch)) f.run(batch);
}

bench::workload all_floors() {
    bench::workload w{{}, "linux", measure};
    for (const floor& f : floors) {
        w.figures.push_back(f.name);
        benchmark::RegisterBenchmark(f.name, [&f](benchmark::State& state) { under_google_benchmark(state, f); });
    }
    return w;
}

const bench::register_workload registered(all_floors());

}  // namespace
