// The monitor (Go's sysmon): an M without a P that watches the Ps, and takes those whose goroutines are away (section.hpp).
//
// It is a role that Ms take in turn. When the monitor finds a P to take, it passes the role to an idle M and runs the P itself:
// it is awake already, and waking another thread costs more than half of the whole handoff.
//
// Rounds. While something runs, the monitor looks every `syscall_grace`. As long as it finds nothing, the pause grows to a 32nd
// of the time since its last find, at most 10 ms. So a call that comes after a quiet time waits longer by a few percent of that
// time at most. (Pauses that double, like Go's, let a call that comes after 2 ms wait for up to another 2.) When all Ps are
// idle the monitor doubles the pause, and then sleeps until it is woken. A timed sleep of 20 us lasts 50 to 100. So the monitor
// polls, that is, looks again without sleeping, for a bounded time: while a P with waiting work is in a call (until the grace
// is over), and for a while after a find. It polls only if a core is free, so that it takes no time from goroutines.
//
// What it takes:
//   a guarded call       seen twice, `syscall_grace` apart, if work waits; after `syscall_retake_after` in any case
//   an unguarded call    no entry into the runtime for `unguarded_grace` if work waits, else for `retake_running_after`, and
//                        the kernel says that the thread sleeps
//   a computation        one time slice (slice.cpp) for `retake_running_after`, if work waits, while fewer than `procs`
//                        goroutines compute without a P; beyond that only after wait_over_limit() (compute_limit.hpp)
//
// Unguarded calls. While work waits, and the goroutine of a P is in user code, the monitor asks the kernel what its thread
// does. It asks when it first sees the goroutine there, since a thread that sleeps then is worth another look after the grace,
// and from the grace on at doubling intervals. (Where no work waits it asks only from `retake_running_after` on.) That costs a
// descriptor, and a microsecond a look (os/thread_activity.hpp). Its pauses last 1 ms at most while work waits, or while no P
// is idle that could take the work that comes. All of it together stays below a percent of a core. After a recent find the
// monitor looks much sooner. Where the kernel does not tell, a thread that has used nearly no processor time for a while counts
// as asleep.
//
// Timers. While a goroutine computes, the timers of its P wait for the end of its slice only if no P is idle: else an idle P is
// woken for them.
//
// Fast paths. A goroutine in a loop of free locks or ready channels takes their inline fast paths, and never enters the
// runtime. So a goroutine that seems to compute when its slice is over is first asked to yield. If it has not entered for as
// long as a slice, or does not answer, these fast paths are closed until the next look (sched/fast_path.hpp). A goroutine in
// such a loop then enters the runtime, and answers. If it still does not answer, its P is taken, wherever in user code it is.
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

    // play runs the monitor on m's thread until it passes the role on; it returns the P that m is to run then. It also ends
    // when the runtime stops, and returns none.
    held_p play(M* m) noexcept;

    // retry_starved tries again where no thread or no stack could be had.
    void retry_starved() noexcept;

    // The monitor's notes. When the role changes hands, a wake-up or a thread's start orders the accesses.
    struct {
        std::int64_t pause = 0;            // the present one
        std::int64_t busy_since = 0;       // of the last find, or of the last wake-up from deep sleep
        std::int64_t last_find = 0;
        std::int64_t polling_since = 0;    // 0: it does not poll
        std::int64_t hog_started = 0;      // when a hog (compute_limit.hpp) was last let through
        std::int64_t load_looked_at = 0;
        bool machine_has_room = true;      // at load_looked_at
        bool all_busy = false;             // at the last look: no P is idle, and some goroutine is in user code
        bool fast_paths_closed = false;    // by the monitor (see Fast paths)
        std::int64_t short_of_threads_until = 0;   // until then no new attempt at timers that no thread could be had for
        std::int64_t next_trace = 0;
        unsigned spent_running = 0;        // Ps on which the spent (slice.cpp) had their turn, at the last look
        std::int64_t join_pause = 10'000'000;      // how long it sleeps at most while threads exit
        std::int64_t stalled_since = 0;    // when all goroutines were first seen to wait for each other; 0: they don't
        bool stall_reported = false;
        unsigned shard = 0;                // of the poller, at the last look
        bool surplus = false;              // there were more Ps than wanted, at the last look
    } notes;
    os::activity_files activities;

private:
    bool pass_on() noexcept;
    void open_what_is_closed() noexcept;
    void fire_timers(M* m, held_p& p) noexcept;
    void watch_descriptors(M* m, std::int64_t now) noexcept;
    void wakes_up() noexcept;
    void do_chores(std::int64_t now) noexcept;
    bool sleep(std::int64_t now, std::int64_t next_look, held_p& due) noexcept;
    bool give_memory_back() noexcept;
    bool rest(std::int64_t until) noexcept;
    bool all_wait() const noexcept;
    std::int64_t next_stall_report(bool deep, std::int64_t now) noexcept;
    void report_stall() noexcept;

    sched& s;
};

}  // namespace handoff::detail
