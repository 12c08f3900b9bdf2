// parallel_grep: the lines that contain a text, in all files below some directories, like `grep -rIn`.
//
//     parallel_grep [-E] [-u] [-j N] [-m N] PATTERN PATH...
//
// -E: PATTERN is a std::regex; -u: output in any order; -j: the most readers at once; -m: the most lines. Exit status as
// grep's: 0 if there is such a line, 1 if there is none, 2 for an error.
//
// One goroutine walks the directories and starts a reader for each file, in a task group that lets a limited number of
// them run: go() waits for a place. The readers send what they have found to the printer, by copies of a sender; the
// printer's loop ends when the last copy is gone. For ordered output each reader waits for the one before it: it has that
// one's handle. With -m the printer cancels the group when it has enough. Reading blocks, so it is done under a guard;
// matching computes, and std::regex recurses over the line, so that is done on the thread's stack, which is large.
#include <handoff/handoff.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_for_regex = 4096;   // characters; the rest of a longer line is not looked at

struct settings {
    std::string_view pattern;
    std::optional<std::regex> regex;
    bool ordered = true;
    unsigned readers = 8, most = 1'000'000'000;
};

struct found {
    fs::path path;
    std::vector<std::string> lines;   // "NUMBER:TEXT"
    std::string error;
};

bool matches(const settings& s, std::string_view line) {
    if (!s.regex) return line.find(s.pattern) != line.npos;
    line = line.substr(0, longest_for_regex);
    return handoff::call_on_thread_stack([&] { return std::regex_search(line.begin(), line.end(), *s.regex); });
}

found search(const settings& s, fs::path path) {
    found result{std::move(path), {}, {}};
    std::string text;
    const bool read = handoff::blocking_call([&] {
        std::ifstream file(result.path, std::ios::binary);
        text.assign(std::istreambuf_iterator<char>(file), {});
        return file.good();
    });
    if (!read) result.error = "cannot be read";
    if (text.find('\0') != text.npos) return result;   // not a text
    std::string_view rest = text;
    for (unsigned number = 1; !rest.empty(); ++number) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (matches(s, line)) result.lines.push_back(std::to_string(number) + ':' + std::string(line));
    }
    return result;
}

// The entries of a directory, sorted; those that are links are left out. Blocks.
std::vector<fs::path> entries(const fs::path& directory, std::error_code& error) {
    std::vector<fs::path> all;
    for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
        if (!at->is_symlink(error)) all.push_back(at->path());
    std::sort(all.begin(), all.end());
    return all;
}

// walk starts a reader for each regular file at or below the paths.
void walk(const settings& s, std::vector<fs::path> todo, handoff::task_group& group,
          const handoff::sender<found>& results) {
    handoff::join_handle<void> last;
    std::reverse(todo.begin(), todo.end());
    while (!todo.empty()) {
        fs::path path = std::move(todo.back());
        todo.pop_back();
        std::error_code error;
        const fs::file_status status = handoff::blocking_call([&] { return fs::status(path, error); });
        if (fs::is_directory(status)) {
            const auto below = handoff::blocking_call(entries, path, error);
            todo.insert(todo.end(), below.rbegin(), below.rend());
        } else if (fs::is_regular_file(status)) {
            last = group.go([&s, path, results, before = std::move(last)]() mutable {
                found result = search(s, std::move(path));
                if (s.ordered && before.joinable()) before.join();
                results.send(std::move(result));
            });
        }
        if (error) results.send({path, {}, error.message()});
    }
}

// print_all returns the exit status, which is grep's.
int print_all(const settings& s, const std::vector<fs::path>& paths) {
    handoff::task_group group;
    group.limit(s.readers + 1);   // and the walker
    auto [tx, rx] = handoff::make_channel<found>(s.readers);
    group.go([&s, &paths, &group, tx = std::move(tx)] { walk(s, paths, group, tx); });
    unsigned left = s.most;
    bool failed = false;
    for (const found& result : rx) {
        handoff::blocking_call([&] {
            for (const std::string& line : result.lines)
                if (left != 0 && left-- != 0) std::printf("%s:%s\n", result.path.c_str(), line.c_str());
            if (!result.error.empty())
                std::fprintf(stderr, "parallel_grep: %s: %s\n", result.path.c_str(), result.error.c_str());
        });
        failed |= !result.error.empty();
        if (left == 0) break;
    }
    group.cancel();   // does nothing if all have ended
    group.wait();     // throws what a reader has thrown
    return failed ? 2 : left == s.most ? 1 : 0;
}

[[noreturn]] void wrong_usage(const char* why, const char* what = "") {
    std::fprintf(stderr,
                 "parallel_grep: %s%s\n"
                 "Usage: parallel_grep [-E] [-u] [-j READERS] [-m LINES] PATTERN PATH...\n",
                 what, why);
    std::exit(2);
}

unsigned parse(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, n);
    if (error != std::errc() || stop != end || n < 1 || n > 1000)
        wrong_usage(": not a number from 1 to 1000", text);
    return n;
}

}  // namespace

int main(int argc, char** argv) {
    settings s;
    bool is_regex = false;
    opterr = 0;
    for (int c; (c = ::getopt(argc, argv, "+Euj:m:")) != -1;) {
        if (c == 'E') is_regex = true;
        else if (c == 'u') s.ordered = false;
        else if (c == 'j') s.readers = parse(optarg);
        else if (c == 'm') s.most = parse(optarg);
        else wrong_usage("unknown option, or one without its number");
    }
    if (argc - optind < 2) wrong_usage("PATTERN and PATH are missing");
    s.pattern = argv[optind];
    try {
        if (is_regex) s.regex.emplace(argv[optind]);
        const std::vector<fs::path> paths(argv + optind + 1, argv + argc);
        handoff::runtime rt;
        const int status = rt.run([&] { return print_all(s, paths); });
        return std::fflush(stdout) == 0 ? status : 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "parallel_grep: %s\n", e.what());
        return 2;
    }
}
