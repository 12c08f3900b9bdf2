#include "sched/held_p.hpp"

#include "base/check.hpp"
#include "sched/m.hpp"

namespace handoff::detail {

void held_p::put_on(M* m) noexcept {
    P& p = *std::exchange(p_, nullptr);
    p.transition(p_status::idle, p_status::running);
    p.m.store(m, std::memory_order_release);   // pairs with the monitor's acquire: M::tid
    m->p.store(&p, std::memory_order_relaxed);
}

void held_p::dropped(const P& p) noexcept {
    base::fatal("processor %u was dropped: it is in no list and on no thread, and would be missing for good", p.id);
}

}  // namespace handoff::detail
