// handoff_bench: all workloads under Google Benchmark, or a single one, once, for bench/run.

#include "../workloads/echo.hpp"
#include "../workloads/registry.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

namespace bench {

std::vector<workload>& workloads() {
    static std::vector<workload> all;
    return all;
}

namespace {

constexpr const char usage[] =
    "usage: handoff_bench [--benchmark_...]     every workload under Google Benchmark\n"
    "       handoff_bench --work NAME [--subject NAME] [--quick] [--goroutines N]\n"
    "                                           one workload, once; prints its figures, a line of JSON each\n"
    "       handoff_bench --list                the workloads and subjects that --work knows\n"
    "       handoff_bench --echo-client PORT CONNECTIONS [--closed] [--quick]\n"
    "                                           what the servers of the workloads echo_* start, of all subjects\n";

int complain(const std::string& what) {
    std::fprintf(stderr, "handoff_bench: %s\n%s", what.c_str(), usage);
    return 2;
}

bool parse(std::string_view text, std::size_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && value > 0;
}

int list() {
    for (const workload& w : workloads()) {
        for (std::string_view f : w.figures)
            std::printf("%.*s %.*s\n", static_cast<int>(f.size()), f.data(), static_cast<int>(w.subject.size()),
                        w.subject.data());
    }
    return 0;
}

int measure(std::string_view name, std::string_view subject, const settings& s) {
    for (const workload& w : workloads()) {
        if (w.subject != subject || std::ranges::find(w.figures, name) == w.figures.end()) continue;
        try {
            for (const figure& f : w.measure(s)) print(f);
        } catch (const std::exception& e) {
            std::fprintf(stderr, "handoff_bench: %.*s: %s\n", static_cast<int>(name.size()), name.data(), e.what());
            return 1;
        }
        return 0;
    }
    return complain("no workload '" + std::string(name) + "' of '" + std::string(subject) + "'; see --list");
}

int echo_client(int argc, char** argv) {
    std::size_t port = 0, connections = 0;
    if (argc < 4 || !parse(argv[2], port) || !parse(argv[3], connections) || port > 65535)
        return complain("--echo-client wants a port and a number of connections");
    bool closed = false, quick = false;
    for (int i = 4; i < argc; ++i) {
        const std::string_view arg = argv[i];
        if (arg != "--closed" && arg != "--quick") return complain("--echo-client does not know " + std::string(arg));
        (arg == "--closed" ? closed : quick) = true;
    }
    try {
        run_echo_client(static_cast<unsigned>(port), connections, closed, {.quick = quick});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "handoff_bench --echo-client: %s\n", e.what());
        return 1;
    }
    return 0;
}

int run(int argc, char** argv) {
    if (std::string_view(argv[1]) == "--echo-client") return echo_client(argc, argv);
    std::string_view name;
    std::string_view subject = "handoff";
    settings s;
    for (int i = 1; i < argc; ++i) {
        const std::string_view arg = argv[i];
        const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
        if (arg == "--quick") {
            s.quick = true;
        } else if (arg == "--list") {
            return list();
        } else if (arg == "--work" || arg == "--subject" || arg == "--goroutines") {
            if (!value) return complain(std::string(arg) + " wants a value");
            if (arg == "--work") name = value;
            else if (arg == "--subject") subject = value;
            else if (!parse(value, s.goroutines))
                return complain("--goroutines: not a number above 0: " + std::string(value));
            ++i;
        } else {
            return complain("unknown argument " + std::string(arg));
        }
    }
    if (name.empty()) return complain("--work is missing");
    return measure(name, subject, s);
}

// Ours are all options but those that Google Benchmark knows by their prefix.
bool is_google_benchmarks(int argc, char** argv) {
    return std::all_of(argv + 1, argv + argc, [](const char* arg) {
        return std::strncmp(arg, "--benchmark_", 12) == 0 || std::strncmp(arg, "--v=", 4) == 0 ||
               std::strcmp(arg, "--help") == 0;
    });
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    if (!bench::is_google_benchmarks(argc, argv)) return bench::run(argc, argv);
    if (argc == 2 && std::strcmp(argv[1], "--help") == 0) std::fputs(bench::usage, stdout);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
