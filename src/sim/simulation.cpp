// The public interface of simulator.
#include <handoff/simulation.hpp>

#include "os/clock.hpp"
#include "sim/simulator.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace handoff {

namespace detail {

void simulation_caught(simulator& s) noexcept { s.failure->note(std::current_exception()); }

}  // namespace detail

using namespace detail;

simulation::simulation(std::uint64_t seed, const simulation_options& o) : impl_(new simulator(seed, o)) {}

simulation::~simulation() = default;

std::uint64_t simulation::seed() const noexcept { return impl_->seed(); }
clock::time_point simulation::now() const noexcept { return clock::time_point(std::chrono::nanoseconds(impl_->now())); }
std::chrono::nanoseconds simulation::elapsed() const noexcept {
    return std::chrono::nanoseconds(impl_->now() - simulator::time_of_begin);
}
std::uint64_t simulation::steps() const noexcept { return impl_->steps(); }
std::uint64_t simulation::trace_hash() const noexcept { return impl_->trace_hash(); }

void simulation::settle() {
    M* m = current_m();
    if (!m || !m->s->sim) throw usage_error("handoff: simulation::settle off the goroutines of a simulation");
    m = enter(m);
    static_cast<simulator*>(m->s->sim)->settle(m);
}

simulation::running::running(simulation& s) : s_(*s.impl_) {
    if (s_.s()) throw usage_error("handoff: a simulation is run within its own run");
    s_.begin();
}

simulation::running::~running() { s_.end(); }

sched* simulation::running::sched() const noexcept { return s_.s(); }

void simulation::run_all() {
    impl_->run_all();
    impl_->rethrow_failure();
}

namespace {

std::optional<std::uint64_t> only_seed() {
    const char* value = std::getenv("HANDOFF_SIM_SEED");
    if (!value || !*value) return std::nullopt;
    std::uint64_t seed = 0;
    const char* end = value + std::strlen(value);
    const auto [stop, e] = std::from_chars(value, end, seed);
    if (e != std::errc() || stop != end)
        throw std::invalid_argument(std::string("handoff: HANDOFF_SIM_SEED=") + value + " is not a number below 2^64");
    return seed;
}

[[noreturn]] void report(const simulation& sim, const char* what) {
    const std::string seed = std::to_string(sim.seed());
    throw simulation_failed("handoff: seed " + seed + " fails (HANDOFF_SIM_SEED=" + seed + " replays it): " + what,
                            sim.seed(), sim.trace_hash(), sim.steps());
}

}  // namespace

std::uint64_t simulation::explore(const exploration& e, void (*f)(std::uint64_t seed, void* arg), void* arg) {
    const std::optional<std::uint64_t> only = only_seed();
    const std::int64_t began = os::nanotime();
    const std::uint64_t count = only ? 1 : e.count;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (i != 0 && e.time_budget.count() != 0 && os::nanotime() - began >= e.time_budget.count()) return i;
        const std::uint64_t seed = only ? *only : e.first_seed + i;
        simulation sim(seed, e.each);
        try {
            sim.run([=] { f(seed, arg); });
        } catch (const std::exception& x) {
            report(sim, x.what());
        } catch (...) {
            report(sim, "an exception that is no std::exception");
        }
    }
    return count;
}

}  // namespace handoff
