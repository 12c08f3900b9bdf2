// The runtime section, which says when an M may touch its P, and how the P of one that is away is taken.
//
// The problem. A goroutine may block in the kernel at any moment, guarded or not, and its P must then go on without
// it, while in the normal case leaving and entering the library must cost no atomic read-modify-write.
//
// The protocol. `section` is odd while the M is inside the library; `call` is odd while it is between entersyscall
// and exitsyscall. Both only grow, and are written by the M alone. Whoever retakes (the monitor) says so in `taken`:
//
//     M, leaving:    [call + 1;]  section + 1 (release)
//     M, entering:   section + 1 | call + 1;  (compiler fence);  if (taken != none) slow path
//     retaker:       CAS taken none -> asked;  membarrier;  if section is odd, or section or call has moved on since
//                    it was last seen: CAS taken asked -> none, give up;  else CAS taken asked -> taken_*: M::p is ours
//     M, slow path:  CAS taken asked -> none: keeps its P (and yields, if it was asked to).  Found taken_*: its P is gone;
//                    it goes on without one until it needs one (goroutine/syscall.cpp)
//
// Why it is right. The barrier runs on every thread. An M that stored its section (or call) before its barrier is seen
// by the retaker, which gives up. One that stores it after the barrier loads `taken` later still, and sees at least
// `asked`; then both sides want to change the same word, and the CAS decides. So never do both believe that they have
// the P. While `taken` stays `asked` the M can't get past its slow path, so that section, call and p, read in between,
// are those of the goroutine that was meant, not of a later one (a CAS that succeeds proves it). release on leaving
// and acquire in the retaker's load of section order the old owner's writes to the P before the new owner's; the slow
// path's acq_rel CAS does the same for an attempt that was given up.
//
// A goroutine that enters and leaves all the time would answer each attempt before it can succeed. When its time slice
// is over it is therefore `asked_to_yield`, and the question is not withdrawn: the M answers where it may change threads, which
// is where it enters the library or begins a call, but not where a call ends; or an attempt that follows takes the P. (In a
// call at once, for which it need not be the one that was seen; in user code once it had time to answer.)
//
// Without membarrier, section and call are exchanged with seq_cst on entering, and the retaker's CAS and loads are
// seq_cst: then one order of all of them exists, with the same two cases.
//
// Rejected: a status word changed by CAS on both ends of each call, as in Go (two locked operations a call, and none
// of it covers a call without brackets); signals (EINTR for the program's own calls).
#pragma once

#include "base/atomic.hpp"
#include "os/membarrier.hpp"
#include "sched/current_m.hpp"
#include "sched/m.hpp"

#include <cstdint>

namespace handoff::detail {

// still_without says whether m, whose goroutine is in user code, has no P. What is to be said of how it went is said then; that
// may be user code, which the goroutine may leave with a P. Returns the M that it runs on.
M* still_without_slowly(M* m, bool& without) noexcept;

inline M* still_without(M* m, bool& without) noexcept {
    if (!m->taken.is_none()) [[unlikely]] return still_without_slowly(m, without);
    without = false;   // the section that follows looks again
    return m;
}

// enter begins a runtime section on `m`, the calling thread's M, whose goroutine called the library, and returns the
// M on which the goroutine runs then: it may have lost its P and waited for another. Every enter is followed by leave
// on the M that the goroutine has at that time.
M* enter_slow(M* m) noexcept;

// enter_staying is enter for who must not switch: if m has no P, and none is idle, it returns false, in no section. m stays
// the M either way, and nothing else has run on it.
bool enter_staying_slowly(M* m) noexcept;

// Sections and calls are written by the owner alone: no read-modify-write.
inline std::uint32_t one_more(const base::atomic<std::uint32_t>& count) noexcept {
    return count.load(std::memory_order_relaxed) + 1;
}

// begin_call and end_call give the next value of `call`. It is computed from a counter that changes once a pair: a
// chain of one store and load instead of two, which is what a pair in a loop costs. count_call changes it, once it is known
// how the call has ended, and after calls_not_own: so who reads `calls` first never takes one that lost its P for another.
inline std::uint32_t begin_call(const M* m) noexcept { return static_cast<std::uint32_t>(2 * m->calls.get() + 1); }
inline std::uint64_t calls_with_this(const M* m) noexcept { return m->calls.get() + 1; }
inline std::uint32_t end_call(std::uint64_t with_this) noexcept { return static_cast<std::uint32_t>(2 * with_this); }
inline void count_call(M* m) noexcept { m->calls.show(calls_with_this(m)); }

// leave_call: the call counts as over, for the library; it may begin again.
inline void leave_call(M* m) noexcept {
    m->call.store(end_call(calls_with_this(m)), std::memory_order_relaxed);
    m->calls_not_own.add();
    count_call(m);
}

// suspend_call: the goroutine of m enters the library out of a guarded call (a callback). The call counts as over until it
// leaves again, and the goroutine is tied to its thread until the outermost bracket ends (goroutine/syscall.cpp).
void suspend_call(M* m) noexcept;

// enter_quickly begins the section; false if enter_slow has to follow.
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

// say_unguarded counts an unguarded stay of g's that is over, and tells the program, whose callback is user code: it may use
// the library, and change threads.
void say_unguarded(M* m, G* g, std::int64_t since, std::int64_t until, long call) noexcept;

}  // namespace handoff::detail
