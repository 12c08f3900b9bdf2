// The shapes of the workloads that block, for all subjects that are written in C++.
#pragma once

#include "figures.hpp"
#include "process_stats.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <netdb.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace bench {

inline void block_for(long ns) {
    const timespec t{0, ns};
    ::nanosleep(&t, nullptr);
}

// ---- blocking_storm, storm_*, unguarded_storm: `tasks` tasks, each of which is blocked once, for `each_ns`.

struct storm_shape {
    const char* work;
    std::size_t tasks;
    long each_ns;
};
inline constexpr storm_shape storm_1000x1ms{"blocking_storm", 1000, 1'000'000};
inline constexpr storm_shape storm_10000x100us{"storm_10000x100us", 10'000, 100'000};
inline constexpr storm_shape storm_100x50ms{"storm_100x50ms", 100, 50'000'000};
inline constexpr storm_shape unguarded_1000x1ms{"unguarded_storm", 1000, 1'000'000};

// ---- compute_beside_blocking

struct beside_shape {
    std::size_t blockers = 64;
    long each_ns = 1'000'000;
    std::size_t computers = 2;
    double for_ns;

    explicit beside_shape(const settings& s) : for_ns(s.quick ? 100e6 : 300e6) {}
};

// compute_slice is some 20 µs of computing; after each the computing task yields.
inline void compute_slice(std::uint32_t& state) {
    for (int i = 0; i < 10'000; ++i) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
    }
}

// compute_until computes slices until that time, and returns their number. yield() comes after each.
template <class Yield>
std::size_t compute_until(double until_ns, std::uint32_t seed, Yield yield) {
    std::size_t slices = 0;
    std::uint32_t state = seed;
    for (; now_ns() < until_ns; ++slices) {
        compute_slice(state);
        yield();
    }
    if (state == 0) throw std::runtime_error("xorshift has come to 0");   // it can't, but must be computed
    return slices;
}

// ---- recovery

// measure_recovery calls storm(storm_1000x1ms), and then waits until the process has given its threads back.
template <class Storm>
figure measure_recovery(const char* subject, unsigned procs, const settings& s, Storm storm) {
    const double cap_ms = s.quick ? 3'000 : 15'000;
    const process_status status;
    const process_stats before = status.now();
    process_sampler sampler;
    storm(storm_1000x1ms);
    const double start = now_ns();
    const process_stats peak = sampler.stop();
    const unsigned enough = std::max(before.threads, procs + 3);
    process_stats after = status.now();
    double took_ms = 0;
    while (after.threads > enough && took_ms < cap_ms) {
        block_for(5'000'000);
        took_ms = (now_ns() - start) * 1e-6;
        after = status.now();
    }
    const bool capped = after.threads > enough;
    return {"recovery",
            subject,
            procs,
            capped ? cap_ms : took_ms,
            "ms",
            {{"capped", capped},
             {"threads_before", before.threads},
             {"threads_peak", peak.threads},
             {"threads_after", after.threads},
             {"rss_before_mib", before.resident_mib},
             {"rss_peak_mib", peak.resident_mib},
             {"rss_after_mib", after.resident_mib}}};
}

// ---- file_reads: `readers` tasks read `reads_each` blocks each; block_numbers()[i * reads_each + j] is the j-th of
// the i-th. What is read of a file on a tmpfs comes from memory.

struct reads_shape {
    static constexpr std::size_t block = 4096;
    std::size_t readers = 1000;
    std::size_t reads_each;
    std::size_t file_size;

    explicit reads_shape(const settings& s)
        : reads_each(s.quick ? 1 : 4), file_size((s.quick ? 64 : 256) * std::size_t{1024} * 1024) {}

    std::size_t reads() const { return readers * reads_each; }

    std::vector<std::size_t> block_numbers() const {
        std::vector<std::size_t> numbers(reads());
        std::uint32_t state = 1;
        for (std::size_t& n : numbers) {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            n = state % (file_size / block);
        }
        return numbers;
    }
};

