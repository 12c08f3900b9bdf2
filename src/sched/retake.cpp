// The retaker's half of the protocol at the head of m.hpp.
#include "os/membarrier.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

// retake_ps tries to take each candidate's P, with one barrier for all of them. Taken ones are in the caller's hands.
void retake_ps(sched& s, retake_candidate* candidates, unsigned count) noexcept {
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        retake none = retake::none;
        // seq_cst: without membarrier, first in the order with the owner's exchange. A failure means that the M is
        // without a P already.
        if (!c.m->taken.compare_exchange_strong(none, retake::asked, std::memory_order_seq_cst)) c.m = nullptr;
    }
    if (membarrier_in_use) os::membarrier_all();
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        if (!c.m) continue;
        M& m = *c.m;
        // seq_cst: acquire, for the old owner's writes, and in one order with its exchange. `taken` is still `asked`
        // if the CAS below succeeds; then nothing read here has changed in between.
        const bool away = m.section.load(std::memory_order_seq_cst) == c.section &&
                          m.call.load(std::memory_order_seq_cst) == c.call &&
                          m.p.load(std::memory_order_relaxed) == c.p;
        retake asked = retake::asked;
        if (!away) {
            m.taken.compare_exchange_strong(asked, retake::none, std::memory_order_acq_rel, std::memory_order_relaxed);
            s.retakes_given_up.add();
            continue;
        }
        if (c.as == retake::taken_unguarded) {
            m.unguarded_since = c.since;
            m.unguarded_call = c.call_number;
        }
        // release: the unguarded_* fields for the owner; acquire: after an answer of the owner's we don't touch M::p.
        if (!m.taken.compare_exchange_strong(asked, c.as, std::memory_order_acq_rel, std::memory_order_relaxed)) {
            s.retakes_given_up.add();
            continue;
        }
        c.taken = true;
        c.p->transition(p_status::running, p_status::idle);
        c.p->m.store(nullptr, std::memory_order_relaxed);
    }
}

}  // namespace handoff::detail
