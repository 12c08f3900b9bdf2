// echo_server: sends back what it receives on 127.0.0.1, until SIGTERM or SIGINT.
//
//     echo_server [PORT]     # 0, the default: any free port; prints which
//
// Plain blocking sockets: a goroutine accepts, and there is one for each connection. A goroutine that waits for a client
// holds a thread but no processor, so the number of connections is limited. The signal comes to the main thread, which is
// no goroutine: it waits in sigwait, then requests a stop. That ends accept by its canceller, and closes the connections
// for reading: what had arrived is still answered. The runtime has two seconds to come to its end; a client that does not
// read its answers may keep its goroutine longer than that. Such goroutines are named, and end with the process.
#include <handoff/handoff.hpp>

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <netinet/in.h>
#include <stop_token>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_connections = 1000;

class descriptor {
public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    ~descriptor() { ::close(fd_); }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    int get() const noexcept { return fd_; }

private:
    int fd_;
};

// echo answers one client. It blocks; the whole of it is done under one guard.
void echo(int client, const std::stop_token& stop) {
    const descriptor connection(client);
    const std::stop_callback at_stop(stop, [client] { ::shutdown(client, SHUT_RD); });
    std::array<char, 4096> buffer;
    ssize_t n;
    while ((n = ::recv(client, buffer.data(), buffer.size(), 0)) > 0)
        for (ssize_t sent = 0, k; sent < n; sent += k)
            if ((k = ::send(client, &buffer[sent], n - sent, MSG_NOSIGNAL)) < 0) return;   // the client has gone
}

// serve accepts connections until a stop is requested, then waits for their ends.
void serve(int listener, const std::stop_token& stop) try {
    handoff::task_group connections;
    connections.limit(most_connections);   // go() waits for a place
    try {
        for (;;) {
            const int client = handoff::blocking_call(handoff::cancel_with(stop, [&] { ::shutdown(listener, SHUT_RD); }),
                                                      ::accept4, listener, nullptr, nullptr, SOCK_CLOEXEC);
            if (client >= 0) {
                connections.go([client, &stop] { handoff::blocking_call(echo, client, stop); });
            } else {
                std::fprintf(stderr, "echo_server: accept: %s\n", std::strerror(errno));
                handoff::this_goroutine::sleep_for(10ms, stop);   // there may be too many open files
            }
        }
    } catch (const handoff::cancelled&) {
    }
    connections.wait();
} catch (const std::exception& e) {
    std::fprintf(stderr, "echo_server: %s\n", e.what());
}

void check(bool good, const char* what) {
    if (!good) throw std::system_error(errno, std::generic_category(), what);
}

// The port on which it listens.
std::uint16_t listen_on(int listener, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    const int yes = 1;
    socklen_t size = sizeof address;
    check(::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0, "setsockopt");
    check(::bind(listener, any, size) == 0, "bind");
    check(::listen(listener, SOMAXCONN) == 0, "listen");
    check(::getsockname(listener, any, &size) == 0, "getsockname");
    return ntohs(address.sin_port);
}

}  // namespace

int main(int argc, char** argv) try {
    std::uint16_t port = 0;
    if (argc > 1) {
        const char* const end = argv[1] + std::strlen(argv[1]);
        const auto [stop, error] = std::from_chars(argv[1], end, port);
        if (argc > 2 || error != std::errc() || stop != end) {
            std::fputs("Usage: echo_server [PORT]\n", stderr);
            return 2;
        }
    }
    sigset_t ends;   // blocked before there are other threads, so that only sigwait gets them
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    const descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    check(listener.get() >= 0, "socket");
    std::printf("listening on 127.0.0.1:%d\n", listen_on(listener.get(), port));
    std::fflush(stdout);

    auto* const rt = new handoff::runtime;   // if a goroutine does not end, nobody may destroy it
    std::stop_source stop;
    rt->go(serve, listener.get(), stop.get_token()).detach();
    int signal = 0;
    ::sigwait(&ends, &signal);
    stop.request_stop();
    const auto left = rt->shutdown(2s);
    for (const auto& g : left) std::fprintf(stderr, "echo_server: still there: %s\n", g.who.describe().c_str());
    if (!left.empty()) std::quick_exit(1);
    delete rt;
    std::puts("stopped");
    return std::fflush(stdout) == 0 ? 0 : 1;
} catch (const std::exception& e) {
    std::fprintf(stderr, "echo_server: %s\n", e.what());
    return 1;
}
