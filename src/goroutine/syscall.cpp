// The brackets around calls that may block (a guarded call), and how a goroutine whose P is gone comes back. The protocol is at
// the head of sched/section.hpp, the states of `taken` are in sched/retake_word.hpp.
//
// A pair of brackets in which nothing blocks is: call = odd; the call; call = even; a look at `taken`. It enters no runtime
// section, since it touches no P.
//
// Coming back without a P. A P is needed to touch the runtime, and user code touches nothing of it: everything in the library
// that does enters a section first, and gets a P there if it has none (`settle`). So a goroutine whose P is gone when its call
// ends goes on at once, on its thread, in the state `away`: no lock, no queue, no futex. It gets a P when it next enters the
// library: its old one if that is idle, any idle one, else it waits in the global queue, and may go on on another thread. If it
// begins its next call first, it never needed a P. Only the owner leaves `away`; the retaker's CAS expects `none`, and so
// fails. A P can't get two owners by this, since the goroutine has none to touch.
//
//     taken_call, taken_slice, given   the call ends: away.   the library is entered, in the call: settle, none
//     taken_computing                  a call begins, or ends: the loss is accounted for, away.   entered: settle, none
//     taken_unguarded                  a call begins: reported, away.   a call ends: it stays.    entered: settle, none
//     away                             calls begin and end: away.   entered: settle, none
//
// Nothing bounds how many goroutines go on without a P, as with threads. The goroutines that have a P run beside them, with the
// share of the cores that the kernel gives to each thread. A bound would have to stop a goroutine that may hold a C library's
// lock. There is one exception: where no thread can be had for a P (idle_set::starved), a goroutine that makes call after call
// would keep its thread for itself. It then settles at the beginning of its next call, behind all that wait: there it may
// change threads.
//
// The same holds for a time slice that is over. The end of a call leaves `asked_to_yield` as it is, and the goroutine gives way
// at the beginning of its next call, or where it enters the library. (If the retaker comes before that, it finds the goroutine
// outside of the library.)
//
// What follows for the user: from the beginning of a guard to its first use of the library after the guard's end, a goroutine
// stays on its thread, and all per-thread state (errno, OpenSSL's errors) is right there. To keep that true, code under a guard
// that enters the library (a callback) ties the goroutine to its thread, as lock_os_thread does, until the outermost bracket
// ends (G::tied_by_call): a goroutine that parks there wakes on the thread that has the C library's lock. Cancellation is held
// back meanwhile (wait/cancel.hpp). A simulation has one thread, so it ties nothing.
//
// Prediction. G::predict is a two-bit saturating counter, as in a branch predictor (J. Smith, 1981): a call whose P was retaken
// raises it, one that kept its P lowers it. At 2 and 3 the adaptive bracket hands the P off at once. Then a call raises the
// counter if the thread slept in it. The clock alone does not tell: a read from a pipe may be over in 3 us because the next
// goroutine writes, which looks like a quick call. Reading the kernel's count of the thread's sleeps costs 0.2 us at each end,
// beside a handoff. A call in which the thread stayed awake computed. Only if it did so for several times the grace is it
// better done without the P. (It may have lasted for the grace only because there are more threads than cores, which is so
// because calls are handed off.)
//
// A handed-off call that was quick, while another goroutine ran on the P, is weak evidence: what it waited for may have come from
// that goroutine, which the handoff let run. (A wake-up by a thread that spins takes 0.4 us, a system call as long.) It takes
// several such calls in a row, `quick_calls_count_as_one`, to lower the counter by one. A call that was awake for longer than
// such calls last did not wait for another goroutine, and counts fully.
//
// A goroutine that makes its first call has learnt nothing. It starts with what goroutines of its kind (closure type and place
// of spawn) have learnt last, so that a thousand goroutines of one call each do not wait for the monitor a thousand times.
#include "os/clock.hpp"
#include "os/errno.hpp"
#include "sched/pinned.hpp"
#include "sched/handover.hpp"
#include "sched/simulation_hooks.hpp"
#include "sched/without.hpp"

#include <handoff/syscall.hpp>

#include <cerrno>

