#include "sched/retake.hpp"

#include "os/membarrier.hpp"
#include "sched/sched.hpp"

namespace handoff::detail {

void retake_ps(sched& s, retake_candidate* candidates, unsigned count) noexcept {
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        c.asked = c.slice_is_over ? retake::asked_to_yield : retake::asked;
        retake found;
        if (c.m->taken.ask(c.asked, found)) continue;
        if (found == retake::asked_to_yield) c.asked = found;   // asked by an earlier round
        else c.m = nullptr;                                     // it no longer has a P
    }
    if (os::membarrier_in_use.load(std::memory_order_relaxed)) os::membarrier_all();
    for (unsigned i = 0; i < count; ++i) {
        retake_candidate& c = candidates[i];
        if (!c.m) continue;
        M& m = *c.m;
        // seq_cst: acquire, for the old owner's writes; and in one total order with the owner's exchange. If take() succeeds,
        // `taken` has stayed the same, and then nothing that is read here has changed in between.
        const std::uint32_t section = m.section.load(std::memory_order_seq_cst);
        const std::uint32_t call = m.call.load(std::memory_order_seq_cst);
        const bool away = section % 2 == 0 && m.p.load(std::memory_order_relaxed) == c.p &&
                          (c.slice_is_over || (section == c.section && call == c.call));
        if (!away) {
            if (c.asked == retake::asked) m.taken.withdraw();
            s.count.retakes_given_up.add();
            continue;
        }
        if (c.as == retake::taken_unguarded) {
            m.unguarded = {c.since, 0, c.call_number};
        }
        if (!m.taken.take(c.asked, c.as)) {
            s.count.retakes_given_up.add();
            continue;
        }
        c.call = call;
        c.taken = held_p::off_its_thread(*c.p);
    }
}

}  // namespace handoff::detail
