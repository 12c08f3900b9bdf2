// sha256tree: the SHA-256 of every regular file below some directories.
//
// Prints what `find DIR... -type f | sort | xargs -r sha256sum` prints (for names with blanks and newlines: with -print0, -z
// and -0). The code is that of a sequential program, with one goroutine for each file: plain open, read and readdir, which
// simply block. While one goroutine waits for the disk, its processor runs another, which hashes its file.
#include <handoff/handoff.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <exception>
#include <fcntl.h>
#include <getopt.h>
#include <memory>
#include <new>
#include <openssl/evp.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using std::chrono::steady_clock;

constexpr std::size_t read_size = 128 * 1024;
constexpr std::size_t default_in_flight = 64;
constexpr std::size_t most_in_flight = 1'000'000;
constexpr const char* erase_line = "\r\033[K";

// System calls under a guard. They return the result or -errno. They use handoff::last_errno(), since after the call the
// goroutine may be on another thread, while the compiler may still use the address of errno on the old one.

template <class Call>
auto or_errno(Call call) {
    const auto result = handoff::blocking_call(call);
    return result < 0 ? -static_cast<decltype(result)>(handoff::last_errno()) : result;
}

int open_file(const char* path) {
    return or_errno([&] { return ::open(path, O_RDONLY | O_CLOEXEC); });
}

ssize_t read_some(int fd, void* to, std::size_t size) {
    for (;;) {
        const ssize_t n = or_errno([&] { return ::read(fd, to, size); });
        if (n != -EINTR) return n;
    }
}

ssize_t write_some(int fd, const char* from, std::size_t size) {
    for (;;) {
        const ssize_t n = or_errno([&] { return ::write(fd, from, size); });
        if (n != -EINTR) return n;
    }
}

int close_file(int fd) {
    return or_errno([&] { return ::close(fd); });
}

// Only errno tells whether readdir has failed. noinline: so both accesses to errno are in code that stays on one thread.
[[gnu::noinline]] dirent* read_entry(DIR* dir, int& error) {
    errno = 0;
    dirent* entry = ::readdir(dir);
    error = entry ? 0 : errno;
    return entry;
}

struct file_hash {
    std::array<unsigned char, 32> digest{};
    int error = 0;
};

struct totals {
    std::uint64_t files = 0;
    std::chrono::duration<double> time{};
    unsigned most_threads = 0;   // the largest number seen in use at once
    handoff::stats runtime;
};

// The terminal, shared by the results, the messages and the progress line. Its writers seldom meet, so a flag is enough as a
// lock.
class terminal {
public:
    terminal() : shows_progress_(::isatty(STDERR_FILENO) == 1) {}

    // progress replaces the progress line, at most ten times a second; it does nothing if another goroutine is writing.
    void progress(std::uint64_t files, std::uint64_t bytes) {
        if (!shows_progress_) return;
        const auto now = steady_clock::now().time_since_epoch().count();
        if (now < next_.load(std::memory_order_relaxed) || busy_.test_and_set(std::memory_order_acquire)) return;
        constexpr steady_clock::duration pause = std::chrono::milliseconds(100);
        next_.store(now + pause.count(), std::memory_order_relaxed);
        const double seconds = std::chrono::duration<double>(steady_clock::now() - start_).count();
        const double megabytes = static_cast<double>(bytes) / 1e6;
        char line[128];
        std::snprintf(line, sizeof line, "%s%llu files, %.1f MB, %.1f MB/s", erase_line,
                      static_cast<unsigned long long>(files), megabytes, seconds > 0 ? megabytes / seconds : 0);
        write_all(STDERR_FILENO, line);
        shown_ = true;
        busy_.clear(std::memory_order_release);
    }

    // write erases the progress line and writes `text`; returns 0 or errno.
    int write(int fd, std::string_view text) {
        while (busy_.test_and_set(std::memory_order_acquire))
            handoff::this_goroutine::sleep_for(std::chrono::milliseconds(1));
        if (std::exchange(shown_, false)) write_all(STDERR_FILENO, erase_line);
        const int error = write_all(fd, text);
        busy_.clear(std::memory_order_release);
        return error;
    }

