#include "signals.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace handoff_test {

namespace {

std::atomic<std::uint64_t> signals_delivered{0};
std::atomic<unsigned> next_target{0};

// The n-th thread of the process, modulo their number, by raw calls: this runs in a signal handler.
long nth_thread(unsigned n) noexcept {
    const int fd = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) return 0;
    struct entry {   // linux_dirent64
        std::uint64_t inode;
        std::int64_t offset;
        std::uint16_t length;
        std::uint8_t type;
        char name[1];   // and more
    };
    alignas(entry) char buffer[4096];
    long tids[128];
    unsigned count = 0;
    const long bytes = ::syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    for (long at = 0; at < bytes && count < 128;) {
        const auto* e = reinterpret_cast<const entry*>(buffer + at);
        long tid = 0;
        for (const char* c = e->name; *c >= '0' && *c <= '9'; ++c) tid = tid * 10 + (*c - '0');
        if (tid != 0) tids[count++] = tid;
        at += e->length;
    }
    ::syscall(SYS_close, fd);
    return count == 0 ? 0 : tids[n % count];
}

// The kernel gives the timer's signal to the main thread if it can, so it is sent on.
void on_alarm(int signal, siginfo_t* info, void*) {
    const int before = errno;
    signals_delivered.fetch_add(1, std::memory_order_relaxed);
    if (info->si_code != SI_TKILL)
        if (const long tid = nth_thread(next_target.fetch_add(1, std::memory_order_relaxed)))
            ::syscall(SYS_tgkill, ::getpid(), tid, signal);
    errno = before;
}

// The storm that the environment asks for.
const std::unique_ptr<signal_storm> from_the_start = [] {
    const char* value = std::getenv("HANDOFF_TEST_SIGNALS");
    if (!value || !*value) return std::unique_ptr<signal_storm>();
    char* end = nullptr;
    const unsigned long hz = std::strtoul(value, &end, 10);
    if (hz == 0 || hz > 10'000 || (*end != '\0' && std::strcmp(end, ",restart") != 0)) {
        std::fprintf(stderr, "HANDOFF_TEST_SIGNALS=%s is not HZ or HZ,restart\n", value);
        std::_Exit(2);
    }
    return std::make_unique<signal_storm>(static_cast<unsigned>(hz), *end != '\0');
}();

}  // namespace

signal_storm::signal_storm(unsigned hz, bool restarts) {
    struct sigaction ours {};
    ours.sa_sigaction = on_alarm;
    ours.sa_flags = SA_SIGINFO | (restarts ? SA_RESTART : 0);
    ::sigaction(SIGALRM, &ours, &before_);
    const itimerval often{{0, 1'000'000 / static_cast<long>(hz)}, {0, 1'000'000 / static_cast<long>(hz)}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
}

signal_storm::~signal_storm() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    // One may still be on its way.
    if (before_.sa_handler == SIG_DFL) ::signal(SIGALRM, SIG_IGN);
    else ::sigaction(SIGALRM, &before_, nullptr);
}

std::uint64_t signal_storm::delivered() noexcept { return signals_delivered.load(); }

}  // namespace handoff_test