// uncached_file is a file without a name in $TMPDIR, else /tmp, none of which is in the page cache. Each block starts
// with its number, in eight bytes.
class uncached_file {
public:
    explicit uncached_file(std::size_t size) {
        const char* directory = std::getenv("TMPDIR");
        std::string path = (directory && *directory ? std::string(directory) : "/tmp") + "/handoff_bench_XXXXXX";
        fd_ = ::mkstemp(path.data());
        if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
        ::unlink(path.c_str());   // so that it goes with the process, however that ends
        try {
            fill(size, path);
        } catch (...) {
            ::close(fd_);
            throw;
        }
    }
    ~uncached_file() { ::close(fd_); }
    uncached_file(const uncached_file&) = delete;
    uncached_file& operator=(const uncached_file&) = delete;

    int descriptor() const { return fd_; }

    // drop and read are a block's two calls; read throws unless it is that block.
    void drop(std::size_t number, std::size_t count = 1) const {
        ::posix_fadvise(fd_, offset(number), static_cast<off_t>(count * reads_shape::block), POSIX_FADV_DONTNEED);
    }
    void read(std::size_t number) const {
        std::uint64_t content[reads_shape::block / sizeof(std::uint64_t)];
        const ssize_t got = ::pread(fd_, content, sizeof content, offset(number));
        if (got != sizeof content || content[0] != number)
            throw std::runtime_error("block " + std::to_string(number) + " of the file was not read");
    }

private:
    static off_t offset(std::size_t number) { return static_cast<off_t>(number * reads_shape::block); }

    void fill(std::size_t size, const std::string& path) {
        constexpr std::size_t per_block = reads_shape::block / sizeof(std::uint64_t), at_a_time = 256;
        std::vector<std::uint64_t> blocks(per_block * at_a_time);
        for (std::size_t first = 0; first < size / reads_shape::block; first += at_a_time) {
            for (std::size_t i = 0; i < at_a_time; ++i) blocks[i * per_block] = first + i;
            const auto bytes = static_cast<ssize_t>(blocks.size() * sizeof blocks[0]);
            if (const ssize_t put = ::write(fd_, blocks.data(), static_cast<std::size_t>(bytes)); put != bytes)
                throw std::system_error(put < 0 ? errno : ENOSPC, std::generic_category(), path);
        }
        if (::fsync(fd_)) throw std::system_error(errno, std::generic_category(), path);
        ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    }

    int fd_ = -1;
};

// reads_figure puts together what a subject has measured: the time of all, and that of each read, in nanoseconds.
inline figure reads_figure(const char* subject, unsigned procs, double all_ns, const std::vector<double>& each_ns,
                           unsigned threads) {
    return {"file_reads",
            subject,
            procs,
            all_ns * 1e-3 / static_cast<double>(each_ns.size()),
            "µs",
            {{"p99_us", quantile(each_ns, 0.99) * 1e-3}, {"threads", threads}}};
}

// ---- getaddrinfo

inline constexpr std::size_t lookup_tasks = 200, lookups_each = 5;

// look_up_localhost is one of the calls; throws if it finds nothing.
inline void look_up_localhost() {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int e = ::getaddrinfo("localhost", "80", &hints, &found))
        throw std::runtime_error(std::string("getaddrinfo of localhost: ") + ::gai_strerror(e));
    ::freeaddrinfo(found);
}

// lookups_figure puts together what a subject has measured: the time of each round, in milliseconds.
inline figure lookups_figure(const char* subject, unsigned procs, std::vector<double> rounds_ms) {
    for (double& t : rounds_ms) t *= 1e3 / static_cast<double>(lookup_tasks * lookups_each);
    return {"getaddrinfo", subject, procs, median(rounds_ms), "µs", spread_of(rounds_ms)};
}

}  // namespace bench