    void complain(std::string_view what, int error) {
        std::string line = "sha256tree: ";
        line.append(what).append(": ").append(std::strerror(error)).append("\n");
        write(STDERR_FILENO, line);
    }

private:
    static int write_all(int fd, std::string_view text) {
        while (!text.empty()) {
            const ssize_t n = write_some(fd, text.data(), text.size());
            if (n < 0) return static_cast<int>(-n);
            text.remove_prefix(static_cast<std::size_t>(n));
        }
        return 0;
    }

    const bool shows_progress_;
    const steady_clock::time_point start_ = steady_clock::now();
    std::atomic<steady_clock::rep> next_{0};
    std::atomic_flag busy_;
    bool shown_ = false;   // guarded by busy_
};

// What sha256sum prints for a file. A backslash, newline or carriage return in the name is escaped, and a backslash at the
// beginning of the line says so.
void append_line(std::string& out, const file_hash& hash, std::string_view name) {
    const bool escape = name.find_first_of("\\\n\r") != name.npos;
    if (escape) out += '\\';
    for (const unsigned char byte : hash.digest) {
        constexpr const char* digits = "0123456789abcdef";
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    out += "  ";
    if (!escape) {
        out += name;
    } else {
        for (const char c : name) {
            if (c == '\\') out += "\\\\";
            else if (c == '\n') out += "\\n";
            else if (c == '\r') out += "\\r";
            else out += c;
        }
    }
    out += '\n';
}

// The order of sort(1): that of the locale, and of the bytes where the locale sees no difference.
bool sorts_before(const std::string& a, const std::string& b) {
    const int order = std::strcoll(a.c_str(), b.c_str());
    return order ? order < 0 : a < b;
}

class hasher {
public:
    explicit hasher(std::size_t in_flight)
        : in_flight_(in_flight), algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr)) {
        if (!algorithm_) throw std::runtime_error("libcrypto has no SHA-256");
    }

    // run is what the main goroutine executes.
    void run(handoff::runtime& rt, const std::vector<std::string>& arguments) {
        const auto start = steady_clock::now();
        for (const std::string& argument : arguments) find(argument);
        std::sort(paths_.begin(), paths_.end(), sorts_before);
        hash_all(rt);
        flush();
        if (!stop_.load(std::memory_order_relaxed))
            if (const int error = close_file(STDOUT_FILENO); error < 0) output_failed(-error);
        totals_.time = steady_clock::now() - start;
        sample(rt);
    }

    // To be called after run.
    bool failed() const { return failed_; }
    const totals& sums() const { return totals_; }
    std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
    void print(std::string_view text) { terminal_.write(STDERR_FILENO, text); }

