// retake_word: the word by which an M and the retaker (the monitor) settle who has the M's P. The protocol and its memory
// orders are at the head of section.hpp. What each way of losing a P means for a call is at the head of goroutine/syscall.cpp.
//
//     state             the P is            left by                     for
//     none              the M's             retaker: ask                asked, asked_to_yield
//                                           owner: give                 given
//     asked             the M's still       owner: answer               none
//                                           retaker: withdraw           none
//                                           retaker: take               taken_*
//                                           owner: give                 given
//     asked_to_yield    the M's still       owner: answer               none
//                                           retaker: take               taken_*
//                                           owner: give                 given
//     taken_call, taken_slice, taken_unguarded, taken_computing
//                       gone, retaken       owner: go_on_without        away
//                                           owner: settle               none
//     given             gone, handed off    owner: go_on_without        away
//                                           owner: settle               none
//     away              gone                owner: settle               none
//     simulated         the M's, for good
//
// In the states taken_* and given the loss of the P is still to be accounted for: the prediction learns from it, the goroutine
// is marked as spent, the compute limit is told, an unguarded call is reported to the program (what applies depends on the
// state). In `away` that has been done.
//
// There is one retaker at a time, the thread that plays the monitor: the question of another one could be taken for the own, after
// the owner has answered that. none, asked and asked_to_yield are left by CAS, so exactly one of owner and retaker wins. Once the
// P is gone, only the owner leaves the state. Two steps are plain stores although others may change the word. give, which an owner
// does in a section, may overwrite a question; its retaker then fails to take or to withdraw. And a store by which the owner
// leaves a state without a P overwrites nothing: no retaker's CAS expects such a state.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::detail {

enum class retake : std::uint32_t {
    none,
    asked,
    asked_to_yield,    // as asked, but it stays until it is answered; the goroutine that answers it lets others run
    simulated,         // a simulation is told of each entry into the library (sim/simulator.hpp); its P is never taken
    taken_call,        // by the monitor, out of a guarded call
    taken_slice,       // by the monitor, because its goroutine's time slice was over
    taken_unguarded,   // by the monitor, out of an unguarded call
    taken_computing,   // by the monitor, from user code that computes
    given,             // by the M itself, before a call that will block
    away,              // lost in one of these ways, and accounted for: the goroutine is back from its call, and goes on without
                       // a P until it enters the library
};

constexpr bool is_without_p(retake r) noexcept { return r >= retake::taken_call; }

const char* name_of(retake r) noexcept;

class retake_word {
public:
    // ---- Looking ----
    // Relaxed. The owner sees its own stores, and after its barrier at least what was stored before that. To others it is a
    // hint.
    retake seen() const noexcept { return word_.load(std::memory_order_relaxed); }
    bool is_none() const noexcept { return seen() == retake::none; }
    // seq_cst: where there is no membarrier, ordered after the exchange of section or call.
    retake seen_in_order() const noexcept { return word_.load(std::memory_order_seq_cst); }
    // acquire: pairs with the retaker's take(), for what the retaker has written to the M.
    retake learn() const noexcept { return word_.load(std::memory_order_acquire); }

    // ---- The retaker's ----
    // ask: false if the word was not none; `found` is what it was. seq_cst: without membarrier, it is in one total order with
    // the owner's exchange.
    bool ask(retake question, retake& found) noexcept {
        found = retake::none;
        return word_.compare_exchange_strong(found, question, std::memory_order_seq_cst);
    }
    // withdraw takes a question back, unless it has been answered meanwhile.
    void withdraw() noexcept {
        retake question = retake::asked;
        word_.compare_exchange_strong(question, retake::none, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
    // take: false if the question was answered. release: publishes what the retaker has written to the M; acquire: after an
    // answer M::p is not touched.
    bool take(retake question, retake as) noexcept {
        return word_.compare_exchange_strong(question, as, std::memory_order_acq_rel, std::memory_order_relaxed);
    }

    // ---- The owner's ----
    // answer resolves a question. It returns none if the word was none or asked, and asked_to_yield if it was that; the word is
    // none then. Any other state is left, and returned. acq_rel: orders this section after the retaker's reads, and, on
    // failure, after the retaker's writes to M.
    retake answer() noexcept {
        retake now = learn();
        while (now == retake::asked || now == retake::asked_to_yield)
            if (word_.compare_exchange_weak(now, retake::none, std::memory_order_acq_rel, std::memory_order_acquire))
                return now == retake::asked ? retake::none : now;
        return now;
    }
    // answer_asked is answer for an owner that can't give way: asked_to_yield stays.
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
    // settle: the M gets a P, or sleeps as an M that never had one. release: pairs with the retaker's CAS, for M::p. (The
    // retaker does not depend on M::p then: it finds the M in a section.)
    void settle() noexcept { leave_without(retake::none, std::memory_order_release); }

    // Before the M runs anything.
    void simulate() noexcept { word_.store(retake::simulated, std::memory_order_relaxed); }

private:
    void leave_without(retake to, std::memory_order order) noexcept {
        const retake now = seen();   // only the owner leaves such a state
        if (!is_without_p(now)) [[unlikely]] bad_step(now, to);
        word_.store(to, order);
    }
    [[noreturn, gnu::cold]] static void bad_step(retake now, retake to) noexcept;

    base::atomic<retake> word_{retake::none};
};

}  // namespace handoff::detail
