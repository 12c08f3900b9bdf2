// What the unit tests share: waiting for conditions, sizes under sanitizers, seeds, pipes, and looks into /proc/self.
#pragma once

#include "base/sanitizers.hpp"

#include <handoff/handoff.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace handoff_test {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

#if HANDOFF_TSAN
inline constexpr bool with_tsan = true;
#else
inline constexpr bool with_tsan = false;
#endif
#if HANDOFF_ASAN
inline constexpr bool with_asan = true;
#else
inline constexpr bool with_asan = false;
#endif
inline constexpr bool with_sanitizer = with_tsan || with_asan;

// scaled makes a size bearable under sanitizers; there `n` should not be below `least`.
constexpr std::size_t scaled(std::size_t n, std::size_t least = 1) noexcept {
    if (!with_sanitizer) return n;
    const std::size_t small = n / 10;
    return small > least ? small : least;
}

// How long a test waits for what must happen: long enough for any machine, short of ctest's limit.
inline constexpr std::chrono::seconds patience{30};

inline constexpr handoff::handoff_policy policies[] = {handoff::handoff_policy::adaptive, handoff::handoff_policy::sysmon,
                                                        handoff::handoff_policy::immediate};

// eventually waits until `holds()`, at most `limit`; a goroutine parks meanwhile, any other thread sleeps. It returns
// what holds() said last.
template <class F>
bool eventually(F&& holds, std::chrono::nanoseconds limit = patience) {
    const auto deadline = steady::now() + limit;
    while (!holds()) {
        if (steady::now() > deadline) return false;
        handoff::this_goroutine::sleep_for(200us);
    }
    return true;
}
#define EXPECT_EVENTUALLY(condition) EXPECT_TRUE(handoff_test::eventually([&] { return bool(condition); }))
#define ASSERT_EVENTUALLY(condition) ASSERT_TRUE(handoff_test::eventually([&] { return bool(condition); }))

// EXPECT_IN_CHILD: the expression is true in a process of its own, which prints `said` (a regex) to stderr.
#define EXPECT_IN_CHILD(expression, said) \
    EXPECT_EXIT(std::_Exit((expression) ? 0 : 1), testing::ExitedWithCode(0), said)

// compute_until stays in user code, away from the library and the kernel, until `holds()`; false after `patience`.
template <class F>
bool compute_until(F&& holds) {
    const auto deadline = steady::now() + patience;
    while (!holds())
        if (steady::now() > deadline) return false;
    return true;
}

// block_until waits in system calls without a guard, as a foreign thread would; false after `patience`.
template <class F>
bool block_until(F&& holds) {
    const auto deadline = steady::now() + patience;
    while (!holds()) {
        if (steady::now() > deadline) return false;
        const timespec pause{0, 100'000};
        ::nanosleep(&pause, nullptr);
    }
    return true;
}

// A generator whose seed is printed, and is taken from HANDOFF_TEST_SEED if that is set.
std::mt19937_64 seeded_random(const char* test);

// Two ends of a pipe. The calls are the kernel's own, without a guard.
class pipe_pair {
public:
    pipe_pair();
    ~pipe_pair();
    pipe_pair(const pipe_pair&) = delete;
    pipe_pair& operator=(const pipe_pair&) = delete;

    // read blocks until a byte comes, and returns what read(2) returned; errno is the call's.
    ssize_t read() const noexcept;
    void write(std::size_t bytes = 1) const noexcept;
    int read_end() const noexcept { return ends_[0]; }

private:
    int ends_[2];
};

pid_t this_tid() noexcept;

// The threads, mappings and descriptors of this process.
std::vector<pid_t> threads();
std::size_t mapping_count();
std::size_t descriptor_count();
// The descriptors but for those through which monitors look at threads, which come and go by themselves.
std::size_t own_descriptor_count();

// Voluntary and other switches of each thread so far. Threads that end meanwhile are left out.
std::map<pid_t, std::uint64_t> context_switches();

// all_others_sleep_for waits until no other thread of this process was switched to for `period`; false after
// `patience`.
bool all_others_sleep_for(std::chrono::milliseconds period);

// The state letter of a thread ('R', 'S', ...), or 0 if it is gone.
char thread_letter(pid_t tid);

// asleep says that the thread sleeps in the kernel.
inline bool asleep(pid_t tid) { return thread_letter(tid) == 'S'; }

std::chrono::nanoseconds process_cpu_time() noexcept;

// From now on every clone() of this process fails with EAGAIN, as at RLIMIT_NPROC or pids.max. For good: in a child of its own.
// False if that could not be had.
bool forbid_threads() noexcept;

// Sets an environment variable for as long as it lives (null: unsets it).
class environment_variable {
public:
    environment_variable(const char* name, const char* value);
    ~environment_variable();
    environment_variable(const environment_variable&) = delete;
    environment_variable& operator=(const environment_variable&) = delete;

private:
    std::string name_, before_;
    bool was_set_;
};

// counted<Tag> counts its births and deaths.
template <class Tag>
struct counted {
    static inline std::atomic<int> alive{0}, made{0};
    counted() noexcept { born(); }
    counted(const counted&) noexcept { born(); }
    counted(counted&&) noexcept { born(); }
    counted& operator=(const counted&) noexcept = default;
    counted& operator=(counted&&) noexcept = default;
    ~counted() { --alive; }

private:
    static void born() noexcept {
        ++alive;
        ++made;
    }
};

// Options whose monitor takes nothing: for tests that want to decide themselves when a processor changes hands.
inline handoff::options no_retakes(unsigned procs) {
    handoff::options o;
    o.procs = procs;
    o.syscall_grace = 1h;
    o.syscall_retake_after = 1h;
    o.unguarded_grace = o.retake_running_after = 1h;
    return o;
}

// occupant is a goroutine that keeps its processor, in user code, until it is released. For runtimes of no_retakes().
class occupant {
public:
    // It runs once a processor is free; the constructor does not wait for that.
    explicit occupant(handoff::runtime& rt);
    ~occupant();   // releases and joins
    occupant(const occupant&) = delete;
    occupant& operator=(const occupant&) = delete;

    bool runs() const noexcept { return runs_; }
    // await_start waits until it runs, without leaving the caller's own processor; false if it never does.
    bool await_start() const noexcept;
    void release() noexcept { released_ = true; }

private:
    std::atomic<bool> runs_{false}, released_{false};
    handoff::join_handle<void> h_;
};

unsigned idle_processors(const handoff::runtime& rt);

// enter_library enters the runtime, for which a goroutine needs a processor, and does nothing there.
inline void enter_library() {
    handoff::lock_os_thread();
    handoff::unlock_os_thread();
}

// call_and_migrate calls f() under a guard, then enters the library, and goes on on another thread. `rt` is the caller's
// runtime, of no_retakes(1): somebody else has its processor when f returns, until the caller has queued for it.
template <class F>
decltype(auto) call_and_migrate(handoff::runtime& rt, F f) {
    struct enters_at_the_end {
        ~enters_at_the_end() { enter_library(); }   // until then it needs no processor, and stays
    } after;
    const auto before = rt.stats().exits_queued;
    (void)rt.go([&rt, before] { block_until([&] { return rt.stats().exits_queued != before; }); });
    return handoff::blocking_call(handoff::handoff_policy::immediate, [&]() -> decltype(auto) {
        block_until([&] { return idle_processors(rt) == 0; });
        return f();
    });
}

// migrate moves the calling goroutine to another thread, and returns whether it did.
bool migrate(handoff::runtime& rt);

}  // namespace handoff_test