namespace handoff::detail {

namespace {

constexpr std::uint8_t quick_calls_count_as_one = 64;
constexpr std::int64_t long_computation = 10;   // times the grace: from there on a call counts as one that blocked
constexpr std::int64_t quick_call = 4;          // a quick call is shorter than this part of the grace

// learn_from_handoff judges a call that was handed off because it was predicted to block.
void learn_from_handoff(M* m, G* g) noexcept {
    const std::int64_t grace = m->s->opts.syscall_grace.count();
    const std::int64_t lasted = os::nanotime() - m->call_began;
    const bool blocked = os::voluntary_switches() != m->sleeps_before || lasted / long_computation > grace;
    const P* given = m->p.load(std::memory_order_relaxed);
    const bool another_ran = given->put_on() != m->put_on_before;
    const bool tells_little = !blocked && another_ran && lasted < grace / quick_call;
    if (tells_little && ++g->quick_calls < quick_calls_count_as_one) return;
    g->quick_calls = 0;
    g->predict = predict_after(g->predict, blocked);
    m->s->predict.learn(g, blocked);
}

inline void open_bracket(M* m, G* g) noexcept {
    g->syscall_depth = 1;
    // release: pairs with the retaker's acquire loads, so that the retaker sees what this goroutine wrote to its P.
    m->call.store(begin_call(m), std::memory_order_release);
}

// open_slowly: the bracket was opened, and `taken` is not none. Either the P was lost before, or just now (only the owner
// leaves these states). Or the goroutine was asked to yield, which the end of the previous call left to this one.
HANDOFF_OPAQUE void open_slowly(M* m) noexcept {
    const retake how = m->taken.learn();
    // One call after the other without a P would keep this thread from the goroutines that wait for a thread.
    const bool gives_way = how == retake::asked_to_yield ||
                           (is_without_p(how) && m->s->idle.is_starved());
    if (how == retake::taken_computing) {
        slice_was_over(m, m->curg.load(std::memory_order_relaxed), how);
        m->taken.go_on_without();
    }
    if (!gives_way && how != retake::taken_unguarded) return;
    // The rest has to be done before the call: close the bracket, and open it again afterwards.
    const int e = os::get_errno();
    G* g = m->curg.load(std::memory_order_relaxed);
    g->syscall_depth = 0;
    leave_call(m);
    if (how == retake::taken_unguarded) {
        const M::unguarded_stay stay = m->unguarded;
        m->taken.go_on_without();
        say_unguarded(m, g, stay.since, stay.until, stay.call);
        m = current_m();
    }
    if (gives_way) {
        m = enter(m);
        leave(m);
        m = current_m();
    }
    open_bracket(m, g);
    os::set_errno(e);
}

// hand_off_before_call hands the P off before a call. The bracket is open: call is odd already.
void hand_off_before_call(M* m, bool predicted) noexcept {
    const retake before = m->taken.seen();
    if (is_without_p(before)) return open_slowly(m);
    // Keep the P if threads without a P can start what would run on it (sched/without.cpp); if that is not enough, the monitor
    // takes the P.
    if (predicted && can_wait_for_workers(*m->s, *m->p.load(std::memory_order_relaxed))) {
        if (before != retake::none) open_slowly(m);
        return;
    }
    // seq_cst: enough for both variants of the protocol, and cheap beside what follows.
    m->section.exchange(one_more(m->section), std::memory_order_seq_cst);
    retake how = m->taken.seen_in_order();
    if (how != retake::none) how = m->taken.answer();
    if (how >= retake::simulated) {   // simulated: nothing is handed off; else the P is gone already
        m->section.store(one_more(m->section), std::memory_order_release);
        if (how != retake::simulated) open_slowly(m);
        return;
    }
    sched* s = m->s;
    P* p = m->p.load(std::memory_order_relaxed);
    m->call_predicted = predicted;
    m->put_on_before = p->put_on();
    p->handoff = handoff_cause::immediate;
    p->handoff_began = os::nanotime();
    s->count.handoffs_immediate.add();
    held_p given = held_p::off_its_thread(*p);
    m->taken.give();   // M::p stays, as the old P to come back to
    handoffp(*s, std::move(given));
    if (predicted) {   // not before: the handoff itself may wait for a lock
        m->sleeps_before = os::voluntary_switches();
        m->call_began = os::nanotime();
    }
    m->section.store(one_more(m->section), std::memory_order_release);
}

// back_without: the bracket ends, and the P is gone. The goroutine goes on without a P: it takes no lock and stays on its
// thread. An unguarded stay is reported by a callback that may use the library, so the report waits until the goroutine enters
// the library.
void back_without(M* m, G* g, retake how) noexcept {
    m->calls_not_own.add();
    m->calls_without.add();
    count_call(m);
    g->syscall_depth = 0;
    if (how == retake::away) return;
    const int e = os::get_errno();
    if (how == retake::taken_unguarded) {
        if (m->unguarded.until == 0) m->unguarded.until = os::nanotime();
        return os::set_errno(e);
    }
    slice_was_over(m, g, how);
    if (how == retake::taken_call) g->predict = predict_after(g->predict, true);   // its kind learnt when the P was taken
    else if (how == retake::given && m->call_predicted) learn_from_handoff(m, g);
    m->taken.go_on_without();
    os::set_errno(e);
}

// exit_slow: the bracket ends, and `taken` was not none. call is even already. It does not switch: a goroutine that was asked
// to yield stays on its thread, too, and leaves the question for its next call or entry into the library.
HANDOFF_OPAQUE void exit_slow(M* m) noexcept {
    G* g = m->curg.load(std::memory_order_relaxed);
    const retake how = m->taken.answer_asked();   // no section is needed: no P is touched
    if (is_without_p(how)) return back_without(m, g, how);
    count_call(m);
    if (g->predict != 0) --g->predict;
    g->syscall_depth = 0;
    if (how != retake::simulated) return;
    const int e = os::get_errno();
    m->section.store(one_more(m->section), std::memory_order_relaxed);   // no retaker in a simulation
    m->s->sim->point(m);
    leave(m);
    os::set_errno(e);
}

// outermost_ends is for a bracket that ends at a depth other than 1. True if it is the outermost one, which the caller has to
// end.
bool outermost_ends(M* m, G* g) noexcept {
    const std::uint16_t depth = g->syscall_depth & G::most_brackets;
    if (depth > 1) {
        --g->syscall_depth;
        return false;
    }
    if (depth == 0) {
        base::warn_nth(m->s->count.exits_unmatched.add(), "exitsyscall without entersyscall in goroutine %llu",
                       static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed)));
        return false;
    }
    // The goroutine has entered the library meanwhile, and was tied to its thread.
    g->syscall_depth = 1;
    untie_if_free(m, g);
    return true;
}

}  // namespace

}  // namespace handoff::detail

