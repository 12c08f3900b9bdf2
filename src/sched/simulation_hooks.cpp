#include "sched/simulation_hooks.hpp"

#include "sched/sched.hpp"

#include <handoff/error.hpp>

#include <string>

namespace handoff::detail {

bool in_simulation() noexcept {
    const M* m = current_m();
    return m && m->s->sim;
}

void refuse_in_simulation(const char* what) {
    throw usage_error(std::string("handoff: not possible in a simulation: ") + what);
}

void await_turn_to_throw() {
    if (const M* m = current_m(); m && m->s->sim) m->s->sim->await_turn();
}

}  // namespace handoff::detail
