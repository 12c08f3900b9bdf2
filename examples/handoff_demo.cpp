// handoff_demo: what happens to a processor while its goroutine is blocked in the kernel.
//
// First, goroutines that compute run beside goroutines that make real blocking calls; we count how much the former get done.
// Second, we time the handoff: from just before a blocking read() to the first step of the next goroutine. Takes a few
// seconds.
#include <handoff/handoff.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <fcntl.h>
#include <functional>
#include <netdb.h>
#include <sched.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr unsigned callers = 8;
constexpr auto window = 150ms;   // the length of each measurement of the first part

// Here goroutines use objects on the stacks of others, so a failure ends the process without unwinding.
[[noreturn]] void fail(const char* what) {
    std::perror(what);
    std::_Exit(1);
}

class descriptor {
public:
    explicit descriptor(int fd) : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

private:
    int fd_;
};

struct pipe_ends {
    descriptor out, in;

    static pipe_ends make() {
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) fail("pipe2");
        return {descriptor(fds[0]), descriptor(fds[1])};
    }
    // Waits until there is something to read, and reads all of it.
    void read_all() const {
        char bytes[4096];
        if (::read(out.get(), bytes, sizeof bytes) < 1) fail("read from a pipe");
    }
    void write_byte() const {
        if (::write(in.get(), "", 1) != 1) fail("write to a pipe");
    }
};

descriptor temporary_file() {
    const char* dir = std::getenv("TMPDIR");
    std::string name = std::string(dir && *dir ? dir : "/tmp") + "/handoff_demo.XXXXXX";
    descriptor file(::mkostemp(name.data(), O_CLOEXEC));
    if (file.get() < 0) fail(name.c_str());
    ::unlink(name.c_str());
    return file;
}

