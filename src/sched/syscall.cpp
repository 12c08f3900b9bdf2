// The brackets around calls that may block, and the way back for a goroutine whose P is gone. The protocol is at the
// head of m.hpp.
//
// A pair in which nothing blocks is: call = odd; the call; call = even; a look at `taken`. It does not enter a runtime
// section, since it touches no P.
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
// A goroutine that makes its first call has learnt nothing. It starts with what was learnt last by goroutines with the
// same closure type, so that a thousand goroutines of one call each do not wait for the monitor a thousand times.
#include "os/clock.hpp"
#include "sched/sched.hpp"
#include "sim/simulator.hpp"

#include <handoff/syscall.hpp>

#include <cerrno>

namespace handoff::detail {

constinit base::atomic<bool> membarrier_in_use{false};

namespace {

// Constant-initialized and initial-exec: an access is one instruction, and safe in a signal handler.
constinit thread_local M* tls_m __attribute__((tls_model("initial-exec"))) = nullptr;

// errno through calls that the compiler can't merge: the thread may have changed in between.
HANDOFF_OPAQUE int get_errno() noexcept {
    __asm__ volatile("");
    return errno;
}
HANDOFF_OPAQUE void set_errno(int e) noexcept {
    __asm__ volatile("");
    errno = e;
}

// commit_exit runs on g0, once the context of g is saved: a last look for an idle P, else the global queue. All Ps
// that are not idle look there before they give up, under the same lock, so nobody needs to be woken.
void commit_exit(M* m, G* g, void* old) noexcept {
    sched* s = m->s;
    deferred_wake wake;
    base::lock_guard hold(s->lock);
    if (P* p = s->take_idle_p(static_cast<P*>(old), wake)) {
        (p == old ? s->exits_old_idle : s->exits_any_idle).add();
        s->acquirep(m, p);
        if (!m->locked_g) {
            // Where threads are short this one serves all who wait before it goes on: the next call would give the P away
            // to nobody, and so on for ever.
            if (s->starved.load(std::memory_order_relaxed) != 0) s->globq.push(g);
            else m->nextg = g;
            return;
        }
        // A tied goroutine is started by a P that finds it; ours will, at once.
        if (!p->runq.set_next(g) && !p->runq.push(g)) {
            s->globq.push(g);
        }
        return;
    }
    s->exits_queued.add();
    s->globq.push(g);
}

// regain gets the current goroutine a P: its old one if idle, any idle one, else it waits in the global queue.
// Returns the M that it runs on then.
M* regain(M* m, P* old) noexcept {
    sched* s = m->s;
    if (s->npidle.load(std::memory_order_relaxed) != 0 && s->starved.load(std::memory_order_relaxed) == 0) {
        P* p;
        {
            deferred_wake wake;
            base::lock_guard hold(s->lock);
            p = s->take_idle_p(old, wake);
            if (p) s->acquirep(m, p);
        }
        if (p) {
            (p == old ? s->exits_old_idle : s->exits_any_idle).add();
            return m;
        }
    }
    G* g = m->curg.load(std::memory_order_relaxed);
    g->transition(g_state::running, g_state::runnable);
    m->commit = commit_exit;
    m->commit_g = g;
    m->commit_arg = old;
    return s->switch_to_g0(m, g->exec);
}

// settle is the way on for an M that found its P gone, `how` being what it found. In a runtime section, without a P.
M* settle(M* m, retake how) noexcept {
    G* g = m->curg.load(std::memory_order_relaxed);
    sched* s = m->s;
    const std::uint8_t hog_kind = how == retake::taken_computing ? m->hog_kind.load(std::memory_order_relaxed) : 0;
    std::int64_t since = 0;
    long call = -1;
    if (how == retake::taken_unguarded) {   // only then are they ours to read
        since = m->unguarded_since;
        call = m->unguarded_call;
    }
    P* old = m->p.load(std::memory_order_relaxed);
    m->p.store(nullptr, std::memory_order_relaxed);
    // The monitor does not look at an M without a P. release, with its CAS: a late attempt finds us in a section, and
    // without that P, also where no membarrier sees to it.
    m->taken.store(retake::none, std::memory_order_release);
    if (how == retake::taken_computing) s->end_of_computing(hog_kind);
    m = regain(m, old);
    if (how == retake::taken_unguarded) {
        // The program's callback is user code.
        leave(m);
        s->note_unguarded(g, since, os::nanotime(), call);
        m = enter(current_m());
    }
    return m;
}

// answer_retake resolves a `taken` that was not none: either the M keeps its P (none, asked_to_yield), or it is gone.
retake answer_retake(M* m) noexcept {
    retake seen = m->taken.load(std::memory_order_acquire);
    while (seen == retake::asked || seen == retake::asked_to_yield) {
        // acq_rel: orders this section after the retaker's reads, and, on failure, after the retaker's writes to M.
        if (m->taken.compare_exchange_weak(seen, retake::none, std::memory_order_acq_rel, std::memory_order_acquire))
            return seen == retake::asked ? retake::none : seen;
    }
    return seen;   // none: the retaker has given up; simulated stays
}

constexpr std::uint8_t quick_calls_count_as_one = 64;
constexpr std::int64_t long_computation = 10;   // times the grace
constexpr std::int64_t quick_call = 4;          // that part of the grace

// learn_from_handoff judges a call that was handed off because it was predicted to block.
void learn_from_handoff(M* m, G* g) noexcept {
    const std::int64_t grace = m->s->opts.syscall_grace.count();
    const std::int64_t lasted = os::nanotime() - m->call_began;
    const bool blocked = os::voluntary_switches() != m->sleeps_before || lasted / long_computation > grace;
    const P* given = m->p.load(std::memory_order_relaxed);
    const bool another_ran = given->schedtick.load(std::memory_order_relaxed) != m->tick_before;
    const bool tells_little = !blocked && another_ran && lasted < grace / quick_call;
    if (tells_little && ++g->quick_calls < quick_calls_count_as_one) return;
    g->quick_calls = 0;
    g->predict = predict_after(g->predict, blocked);
    auto& kind = m->s->kinds[g->kind.load(std::memory_order_relaxed)];
    // A hint: another's may get lost.
    kind.store(predict_after(kind.load(std::memory_order_relaxed), blocked), std::memory_order_relaxed);
}

// Entering a call without a P, after it was taken from the goroutine while it computed: it does so no longer.
HANDOFF_OPAQUE void stop_computing(M* m) noexcept {
    // Only the owner leaves a taken_* state.
    m->s->end_of_computing(m->hog_kind.load(std::memory_order_relaxed));
    m->taken.store(retake::taken_call, std::memory_order_relaxed);
}

// Hands the P off before a call. In the bracket, call already odd.
void hand_off_before_call(M* m, bool predicted) noexcept {
    // seq_cst: enough for both variants of the protocol, and nothing beside what follows.
    m->section.exchange(one_more(m->section), std::memory_order_seq_cst);
    retake how = m->taken.load(std::memory_order_seq_cst);
    if (how != retake::none) how = answer_retake(m);
    if (how >= retake::simulated) {
        if (how == retake::taken_computing) stop_computing(m);
        m->section.store(one_more(m->section), std::memory_order_release);   // gone already, or simulated: never
        return;
    }
    sched* s = m->s;
    P* p = m->p.load(std::memory_order_relaxed);
    m->call_predicted = predicted;
    m->tick_before = p->schedtick.load(std::memory_order_relaxed);
    p->handoff = handoff_kind::immediate;
    p->handoff_began = os::nanotime();
    p->transition(p_status::running, p_status::idle);
    p->m.store(nullptr, std::memory_order_relaxed);
    s->handoffs_immediate.add();
    m->taken.store(retake::given, std::memory_order_relaxed);   // M::p stays, as the old one to come back to
    s->handoffp(p);
    if (predicted) {   // not before: the handoff itself may wait for a lock
        m->sleeps_before = os::voluntary_switches();
        m->call_began = os::nanotime();
    }
    m->section.store(one_more(m->section), std::memory_order_release);
}

// exit_slow: the bracket ends, and `taken` was not none. call is even already.
HANDOFF_OPAQUE void exit_slow(M* m) noexcept {
    const int e = get_errno();
    G* g = m->curg.load(std::memory_order_relaxed);
    m->section.store(one_more(m->section), std::memory_order_relaxed);   // `taken` holds the retaker off
    const retake how = answer_retake(m);
    if (how < retake::taken_call) {
        if (g->predict != 0) --g->predict;
        g->syscall_depth = 0;
        if (how == retake::asked_to_yield) m = m->s->give_way(m);
        else if (how == retake::simulated) m->s->sim->point(m);
    } else {
        m->calls_not_own.add();
        if (how == retake::taken_call) g->predict = predict_after(g->predict, true);   // its kind learnt when it was taken
        else if (how == retake::given && m->call_predicted) learn_from_handoff(m, g);
        m = settle(m, how);
        g->syscall_depth = 0;
    }
    leave(m);
    set_errno(e);
}

inline void open_bracket(M* m, G* g) noexcept {
    g->syscall_depth = 1;
    // release: with the retaker's acquire loads, so that it sees what this goroutine wrote to its P.
    m->call.store(begin_call(m), std::memory_order_release);
}

}  // namespace

HANDOFF_OPAQUE M* current_m() noexcept {
    __asm__ volatile("");
    return tls_m;
}

HANDOFF_OPAQUE void set_current_m(M* m) noexcept {
    __asm__ volatile("");
    tls_m = m;
}

HANDOFF_OPAQUE M* enter_slow(M* m) noexcept {
    const int e = get_errno();
    const retake how = answer_retake(m);
    if (how == retake::asked_to_yield) m = m->s->give_way(m);
    else if (how == retake::simulated) m->s->sim->point(m);
    else if (how != retake::none) m = settle(m, how);
    set_errno(e);
    return m;
}

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
    else if (m->taken.load(std::memory_order_relaxed) == retake::taken_computing) [[unlikely]] stop_computing(m);
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
    else if (m->taken.load(std::memory_order_relaxed) == retake::taken_computing) stop_computing(m);
}

