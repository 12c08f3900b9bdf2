// What the echo servers in C++ share: see echo.hpp.

#include "echo.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>

extern char** environ;

namespace bench {

namespace {

[[noreturn]] void fail(int error, const char* what) {
    throw std::system_error(error, std::generic_category(), what);
}

// listening is a socket on the loopback interface that takes so many connections at once; `port` becomes its port.
int listening(std::size_t connections, unsigned& port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail(errno, "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(fd, any, size) || ::listen(fd, static_cast<int>(connections)) || ::getsockname(fd, any, &size)) {
        const int error = errno;
        ::close(fd);
        fail(error, "a listening socket");
    }
    port = ntohs(address.sin_port);
    return fd;
}

// spawn starts this program anew, with its standard output at `output`.
pid_t spawn(std::vector<std::string> arguments, int output) {
    arguments.insert(arguments.begin(), "handoff_bench");
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    pid_t child = -1;
    const int error = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error) fail(error, "the echo client");
    return child;
}

}  // namespace

echo_server::echo_server(const echo_shape& shape, const settings& s) : shape_(shape) {
    unsigned port = 0;
    listener_ = listening(shape.connections, port);
    try {
        start_client(port, s);
    } catch (...) {
        ::close(listener_);
        throw;
    }
}

echo_server::echo_server(const echo_shape& shape, unsigned port, const settings& s) : shape_(shape) { start_client(port, s); }

echo_server::~echo_server() {
    if (client_ > 0) {
        ::kill(client_, SIGKILL);
        ::waitpid(client_, nullptr, 0);
    }
    ::close(report_);
    if (listener_ >= 0) ::close(listener_);
}

void echo_server::start_client(unsigned port, const settings& s) {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC)) fail(errno, "pipe");
    std::vector<std::string> arguments{"--echo-client", std::to_string(port), std::to_string(shape_.connections)};
    if (shape_.closed) arguments.push_back("--closed");
    if (s.quick) arguments.push_back("--quick");
    try {
        client_ = spawn(arguments, pipe[1]);
    } catch (...) {
        ::close(pipe[0]);
        ::close(pipe[1]);
        throw;
    }
    ::close(pipe[1]);
    report_ = pipe[0];
}

int echo_server::accept() const {
    pollfd connecting{listener_, POLLIN, 0};
    if (::poll(&connecting, 1, 1000 * static_cast<int>(echo_shape::client_lives_s)) != 1)
        throw std::runtime_error("the echo client did not connect");
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) fail(errno, "accept");
    return connection;
}

figure echo_server::figure_of(const char* subject, unsigned procs) {
    char text[256] = {};
    const ssize_t got = ::read(report_, text, sizeof text - 1);   // a line as short as this comes at once
    int status = 0;
    ::waitpid(client_, &status, 0);
    client_ = -1;
    double requests, p50, p99, p999, longest, cpu, threads, each;
    if (status || got <= 0 ||
        std::sscanf(text, "%lf %lf %lf %lf %lf %lf %lf %lf", &requests, &p50, &p99, &p999, &longest, &cpu, &threads, &each) != 8)
        throw std::runtime_error("the echo client failed, with status " + std::to_string(status));
    return {shape_.work,
            subject,
            procs,
            shape_.closed ? each : p50,
            "µs",
            {{"p50", p50},
             {"p99", p99},
             {"p999", p999},
             {"max", longest},
             {"cpu_us", cpu},
             {"requests", requests},
             {"threads", threads}}};
}

}  // namespace bench
