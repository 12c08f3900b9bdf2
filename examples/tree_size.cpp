// tree_size: the number and the size of all regular files below some directories, determined by a fixed number of workers.
//
// Counts what `find DIR... -type f -printf '%s\n'` lists. Each worker takes a directory from a channel, reads it, and sends
// back what it has found, subdirectories included. If the workers put those into the channel themselves, they would deadlock
// once it is full: all of them would wait to send, and none would receive. So they send them to a coordinator. It keeps the
// directories that wait in a list of any length, and is always ready to receive; it offers the next one by select. Shows
// channels, select, and ordinary blocking code under a guard.
#include <handoff/handoff.hpp>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <exception>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

constexpr unsigned default_workers = 8;
constexpr unsigned most_workers = 1000;   // each has a directory open

// The contents of a directory.
struct listing {
    std::vector<std::string> directories;
    std::vector<std::string> errors;
    std::uint64_t files = 0, bytes = 0;

    void add(const std::string& path, const struct stat& info) {
        if (S_ISDIR(info.st_mode)) directories.push_back(path);
        if (!S_ISREG(info.st_mode)) return;
        ++files;
        bytes += static_cast<std::uint64_t>(info.st_size);
    }
    void fail(const std::string& path, int error) { errors.push_back(path + ": " + std::strerror(error)); }
};

// The next two functions block and know nothing of goroutines.

listing read_directory(const std::string& directory) {
    listing found;
    struct closer {
        void operator()(DIR* d) const { ::closedir(d); }
    };
    const std::unique_ptr<DIR, closer> open(::opendir(directory.c_str()));
    if (!open) {
        found.fail(directory, errno);
        return found;
    }
    const std::string prefix = directory.back() == '/' ? directory : directory + '/';
    errno = 0;
    while (const dirent* entry = ::readdir(open.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            struct stat info;
            const std::string path = prefix + entry->d_name;
            if (::fstatat(::dirfd(open.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0) found.add(path, info);
            else found.fail(path, errno);
        }
        errno = 0;   // only errno tells whether readdir has failed
    }
    if (errno != 0) found.fail(directory, errno);
    return found;
}

listing look_at(const std::vector<std::string>& arguments) {
    listing found;
    for (const std::string& path : arguments) {
        struct stat info;
        if (::lstat(path.c_str(), &info) == 0) found.add(path, info);
        else found.fail(path, errno);
    }
    return found;
}

void work(handoff::channel<std::string> directories, handoff::channel<listing> results) {
    // One guard for all the calls: between them there is little to compute. Under a guard a goroutine stays on its thread,
    // so errno does, too.
    for (const std::string& directory : directories) results.send(handoff::blocking_call(read_directory, directory));
}

struct totals {
    std::uint64_t files = 0, bytes = 0;
    bool failed = false;
};

totals measure(const std::vector<std::string>& arguments, unsigned workers) {
    handoff::channel<std::string> directories(0);
    handoff::channel<listing> results(0);
    handoff::task_group pool;
    for (unsigned i = 0; i < workers; ++i) pool.go([=] { work(directories, results); });

    totals sums;
    std::vector<std::string> waiting;
    unsigned at_work = 0;   // the number of directories that workers are reading
    const auto take = [&](listing found) {
        sums.files += found.files;
        sums.bytes += found.bytes;
        for (std::string& d : found.directories) waiting.push_back(std::move(d));
        for (const std::string& error : found.errors) {
            sums.failed = true;
            handoff::blocking_call([&] { std::fprintf(stderr, "tree_size: %s\n", error.c_str()); });
        }
    };

    take(handoff::blocking_call(look_at, arguments));
    while (!waiting.empty() || at_work != 0) {
        const auto nobody = handoff::channel<std::string>::nil();   // never ready: used when there is nothing to offer
        std::string next;
        if (!waiting.empty()) next = waiting.back();
        handoff::select(handoff::on_send(waiting.empty() ? nobody : directories, std::move(next),
                                         [&] {
                                             waiting.pop_back();
                                             ++at_work;
                                         }),
                        handoff::on_recv(results, [&](std::optional<listing> found) {
                            --at_work;
                            take(std::move(found).value());
                        }));
    }
    directories.close();   // ends the workers
    pool.wait();
    return sums;
}

[[noreturn]] void wrong_usage() {
    std::fprintf(stderr,
                 "Usage: tree_size [-j N] DIR...\n"
                 "Prints how many regular files there are at or below each DIR, and their size in bytes.\n"
                 "\n"
                 "  -j N   read up to N directories at once (default %u)\n"
                 "\n"
                 "Exit status: 0; 1 if something could not be read; 2 for wrong usage.\n",
                 default_workers);
    std::exit(2);
}

unsigned parse_workers(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    if (const auto [stop, error] = std::from_chars(text, end, n);
        error != std::errc() || stop != end || n < 1 || n > most_workers) {
        std::fprintf(stderr, "tree_size: -j %s: not a number from 1 to %u\n", text, most_workers);
        wrong_usage();
    }
    return n;
}

}  // namespace

int main(int argc, char** argv) {
    unsigned workers = default_workers;
    for (int c; (c = ::getopt(argc, argv, "j:")) != -1;) {
        if (c != 'j') wrong_usage();
        workers = parse_workers(optarg);
    }
    if (optind == argc) {
        std::fputs("tree_size: no DIR given\n", stderr);
        wrong_usage();
    }
    const std::vector<std::string> arguments(argv + optind, argv + argc);
    try {
        handoff::runtime rt;
        const totals sums = rt.run([&] { return measure(arguments, workers); });
        std::printf("%llu files, %llu bytes\n", static_cast<unsigned long long>(sums.files),
                    static_cast<unsigned long long>(sums.bytes));
        return std::fflush(stdout) == 0 && !sums.failed ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "tree_size: %s\n", e.what());
        return 1;
    }
}
