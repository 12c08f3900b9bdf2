// Deterministic schedules of the real code: the library's sources, compiled once more with atomics, mutexes, the futex,
// threads and clocks that belong to this explorer.
//
// Model threads are contexts of one real thread; exactly one runs. Before each access to an atomic, each lock, futex call
// and barrier the explorer decides who goes on. All its decisions come from a seed, so a seed is a schedule, and fails
// again in the same step.
//
// Stores wait in a buffer of their model thread and become visible later, at a step that the explorer picks; the thread
// itself sees them at once. In half of the schedules they do so in order (as on x86); in the others a relaxed store may
// overtake what stands before it, other addresses only, and a release store may not (as on ARM). Read-modify-writes,
// seq_cst stores and full fences drain the own buffer, membarrier those of all threads, compiler fences none. An unlock of
// a mutex is a release store. Not modelled: loads that happen early, so a missing acquire goes unnoticed; plain memory,
// which is visible at once; and the standard library's own atomics, which order nothing here: where the count of a
// std::shared_ptr decides who frees an atomic, a store before the last use may seem to come too late.
//
// Time is virtual: it passes a little with each step, and to the next deadline when everybody sleeps, or earlier if the
// explorer says so. A schedule fails if all threads are blocked without a deadline, if it takes too many steps or too
// much time, if a check fails, if the library finds a broken invariant, or if an atomic in freed memory is touched.
#pragma once

#include "explore_seam.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace explore {

struct limits {
    std::uint64_t steps = 200'000;            // more is a livelock
    std::int64_t time = 2'000'000'000;        // for which everybody sleeps, in virtual ns; more is a standstill
    unsigned length = 2'000;                  // about how many steps a schedule has; where to put changes of priority
};

struct scenario {
    const char* name;
    void (*body)();           // runs as model thread 0
    unsigned schedules;       // how many are enough for every day
    limits most{};
    bool broken = false;      // one of its schedules has to fail
};

std::vector<scenario>& scenarios();

struct registered {
    explicit registered(const scenario& s) { scenarios().push_back(s); }
};

// --- for scenarios, on model threads ---

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// step is a point where another thread may go on.
void step() noexcept;

// choose is a number below n, of the explorer's choice.
unsigned choose(unsigned n) noexcept;
inline bool perhaps() noexcept { return choose(2) != 0; }

// compute is n steps of code that stays away from the library; block is a stay in the kernel.
void compute(unsigned n) noexcept;
void block(std::int64_t ns) noexcept;

// time_is_even: time passes only with steps, and while everybody sleeps, so that nobody is late for long.
bool time_is_even() noexcept;

// give_membarrier says whether there is one in this schedule. Before a runtime starts; there is one unless told otherwise.
void give_membarrier(bool there) noexcept;

// give_cores sets the number of cores that the library finds; 2 unless told otherwise.
void give_cores(unsigned n) noexcept;

// A model thread that is none of the library's.
class thread {
public:
    explicit thread(std::function<void()> body);
    void join();

private:
    unsigned number_;
};

// --- for the rest of the explorer ---

struct options {
    bool trace = false;
    unsigned last = 150;      // steps of the trace that are printed
};

struct outcome {
    bool failed = false;
    const char* why = "";
    std::uint64_t steps = 0;
    std::int64_t time = 0;
};

outcome run(const scenario& s, std::uint64_t seed, const options& o);
void print_trace(const options& o);

}  // namespace explore

#define EXPLORE_CHECK(condition)                                                                       \
    do {                                                                                               \
        if (!(condition)) [[unlikely]] ::explore::fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
    } while (0)

#define EXPLORE_SCENARIO(id, name, schedules, ...)                                    \
    static void id();                                                                 \
    static const ::explore::registered id##_registered({name, id, schedules, {__VA_ARGS__}}); \
    static void id()

#define EXPLORE_BROKEN(id, name)                                                                       \
    static void id();                                                                                  \
    static const ::explore::registered id##_registered({name, id, 2'000, {.steps = 20'000, .length = 20}, true});     \
    static void id()
