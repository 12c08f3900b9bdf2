#include "sched/retake.hpp"

#include "os/membarrier.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

void retake_ps(sched& s, retake_candidate* candidates, unsigned count) noexcept {
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        c.asked = c.slice_is_over ? retake::asked_to_yield : retake::asked;
        retake seen = retake::none;
        // seq_cst: without membarrier, first in the order with the owner's exchange.
        if (c.m->taken.compare_exchange_strong(seen, c.asked, std::memory_order_seq_cst)) continue;
        if (seen == retake::asked_to_yield) c.asked = seen;   // by an earlier round
        else c.m = nullptr;                                   // it has no P any more
    }
    if (os::membarrier_in_use.load(std::memory_order_relaxed)) os::membarrier_all();
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        if (!c.m) continue;
        M& m = *c.m;
        // seq_cst: acquire, for the old owner's writes, and in one order with its exchange. `taken` is still what it was
        // if the CAS below succeeds; then nothing read here has changed in between.
        const std::uint32_t section = m.section.load(std::memory_order_seq_cst);
        const std::uint32_t call = m.call.load(std::memory_order_seq_cst);
        const bool away = section % 2 == 0 && m.p.load(std::memory_order_relaxed) == c.p &&
                          (c.slice_is_over || (section == c.section && call == c.call));
        if (!away) {
            if (c.asked == retake::asked)
                m.taken.compare_exchange_strong(c.asked, retake::none, std::memory_order_acq_rel, std::memory_order_relaxed);
            s.count.retakes_given_up.add();
            continue;
        }
        if (c.as == retake::taken_unguarded) {
            m.unguarded = {c.since, 0, c.call_number};
        }
        // release: `unguarded` for the owner; acquire: after an answer of the owner's we don't touch M::p.
        if (!m.taken.compare_exchange_strong(c.asked, c.as, std::memory_order_acq_rel, std::memory_order_relaxed)) {
            s.count.retakes_given_up.add();
            continue;
        }
        c.call = call;
        c.taken = held_p::off_its_thread(*c.p);
    }
}

}  // namespace handoff::detail
