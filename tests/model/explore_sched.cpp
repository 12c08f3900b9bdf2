// The scheduler: goroutines that are spawned from inside and outside are run, once, whoever is idle then.
#include "explore.hpp"

#include <handoff/handoff.hpp>

#include <chrono>

using namespace std::chrono_literals;

namespace {

handoff::options with_procs(unsigned n) {
    handoff::options o;
    o.procs = n;
    o.stack_size = 64 * 1024;
    o.spin_before_sleep = 0ns;
    o.syscall_grace = 1ms;
    return o;
}

// From outside, while everybody goes idle: no wake-up is lost.
EXPLORE_SCENARIO(from_outside, "wake.outside", 100'000, .length = 800) {
    handoff::runtime rt(with_procs(2));
    unsigned ran = 0;
    for (int i = 0; i < 3; ++i) {
        auto h = rt.go([&] { ++ran; });
        if (explore::perhaps()) h.join();
    }
    rt.go([&] { ++ran; }).join();
}

}  // namespace
