// Shortage: the cap on threads, the system's limits on threads, address space and mappings. Nothing may be lost, and
// the counters must say what happened.
//
// Limits hold for a process and can't always be undone: each test runs in a forked child, and the parent never starts a
// runtime.
#include "scale.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <grp.h>
#include <new>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <utility>

// How many mappings for stacks succeed from now on; negative: all of them. Plain words for __atomic builtins, and no
// instrumentation: a sanitizer maps memory before it is ready for that.
static long stack_mappings_left = -1;
static unsigned long stack_mappings_refused = 0;

static bool refuse_mapping() noexcept __attribute__((no_sanitize("thread"), no_sanitize("address"), noinline));
static bool refuse_mapping() noexcept {
    for (long left = __atomic_load_n(&stack_mappings_left, __ATOMIC_RELAXED); left > 0;)
        if (__atomic_compare_exchange_n(&stack_mappings_left, &left, left - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return false;
    if (__atomic_load_n(&stack_mappings_left, __ATOMIC_RELAXED) < 0) return false;
    __atomic_fetch_add(&stack_mappings_refused, 1, __ATOMIC_RELAXED);
    return true;
}

// Instead of the C library's (and a sanitizer's), so that it can fail on demand.
extern "C" void* mmap(void*, std::size_t, int, int, int, off_t) noexcept
    __attribute__((no_sanitize("thread"), no_sanitize("address")));
extern "C" void* mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
    if ((flags & MAP_STACK) && (flags & MAP_NORESERVE) && refuse_mapping()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return reinterpret_cast<void*>(::syscall(SYS_mmap, at, bytes, protection, flags, fd, offset));
}

static void allow_stack_mappings(long n) { __atomic_store_n(&stack_mappings_left, n, __ATOMIC_RELAXED); }

namespace {

using namespace stress;
using handoff::handoff_policy;

// The children report through their exit status; what they print goes where the parent's output goes.
enum : int { ok = 0, failed = 1, skipped = 77 };

class checks {
public:
    void expect(bool condition, const char* what, std::uint64_t value = 0) {
        if (condition) return;
        std::printf("  not so: %s (%llu)\n", what, static_cast<unsigned long long>(value));
        failed_ = true;
    }
    int status() const noexcept { return failed_ ? failed : ok; }

private:
    bool failed_ = false;
};
#define CHECK_THAT(c, condition, value) (c).expect((condition), #condition, static_cast<std::uint64_t>(value))

void in_a_child(const std::function<int()>& body) {
    seed();
    std::fflush(nullptr);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        int status = failed;
        try {
            status = body();
        } catch (const std::exception& e) {
            std::printf("  threw: %s\n", e.what());
        }
        std::exit(status);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) FAIL() << "the child died of signal " << WTERMSIG(status);
    if (WEXITSTATUS(status) == skipped) GTEST_SKIP();
    EXPECT_EQ(WEXITSTATUS(status), ok);
}

// Does what may fail for want of memory until it is done: those who hold some come to an end meanwhile.
template <class F, class Short>
void once_there_is_memory(F f, Short tell) {
    for (;;) {
        try {
            return f();
        } catch (const std::bad_alloc&) {
            tell();
            handoff::this_goroutine::yield();
        }
    }
}

// n goroutines that block for d in a call under all policies; returns how many of them ended.
unsigned block_in_calls(handoff::runtime& rt, unsigned n, std::chrono::microseconds d) {
    std::atomic<unsigned> done{0};
    rt.run([&] {
        std::vector<handoff::join_handle<void>> all;
        once_there_is_memory([&] { all.reserve(n); }, [] {});
        for (unsigned i = 0; i < n; ++i) {
            const auto blocks = [&, i] {
                constexpr handoff_policy policies[] = {handoff_policy::adaptive, handoff_policy::sysmon,
                                                       handoff_policy::immediate};
                if (i % 8 == 7) sleep_in_kernel(d);   // without a guard
                else handoff::blocking_call(policies[i % 3], sleep_in_kernel, d);
                if (i % 2 == 0) handoff::this_goroutine::yield();
                done.fetch_add(1);
            };
            once_there_is_memory([&] { all.push_back(handoff::go(blocks)); }, [] {});
        }
        for (auto& h : all) h.join();
    });
    return done.load();
}

TEST(ThreadCap, AThousandBlockOnEightThreads) {
    in_a_child([] {
        constexpr unsigned n = pick(1000u, 500u, 300u);
        checks c;
        handoff::runtime rt({.procs = 4, .max_threads = 8});
        const watchdog dog(&rt);
        std::atomic<bool> stop{false};
        std::atomic<unsigned> most{0};
        std::thread observer([&] {
            while (!stop.load()) {
                most = std::max(most.load(), rt.stats().threads);
                std::this_thread::sleep_for(200us);
            }
        });
        const unsigned done = block_in_calls(rt, n, 2ms);
        stop.store(true);
        observer.join();
        const handoff::stats s = wait_for_end(rt);
        CHECK_THAT(c, done == n, done);
        CHECK_THAT(c, most <= 8, most.load());
        CHECK_THAT(c, s.threads <= 8, s.threads);
        CHECK_THAT(c, s.threads_created <= 8, s.threads_created);
        CHECK_THAT(c, s.thread_cap_hits > 0, s.thread_cap_hits);
        CHECK_THAT(c, s.thread_create_failures == 0, s.thread_create_failures);
        std::printf("  %u threads at most, %llu cap hits\n", most.load(),
                    static_cast<unsigned long long>(s.thread_cap_hits));
        return c.status();
    });
}

// options: at least 2, the monitor's included.
TEST(ThreadCap, TwoThreadsAreEnough) {
    in_a_child([] {
        checks c;
        handoff::runtime rt({.procs = 2, .max_threads = 2});
        const watchdog dog(&rt);
        const unsigned done = block_in_calls(rt, 60, 1ms);
        CHECK_THAT(c, done == 60, done);
        CHECK_THAT(c, rt.stats().threads <= 2, rt.stats().threads);
        // Timers and calls from outside work as well.
        rt.run([] { handoff::this_goroutine::sleep_for(5ms); });
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 20; ++i) all.push_back(rt.go([] { handoff::this_goroutine::sleep_for(1ms); }));
        for (auto& h : all) h.join();
        return c.status();
    });
}

std::chrono::nanoseconds cpu_time() {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

// All threads are blocked, with goroutines and timers waiting for one: that may last, and may not cost a core.
TEST(ThreadCap, WaitingForAThreadBurnsNoCpu) {
    in_a_child([] {
        checks c;
        constexpr unsigned workers = 3;
        handoff::runtime rt({.procs = 2, .max_threads = workers + 1});
        const watchdog dog(&rt);
        const pipe_ends pipe;
        std::atomic<unsigned> reading{0};
        std::vector<handoff::join_handle<void>> all;
        std::vector<handoff::join_handle<void>> sleepers;
        for (int i = 0; i < 10; ++i)
            sleepers.push_back(rt.go([] { handoff::this_goroutine::sleep_for(50ms); }));
        for (unsigned i = 0; i < workers; ++i)
            all.push_back(rt.go([&] {
                handoff::blocking_call(handoff_policy::immediate, [&] {
                    reading.fetch_add(1);
                    pipe.get();
                });
            }));
        while (reading.load() != workers) std::this_thread::yield();
        for (int i = 0; i < 10; ++i) all.push_back(rt.go([] {}));
        std::this_thread::sleep_for(100ms);   // the timers are due; a monitor that backs off has done so
        const auto before = cpu_time();
        std::this_thread::sleep_for(400ms);
        const auto used = std::chrono::duration_cast<std::chrono::milliseconds>(cpu_time() - before);
        std::printf("  %lld ms of processor time in 400 ms\n", static_cast<long long>(used.count()));
        CHECK_THAT(c, used < (sanitized ? 200ms : 100ms), used.count());
        for (unsigned i = 0; i < workers; ++i) pipe.put();
        for (auto& h : all) h.join();
        for (auto& h : sleepers) h.join();
        return c.status();
    });
}

// A user of one's own, so that the limit counts nobody else's threads. Root is exempt from it.
bool become_nobody_else() {
    const uid_t own = 1'900'000'000u + static_cast<uid_t>(::getpid());
    return ::geteuid() == 0 && ::setgroups(0, nullptr) == 0 && ::setresgid(own, own, own) == 0 &&
           ::setresuid(own, own, own) == 0;
}

// At most `more` threads than there are now; until the end, when a leak checker wants one of its own.
class thread_limit {
public:
    explicit thread_limit(unsigned more) {
        ::getrlimit(RLIMIT_NPROC, &before_);
        const rlimit r{static_cast<rlim_t>(status_of_process("Threads:")) + more, before_.rlim_max};
        if (::setrlimit(RLIMIT_NPROC, &r) != 0) std::perror("setrlimit"), std::exit(failed);
    }
    ~thread_limit() { ::setrlimit(RLIMIT_NPROC, &before_); }

private:
    rlimit before_{};
};

TEST(ThreadLimit, BlockingGoroutinesComplete) {
    in_a_child([] {
        if (!become_nobody_else()) return skipped + 0;
        constexpr unsigned n = pick(500u, 300u, 200u);
        checks c;
        const thread_limit limit(1 + 6);   // the watchdog's, and the runtime's
        handoff::runtime rt({.procs = 4});
        const watchdog dog(&rt);
        const unsigned done = block_in_calls(rt, n, 2ms);
        const handoff::stats s = wait_for_end(rt);
        CHECK_THAT(c, done == n, done);
        CHECK_THAT(c, s.thread_create_failures > 0, s.thread_create_failures);
        CHECK_THAT(c, s.thread_create_errno == EAGAIN, s.thread_create_errno);
        CHECK_THAT(c, s.thread_cap_hits == 0, s.thread_cap_hits);
        CHECK_THAT(c, s.threads <= 6, s.threads);
        std::printf("  %u threads, %llu failures to make one\n", s.threads,
                    static_cast<unsigned long long>(s.thread_create_failures));
        return c.status();
    });
}

// Not even the first thread, or only the first: the constructor throws, and nothing stays behind. Two are enough.
TEST(ThreadLimit, TheConstructorThrows) {
    for (unsigned allowed : {0u, 1u, 2u})
        in_a_child([allowed] {
            if (!become_nobody_else()) return skipped + 0;
            checks c;
            // A sanitizer may make a thread of its own at the first.
            std::thread([] {}).join();
            const long before = status_of_process("Threads:");
            const thread_limit limit(allowed);
            for (int i = 0; i < 5; ++i) {
                int error = 0;
                unsigned answer = 0;
                try {
                    handoff::runtime rt({.procs = 2});
                    answer = rt.run([] { return handoff::go([] { return 42u; }).join(); });
                } catch (const std::system_error& e) {
                    error = e.code().value();
                }
                CHECK_THAT(c, allowed == 2 ? answer == 42 && error == 0 : error == EAGAIN, error);
                // A thread that was joined may be visible for a moment longer.
                for (int wait = 0; wait < 2000 && status_of_process("Threads:") != before; ++wait)
                    std::this_thread::sleep_for(1ms);
                CHECK_THAT(c, status_of_process("Threads:") == before, status_of_process("Threads:"));
            }
            return c.status();
        });
}

// n goroutines that hold their stacks for a while, in three layers of waiting; on demand not before stacks are short.
unsigned hold_stacks(handoff::runtime& rt, unsigned n, bool until_short = false) {
    std::atomic<unsigned> done{0};
    handoff::latch are_short(until_short ? 1 : 0);
    const auto let_go = [&] {
        if (std::exchange(until_short, false)) are_short.count_down();
    };
    rt.run([&] {
        std::vector<handoff::join_handle<void>> all;
        once_there_is_memory([&] { all.reserve(n); }, [] {});
        for (unsigned i = 0; i < n; ++i) {
            const auto holds = [&, i] {
                rng rnd(i);
                char page[4096];
                std::fill(std::begin(page), std::end(page), static_cast<char>(i));
                are_short.wait();
                for (int k = 0; k < 3; ++k) {
                    const std::chrono::microseconds d(rnd.between(10, 3000));
                    once_there_is_memory([d] { handoff::this_goroutine::sleep_for(d); }, [] {});
                    handoff::this_goroutine::yield();
                }
                if (page[rnd.below(4096)] == static_cast<char>(i)) done.fetch_add(1);
            };
            once_there_is_memory([&] { all.push_back(handoff::go(holds)); }, let_go);
        }
        while (until_short && rt.stats().stack_failures == 0)
            once_there_is_memory([] { handoff::this_goroutine::sleep_for(1ms); }, let_go);
        let_go();
        for (auto& h : all) h.join();
    });
    return done.load();
}

// The goroutines wait for a stack until one is free.
TEST(StackShortage, AllCompleteWithTheStacksThereAre) {
    in_a_child([] {
        constexpr unsigned n = pick(5000u, 2000u, 1000u);
        checks c;
        for (const unsigned procs : {1u, 2u, 4u}) {
            handoff::runtime rt({.procs = procs, .stack_size = 1024 * 1024});   // 64 in a mapping
            const watchdog dog(&rt);
            const unsigned long refused = __atomic_load_n(&stack_mappings_refused, __ATOMIC_RELAXED);
            allow_stack_mappings(2);
            const unsigned done = hold_stacks(rt, n);
            const handoff::stats s = wait_for_end(rt);
            CHECK_THAT(c, done == n, done);
            CHECK_THAT(c, s.stack_failures > 0, s.stack_failures);
            CHECK_THAT(c, s.stacks_mapped <= 128, s.stacks_mapped);
            CHECK_THAT(c, __atomic_load_n(&stack_mappings_refused, __ATOMIC_RELAXED) > refused, refused);
            std::printf("  P=%u: %llu stacks, %llu waits for one\n", procs,
                        static_cast<unsigned long long>(s.stacks_mapped),
                        static_cast<unsigned long long>(s.stack_failures));
        }
        return c.status();
    });
}

// No stack at all, and then there are: the goroutines must not have been forgotten.
TEST(StackShortage, EndsWhenMemoryComesBack) {
    in_a_child([] {
        checks c;
        handoff::runtime rt({.procs = 2});
        const watchdog dog(&rt);
        allow_stack_mappings(0);
        std::atomic<unsigned> ran{0};
        std::vector<handoff::join_handle<void>> all;
        for (int i = 0; i < 100; ++i) all.push_back(rt.go([&] { ran.fetch_add(1); }));
        for (int i = 0; i < 20; ++i)
            all.push_back(rt.go(handoff::spawn_options{.stack_size = 64 * 1024}, [&] { ran.fetch_add(1); }));
        while (rt.stats().stack_failures < 3) std::this_thread::yield();
        CHECK_THAT(c, ran == 0, ran.load());
        allow_stack_mappings(-1);
        for (auto& h : all) h.join();
        CHECK_THAT(c, ran == 120, ran.load());
        return c.status();
    });
}

TEST(AddressSpace, AllCompleteAtTheLimit) {
    if (sanitized) GTEST_SKIP() << "the sanitizer's own memory does not bear the limit";
    in_a_child([] {
        constexpr unsigned n = 4000;
        checks c;
        handoff::runtime rt({.procs = 2});
        const watchdog dog(&rt);
        rt.run([] {});
        // Room for a good 1,000 stacks, and for little else.
        const rlim_t bytes = static_cast<rlim_t>(status_of_process("VmSize:")) * 1024 + (300u << 20);
        const rlimit r{bytes, bytes};
        CHECK_THAT(c, ::setrlimit(RLIMIT_AS, &r) == 0, errno);
        const unsigned done = hold_stacks(rt, n, true) + block_in_calls(rt, 200, 2ms);
        const handoff::stats s = wait_for_end(rt);
        CHECK_THAT(c, done == n + 200, done);
        CHECK_THAT(c, s.stack_failures > 0, s.stack_failures);
        std::printf("  %llu stacks, %llu waits for one, %u threads, %llu failures to make one\n",
                    static_cast<unsigned long long>(s.stacks_mapped), static_cast<unsigned long long>(s.stack_failures),
                    s.threads, static_cast<unsigned long long>(s.thread_create_failures));
        return c.status();
    });
}

}  // namespace
