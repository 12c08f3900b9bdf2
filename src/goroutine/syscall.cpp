// The brackets around calls that may block, and the way back for a goroutine whose P is gone. The protocol is at the
// head of sched/section.hpp.
//
// A pair in which nothing blocks is: call = odd; the call; call = even; a look at `taken`. It does not enter a runtime
// section, since it touches no P.
//
// Coming back without a P. A P is needed to touch the runtime, and user code touches none of it: everything of the library
// that does so enters a section first, and takes a P there if it has none (`settle`). So a goroutine whose P is gone when its
// call ends goes on at once, on its thread, in the state `away`: no lock, no queue, no futex. It takes a P when it next
// enters the library (its old one if that is idle, any idle one, else it waits in the global queue, and may go on on another
// thread); if it goes into its next call first, it never needed one. Only the owner leaves `away`, and the retaker, whose CAS
// wants `none`, keeps off; that a P has two owners can't come of it, since the goroutine has none to touch.
//
//     taken_call, taken_slice, given   the call ends: away.   the library is entered, in the call: settle, none
//     taken_unguarded, taken_computing a call begins, or ends: what was to be said of it is said, away.   entered: settle
//     away                             calls begin and end: away.   entered: settle, none
//
// What bounds them: nothing, as with threads. They hold no P, so those who do run beside them, with the share of the cores
// that the kernel gives to each thread; a bound would have to stop a goroutine that may have a C library's lock. One thing
// is looked after: where no thread can be had for a P (`starved`), one that makes call after call would keep its thread for
// itself. It then settles at the beginning of its next call, behind all who wait: there it may change threads.
//
// So is a time slice that is over. The end of a call leaves `asked_to_yield` as it is, and the goroutine gives way at the
// beginning of its next one, or where it enters the library. (If the retaker comes before that, it finds it outside.)
//
// What follows for the user: from the beginning of a guard to the goroutine's next call of the library after its end it
// stays on its thread, and all that is per thread (errno, OpenSSL's errors) is right there. For that, code under a guard that
// enters the library, a callback, ties the goroutine to its thread as lock_os_thread does, until the outermost bracket ends
// (G::tied_by_call): who parks there wakes on the thread that has the C library's lock. Cancellation is held back meanwhile
// (wait/cancel.hpp). In a simulation there is one thread, and nothing to be tied.
//
// Prediction. G::predict is a two-bit saturating counter, as in a branch predictor (J. Smith, 1981): a call whose P
// was retaken raises it, one that kept its P lowers it. At 2 and 3 the adaptive bracket hands the P off at once. Then a
// call raises it if the thread slept in it: a read from a pipe may be over in 3 us because the next goroutine writes, and
// by the clock alone that is a quick call. The kernel's count of the thread's sleeps costs 0.2 us at each end, next to a
// handoff. A call that was awake computed; only if it did so for several times the grace is it better to do that without
// the P. (It may have lasted for the grace because there are more threads than cores, just since calls are handed off.)
//
// A handed-off call that was quick, while another goroutine ran on the P, tells less: what it waited for may have come
// from that goroutine, which the handoff let run. (A wake-up by a thread that spins takes 0.4 us, a system call as long.)
// It takes several in a row, `quick_calls_count_as_one`, to lower the counter by one. One that was awake for longer than
// such calls are did not wait for anybody.
//
// A goroutine that makes its first call has learnt nothing. It starts with what was learnt last by goroutines of its kind
// (closure type and place of spawn), so that a thousand goroutines of one call each do not wait for the monitor a thousand times.
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
constexpr std::int64_t long_computation = 10;   // times the grace
constexpr std::int64_t quick_call = 4;          // that part of the grace

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
    // release: with the retaker's acquire loads, so that it sees what this goroutine wrote to its P.
    m->call.store(begin_call(m), std::memory_order_release);
}

// open_slowly: the bracket was opened, and `taken` is not none: the P went before, or just now (nobody but the owner leaves
// these states); or it is to be given up for a moment, as the end of the call before did not.
HANDOFF_OPAQUE void open_slowly(M* m) noexcept {
    const retake how = m->taken.learn();   
    // One call after the other without a P would keep this thread from those who wait for one.
    const bool gives_way = how == retake::asked_to_yield ||
                           (is_without_p(how) && m->s->idle.is_starved());
    if (how == retake::taken_computing) {
        slice_was_over(m, m->curg.load(std::memory_order_relaxed), how);
        m->taken.go_on_without();
    }
    if (!gives_way && how != retake::taken_unguarded) return;
    // What follows is done before the call.
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

// Hands the P off before a call. In the bracket, call already odd.
void hand_off_before_call(M* m, bool predicted) noexcept {
    const retake before = m->taken.seen();
    if (is_without_p(before)) return open_slowly(m);
    // Threads without a P start what would run on it; if that is not enough, the monitor takes it.
    if (predicted && can_wait_for_workers(*m->s, m->p.load(std::memory_order_relaxed))) {
        if (before != retake::none) open_slowly(m);
        return;
    }
    // seq_cst: enough for both variants of the protocol, and nothing beside what follows.
    m->section.exchange(one_more(m->section), std::memory_order_seq_cst);
    retake how = m->taken.seen_in_order();
    if (how != retake::none) how = m->taken.answer();
    if (how >= retake::simulated) {   // never; or gone already
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
    m->taken.give();   // M::p stays, as the old one to come back to
    handoffp(*s, std::move(given));
    if (predicted) {   // not before: the handoff itself may wait for a lock
        m->sleeps_before = os::voluntary_switches();
        m->call_began = os::nanotime();
    }
    m->section.store(one_more(m->section), std::memory_order_release);
}

// back_without: the bracket ends, and the P is gone. The goroutine goes on without one: it takes no lock and stays on its
// thread. What is to be said of an unguarded stay, by a callback that may use the library, waits until it enters that.
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
    if (how == retake::taken_call) g->predict = predict_after(g->predict, true);   // its kind learnt when it was taken
    else if (how == retake::given && m->call_predicted) learn_from_handoff(m, g);
    m->taken.go_on_without();
    os::set_errno(e);
}

// exit_slow: the bracket ends, and `taken` was not none. call is even already. It does not switch: who is asked to yield
// stays on its thread, too, and leaves the question for its next call, or entry of the library.
HANDOFF_OPAQUE void exit_slow(M* m) noexcept {
    G* g = m->curg.load(std::memory_order_relaxed);
    const retake how = m->taken.answer_asked();   // no section is needed, since nothing is touched
    if (is_without_p(how)) return back_without(m, g, how);
    count_call(m);
    if (g->predict != 0) --g->predict;
    g->syscall_depth = 0;
    if (how != retake::simulated) return;
    const int e = os::get_errno();
    m->section.store(one_more(m->section), std::memory_order_relaxed);   // nobody retakes
    m->s->sim->point(m);
    leave(m);
    os::set_errno(e);
}

// outermost_ends: true if the bracket that ends is the outermost one, which the caller has to end.
bool outermost_ends(M* m, G* g) noexcept {
    const std::uint16_t depth = g->syscall_depth & G::most_brackets;
    if (depth > 1) {
        --g->syscall_depth;
        return false;
    }
    if (depth == 0) {
        base::warn("exitsyscall without entersyscall in goroutine %llu",
                   static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed)));
        return false;
    }
    // It has used the library meanwhile, and was tied to its thread.
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
    if (g->predict >= 2) [[unlikely]] hand_off_before_call(m, true);
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
