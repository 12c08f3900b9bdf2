#include "testing.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fstream>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace handoff_test {

namespace {

// A child that a test wants to see die must be a process of its own, not a fork: a forked child has no goroutines.
class fresh_death_tests : public testing::Environment {
    void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};
[[maybe_unused]] const auto* const installed = testing::AddGlobalTestEnvironment(new fresh_death_tests);

std::vector<std::string> entries(const char* directory) {
    std::vector<std::string> names;
    if (DIR* d = ::opendir(directory)) {
        while (const dirent* e = ::readdir(d))
            if (e->d_name[0] != '.') names.emplace_back(e->d_name);
        ::closedir(d);
    }
    return names;
}

}  // namespace

std::mt19937_64 seeded_random(const char* test) {
    std::uint64_t seed = std::random_device{}();
    if (const char* given = std::getenv("HANDOFF_TEST_SEED"); given && *given) seed = std::strtoull(given, nullptr, 0);
    std::printf("%s: HANDOFF_TEST_SEED=%llu\n", test, static_cast<unsigned long long>(seed));
    return std::mt19937_64(seed);
}

pipe_pair::pipe_pair() {
    if (::pipe(ends_) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
}

pipe_pair::~pipe_pair() {
    ::close(ends_[0]);
    ::close(ends_[1]);
}

ssize_t pipe_pair::read() const noexcept {
    static const bool storm = std::getenv("HANDOFF_TEST_SIGNALS") != nullptr;   // whose EINTR is no news
    char c;
    ssize_t n;
    do {
        n = ::read(ends_[0], &c, 1);
    } while (n < 0 && errno == EINTR && storm);
    return n;
}

void pipe_pair::write(std::size_t bytes) const noexcept {
    for (; bytes > 0; --bytes)
        if (::write(ends_[1], "x", 1) != 1) std::abort();
}

pid_t this_tid() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

std::vector<pid_t> threads() {
    std::vector<pid_t> tids;
    for (const std::string& name : entries("/proc/self/task")) tids.push_back(std::atoi(name.c_str()));
    return tids;
}

std::size_t mapping_count() {
    std::ifstream maps("/proc/self/maps");
    std::size_t n = 0;
    for (std::string line; std::getline(maps, line);) ++n;
    return n;
}

std::size_t descriptor_count() { return entries("/proc/self/fd").size(); }

std::size_t own_descriptor_count() {
    std::size_t n = 0;
    for (const std::string& number : entries("/proc/self/fd")) {
        char of[256];
        const ssize_t size = ::readlink(("/proc/self/fd/" + number).c_str(), of, sizeof of);
        const std::string_view name(of, size > 0 ? static_cast<std::size_t>(size) : 0);
        n += !(name.starts_with("/proc/") && name.ends_with("/syscall"));
    }
    return n;
}

std::map<pid_t, std::uint64_t> context_switches() {
    std::map<pid_t, std::uint64_t> all;
    for (const pid_t tid : threads()) {
        std::ifstream status("/proc/self/task/" + std::to_string(tid) + "/status");
        std::uint64_t sum = 0;
        bool seen = false;
        for (std::string line; std::getline(status, line);) {
            const std::size_t at = line.find("ctxt_switches:");
            if (at == line.npos) continue;
            sum += std::strtoull(line.c_str() + at + std::strlen("ctxt_switches:"), nullptr, 10);
            seen = true;
        }
        if (seen) all[tid] = sum;
    }
    return all;
}

bool all_others_sleep_for(std::chrono::milliseconds period) {
    const auto others = [] {
        auto all = context_switches();
        all.erase(this_tid());
        return all;
    };
    const auto deadline = steady::now() + patience;
    while (steady::now() < deadline) {
        const auto before = others();
        std::this_thread::sleep_for(period);
        if (others() == before) return true;
    }
    return false;
}

char thread_letter(pid_t tid) {
    std::ifstream stat("/proc/self/task/" + std::to_string(tid) + "/stat");
    std::string text;
    std::getline(stat, text);
    const std::size_t after_name = text.rfind(')');   // the name may hold anything
    return after_name == text.npos || after_name + 2 >= text.size() ? '\0' : text[after_name + 2];
}

std::chrono::nanoseconds process_cpu_time() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

bool forbid_threads() noexcept {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{sizeof code / sizeof code[0], code};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

environment_variable::environment_variable(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    was_set_ = before != nullptr;
    if (before) before_ = before;
    if (value) ::setenv(name, value, 1);
    else ::unsetenv(name);
}

environment_variable::~environment_variable() {
    if (was_set_) ::setenv(name_.c_str(), before_.c_str(), 1);
    else ::unsetenv(name_.c_str());
}

occupant::occupant(handoff::runtime& rt)
    : h_(rt.go([this] {
          runs_ = true;
          block_until([this] { return released_.load(); });
      })) {}

occupant::~occupant() {
    release();
    h_.join();
}

bool occupant::await_start() const noexcept {
    return block_until([this] { return runs(); });
}

unsigned idle_processors(const handoff::runtime& rt) {
    unsigned n = 0;
    for (const auto& p : rt.snapshot().processors) n += p.state == handoff::processor_state::idle;
    return n;
}

bool migrate(handoff::runtime& rt) {
    const pid_t before = this_tid();
    call_and_migrate(rt, [] {});
    return this_tid() != before;
}

}  // namespace handoff_test