private:
    // find appends the regular files at and below `top` to paths_, spelled as find(1) spells them.
    void find(const std::string& top) {
        struct stat info;
        if (const int error = or_errno([&] { return ::lstat(top.c_str(), &info); }); error < 0)
            return file_failed(top, -error);
        if (S_ISREG(info.st_mode)) paths_.push_back(top);
        if (!S_ISDIR(info.st_mode)) return;
        std::vector<std::string> directories{top};
        while (!directories.empty()) {
            const std::string directory = std::move(directories.back());
            directories.pop_back();
            list(directory, directories);
        }
    }

    void list(const std::string& directory, std::vector<std::string>& directories) {
        int error = 0;
        struct closer {
            void operator()(DIR* d) const { handoff::blocking_call(::closedir, d); }
        };
        const std::unique_ptr<DIR, closer> open(handoff::blocking_call(::opendir, directory.c_str()));
        if (!open) return file_failed(directory, handoff::last_errno());
        while (const dirent* entry = handoff::blocking_call(read_entry, open.get(), error)) {
            const std::string_view name = entry->d_name;
            if (name == "." || name == "..") continue;
            unsigned char type = entry->d_type;
            if (type != DT_REG && type != DT_DIR && type != DT_UNKNOWN) continue;
            std::string path = directory;
            if (path.back() != '/') path += '/';
            path += name;
            if (type == DT_UNKNOWN) {
                struct stat info;
                if (const int e = or_errno([&] { return ::lstat(path.c_str(), &info); }); e < 0) {
                    file_failed(path, -e);
                    continue;
                }
                type = S_ISREG(info.st_mode) ? DT_REG : S_ISDIR(info.st_mode) ? DT_DIR : DT_UNKNOWN;
            }
            if (type == DT_REG) paths_.push_back(std::move(path));
            else if (type == DT_DIR) directories.push_back(std::move(path));
        }
        if (error) file_failed(directory, error);
    }

    // hash_all keeps in_flight_ goroutines running. It has a ring of handles, and joins the oldest before it starts the next
    // goroutine. So the results come in order, too.
    void hash_all(handoff::runtime& rt) {
        std::vector<handoff::join_handle<file_hash>> ring(std::min(in_flight_, paths_.size()));
        std::size_t joined = 0;
        for (std::size_t next = 0; next < paths_.size() && !stop_.load(std::memory_order_relaxed); ++next) {
            if (next - joined == ring.size()) finish(rt, ring, joined++);
            ring[next % ring.size()] = rt.go([this, next] { return hash(paths_[next]); });
        }
        while (joined < paths_.size() && ring[joined % ring.size()].joinable()) finish(rt, ring, joined++);
    }

    void finish(handoff::runtime& rt, std::vector<handoff::join_handle<file_hash>>& ring, std::size_t index) {
        const file_hash result = ring[index % ring.size()].join();
        if (result.error) {
            file_failed(paths_[index], result.error);
        } else {
            files_.fetch_add(1, std::memory_order_relaxed);
            append_line(output_, result, paths_[index]);
            if (output_.size() >= 64 * 1024 || output_to_terminal_) flush();
        }
        if (const auto now = steady_clock::now(); now >= next_sample_) {
            next_sample_ = now + std::chrono::milliseconds(5);
            sample(rt);
        }
    }

    // hash is what the goroutine of one file runs.
    file_hash hash(const std::string& path) {
        file_hash result;
        const int fd = open_file(path.c_str());
        if (fd < 0) {
            result.error = -fd;
            return result;
        }
        result.error = hash_descriptor(fd, result.digest.data());
        close_file(fd);
        return result;
    }

    int hash_descriptor(int fd, unsigned char* digest) {
        struct freer {
            void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
        };
        const std::unique_ptr<unsigned char[]> buffer(new (std::nothrow) unsigned char[read_size]);
        const std::unique_ptr<EVP_MD_CTX, freer> context(EVP_MD_CTX_new());
        if (!buffer || !context || !EVP_DigestInit_ex2(context.get(), algorithm_.get(), nullptr)) return ENOMEM;
        while (!stop_.load(std::memory_order_relaxed)) {
            const ssize_t n = read_some(fd, buffer.get(), read_size);
            if (n < 0) return static_cast<int>(-n);
            if (n == 0) return EVP_DigestFinal_ex(context.get(), digest, nullptr) ? 0 : EIO;
            if (!EVP_DigestUpdate(context.get(), buffer.get(), static_cast<std::size_t>(n))) return EIO;
            const std::uint64_t bytes = bytes_.fetch_add(static_cast<std::uint64_t>(n), std::memory_order_relaxed);
            terminal_.progress(files_.load(std::memory_order_relaxed), bytes + static_cast<std::uint64_t>(n));
        }
        return ECANCELED;
    }

    void file_failed(const std::string& path, int error) {
        failed_ = true;
        if (!stop_.load(std::memory_order_relaxed)) terminal_.complain(path, error);
    }

    void output_failed(int error) {
        failed_ = true;
        stop_.store(true, std::memory_order_relaxed);
        terminal_.complain("standard output", error);
    }

    void flush() {
        if (!output_.empty() && !stop_.load(std::memory_order_relaxed))
            if (const int error = terminal_.write(STDOUT_FILENO, output_)) output_failed(error);
        output_.clear();
    }

    void sample(handoff::runtime& rt) {
        totals_.runtime = rt.stats();
        totals_.files = files_.load(std::memory_order_relaxed);
        totals_.most_threads =
            std::max(totals_.most_threads, totals_.runtime.threads - totals_.runtime.threads_idle);
    }

    struct md_freer {
        void operator()(EVP_MD* m) const { EVP_MD_free(m); }
    };

    const std::size_t in_flight_;
    const std::unique_ptr<EVP_MD, md_freer> algorithm_;
    const bool output_to_terminal_ = ::isatty(STDOUT_FILENO) == 1;
    terminal terminal_;

    // Used by the main goroutine; paths_ doesn't change while files are hashed.
    std::vector<std::string> paths_;
    std::string output_;
    totals totals_;
    steady_clock::time_point next_sample_{};
    bool failed_ = false;

    std::atomic<bool> stop_{false};   // standard output has failed
    std::atomic<std::uint64_t> files_{0};
    std::atomic<std::uint64_t> bytes_{0};
};

