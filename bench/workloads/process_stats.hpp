// What the workloads that block tell of their process: how many threads it had, how much memory.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace bench {

struct process_stats {
    unsigned threads = 0;
    double resident_mib = 0;
};

// process_status reads /proc/self/status, or that of another process, over and over through one descriptor.
class process_status {
public:
    explicit process_status(const char* path = "/proc/self/status") : fd_(::open(path, O_RDONLY | O_CLOEXEC)) {
        if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
    }
    ~process_status() { ::close(fd_); }
    process_status(const process_status&) = delete;
    process_status& operator=(const process_status&) = delete;

    process_stats now() const {
        char text[8192];
        const ssize_t size = ::pread(fd_, text, sizeof text - 1, 0);
        if (size < 0) throw std::system_error(errno, std::generic_category(), "/proc/self/status");
        text[size] = '\0';
        const std::string_view status(text, static_cast<std::size_t>(size));
        return {static_cast<unsigned>(number(status, "\nThreads:")), number(status, "\nVmRSS:") / 1024};
    }

private:
    static double number(std::string_view status, std::string_view field) {
        const std::size_t at = status.find(field);
        if (at == status.npos) throw std::runtime_error("/proc/self/status tells no " + std::string(field.substr(1)));
        return std::strtod(status.data() + at + field.size(), nullptr);
    }

    int fd_;
};

inline process_stats process_now() { return process_status().now(); }

// process_sampler looks every millisecond, on a thread of its own, how many threads the process has and how much
// memory, and keeps the most. Its own thread is not counted. stop() looks for the last time.
class process_sampler {
public:
    process_sampler() : thread_([this] { sample(); }) {
        while (!started_.load(std::memory_order_acquire)) std::this_thread::yield();
    }
    ~process_sampler() { end(); }
    process_sampler(const process_sampler&) = delete;
    process_sampler& operator=(const process_sampler&) = delete;

    // stop ends the sampling, if it has not ended, and returns the most that was seen.
    process_stats stop() {
        if (thread_.joinable()) {
            look();
            end();
        }
        return {threads_.load(std::memory_order_relaxed), resident_mib_.load(std::memory_order_relaxed)};
    }

private:
    void sample() {
        look();
        started_.store(true, std::memory_order_release);
        while (!stop_.load(std::memory_order_relaxed)) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            look();
        }
    }
    void look() {
        const process_stats now = status_.now();
        // The sampler and stop() may look at the same time.
        for (unsigned most = threads_.load(std::memory_order_relaxed); most < now.threads - 1;)
            if (threads_.compare_exchange_weak(most, now.threads - 1, std::memory_order_relaxed)) break;
        for (double most = resident_mib_.load(std::memory_order_relaxed); most < now.resident_mib;)
            if (resident_mib_.compare_exchange_weak(most, now.resident_mib, std::memory_order_relaxed)) break;
    }
    void end() {
        stop_.store(true, std::memory_order_relaxed);
        if (thread_.joinable()) thread_.join();
    }

    process_status status_;
    std::atomic<unsigned> threads_{0};
    std::atomic<double> resident_mib_{0};
    std::atomic<bool> stop_{false}, started_{false};
    std::thread thread_;   // last: it uses the others
};

}  // namespace bench
