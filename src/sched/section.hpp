// The runtime section: it says when an M may touch its P, and how the P of an M that is away can be taken.
//
// The problem. A goroutine may block in the kernel at any moment, in a guarded call or not, and its P must then go on without
// it. In the normal case, leaving and entering the library must cost no atomic read-modify-write.
//
// Terms. An M is away while it is outside the library (`section` is even). It may still have its P then; the state retake::away
// says that it has lost it. A guarded call is one between entersyscall and exitsyscall. A retaker is a thread that takes a P
// from an M that is away: the monitor.
//
// The protocol. `section` is odd while the M is inside the library; `call` is odd during a guarded call. Both only grow, and
// only the M writes them. The retaker announces itself in `taken` (retake_word.hpp):
//
//     M, leaving:    [call + 1;]  section + 1 (release)
//     M, entering:   section + 1 | call + 1;  (compiler fence);  if (taken != none) slow path
//     retaker:       CAS taken none -> asked;  membarrier;  if section is odd, or section or call has moved since it was
//                    last seen: CAS taken asked -> none, give up;  else CAS taken asked -> taken_*: M::p is the retaker's
//     M, slow path:  CAS taken asked -> none: the M keeps its P (and yields, if it was asked to).  Found taken_*: its P is
//                    gone; it goes on without a P until it needs one (goroutine/syscall.cpp)
//
// Why it is right. membarrier executes a barrier on every thread. If an M stored its section (or call) before its barrier, the
// retaker sees the store and gives up. If an M stores it after the barrier, it loads `taken` later still, and sees at least
// `asked`. Then both sides want to change the same word, and the CAS decides. So the two sides never both believe that they
// have the P. While `taken` stays `asked` the M cannot get past its slow path. So section, call and p, which the retaker reads
// in between, belong to the goroutine that was meant, not to a later one; a CAS that succeeds proves it. The release on leaving
// pairs with the acquire in the retaker's load of section: the old owner's writes to the P happen before the new owner's. The
// slow path's acq_rel CAS does the same for an attempt that was given up.
//
// A goroutine that enters and leaves all the time would answer each attempt before it can succeed. So when its time slice is
// over it is `asked_to_yield`, and that question is not withdrawn. Either the M answers it where it may change threads: where
// it enters the library or begins a call, but not where a call ends. (enter_staying, which must not switch, declines:
// M::declined.) Or a later attempt takes the P: in a call at once, which need not be the call that was seen; in user code once
// the goroutine has had time to answer.
//
// Without membarrier, the M enters by exchanging section or call with seq_cst, and the retaker's CAS and loads are seq_cst.
// Then a single total order of all of them exists, with the same two cases.
//
// Rejected: a status word changed by CAS at both ends of each call, as in Go (two locked operations a call, and none of that
// covers a call without brackets); signals (EINTR for the program's own calls).
#pragma once

#include "base/atomic.hpp"
#include "os/membarrier.hpp"
#include "sched/current_m.hpp"
#include "sched/m.hpp"

#include <cstdint>

namespace handoff::detail {

// still_without sets `without` if m, whose goroutine is in user code, has no P. It first accounts for the loss of the P, where
// that is still to be done (retake_word.hpp). That may call user code, during which the goroutine may get a P. Returns the M
// that the goroutine runs on then.
M* still_without_slowly(M* m, bool& without) noexcept;

inline M* still_without(M* m, bool& without) noexcept {
    if (!m->taken.is_none()) [[unlikely]] return still_without_slowly(m, without);
    without = false;   // a hint: the section that follows checks again
    return m;
}

// enter begins a runtime section on `m`, the calling thread's M, whose goroutine called the library. It returns the M on which
// the goroutine runs then: the goroutine may have lost its P and waited for another. Every enter is followed by leave on the M
// that the goroutine has at that time.
M* enter_slow(M* m) noexcept;

// enter_staying is enter for a caller that must not switch. If m has no P and can't get an idle one at once, it returns false,
// and m is in no section. m stays the goroutine's M either way, and nothing else has run on it.
bool enter_staying_slowly(M* m) noexcept;

// Only the owner writes section and call: no read-modify-write is needed.
inline std::uint32_t one_more(const base::atomic<std::uint32_t>& count) noexcept {
    return count.load(std::memory_order_relaxed) + 1;
}

// begin_call and end_call compute the next value of `call`. They use `calls`, which changes once per pair of brackets: the
// dependency chain has one store and load instead of two, and that chain is what a pair in a loop costs. count_call changes
// `calls`, once it is known how the call ended, and after calls_not_own. So a reader that loads `calls` first never counts a
// call that lost its P as one that kept it.
inline std::uint32_t begin_call(const M* m) noexcept { return static_cast<std::uint32_t>(2 * m->calls.get() + 1); }
inline std::uint64_t calls_with_this(const M* m) noexcept { return m->calls.get() + 1; }
inline std::uint32_t end_call(std::uint64_t with_this) noexcept { return static_cast<std::uint32_t>(2 * with_this); }
inline void count_call(M* m) noexcept { m->calls.show(calls_with_this(m)); }

// leave_call: to the library the call counts as over from here on. It may begin again.
inline void leave_call(M* m) noexcept {
    m->call.store(end_call(calls_with_this(m)), std::memory_order_relaxed);
    m->calls_not_own.add();
    count_call(m);
}

// suspend_call: the goroutine of m enters the library from within a guarded call (in a callback). The call counts as over until
// the goroutine leaves again, and the goroutine is tied to its thread until the outermost bracket ends (goroutine/syscall.cpp).
void suspend_call(M* m) noexcept;

// enter_quickly is the fast path: it begins the section; false if enter_slow has to follow.
[[gnu::always_inline]] inline bool enter_quickly(M* m) noexcept {
    if (m->call.load(std::memory_order_relaxed) % 2 != 0) [[unlikely]] suspend_call(m);
    if (os::membarrier_in_use.load(std::memory_order_relaxed)) [[likely]] {
        m->section.store(one_more(m->section), std::memory_order_relaxed);   // partner: the retaker's membarrier
        base::compiler_fence();
        return m->taken.is_none();
    }
    m->section.exchange(one_more(m->section), std::memory_order_seq_cst);   // partner: the retaker's seq_cst CAS
    return m->taken.seen_in_order() == retake::none;
}

inline M* enter(M* m) noexcept {
    if (enter_quickly(m)) [[likely]] return m;
    return enter_slow(m);
}

[[gnu::always_inline]] inline bool enter_staying(M* m) noexcept {
    if (enter_quickly(m)) [[likely]] return true;
    return enter_staying_slowly(m);
}

inline void leave(M* m) noexcept {
    if (m->curg.load(std::memory_order_relaxed)->syscall_depth != 0) [[unlikely]]
        m->call.store(begin_call(m), std::memory_order_relaxed);
    m->section.store(one_more(m->section), std::memory_order_release);   // partner: the retaker's acquire load
}

// ---- For the brackets (goroutine/syscall.cpp) ----

// slice_was_over: the P of g, m's goroutine, was taken; `how` says whether it was at the end of a slice (slice.cpp).
void slice_was_over(M* m, G* g, retake how) noexcept;

// say_unguarded counts an unguarded stay of g that is over, and reports it to the program. The program's callback is user code:
// it may use the library, and change threads.
void say_unguarded(M* m, G* g, std::int64_t since, std::int64_t until, long call) noexcept;

}  // namespace handoff::detail
