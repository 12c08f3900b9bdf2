// retake_word: who has an M's P, as the M and the retaker (the monitor) settle it. The protocol that it is part of, with its
// memory orders, is at the head of section.hpp; what each way of losing a P means for a call at the head of goroutine/syscall.cpp.
//
//     state             the P is            left by                     for
//     none              the M's             retaker: ask                asked, asked_to_yield
//                                           owner: give                 given
//     asked             the M's still       owner: answer               none
//                                           retaker: withdraw           none
//                                           retaker: take               taken_*
//     asked_to_yield    the M's still       owner: answer               none
//                                           retaker: take               taken_*
//     taken_call, taken_slice, taken_unguarded, taken_computing
//                       gone, retaken       owner: go_on_without        away
//                                           owner: settle               none
//     given             gone, handed off    owner: go_on_without        away
//                                           owner: settle               none
//     away              gone                owner: settle               none
//     simulated         the M's, for good
//
// Any number of retakers: none, asked and asked_to_yield are left by CAS, so one side wins. Who does not have the P any more is
// the owner's alone to leave. Two stores are plain where others may change the word: give, by an owner in a section, wipes out a
// question, whose retaker then fails to take or to withdraw; and what the owner leaves without its P no CAS of a retaker's wants.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::detail {

enum class retake : std::uint32_t {
    none,
    asked,
    asked_to_yield,    // as asked, but it stays until it is answered, and who answers it lets the others run
    simulated,         // a simulation wants to hear of each entry (sim/simulator.hpp); nobody takes its P
    taken_call,        // by the monitor, out of a guarded call
    taken_slice,       // by the monitor, since its goroutine's time slice was over
    taken_unguarded,   // by the monitor, out of an unguarded call
    taken_computing,   // by the monitor, from user code that computes
    given,             // by the M itself, before a call that will block
    away,              // in one of these ways, and what was to be said of it has been: the goroutine is back from its call, and
                       // goes on without a P until it enters the library
};

constexpr bool is_without_p(retake r) noexcept { return r >= retake::taken_call; }

const char* name_of(retake r) noexcept;

class retake_word {
public:
    // ---- Looking ----
    // Relaxed: for the owner, which sees what it has stored itself, and later at least what was stored before its barrier; or a hint.
    retake seen() const noexcept { return word_.load(std::memory_order_relaxed); }
    bool is_none() const noexcept { return seen() == retake::none; }
    // seq_cst: where there is no membarrier, after the exchange of section or call.
    retake seen_in_order() const noexcept { return word_.load(std::memory_order_seq_cst); }
    // acquire: with the retaker's take(), for what it has told the M.
    retake learn() const noexcept { return word_.load(std::memory_order_acquire); }

    // ---- The retaker's ----
    // ask: false if it was not none; `found` is what it was. seq_cst: without membarrier, first in the order with the owner's
    // exchange.
    bool ask(retake question, retake& found) noexcept {
        found = retake::none;
        return word_.compare_exchange_strong(found, question, std::memory_order_seq_cst);
    }
    // withdraw ends a question that may have been answered.
    void withdraw() noexcept {
        retake question = retake::asked;
        word_.compare_exchange_strong(question, retake::none, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
    // take: false if the question was answered. release: what the M is told; acquire: after an answer M::p is not touched.
    bool take(retake question, retake as) noexcept {
        return word_.compare_exchange_strong(question, as, std::memory_order_acq_rel, std::memory_order_relaxed);
    }

    // ---- The owner's ----
    // answer resolves a question, and returns it; what is none afterwards was none, or asked, and what is left is returned as it
    // is. acq_rel: orders this section after the retaker's reads, and, on failure, after the retaker's writes to M.
    retake answer() noexcept {
        retake now = learn();
        while (now == retake::asked || now == retake::asked_to_yield)
            if (word_.compare_exchange_weak(now, retake::none, std::memory_order_acq_rel, std::memory_order_acquire))
                return now == retake::asked ? retake::none : now;
        return now;
    }
    // answer_asked is answer for who can't give way: asked_to_yield stays.
    retake answer_asked() noexcept {
        retake now = learn();
        while (now == retake::asked &&
               !word_.compare_exchange_weak(now, retake::none, std::memory_order_acq_rel, std::memory_order_acquire)) {
        }
        return now;
    }
    // give: the M hands its P off, in a section.
    void give() noexcept {
        const retake now = seen();
        if (is_without_p(now) || now == retake::simulated) [[unlikely]] bad_step(now, retake::given);
        word_.store(retake::given, std::memory_order_relaxed);
    }
    void go_on_without() noexcept { leave_without(retake::away, std::memory_order_relaxed); }
    // settle: the M gets a P, or sleeps as one that never had any. release: with the retaker's CAS, for M::p, which the M need not
    // read then.
    void settle() noexcept { leave_without(retake::none, std::memory_order_release); }

    // Before the M runs anything.
    void simulate() noexcept { word_.store(retake::simulated, std::memory_order_relaxed); }

private:
    void leave_without(retake to, std::memory_order order) noexcept {
        const retake now = seen();   // only the owner leaves it
        if (!is_without_p(now)) [[unlikely]] bad_step(now, to);
        word_.store(to, order);
    }
    [[noreturn, gnu::cold]] static void bad_step(retake now, retake to) noexcept;

    base::atomic<retake> word_{retake::none};
};

}  // namespace handoff::detail
