// The monitor (Go's sysmon): an M without a P that watches the Ps and takes those whose goroutines are away.
//
// It is a part that Ms play in turns. When the monitor finds a P to take, it hands the part to an idle M and runs the
// P itself: it is awake already, and waking somebody costs more than half of the whole handoff.
//
// Rounds. While something runs it looks every `syscall_grace`; where it finds nothing, after each 32nd part of the time
// since it last did, at most 10 ms: a call that comes after a quiet time waits for no more than some percent of that
// more. (Pauses that double, as Go's, leave one that comes after 2 ms waiting for up to another.) When all Ps are idle it
// doubles the pause, and then sleeps until it is woken. A timed sleep of 20 us lasts 50 to 100, so it looks again
// without sleeping, for a bounded time, while a P with waiting work is in a call (until the grace is over),
// and for a while after a find; only if a core is free, so that it takes no time from goroutines.
//
// What it takes:
//   a guarded call       seen twice, `syscall_grace` apart, if work waits; after `syscall_retake_after` in any case
//   an unguarded call    no entry into the runtime for `unguarded_grace` if work waits, else for `retake_running_after`, and
//                        the kernel says that the thread sleeps
//   a computation        one time slice (slice.cpp) for `retake_running_after`, if work waits, while fewer than `procs`
//                        goroutines compute without a P; beyond that only after over_limit_wait (compute_limit.hpp)
//
// Unguarded calls. While work waits, or none is idle who could take what comes, it asks the kernel what the thread of a P
// does whose goroutine is in user code: when it first sees that, since one that sleeps then is worth another look after the
// grace, and from the grace on at doubling intervals. That is a descriptor and a microsecond a look
// (os/thread_activity.hpp). It pauses for 1 ms at most meanwhile, which together stays below a percent of a core; where it
// has found something lately it looks much sooner. Where the kernel does not tell, a thread that has used no processor time
// for a while counts as asleep.
//
// While a goroutine computes, the timers of its P wait for the end of its slice only if no P is idle: else one is woken.
//
// Fast paths. A goroutine in a loop of free locks or ready channels takes their inline paths, and never enters the runtime. So
// one that seems to compute when its slice is over is asked to yield first; if it has not entered for as long as a slice, or
// does not answer, these ways are closed until the next look (sched/fast_path.hpp): if it is such a loop it enters, and answers.
// If not, its P is taken then, wherever in user code it is.
#pragma once

#include "os/thread_activity.hpp"
#include "sched/held_p.hpp"
#include "sched/m.hpp"

#include <cstdint>

namespace handoff::detail {

struct sched;

class monitor {
public:
    explicit monitor(sched& of) noexcept : s(of) {}

    // play plays the part on m's thread until it passes it on, and then returns the P that m shall run, or until the
    // runtime stops (none).
    held_p play(M* m) noexcept;

    // retry_starved makes good for threads and stacks that could not be had.
    void retry_starved() noexcept;

    // Its notes; the part changes hands with a wake-up or a thread's start in between.
    struct {
        std::int64_t pause = 0;            // the present one
        std::int64_t busy_since = 0;       // of the last find, or of the last wake-up from deep sleep
        std::int64_t last_find = 0;
        std::int64_t polling_since = 0;    // 0: it has slept since
        std::int64_t hog_started = 0;      // when a hog was last let through
        std::int64_t load_looked_at = 0;
        bool machine_has_room = true;      // at that time
        bool all_busy = false;             // at the last look: no P is idle, and some goroutine is in user code
        bool fast_paths_closed = false;    // by us (above, Fast paths)
        std::int64_t short_of_threads_until = 0;   // when to look again at timers that no thread could be had for
        std::int64_t next_trace = 0;
        unsigned spent_running = 0;        // Ps on which the spent had their turn, at the last look
        std::int64_t join_pause = 10'000'000;      // how long it sleeps at most while threads exit
        std::int64_t stalled_since = 0;    // when all goroutines were first seen to wait for each other; 0: they don't
        bool stall_reported = false;
        bool surplus = false;              // there were more Ps than wanted, at the last look
    } notes;
    os::activity_files activities;

private:
    bool pass_on() noexcept;
    void open_what_is_closed() noexcept;
    void fire_timers(M* m, held_p& p) noexcept;
    void wakes_up() noexcept;
    void do_chores(std::int64_t now) noexcept;
    bool sleep(std::int64_t now, std::int64_t next_look, held_p& due) noexcept;
    bool give_memory_back() noexcept;
    bool all_wait() const noexcept;
    std::int64_t next_stall_report(bool deep, std::int64_t now) noexcept;
    void report_stall() noexcept;

    sched& s;
};

}  // namespace handoff::detail
