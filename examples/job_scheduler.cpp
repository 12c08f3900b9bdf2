// job_scheduler: runs shell commands by priority, a limited number at once, until a deadline, and retries what fails.
//
//     job_scheduler [AT_ONCE [FILE]]   # without FILE: some jobs of its own, as a test
//
// FILE has a line for each job: PRIORITY TRIES MILLISECONDS COMMAND. For the command, $TRY is the number of the try.
//
// One goroutine plans. It selects among the jobs that end, the time at which the next one is to be tried again, and the
// stop that SIGINT and SIGTERM request. Each try runs in a task group of its own, with the job's deadline and the stop:
// whichever comes first cancels the wait for the command, and the canceller kills it. A job's deadline counts from its
// first try. The results come out in the order in which the jobs end. Exit status: 0 if all jobs are done, 1 if not, 2 for
// wrong usage.
#include <handoff/handoff.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <optional>
#include <queue>
#include <spawn.h>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto first_pause = 20ms;   // before the second try; each later one is twice as long, up to 20 s

struct job {
    int priority = 0;
    unsigned tries = 1;      // at most
    unsigned limit_ms = 0;
    std::string command;
    unsigned tried = 0;
    steady_clock::time_point deadline{};
    std::string result;      // empty: may be tried again

    friend bool operator<(const job& a, const job& b) { return a.priority < b.priority; }
};

// A process group with a shell that runs a command. It is killed and waited for at the latest when this object ends.
class shell {
public:
    explicit shell(std::string command) {
        char name[] = "sh", option[] = "-c";
        char* const arguments[] = {name, option, command.data(), nullptr};
        sigset_t none;
        sigemptyset(&none);   // the runtime's threads block signals that the command should get
        posix_spawnattr_t how;
        posix_spawnattr_init(&how);
        posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
        posix_spawnattr_setsigmask(&how, &none);
        const int error =
            handoff::blocking_call(::posix_spawn, &pid_, "/bin/sh", nullptr, &how, arguments, environ);
        posix_spawnattr_destroy(&how);
        if (error != 0) throw std::system_error(error, std::generic_category(), "posix_spawn");
    }
    ~shell() {
        kill();
        handoff::blocking_call(::waitpid, pid_, nullptr, 0);
    }
    shell(const shell&) = delete;
    shell& operator=(const shell&) = delete;

    // wait returns true if the command has succeeded. The process stays: its number is not given to another one meanwhile.
    bool wait() {
        siginfo_t end{};
        handoff::blocking_call(handoff::cancel_with([this] { kill(); }),
                               [&] { return ::waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOWAIT); });
        return end.si_code == CLD_EXITED && end.si_status == 0;
    }

private:
    void kill() const noexcept { ::kill(-pid_, SIGKILL); }
    pid_t pid_ = 0;
};

// attempt tries the job once more.
job attempt(job j, std::stop_token stop) {
    try {
        if (j.tried == 0) j.deadline = steady_clock::now() + std::chrono::milliseconds(j.limit_ms);
        handoff::task_group group(j.deadline, std::move(stop));
        auto succeeded = group.go([&j] {
            return shell("TRY=" + std::to_string(++j.tried) + "; " + j.command).wait();
        });
        group.wait();
        if (succeeded.join()) j.result = "done";
        else if (j.tried == j.tries) j.result = "failed";
    } catch (const handoff::deadline_exceeded&) {
        j.result = "too late";
    } catch (const handoff::cancelled&) {
        j.result = "cancelled";
    } catch (const std::exception& e) {
        j.result = e.what();
    }
    return j;
}

// run_all returns whether all jobs are done.
bool run_all(std::vector<job> jobs, unsigned at_once, std::stop_token stop) {
    std::priority_queue<job> ready({}, std::move(jobs));
    std::multimap<steady_clock::time_point, job> later;
    const handoff::channel<job> ended(handoff::unbounded);   // holds no more than run at once
    handoff::task_group group;
    std::stop_token seen = stop;
    unsigned running = 0;
    bool all_done = true;
    const auto report = [&](const job& j) {
        all_done &= j.result == "done";
        handoff::blocking_call([&] {
            std::printf("%s after %u tries: %s\n", j.result.c_str(), j.tried, j.command.c_str());
            std::fflush(stdout);
        });
    };
    const auto on_end = [&](std::optional<job> end) {
        job& j = end.value();
        --running;
        const auto pause = first_pause * (1 << std::min(j.tried - 1, 10u));
        if (j.result.empty()) later.emplace(steady_clock::now() + pause, std::move(j));
        else report(j);
    };
    const auto on_time = [&] {
        ready.push(std::move(later.begin()->second));
        later.erase(later.begin());
    };
    while (running != 0 || !ready.empty() || !later.empty()) {
        if (running < at_once && !ready.empty()) {
            ++running;
            group.go([j = ready.top(), stop, ended]() mutable { ended.send(attempt(std::move(j), std::move(stop))); });
            ready.pop();
            continue;
        }
        const auto next = later.empty() ? steady_clock::time_point::max() : later.begin()->first;
        handoff::select(handoff::on_recv(ended, on_end), handoff::on_deadline(next, on_time),
                        handoff::on_stop(seen, [&] {
                            seen = {};   // else it would be ready again and again
                            while (!later.empty()) on_time();
                        }));
    }
    return all_done;
}

constexpr const char* own_jobs =
    "1 1 60000 true\n"
    "5 4 60000 test $TRY = 3\n"
    "3 2 60000 false\n"
    "9 9 100   sleep 60\n";

std::vector<job> read_jobs(std::istream& in) {
    std::vector<job> jobs;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        job j;
        if (!(words >> j.priority >> j.tries >> j.limit_ms) || !std::getline(words >> std::ws, j.command) || j.tries < 1)
            throw std::runtime_error("not a job: " + line);
        jobs.push_back(std::move(j));
    }
    return jobs;
}

int wrong_usage(const char* why) {
    std::fprintf(stderr, "job_scheduler: %s\nUsage: job_scheduler [AT_ONCE [FILE]]\n", why);
    return 2;
}

}  // namespace

int main(int argc, char** argv) try {
    unsigned at_once = 2;
    const std::string_view n = argc > 1 ? argv[1] : "2";
    const auto [stop, error] = std::from_chars(n.data(), n.data() + n.size(), at_once);
    if (argc > 3) return wrong_usage("too many arguments");
    if (error != std::errc() || stop != n.data() + n.size() || at_once < 1 || at_once > 1000)
        return wrong_usage((std::string(n) + ": not a number from 1 to 1000").c_str());
    std::ifstream file;
    if (argc > 2) file.open(argv[2]);
    if (argc > 2 && !file) return wrong_usage((std::string(argv[2]) + ": cannot be read").c_str());
    std::istringstream own(own_jobs);
    std::vector<job> jobs = read_jobs(argc > 2 ? static_cast<std::istream&>(file) : own);

    sigset_t ends;   // blocked before there are other threads, so that only sigwait gets them
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
    handoff::runtime rt;
    return rt.run([&] {
        std::stop_source stopping;
        handoff::task_group signals;   // cancelled at the end: then the canceller sends what sigwait waits for
        signals.go([&] {
            int which = 0;
            handoff::blocking_call(handoff::cancel_with([] { ::kill(::getpid(), SIGTERM); }), ::sigwait, &ends, &which);
            handoff::request_stop(stopping);
        });
        return run_all(std::move(jobs), at_once, stopping.get_token()) ? 0 : 1;
    });
} catch (const std::exception& e) {
    std::fprintf(stderr, "job_scheduler: %s\n", e.what());
    return 1;
}
