// The explorer's inside: model threads, their store buffers, and who goes on.
#pragma once

#include "explore.hpp"

#include <array>
#include <cstdarg>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace explore {

inline constexpr std::int64_t no_deadline = INT64_MAX;
inline constexpr unsigned most_threads = 64;
inline constexpr unsigned buffer_size = 24;

struct random {
    std::uint64_t state = 1;
    std::uint64_t next() noexcept {   // splitmix64, Steele et al.
        std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    std::uint32_t below(std::uint32_t n) noexcept { return static_cast<std::uint32_t>((next() >> 32) * n >> 32); }
};

// A store, or an unlock, that is not visible yet.
struct pending {
    void* at;
    std::uint64_t value;
    std::uint8_t size;
    bool release;
    bool unlock;
};

enum class thread_state : std::uint8_t { unused, runnable, in_futex, in_mutex, asleep, joining, done };

inline constexpr std::size_t stack_bytes = 128 * 1024;   // of a model thread

struct model_thread {
    void* context = nullptr;
    char* stack = nullptr;
    std::function<void()> body;
    thread_state state = thread_state::unused;
    bool timed_out = false;
    bool in_kernel = false;              // it sleeps in a call of the program's own
    unsigned number = 0;
    unsigned priority = 0;
    const void* waits_for = nullptr;
    std::int64_t deadline = no_deadline;
    std::int64_t cpu_time = 0;
    int error = 0;                       // errno
    void* exceptions[2] = {};            // __cxa_eh_globals
    std::array<char, 256> locals;        // the executable's thread-locals
    std::array<pending, buffer_size> buffer;
    unsigned buffered = 0;
};

struct traced {
    std::uint64_t step;
    std::uint64_t value, before;
    const void* at;
    const void* pc;
    operation what;
    std::uint8_t thread, order;
};

// How a schedule is chosen; drawn from its seed.
struct strategy {
    bool by_priority;           // else a random walk
    bool stores_overtake;
    unsigned switch_every;      // random walk
    unsigned changes;           // of priority
    unsigned drain_every;       // 0: only when need be
    unsigned time_jumps_every;  // 0: never
    unsigned spurious_every;    // weak CAS and futex
    std::int64_t step_ns;
};

struct engine {
    // --- the schedule ---
    random rng;
    strategy how{};
    limits most{};
    std::uint64_t steps = 0, next_event = 0, next_switch = 0, next_drain = 0, next_jump = 0, next_fair = 0;
    std::int64_t now = 0, next_deadline = no_deadline;
    std::int64_t waited = 0;              // time that passed because everybody slept
    std::vector<std::uint64_t> changes;   // steps at which priorities change, the last first
    unsigned lowest = 0;                  // priority given last to one that gives way

    std::array<model_thread, most_threads> threads;
    unsigned count = 0;
    model_thread* current = nullptr;
    void* controller = nullptr;
    bool membarrier = true;
    unsigned cores = 2;

    // --- the outcome ---
    bool failed = false;
    char why[512] = {};
    bool tracing = false;
    std::vector<traced> trace;

    void begin(const scenario& s, std::uint64_t seed);
    void step() noexcept {
        ++steps;
        now += how.step_ns;
        if (steps >= next_event || now >= next_deadline) [[unlikely]] decide();
    }
    void decide() noexcept;
    void check_limits() noexcept;
    void plan() noexcept;
    unsigned create(std::function<void()> body);
    [[noreturn]] void thread_ends() noexcept;
    void wait(thread_state state, const void* on, std::int64_t deadline) noexcept;
    void give_way(bool surely) noexcept;
    void make_runnable(model_thread& t, bool timed_out) noexcept;
    model_thread* pick(bool other) noexcept;
    model_thread* next_to_run() noexcept;
    void switch_to(model_thread* t) noexcept;
    bool jump_in_time() noexcept;
    void wake_due() noexcept;
    void drain_some() noexcept;
    void drain_one(model_thread& t, unsigned i) noexcept;
    void drain_all(model_thread& t) noexcept;
    void drain_everybody() noexcept;
    [[noreturn]] void give_up(const char* format, va_list args) noexcept;
    void record(operation what, const void* at, std::uint64_t before, std::uint64_t value, int order,
                const void* pc) noexcept;
    std::string describe_threads() const;
};

extern engine the;

// A mutex is its owner's number plus one, 0 if nobody has it, in its first word, which initializers leave 0.
inline int& owner_of(void* mutex) noexcept { return *static_cast<int*>(mutex); }

[[noreturn]] void fail_now(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

// --- explore_memory.cpp: memory that a schedule allocates ---
void reset_memory() noexcept;
const char* describe_address(const void* at, char* text, std::size_t size) noexcept;

inline constexpr std::size_t arena_size = 16u << 20, arena_grain = 16;
inline char* const arena = reinterpret_cast<char*>(0x200000000000);   // the same in each run
extern std::uint8_t* arena_live;                                      // a byte for each grain
inline bool in_arena(const void* at) noexcept {
    return static_cast<std::size_t>(static_cast<const char*>(at) - arena) < arena_size;
}
[[gnu::always_inline]] inline void check_alive(const void* at) noexcept {
    const auto offset = static_cast<std::size_t>(static_cast<const char*>(at) - arena);
    if (in_arena(at) && !arena_live[offset / arena_grain]) [[unlikely]]
        fail_now("an atomic in freed memory is touched: %p", at);
}

}  // namespace explore
