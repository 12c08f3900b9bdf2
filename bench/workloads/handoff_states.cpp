// handoff_cold_*, handoff_parked_*, handoff_warm_*: a round of handoff_round.hpp, by the state of the thread that the P
// is handed to. On 1 P; the value is the median round, in nanoseconds.
//
//   cold     there is none, one has to be created: each round is the first in a runtime of its own, which has but the
//            goroutine's thread and the monitor's (a round in which none was created is repeated)
//   parked   it sleeps: the calling goroutine computes for 2 ms before each round
//   warm     it has only just become idle: rounds back to back
//
// _sysmon, _adaptive and _immediate are the policies of the guard. Where it is cold an adaptive one has learnt from two
// calls of the goroutine that lasted while nobody waited: that takes the P from them, but needs no thread.

#include "handoff_round.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

#include <chrono>
#include <ctime>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using bench::guard;
using bench::handoff_round;
using bench::pipe_ends;

enum class state { cold, parked, warm };

void learn_to_block() {
    const timespec two_ms{0, 2'000'000};   // twice syscall_retake_after
    for (int i = 0; i < 2; ++i) {
        handoff::blocking_call([&] { ::nanosleep(&two_ms, nullptr); });
        // Back without the P; a second call would have none to lose, and teach nothing. This takes it again.
        handoff::lock_os_thread();
        handoff::unlock_os_thread();
    }
}

// cold_round is below 0 if it was not cold, or B came first.
double cold_round(guard how) {
    handoff::runtime rt({.procs = 1, .syscall_retake_after = 1ms});
    // Its worker is to wait before there is anything to run, else another thread would be created for it.
    while (rt.stats().threads_idle == 0) std::this_thread::yield();
    const auto created = [&rt] { return rt.stats().threads_created; };
    return rt.run([&] {
        const pipe_ends pipe;
        if (how == guard::adaptive) learn_to_block();
        const bool is_cold = created() == 2;
        const double idle = handoff_round(how, pipe);
        return is_cold && created() > 2 ? idle : -1;
    });
}

std::vector<double> cold_rounds(guard how, unsigned count) {
    cold_round(how);   // warm-up
    std::vector<double> times;
    for (unsigned tried = 0; times.size() < count; ++tried) {
        if (tried >= 4 * count)
            throw std::runtime_error("only " + std::to_string(times.size()) + " of " + std::to_string(tried) +
                                     " rounds had to create a thread");
        if (const double idle = cold_round(how); idle >= 0) times.push_back(idle);
    }
    return times;
}

std::vector<double> later_rounds(guard how, double pause_ns, unsigned count) {
    handoff::runtime rt({.procs = 1});
    return rt.run([&] {
        const pipe_ends pipe;
        for (int i = 0; i < 100; ++i) handoff_round(how, pipe);   // warm-up
        std::vector<double> times;
        while (times.size() < count) {
            bench::spin_for(pause_ns);
            if (const double idle = handoff_round(how, pipe); idle >= 0) times.push_back(idle);
        }
        return times;
    });
}

std::vector<double> rounds(state thread, guard how, bool quick) {
    switch (thread) {
        case state::cold: return cold_rounds(how, quick ? 40 : 200);
        case state::parked: return later_rounds(how, 2e6, quick ? 100 : 500);
        case state::warm: break;
    }
    return later_rounds(how, 0, quick ? 500 : 2000);
}

template <state thread, guard how>
std::vector<bench::figure> measure(const bench::settings& s) {
    static constexpr const char* names[3][3] = {
        {"handoff_cold_sysmon", "handoff_cold_immediate", "handoff_cold_adaptive"},
        {"handoff_parked_sysmon", "handoff_parked_immediate", "handoff_parked_adaptive"},
        {"handoff_warm_sysmon", "handoff_warm_immediate", "handoff_warm_adaptive"}};
    const auto times = rounds(thread, how, s.quick);
    return {{names[static_cast<int>(thread)][static_cast<int>(how)], "handoff", 1, bench::median(times), "ns",
             bench::spread_of(times)}};
}

const bench::register_workload registered[] = {
    bench::register_workload({{"handoff_cold_sysmon"}, "handoff", measure<state::cold, guard::sysmon>}),
    bench::register_workload({{"handoff_cold_adaptive"}, "handoff", measure<state::cold, guard::adaptive>}),
    bench::register_workload({{"handoff_cold_immediate"}, "handoff", measure<state::cold, guard::immediate>}),
    bench::register_workload({{"handoff_parked_sysmon"}, "handoff", measure<state::parked, guard::sysmon>}),
    bench::register_workload({{"handoff_parked_adaptive"}, "handoff", measure<state::parked, guard::adaptive>}),
    bench::register_workload({{"handoff_parked_immediate"}, "handoff", measure<state::parked, guard::immediate>}),
    bench::register_workload({{"handoff_warm_sysmon"}, "handoff", measure<state::warm, guard::sysmon>}),
    bench::register_workload({{"handoff_warm_adaptive"}, "handoff", measure<state::warm, guard::adaptive>}),
    bench::register_workload({{"handoff_warm_immediate"}, "handoff", measure<state::warm, guard::immediate>}),
};

}  // namespace
