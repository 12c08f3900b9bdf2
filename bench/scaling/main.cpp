// handoff_scaling: how often the library's shared cache lines go from core to core as processors are added, counted in
// the simulated machine of machine.hpp. docs/scaling.md says what came out.
#include "check.hpp"
#include "report.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace scaling;

constexpr const char* help = R"(usage: handoff_scaling [OPTION...]

  --procs LIST       numbers of processors, 1 to 1024 (default: 1,2,4,8,16,64,256,1024)
  --work REGEX       the works whose names contain a match (default: all); --list names them
  --where            also what was shared, and by which code
  --json FILE        also the results as a JSON array
  --markdown FILE    also tables of them
  --seed N           another order of the threads
  --transfer NS      what a line's way from core to core takes (default: 60)
  --check            only see to it that the fast paths write no shared line; exit status 1 if one does
  --list             the works
)";

struct arguments {
    std::vector<unsigned> procs{1, 2, 4, 8, 16, 64, 256, 1024};
    std::string work, json, markdown;
    std::uint64_t seed = 1;
    ps transfer = costs{}.transfer;
    bool where = false, check = false, list = false;
};

[[noreturn]] void refuse(const std::string& why) {
    std::cerr << "handoff_scaling: " << why << "\n";
    std::exit(2);
}

std::uint64_t parse_number(const std::string& option, const std::string& text, std::uint64_t most) {
    std::size_t end = 0;
    std::uint64_t n = 0;
    try {
        n = std::stoull(text, &end);
    } catch (const std::exception&) {
        end = 0;
    }
    if (end == 0 || end != text.size() || text[0] == '-' || n > most)
        refuse(option + " " + text + ": that is no number from 0 to " + std::to_string(most));
    return n;
}

arguments parse(int argc, char** argv) {
    arguments a;
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        const auto value = [&]() -> std::string {
            if (i + 1 == argc) refuse(option + " needs a value");
            return argv[++i];
        };
        if (option == "--procs") {
            a.procs.clear();
            std::istringstream list(value());
            for (std::string one; std::getline(list, one, ',');) {
                const auto n = static_cast<unsigned>(parse_number(option, one, 1024));
                if (n == 0) refuse("--procs 0: there is at least one");
                a.procs.push_back(n);
            }
        } else if (option == "--work") {
            a.work = value();
        } else if (option == "--json") {
            a.json = value();
        } else if (option == "--markdown") {
            a.markdown = value();
        } else if (option == "--seed") {
            a.seed = parse_number(option, value(), UINT64_MAX);
        } else if (option == "--transfer") {
            a.transfer = static_cast<ps>(parse_number(option, value(), 1'000'000)) * ns;
        } else if (option == "--where") {
            a.where = true;
        } else if (option == "--check") {
            a.check = true;
        } else if (option == "--list") {
            a.list = true;
        } else if (option == "--help" || option == "-h") {
            std::cout << help;
            std::exit(0);
        } else {
            refuse("unknown option " + option + "; --help lists them");
        }
    }
    return a;
}

// So that a seed means the same in each run: addresses are what lines and hashes depend on.
void without_random_addresses(char** argv) {
    const int now = ::personality(0xffffffff);
    if (now < 0 || (now & ADDR_NO_RANDOMIZE) != 0) return;
    if (::personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE) < 0) return;
    ::execv("/proc/self/exe", argv);
}

void write_file(const std::string& name, const std::string& text) {
    std::ofstream to(name);
    to << text;
    to.close();
    if (!to) refuse(name + " can't be written: " + std::strerror(errno));
}

}  // namespace

namespace scaling {

result measure_in_child(const work& w, unsigned procs, std::uint64_t seed, ps transfer) {
    int ends[2];
    if (::pipe(ends) != 0) refuse("no pipe: " + std::string(std::strerror(errno)));
    std::cout.flush();
    const pid_t child = ::fork();
    if (child < 0) refuse("no process: " + std::string(std::strerror(errno)));
    if (child == 0) {
        ::close(ends[0]);
        const std::string line = to_line(measure(w, procs, seed, transfer));
        const bool written = ::write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size());
        std::_Exit(written ? 0 : 2);
    }
    ::close(ends[1]);
    std::string line;
    char part[4096];
    for (ssize_t n; (n = ::read(ends[0], part, sizeof part)) > 0;) line.append(part, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) refuse(std::string(w.name) + " with " + std::to_string(procs) + " processors ended with status " +
                            std::to_string(status));
    return from_line(line);
}

}  // namespace scaling

int main(int argc, char** argv) {
    const arguments a = parse(argc, argv);
    if (a.list) {
        for (const work& w : works()) std::printf("%-18s %s\n", w.name, w.operation);
        return 0;
    }
    without_random_addresses(argv);
    if (a.check) return check(a.seed) ? 0 : 1;
    std::regex wanted;
    try {
        wanted = std::regex(a.work);
    } catch (const std::regex_error& e) {
        refuse("--work " + a.work + ": " + e.what());
    }
    std::vector<result> all;
    std::cout << heading();
    for (const work& w : works()) {
        if (!std::regex_search(w.name, wanted)) continue;
        for (unsigned procs : a.procs) {
            if (procs < w.least_procs) continue;
            all.push_back(measure_in_child(w, procs, a.seed, a.transfer));
            std::cout << row(all.back()) << (a.where ? details(all.back()) : "") << std::flush;
        }
    }
    if (all.empty()) refuse("--work " + a.work + ": no work's name contains that, or none has so few processors");
    if (!a.json.empty()) write_file(a.json, json(all));
    if (!a.markdown.empty()) write_file(a.markdown, markdown(all));
    return 0;
}
