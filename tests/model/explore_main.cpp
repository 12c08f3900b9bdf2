// handoff_explore: runs scenarios under many schedules. See explore.hpp, and --help.
#include "explore_engine.hpp"
#include "wait/wait.hpp"

#include <handoff/handoff.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <unistd.h>

using namespace explore;

namespace {

constexpr char help[] =
    "usage: handoff_explore [OPTION...]\n"
    "\n"
    "Runs each scenario under many schedules, and stops at the first that fails, with its seed and its last steps.\n"
    "\n"
    "  --scenario NAME   only this one (or, with a final '*', all that begin so); may be repeated\n"
    "  --schedules N     how many of each; default: what is said by --list, times --scale\n"
    "  --scale F         a factor for that\n"
    "  --seed S          the first seed, else 1; schedule k has the seed S + k. HANDOFF_TEST_SEED sets it too\n"
    "  --seconds T       goes on with further seeds until T seconds have passed for each scenario\n"
    "  --replay SEED     runs this one schedule and prints its last steps, whatever comes of it\n"
    "  --last N          how many steps are printed, else 150\n"
    "  --list            the scenarios\n"
    "\n"
    "A schedule of each scenario broken.* has to fail, and to fail in the same way again.\n"
    "HANDOFF_EXPLORE_SCALE=F is a further factor for the number of schedules.\n";

struct request {
    std::vector<std::string> names;
    std::uint64_t schedules = 0, seed = 1;
    double scale = 1, seconds = 0;
    bool replay = false, list = false;
    options how;
};

const char* current_name = "";
std::uint64_t current_seed = 0;

// A crash in the library's code: the seed is all that can be said safely.
void on_crash(int signal) {
    char text[256];
    const int n = std::snprintf(text, sizeof text,
                                "\nhandoff_explore: signal %d in --scenario %s --replay %llu, step %llu\n", signal,
                                current_name, static_cast<unsigned long long>(current_seed),
                                static_cast<unsigned long long>(the.steps));
    [[maybe_unused]] auto written = ::write(1, text, static_cast<std::size_t>(n));
    if (the.tracing) {   // asked for, and nothing is left to lose
        active = false;
        print_trace(options{true, 60});
        std::fflush(stdout);
    }
    ::_exit(1);
}

void install_crash_handlers() {
    static char stack[256 * 1024];
    stack_t s{};
    s.ss_sp = stack;
    s.ss_size = sizeof stack;
    ::sigaltstack(&s, nullptr);
    struct sigaction a {};
    a.sa_handler = on_crash;
    a.sa_flags = SA_ONSTACK;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) ::sigaction(signal, &a, nullptr);
    std::set_terminate([] {
        if (active) fail_now("std::terminate");
        std::abort();
    });
}

[[noreturn]] void replay_in_a_fresh_process(const char* name, std::uint64_t seed, unsigned last) {
    std::fflush(stdout);
    const std::string s = std::to_string(seed), n = std::to_string(last);
    ::execl("/proc/self/exe", "handoff_explore", "--scenario", name, "--replay", s.c_str(), "--last", n.c_str(), nullptr);
    ::_exit(1);
}

// What happens once in a process (what is learnt of the kernel, static objects) happens here, the same in each run.
void warm_up() {
    static constexpr scenario first{"first", [] {
        handoff::options o;
        o.procs = 2;
        o.stack_size = 64 * 1024;
        handoff::runtime rt(o);
        rt.run([] {
            handoff::detail::may_spin();
            handoff::go([] { handoff::this_goroutine::sleep_for(std::chrono::milliseconds(1)); }).join();
        });
    }, 1};
    current_name = first.name;
    const outcome o = run(first, 0, {});
    if (!o.failed) return;
    std::printf("FAILED in the first schedule: %s\n", o.why);
    std::exit(1);
}

int replay(const scenario& s, const request& r) {
    current_name = s.name;
    options traced = r.how;
    traced.trace = true;
    current_seed = r.seed;
    const outcome o = run(s, r.seed, traced);
    print_trace(traced);
    std::printf("%s: seed %llu, step %llu, %lld ns: %s\n", s.name, static_cast<unsigned long long>(r.seed),
                static_cast<unsigned long long>(o.steps), static_cast<long long>(o.time),
                o.failed ? o.why : "nothing failed");
    return o.failed ? 1 : 0;
}

// find_break looks for a schedule of a broken scenario that fails, and runs it once more: true if it fails there again.
bool find_break(const scenario& s, const request& r) {
    std::printf("%-28s ", s.name);
    current_name = s.name;
    for (std::uint64_t i = 0; i < s.schedules; ++i) {
        current_seed = r.seed + i;
        const outcome first = run(s, current_seed, {});
        if (!first.failed) continue;
        const std::string why = first.why;
        const outcome again = run(s, current_seed, {.trace = true});
        const bool same = again.failed && again.steps == first.steps && again.why == why;
        std::printf("fails in schedule %llu, as it should: %s%s\n", static_cast<unsigned long long>(i + 1), why.c_str(),
                    same ? "" : ", but NOT AGAIN");
        return same;
    }
    std::printf("DOES NOT FAIL in %u schedules, though it should\n", s.schedules);
    return false;
}