namespace handoff {

using namespace detail;

HANDOFF_OPAQUE void entersyscall() noexcept {
    M* m = tls_m;
    if (!m) return;
    G* g = m->curg.load(std::memory_order_relaxed);
    if (g->syscall_depth != 0) [[unlikely]] {
        ++g->syscall_depth;
        return;
    }
    open_bracket(m, g);
    if (g->predict >= prediction::blocks) [[unlikely]] hand_off_before_call(m, true);
    else if (!m->taken.is_none()) [[unlikely]] open_slowly(m);
}

HANDOFF_OPAQUE void entersyscall(handoff_policy policy) noexcept {
    if (policy == handoff_policy::adaptive) return entersyscall();
    M* m = tls_m;
    if (!m) return;
    G* g = m->curg.load(std::memory_order_relaxed);
    if (g->syscall_depth != 0) {
        ++g->syscall_depth;
        return;
    }
    open_bracket(m, g);
    if (policy == handoff_policy::immediate) hand_off_before_call(m, false);
    else if (!m->taken.is_none()) open_slowly(m);
}

void entersyscallblock() noexcept { entersyscall(handoff_policy::immediate); }

HANDOFF_OPAQUE void exitsyscall() noexcept {
    M* m = tls_m;
    if (!m) return;
    G* g = m->curg.load(std::memory_order_relaxed);
    if (g->syscall_depth != 1) [[unlikely]]
        if (!outermost_ends(m, g)) return;
    const std::uint64_t with_this = calls_with_this(m);
    const std::uint32_t even = end_call(with_this);
    if (os::membarrier_in_use.load(std::memory_order_relaxed)) [[likely]] {
        m->call.store(even, std::memory_order_relaxed);   // partner: the retaker's membarrier
        base::compiler_fence();
        if (!m->taken.is_none()) [[unlikely]] return exit_slow(m);
    } else {
        m->call.exchange(even, std::memory_order_seq_cst);   // partner: the retaker's seq_cst CAS and load
        if (m->taken.seen_in_order() != retake::none) return exit_slow(m);
    }
    m->calls.show(with_this);   // count_call
    g->syscall_depth = 0;
    if (g->predict != 0) --g->predict;
}

HANDOFF_OPAQUE int last_errno() noexcept {
    __asm__ volatile("");
    return errno;
}

}  // namespace handoff
