// A child's end of each stream has a number above the standard ones, also where the program has closed its own: else a dup2 to
// one of these would overwrite what the next is to be made of. All of them are close-on-exec, so that no other child inherits
// them, which would keep a pipe open; dup2 clears that in the child.
//
// All that may fail for want of something is done before the child runs.
#include "net/spawn.hpp"

#include "net/operation.hpp"

#include <handoff/syscall.hpp>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

namespace handoff::net::detail {

namespace {

// to_high gives fd a number above the standard streams'. If that fails, fd is closed, and errno says why.
int to_high(int fd) noexcept {
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), error = errno;
    ::close(fd);
    errno = error;
    return high;
}

bool has_nul(const std::string& s) noexcept { return s.find('\0') != s.npos; }
bool has_nul(const std::vector<std::string>& all) noexcept {
    return std::any_of(all.begin(), all.end(), [](const std::string& s) { return has_nul(s); });
}

void append(std::vector<char*>& to, const std::vector<std::string>& from) {
    for (const std::string& s : from) to.push_back(const_cast<char*>(s.c_str()));   // posix_spawn changes none
    to.push_back(nullptr);
}

// What posix_spawn is to do, and how. Its functions return an errno value, or 0.
class plan {
public:
    plan() noexcept {
        error_ = ::posix_spawn_file_actions_init(&actions_);
        if (error_ != 0) return;
        error_ = ::posix_spawnattr_init(&how_);
        if (error_ != 0) ::posix_spawn_file_actions_destroy(&actions_);
        else is_made_ = true;
    }
    ~plan() {
        if (!is_made_) return;
        ::posix_spawnattr_destroy(&how_);
        ::posix_spawn_file_actions_destroy(&actions_);
    }
    plan(const plan&) = delete;
    plan& operator=(const plan&) = delete;

    void set(const process_options& o, const child_streams& s) noexcept {
        for (int i = 0; i < 3; ++i)
            if (const int fd = s.childs[i].get(); fd >= 0) add(::posix_spawn_file_actions_adddup2, &actions_, fd, i);
        if (!o.directory.empty()) add(::posix_spawn_file_actions_addchdir_np, &actions_, o.directory.c_str());
        sigset_t none, pipe;
        sigemptyset(&none);
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        add(::posix_spawnattr_setsigmask, &how_, &none);      // the runtime's threads may block some
        add(::posix_spawnattr_setsigdefault, &how_, &pipe);   // servers ignore it, but `yes | head` relies on it
        add(::posix_spawnattr_setflags, &how_, short{POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF});
    }

    int spawn(pid_t& pid, const char* program, char* const* arguments, char* const* environment) const noexcept {
        if (error_ != 0) return error_;
        handoff::syscall_guard guard;   // it lasts until the child has called execve
        return ::posix_spawnp(&pid, program, &actions_, &how_, arguments, environment);
    }

private:
    template <class F, class... A>
    void add(F f, A... a) noexcept {
        if (error_ == 0) error_ = f(a...);
    }

    posix_spawn_file_actions_t actions_;
    posix_spawnattr_t how_;
    int error_ = 0;
    bool is_made_ = false;
};

}  // namespace

scoped_fd child_streams::open_one(child_stream s, int number, std::error_code& ec) noexcept {
    int fd = -1;
    switch (s.what_) {
        case child_stream::of::parent: return scoped_fd();
        case child_stream::of::null: fd = to_high(::open("/dev/null", O_RDWR | O_CLOEXEC)); break;
        case child_stream::of::descriptor: fd = ::fcntl(s.fd_, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); break;
        case child_stream::of::pipe: return open_pipe(number, ec);
    }
    if (fd < 0) ec.assign(errno, std::generic_category());
    childs[number] = scoped_fd(fd);
    return scoped_fd();
}

scoped_fd child_streams::open_pipe(int number, std::error_code& ec) noexcept {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) == 0)
        for (int& fd : ends) fd = to_high(fd);
    if (ends[0] < 0 || ends[1] < 0) ec.assign(errno, std::generic_category());
    const bool reads = number == STDIN_FILENO;
    childs[number] = scoped_fd(ends[reads ? 0 : 1]);
    return scoped_fd(ends[reads ? 1 : 0]);
}

void child_streams::open(const process_options& o, std::error_code& ec, std::string& what) {
    ec.clear();
    const child_stream wanted[] = {o.in, o.out, o.err};
    const char* const names[] = {"input", "output", "error"};
    for (int i = 0; i < 3 && !ec; ++i) {
        scoped_fd ours = open_one(wanted[i], i, ec);
        if (!ec && ours.get() >= 0) {
            if (i == STDIN_FILENO) in = pipe_writer::take(ours.get(), ec);
            else (i == STDOUT_FILENO ? out : err) = pipe_reader::take(ours.get(), ec);
            if (!ec) ours.release();
        }
        if (ec) what = std::string("the standard ") + names[i] + " of " + o.program;
    }
}

pid_t spawn(const process_options& o, const child_streams& s, std::error_code& ec) {
    ec.clear();
    if (o.program.empty() || has_nul(o.program) || has_nul(o.directory) || has_nul(o.arguments) ||
        (o.environment && has_nul(*o.environment))) {
        ec = std::make_error_code(std::errc::invalid_argument);
        return -1;
    }
    std::vector<char*> arguments{const_cast<char*>(o.program.c_str())}, environment;
    append(arguments, o.arguments);
    if (o.environment) append(environment, *o.environment);
    plan p;
    p.set(o, s);
    pid_t pid = -1;
    const int error = p.spawn(pid, o.program.c_str(), arguments.data(), o.environment ? environment.data() : environ);
    ec.assign(error, std::generic_category());
    return error == 0 ? pid : -1;
}

}  // namespace handoff::net::detail
