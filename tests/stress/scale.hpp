// What the stress tests share: sizes that fit the build, a seed that can be given, a watchdog, and a few probes.
#pragma once

#include <handoff/handoff.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dirent.h>
#include <iostream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRESS_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define STRESS_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define STRESS_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define STRESS_TSAN 1
#endif

namespace stress {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

#if STRESS_TSAN
inline constexpr bool sanitized = true, thread_sanitizer = true;
#elif STRESS_ASAN
inline constexpr bool sanitized = true, thread_sanitizer = false;
#else
inline constexpr bool sanitized = false, thread_sanitizer = false;
#endif

// pick is the size for this build. Under ThreadSanitizer at most some 8,000 goroutines may be started and not ended.
template <class T>
constexpr T pick(T plain, T with_asan, T with_tsan) noexcept {
    return thread_sanitizer ? with_tsan : sanitized ? with_asan : plain;
}

// seed of this run: HANDOFF_TEST_SEED, or a new one. Printed once.
inline std::uint64_t seed() {
    static const std::uint64_t value = [] {
        const char* given = std::getenv("HANDOFF_TEST_SEED");
        const std::uint64_t s = given && *given ? std::strtoull(given, nullptr, 0) : std::random_device{}();
        std::printf("HANDOFF_TEST_SEED=%llu\n", static_cast<unsigned long long>(s));
        std::fflush(stdout);
        return s;
    }();
    return value;
}

// A small generator (splitmix64): one for each goroutine or thread, from the seed and a number of its own.
class rng {
public:
    // Streams begin at random places of the generator's sequence: one after the other they would all make the same
    // choices, a little later each.
    explicit rng(std::uint64_t stream) noexcept : state_(seed() + stream * 0x9E3779B97F4A7C15u) { state_ = (*this)(); }
    std::uint64_t operator()() noexcept {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t n) noexcept { return (*this)() % n; }
    std::uint64_t between(std::uint64_t lo, std::uint64_t hi) noexcept { return lo + below(hi - lo + 1); }
    bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }

private:
    std::uint64_t state_;
};

// watchdog ends a test that hangs: it prints the runtime's state and aborts. Its deadline is far beyond what any test
// takes; no test depends on it otherwise.
class watchdog {
public:
    explicit watchdog(const handoff::runtime* rt = nullptr, std::chrono::seconds limit = 120s)
        : rt_(rt), thread_([this, limit] { guard(limit); }) {}
    ~watchdog() {
        {
            std::lock_guard hold(lock_);
            done_ = true;
        }
        wake_.notify_one();
        thread_.join();
    }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

private:
    void guard(std::chrono::seconds limit) {
        std::unique_lock hold(lock_);
        const auto deadline = steady::now() + limit;
        while (!done_) {
            wake_.wait_until(hold, deadline);
            if (done_ || steady::now() < deadline) continue;
            std::cerr << "the test hangs; HANDOFF_TEST_SEED=" << seed() << "\n";
            if (rt_) rt_->dump(std::cerr);
            std::cerr.flush();
            std::abort();
        }
    }

    const handoff::runtime* rt_;
    std::mutex lock_;
    std::condition_variable wake_;
    bool done_ = false;
    std::thread thread_;
};

// sleep_in_kernel blocks the thread, and in a goroutine its processor, for d.
inline void sleep_in_kernel(std::chrono::nanoseconds d) noexcept {
    timespec t{static_cast<time_t>(d.count() / 1'000'000'000), static_cast<long>(d.count() % 1'000'000'000)};
    while (::nanosleep(&t, &t) != 0) {
    }
}

// compute keeps a core busy without entering the runtime.
inline std::uint64_t compute(std::chrono::nanoseconds d) noexcept {
    std::uint64_t n = 0;
    for (const auto end = steady::now() + d; steady::now() < end;) ++n;
    return n;
}

// wait_for_end waits until the runtime has counted the end of every goroutine: a joiner may be a moment earlier.
inline handoff::stats wait_for_end(const handoff::runtime& rt) {
    handoff::stats s = rt.stats();
    for (; s.goroutines != 0; s = rt.stats()) std::this_thread::yield();
    return s;
}

// A number out of /proc/self/status, such as "Threads:" or "VmRSS:".
inline long status_of_process(const char* key) {
    long value = -1;
    if (std::FILE* f = std::fopen("/proc/self/status", "re")) {
        char line[256];
        const std::string wanted = key;
        while (std::fgets(line, sizeof line, f))
            if (std::string(line).compare(0, wanted.size(), wanted) == 0) value = std::atol(line + wanted.size());
        std::fclose(f);
    }
    return value;
}

inline unsigned open_descriptors() {
    unsigned n = 0;
    if (DIR* d = ::opendir("/proc/self/fd")) {
        while (::readdir(d)) ++n;
        ::closedir(d);
    }
    return n;
}

struct pipe_ends {
    int fd[2] = {-1, -1};
    pipe_ends() {
        if (::pipe(fd) != 0) std::perror("pipe"), std::abort();
    }
    ~pipe_ends() {
        ::close(fd[0]);
        ::close(fd[1]);
    }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;

    bool get() const noexcept {
        char c;
        return ::read(fd[0], &c, 1) == 1;
    }
    bool put() const noexcept { return ::write(fd[1], "x", 1) == 1; }
};

// A distribution, printed as one line.
class times {
public:
    void add(steady::duration d) { ms_.push_back(std::chrono::duration<double, std::milli>(d).count()); }
    std::size_t count() const noexcept { return ms_.size(); }
    double quantile(double q) {
        if (ms_.empty()) return 0;
        std::sort(ms_.begin(), ms_.end());
        return ms_[std::min(static_cast<std::size_t>(q * static_cast<double>(ms_.size())), ms_.size() - 1)];
    }
    void print(const char* what) {
        std::printf("%s: n=%zu p50=%.3f p90=%.3f p99=%.3f max=%.3f ms\n", what, count(), quantile(0.5), quantile(0.9),
                    quantile(0.99), quantile(1));
        std::fflush(stdout);
    }

private:
    std::vector<double> ms_;
};

}  // namespace stress