void usage(std::FILE* to) {
    std::fprintf(to,
                 "Usage: sha256tree [-j N] DIR...\n"
                 "Prints the SHA-256 of every regular file at or below each DIR, in the order and the format of\n"
                 "  find DIR... -type f | sort | xargs -r sha256sum\n"
                 "\n"
                 "  -j, --jobs=N   hash up to N files at once (default %zu)\n"
                 "  -h, --help     print this help and exit\n"
                 "\n"
                 "Exit status: 0; 1 if a file could not be read or the output not be written; 2 for wrong usage.\n",
                 default_in_flight);
}

[[noreturn]] void wrong_usage() {
    usage(stderr);
    std::exit(2);
}

std::size_t parse_jobs(const char* text) {
    char* end;
    errno = 0;
    const unsigned long n = std::strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n < 1 || n > most_in_flight) {
        std::fprintf(stderr, "sha256tree: -j %s: not a number from 1 to %zu\n", text, most_in_flight);
        wrong_usage();
    }
    return n;
}

// The number of files that may be open at once: limited by the descriptors that are left after the standard ones, those of
// the runtime, and one for a directory.
std::size_t openable(std::size_t wanted) {
    constexpr rlim_t others = 16;
    rlimit limit;
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
    return std::min<rlim_t>(wanted, limit.rlim_cur > others ? limit.rlim_cur - others : 1);
}

// A file that we open must not become standard output. The descriptors get the opposite access mode, so that to use one
// still fails.
void occupy_standard_descriptors() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
        if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

std::string summary(const totals& sums, std::uint64_t bytes) {
    const double megabytes = static_cast<double>(bytes) / 1e6;
    const double seconds = sums.time.count();
    const handoff::stats& s = sums.runtime;
    char text[512];
    std::snprintf(text, sizeof text,
                  "sha256tree: %llu files, %llu bytes in %.3f s: %.1f MB/s\n"
                  "sha256tree: %u processors; %llu threads created, up to %u seen in use; "
                  "handoffs: %llu sysmon, %llu immediate, %llu unguarded\n",
                  static_cast<unsigned long long>(sums.files), static_cast<unsigned long long>(bytes), seconds,
                  seconds > 0 ? megabytes / seconds : 0, s.procs, static_cast<unsigned long long>(s.threads_created),
                  sums.most_threads, static_cast<unsigned long long>(s.handoffs_sysmon),
                  static_cast<unsigned long long>(s.handoffs_immediate),
                  static_cast<unsigned long long>(s.handoffs_unguarded));
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    std::setlocale(LC_ALL, "");
    occupy_standard_descriptors();
    std::signal(SIGPIPE, SIG_IGN);   // if the reader has gone, write fails with EPIPE

    static const option options[] = {
        {"jobs", required_argument, nullptr, 'j'}, {"help", no_argument, nullptr, 'h'}, {nullptr, 0, nullptr, 0}};
    std::size_t jobs = default_in_flight;
    for (int c; (c = ::getopt_long(argc, argv, "j:h", options, nullptr)) != -1;) {
        if (c == 'j') {
            jobs = parse_jobs(optarg);
        } else if (c == 'h') {
            usage(stdout);
            return std::fflush(stdout) == 0 ? 0 : 1;
        } else {
            wrong_usage();
        }
    }
    if (optind == argc) {
        std::fputs("sha256tree: no DIR given\n", stderr);
        wrong_usage();
    }

    try {
        hasher work(openable(jobs));   // outlives the runtime, and so all goroutines that use it
        handoff::runtime rt;
        const std::vector<std::string> directories(argv + optind, argv + argc);
        rt.run([&] { work.run(rt, directories); });
        work.print(summary(work.sums(), work.bytes()));
        return work.failed() ? 1 : 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "sha256tree: %s\n", e.what());
        return 1;
    }
}