void explore_one(const scenario& s, const request& r) {
    using clock = std::chrono::steady_clock;
    const auto began = clock::now();
    const auto so_far = [&] { return std::chrono::duration<double>(clock::now() - began).count(); };
    std::uint64_t wanted = r.schedules ? r.schedules : std::max<std::uint64_t>(1, static_cast<std::uint64_t>(s.schedules * r.scale));
    std::printf("%-28s ", s.name);
    std::fflush(stdout);
    current_name = s.name;
    std::uint64_t steps = 0, most = 0, longest = 0, done = 0;
    while (r.seconds > 0 ? done % 64 != 0 || so_far() < r.seconds : done < wanted) {
        current_seed = r.seed + done++;
        const outcome o = run(s, current_seed, {});
        steps += o.steps;
        if (o.steps > most) most = o.steps, longest = current_seed;
        if (!o.failed) continue;
        std::printf("FAILED in schedule %llu, step %llu: %s\nreplay: handoff_explore --scenario %s --replay %llu\n",
                    static_cast<unsigned long long>(done), static_cast<unsigned long long>(o.steps), o.why, s.name,
                    static_cast<unsigned long long>(current_seed));
        replay_in_a_fresh_process(s.name, current_seed, r.how.last);
    }
    const double took = so_far();
    std::printf("%9llu schedules, %6llu steps on average, %7llu at most (seed %llu), %6.1f s, %8.0f a minute\n",
                static_cast<unsigned long long>(done), static_cast<unsigned long long>(steps / done),
                static_cast<unsigned long long>(most),
                static_cast<unsigned long long>(longest), took, 60.0 * static_cast<double>(done) / took);
    std::fflush(stdout);
}

bool matches(const request& r, const scenario& s) {
    if (r.names.empty()) return true;
    return std::any_of(r.names.begin(), r.names.end(), [&](const std::string& n) {
        return n.ends_with('*') ? std::string(s.name).starts_with(n.substr(0, n.size() - 1)) : n == s.name;
    });
}

[[noreturn]] void usage(const std::string& why) {
    std::fprintf(stderr, "handoff_explore: %s\n%s", why.c_str(), help);
    std::exit(2);
}

request parse(int argc, char** argv) {
    request r;
    if (const char* seed = std::getenv("HANDOFF_TEST_SEED"); seed && *seed) r.seed = std::strtoull(seed, nullptr, 0);
    if (const char* scale = std::getenv("HANDOFF_EXPLORE_SCALE"); scale && *scale) r.scale = std::strtod(scale, nullptr);
    for (int i = 1; i < argc; ++i) {
        const std::string key = argv[i];
        if (key == "--help") {
            std::printf("%s", help);
            std::exit(0);
        }
        if (key == "--list") {
            r.list = true;
            continue;
        }
        if (i + 1 == argc) usage(key + " is not known, or wants a value");
        const char* value = argv[++i];
        char* end = nullptr;
        if (key == "--scenario") {
            r.names.push_back(value);
            continue;
        }
        if (key == "--schedules") r.schedules = std::strtoull(value, &end, 0);
        else if (key == "--seed") r.seed = std::strtoull(value, &end, 0);
        else if (key == "--replay") r.replay = true, r.seed = std::strtoull(value, &end, 0);
        else if (key == "--last") r.how.last = static_cast<unsigned>(std::strtoul(value, &end, 0));
        else if (key == "--scale") r.scale *= std::strtod(value, &end);
        else if (key == "--seconds") r.seconds = std::strtod(value, &end);
        else usage(key + " is not known");
        if (end == value || *end != '\0') usage(key + " " + value + " is no number");
    }
    return r;
}

}  // namespace

int main(int argc, char** argv) {
    const request r = parse(argc, argv);
    auto all = scenarios();
    std::sort(all.begin(), all.end(), [](const scenario& a, const scenario& b) { return std::strcmp(a.name, b.name) < 0; });
    std::erase_if(all, [&](const scenario& s) { return !matches(r, s); });
    if (all.empty()) usage("no such scenario");
    if (r.list) {
        for (const scenario& s : all) std::printf("%-28s %9u schedules\n", s.name, s.schedules);
        return 0;
    }
    install_crash_handlers();
    warm_up();
    if (r.replay) {
        if (all.size() != 1) usage("--replay wants one --scenario");
        return replay(all.front(), r);
    }
    std::printf("first seed: %llu\n", static_cast<unsigned long long>(r.seed));
    bool all_break = true;
    for (const scenario& s : all) {
        if (s.broken) all_break &= find_break(s, r);
        else explore_one(s, r);
    }
    return all_break ? 0 : 1;
}