void entersyscallblock() noexcept { entersyscall(handoff_policy::immediate); }

HANDOFF_OPAQUE void exitsyscall() noexcept {
    M* m = tls_m;
    if (!m) return;
    G* g = m->curg.load(std::memory_order_relaxed);
    if (g->syscall_depth != 1) [[unlikely]] {
        if (g->syscall_depth != 0) --g->syscall_depth;
        else base::warn("exitsyscall without entersyscall in goroutine %llu",
                        static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed)));
        return;
    }
    const std::uint32_t even = end_call(m);
    if (membarrier_in_use.load(std::memory_order_relaxed)) [[likely]] {
        m->call.store(even, std::memory_order_relaxed);   // partner: the retaker's membarrier
        base::compiler_fence();
        if (m->taken.load(std::memory_order_relaxed) != retake::none) [[unlikely]] return exit_slow(m);
    } else {
        m->call.exchange(even, std::memory_order_seq_cst);   // partner: the retaker's seq_cst CAS and load
        if (m->taken.load(std::memory_order_seq_cst) != retake::none) return exit_slow(m);
    }
    g->syscall_depth = 0;
    if (g->predict != 0) --g->predict;
}

HANDOFF_OPAQUE int last_errno() noexcept {
    __asm__ volatile("");
    return errno;
}

}  // namespace handoff