// Writes a byte into each pipe every millisecond. This is the outside world, on a thread that does not belong to the
// runtime.
class feeder {
public:
    explicit feeder(const std::vector<pipe_ends>& pipes) : thread_([this, &pipes] {
        while (!stop_.load(std::memory_order_relaxed)) {
            std::this_thread::sleep_for(1ms);
            for (const pipe_ends& p : pipes) p.write_byte();
        }
    }) {}
    ~feeder() {
        stop_.store(true, std::memory_order_relaxed);
        thread_.join();
    }

private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

// About twenty microseconds of work.
void compute_chunk() {
    std::uint64_t x = 1;
    for (int i = 0; i < 20'000; ++i) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        asm volatile("" : "+r"(x));
    }
}

// A kind of call that blocks; the argument of `call` is the number of the caller.
struct blocking_kind {
    const char* name;
    std::function<void(unsigned)> call;
};

struct work_done {
    std::uint64_t calls = 0;
    std::uint64_t chunks = 0;
};

// Runs two computing goroutines for each processor and, if `kind` is given, `callers` goroutines that make such calls.
work_done run_beside(handoff::runtime& rt, const blocking_kind* kind, bool guarded) {
    const auto end = steady_clock::now() + window;
    const auto count_until_end = [end](const auto& step) {
        std::uint64_t n = 0;
        for (; steady_clock::now() < end; ++n) {
            step();
            handoff::this_goroutine::yield();
        }
        return n;
    };
    return rt.run([&] {
        std::vector<handoff::join_handle<std::uint64_t>> computing, calling;
        for (unsigned i = 0; i < 2 * rt.procs(); ++i)
            computing.push_back(handoff::go([&] { return count_until_end(compute_chunk); }));
        for (unsigned i = 0; kind && i < callers; ++i) {
            // getaddrinfo needs a large stack.
            calling.push_back(handoff::go(handoff::spawn_options{.stack_size = 1024 * 1024}, [&, i] {
                return count_until_end([&] {
                    if (guarded) handoff::blocking_call(kind->call, i);
                    else kind->call(i);
                });
            }));
        }
        work_done done;
        for (auto& c : calling) done.calls += c.join();
        for (auto& c : computing) done.chunks += c.join();
        return done;
    });
}

void print_counters(const char* of, const handoff::stats& s) {
    const auto u = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
    std::printf("  %-30s %8llu %9llu %9llu %9llu %8llu %8llu %8llu %8llu %7llu\n", of, u(s.handoffs_sysmon),
                u(s.handoffs_immediate), u(s.handoffs_unguarded), u(s.handoffs_computing), u(s.exits_own),
                u(s.exits_old_idle), u(s.exits_any_idle), u(s.exits_queued), u(s.threads_created));
}

handoff::stats report_work(unsigned procs, const std::vector<blocking_kind>& kinds) {
    handoff::runtime rt({.procs = procs});
    std::printf("\nprocs = %u: %u goroutines compute, %u make blocking calls, %lld ms each time\n", procs,
                2 * procs, callers, static_cast<long long>(std::chrono::milliseconds(window).count()));
    std::printf("  %-40s %9s %9s %9s %9s\n", "", "calls", "chunks", "alone", "share");
    run_beside(rt, nullptr, true);   // to warm up
    for (const blocking_kind& kind : kinds) {
        for (const bool guarded : {true, false}) {
            const auto alone = run_beside(rt, nullptr, true).chunks;   // anew each time: the speed of a machine varies
            const work_done done = run_beside(rt, &kind, guarded);
            const std::string name = std::string(kind.name) + (guarded ? ", guarded" : ", no guard");
            std::printf("  %-40s %9llu %9llu %9llu %7.0f %%\n", name.c_str(),
                        static_cast<unsigned long long>(done.calls), static_cast<unsigned long long>(done.chunks),
                        static_cast<unsigned long long>(alone),
                        100 * static_cast<double>(done.chunks) / static_cast<double>(alone));
        }
    }
    return rt.stats();
}

// A way in which a goroutine makes its blocking read().
struct way {
    const char* name;
    int rounds;
    void (*read)(const pipe_ends&);
};

const way ways[] = {
    {"guard, sysmon", 200,
     [](const pipe_ends& p) { handoff::blocking_call(handoff::handoff_policy::sysmon, [&] { p.read_all(); }); }},
    {"guard, adaptive", 200, [](const pipe_ends& p) { handoff::blocking_call([&] { p.read_all(); }); }},
    {"guard, immediate", 200,
     [](const pipe_ends& p) { handoff::blocking_call(handoff::handoff_policy::immediate, [&] { p.read_all(); }); }},
    {"no guard", 20, [](const pipe_ends& p) { p.read_all(); }},
};

// One goroutine takes the time and then reads from an empty pipe. The next goroutine waits in the queue of the only
// processor. In its first step it takes the time, and then it writes a byte, which ends the read. Returns the times in
// microseconds, sorted.
std::vector<double> time_handoffs(handoff::runtime& rt, const way& w) {
    const pipe_ends pipe = pipe_ends::make();
    const int warm_up = w.rounds / 10;   // meanwhile threads start, and the adaptive guard learns
    std::vector<double> times;
    rt.run([&] {
        for (int round = 0; round < warm_up + w.rounds; ++round) {
            steady_clock::time_point first_step;
            auto next = handoff::go([&] {
                first_step = steady_clock::now();
                pipe.write_byte();
            });
            // Long enough for the threads of the last round to stop spinning and go to sleep.
            for (const auto end = steady_clock::now() + 100us; steady_clock::now() < end;) {
            }
            const auto before = steady_clock::now();
            w.read(pipe);
            next.join();
            if (round < warm_up) continue;
            times.push_back(std::chrono::duration<double, std::micro>(first_step - before).count());
        }
    });
    std::sort(times.begin(), times.end());
    return times;
}

double quantile(const std::vector<double>& sorted, double q) {
    const auto rank = static_cast<std::size_t>(q * static_cast<double>(sorted.size()));
    return sorted[std::min(rank, sorted.size() - 1)];
}

using counter_list = std::vector<std::pair<std::string, handoff::stats>>;

// Pins this thread, and with it the threads of the runtimes that it starts, to the core where it is.
class one_core {
public:
    one_core() {
        if (::sched_getaffinity(0, sizeof before_, &before_) != 0) fail("sched_getaffinity");
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(static_cast<unsigned>(::sched_getcpu()), &here);
        if (::sched_setaffinity(0, sizeof here, &here) != 0) fail("sched_setaffinity");
    }
    ~one_core() { ::sched_setaffinity(0, sizeof before_, &before_); }

private:
    cpu_set_t before_;
};

void report_handoffs(const char* where, counter_list& counters) {
    std::printf("\nFrom just before a blocking read() to the first step of the next goroutine, procs = 1, %s\n"
                "  %-22s %8s %12s %12s\n", where, "", "rounds", "p50", "p99");
    for (const way& w : ways) {
        handoff::runtime rt({.procs = 1});
        const std::vector<double> times = time_handoffs(rt, w);
        std::printf("  %-22s %8zu %9.1f us %9.1f us\n", w.name, times.size(), quantile(times, 0.5),
                    quantile(times, 0.99));
        counters.emplace_back(std::string(w.name) + ", " + where, rt.stats());
    }
}

void demo() {
    std::vector<pipe_ends> pipes;
    std::vector<descriptor> files;
    for (unsigned i = 0; i < callers; ++i) {
        pipes.push_back(pipe_ends::make());
        files.push_back(temporary_file());
    }
    const std::vector<blocking_kind> kinds = {
        {"read() of a pipe fed each ms", [&](unsigned i) { pipes[i].read_all(); }},
        {"nanosleep() of 1 ms",
         [](unsigned) {
             const timespec one_ms{0, 1'000'000};
             ::nanosleep(&one_ms, nullptr);
         }},
        {"getaddrinfo(\"localhost\")",
         [](unsigned) {
             addrinfo* found = nullptr;
             if (::getaddrinfo("localhost", "80", nullptr, &found) == 0) ::freeaddrinfo(found);
         }},
        {"write() of 4 KiB, fsync()",
         [&](unsigned i) {
             static const char page[4096] = {};
             if (::pwrite(files[i].get(), page, sizeof page, 0) != sizeof page || ::fsync(files[i].get()) != 0)
                 fail("writing a temporary file");
         }},
    };

    counter_list counters;
    {
        const feeder feeds(pipes);
        for (const unsigned procs : {1u, 2u})
            counters.emplace_back("work, procs = " + std::to_string(procs), report_work(procs, kinds));
    }

    std::printf("\n  chunks: what the computing goroutines got done; alone: without the other goroutines.\n"
                "  getaddrinfo and fsync keep a core busy themselves, and so compete with them.\n");

    // An idle core has to be woken by an interrupt, which takes tens of microseconds in a virtual machine. On the core that
    // the blocked thread leaves, the next thread runs at once. The kernel chooses the core, unless it is told.
    report_handoffs("on any core", counters);
    {
        const one_core pinned;
        report_handoffs("on one core", counters);
    }

    std::printf("\nHandoffs, by who took the processor and why; ways back in; threads\n"
                "  %-30s %8s %9s %9s %9s %8s %8s %8s %8s %7s\n", "", "sysmon", "immediate", "unguarded", "computing",
                "own", "old idle", "any idle", "queued", "threads");
    for (const auto& [of, s] : counters) print_counters(of.c_str(), s);
}

}  // namespace

int main() {
    try {
        demo();
        return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "handoff_demo: %s\n", e.what());
        return 1;
    }
}
