// handoff_*: how long the only P stands idle after a goroutine blocks, until the next one runs.
//
// What a round is stands in handoff_round.hpp. Between rounds A computes for 0 to 100 µs: a call comes at any moment of
// the monitor's period, and threads without work have gone to sleep. The value is the median round. `back_to_back` is
// the median of rounds without that pause, which fall into step with the monitor and find threads that have only just
// gone idle. Where a sleeping thread is woken, the kernel's part is that of the workload futex_wake.
//
//   handoff_sysmon      syscall_guard{handoff_policy::sysmon}
//   handoff_immediate   syscall_guard{handoff_policy::immediate}
//   handoff_adaptive    syscall_guard{}, which has seen A block in the warm-up rounds
//   handoff_unguarded   no guard at all

#include "handoff_round.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <benchmark/benchmark.h>

namespace {

using bench::guard;
using bench::handoff_round;
using bench::pipe_ends;

struct times {
    std::vector<double> spaced;
    std::vector<double> back_to_back;
};

times measure_rounds(guard how, unsigned warm_up, unsigned count) {
    handoff::runtime rt({.procs = 1});
    return rt.run([&] {
        const pipe_ends pipe;
        bench::pause_lengths pauses;
        for (unsigned i = 0; i < warm_up; ++i) handoff_round(how, pipe);
        times t;
        while (t.spaced.size() < count) {
            bench::spin_for(pauses.next_ns());
            if (const double idle = handoff_round(how, pipe); idle >= 0) t.spaced.push_back(idle);
        }
        while (t.back_to_back.size() < count / 2) {
            if (const double idle = handoff_round(how, pipe); idle >= 0) t.back_to_back.push_back(idle);
        }
        return t;
    });
}

template <guard how>
std::vector<bench::figure> measure(const bench::settings& s) {
    static constexpr const char* names[] = {"handoff_sysmon", "handoff_immediate", "handoff_adaptive",
                                            "handoff_unguarded"};
    // An unguarded round lasts some 10 ms.
    const times t = how == guard::none ? measure_rounds(how, 2, s.quick ? 10 : 40)
                                       : measure_rounds(how, 100, s.quick ? 500 : 2000);
    bench::figure f{names[static_cast<int>(how)], "handoff", 1,
                    bench::median(t.spaced),      "ns",      bench::spread_of(t.spaced)};
    f.extra.emplace_back("back_to_back", bench::median(t.back_to_back));
    return {f};
}

const bench::register_workload sysmon({{"handoff_sysmon"}, "handoff", measure<guard::sysmon>});
const bench::register_workload immediate({{"handoff_immediate"}, "handoff", measure<guard::immediate>});
const bench::register_workload adaptive({{"handoff_adaptive"}, "handoff", measure<guard::adaptive>});
const bench::register_workload unguarded({{"handoff_unguarded"}, "handoff", measure<guard::none>});

template <guard how>
void latency(benchmark::State& state) {
    handoff::runtime rt({.procs = 1});
    rt.run([&] {
        const pipe_ends pipe;
        bench::pause_lengths pauses;
        for (auto _ : state) {
            double idle = 0;
            while ((idle = handoff_round(how, pipe)) < 0) {}
            state.SetIterationTime(idle * 1e-9);
            bench::spin_for(pauses.next_ns());
        }
    });
}
BENCHMARK(latency<guard::sysmon>)->Name("handoff_sysmon")->UseManualTime();
BENCHMARK(latency<guard::immediate>)->Name("handoff_immediate")->UseManualTime();
BENCHMARK(latency<guard::adaptive>)->Name("handoff_adaptive")->UseManualTime();
BENCHMARK(latency<guard::none>)->Name("handoff_unguarded")->UseManualTime()->Iterations(20);

}  // namespace
