// The simulated machine: as many cores as anybody wants, each with a cache, on which the library's real code runs.
//
// The library is compiled with the instrumentation of -fsanitize=thread, but linked with callbacks of our own
// (instrument.cpp): each access to memory comes here with its address. Threads are real, but only one of them runs at
// any time. Each has a clock of its own: an access that its cache holds takes `costs::access`, one that has to come
// from another core's cache takes `costs::transfer`, and one such transfer of a line waits for the line's one before.
// Whoever's clock is furthest behind goes on, more or less (`slack`, at random from the seed), so that threads
// interleave access by access, as on that many cores. Futexes, mutexes, sleeps and the clock are the machine's
// (system.cpp). A run depends on its seed and on addresses alone.
//
// Counts are exact for the schedule that was simulated. Times are a model's: they say where time goes as cores are
// added, and are no measurements.
//
// What is left out: each thread has a core (and cache) of its own, from which it never moves; caches are infinite and
// lines of 64 bytes are fetched one by one; the kernel touches no memory; malloc's own lines are not seen; a full fence
// that is written in assembler takes no time.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace scaling {

// Picoseconds: an access is less than a nanosecond.
using ps = std::int64_t;
inline constexpr ps ns = 1000, us = 1000 * ns;
inline constexpr ps never = INT64_MAX;

inline constexpr unsigned most_threads = 2048;

// Round figures of x86 servers, in the order of what was measured on a small one.
struct costs {
    ps access = 400;                // and what is computed between two
    ps locked = 5 * ns;             // read-modify-write, beside the access
    ps transfer = 60 * ns;          // of a line between two cores
    ps pause = 10 * ns;
    ps clock = 20 * ns;
    ps system_call = 200 * ns;
    ps wake_call = 1 * us;          // futex wake-up: the waker's part
    ps wake_latency = 5 * us;       // until the woken runs
    ps create_thread = 30 * us;
    ps barrier_per_core = 50 * ns;  // membarrier: an interrupt to each core that runs a thread of ours
    ps barrier = 2 * us;            // and the rest of it
    ps mutex_spin = 4 * us;         // an adaptive mutex's, before it sleeps
};

enum class thread_state : std::uint8_t { ready, blocked, done };

struct thread {
    unsigned number = 0;
    ps time = 0;                      // its clock
    thread_state state = thread_state::ready;
    bool queued = false;              // in machine::queue, at `due`
    ps due = 0;
    bool timed_out = false;
    const void* waits_for = nullptr;
    ps blocked_since = 0;
    long sleeps = 0;                  // blocked in the kernel so often
    unsigned keeps_core = 0;          // may not be preempted
    std::uintptr_t last_line = 0;
    std::uint32_t go = 0;             // futex: it may run
    void* (*body)(void*) = nullptr;
    void* arg = nullptr;
    unsigned long id = 0;             // pthread_t
};

class machine {
public:
    // begin makes the calling thread the machine's first.
    void begin(unsigned cores, std::uint64_t seed);

    unsigned cores() const noexcept { return cores_; }
    unsigned threads_made() const noexcept { return static_cast<unsigned>(threads_.size()); }
    ps now() const noexcept;

    // spend passes time on the calling thread, after which others may be first.
    void spend(ps time) noexcept;
    void spend_undisturbed(ps time) noexcept;   // the same, but it stays on its core; spend has to follow

    // block waits until wake() or `deadline`; false at the deadline.
    bool block(const void* on, ps deadline) noexcept;
    void wake(thread& t, ps at) noexcept;
    thread* first_waiting_for(const void* on) noexcept;   // longest; null if there is none
    unsigned running() const noexcept;                    // threads that are not blocked

    int create(unsigned long* id, void* (*body)(void*), void* arg) noexcept;
    void join(unsigned long id) noexcept;
    bool is_done(unsigned long id) const noexcept;

    // rendezvous blocks the calling thread, not the goroutine, until `count` threads have come; all go on at the same
    // time. `last` is called by the last one, before.
    void rendezvous(unsigned count, void (*last)()) noexcept;

    const costs& cost() const noexcept { return costs_; }
    costs& cost() noexcept { return costs_; }

private:
    void enqueue(thread& t, ps due) noexcept;
    void dequeue(thread& t) noexcept;
    void give_core(bool ends) noexcept;
    void set_horizon() noexcept;
    static void* main_of(void* arg) noexcept;

    unsigned cores_ = 1;
    costs costs_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<thread>> threads_;
    std::set<std::pair<ps, unsigned>> queue_;    // of those that run, or will by themselves, but the current one
    ps horizon_ = never;                         // of the current thread's clock: then others are to run
    std::vector<thread*> arrived_;               // at the rendezvous
};

extern machine the;

// The calling thread's; null for a thread that is not the machine's.
thread* self() noexcept;

// For works: compute takes time on a core without any access to memory; sleep blocks in the kernel.
void compute(ps time) noexcept;
void sleep(ps time) noexcept;

[[noreturn]] void fail(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

}  // namespace scaling
