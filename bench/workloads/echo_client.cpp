// The client of the workloads echo_*: see echo.hpp. One thread with epoll, whatever the server is.
//
// It opens all connections, and sends a message on each and waits until all are answered, so that each has its goroutine
// or thread. From then on each connection pauses and sends, for a while that is not measured and one that is. The pauses
// are drawn from 0 to 40 ms by a fixed seed, the same in each run. In a closed loop there are no pauses.

#include "echo.hpp"

#include "process_stats.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <functional>
#include <netinet/in.h>
#include <queue>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <system_error>
#include <utility>

namespace bench {

namespace {

constexpr double first_answers_within_ns = 25e9, last_answers_within_ns = 3e9;

int checked(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

// Who is asked for its processor time: the process that started this one.
class parent_process {
public:
    parent_process() {
        const pid_t parent = ::getppid();
        if (const int error = ::clock_getcpuclockid(parent, &cpu_clock_))
            throw std::system_error(error, std::generic_category(), "the server's clock");
        status_ = "/proc/" + std::to_string(parent) + "/status";
    }
    double cpu_ns() const {
        timespec t;
        checked(::clock_gettime(cpu_clock_, &t), "the server's clock");
        return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
    }
    unsigned threads() const { return process_status(status_.c_str()).now().threads; }

private:
    clockid_t cpu_clock_;
    std::string status_;
};

struct connection {
    int fd = -1;
    double sent_at = 0;
    bool waiting = false;    // for an answer
    bool measured = false;   // the message that was sent last
    std::size_t received = 0;
    std::uint32_t pauses = 0;   // the state of a generator

    double next_pause_ns() {
        pauses = pauses * 1664525u + 1013904223u;
        return static_cast<double>(pauses >> 8) * (2 * echo_shape::mean_pause_ns / (1 << 24));
    }
};

class echo_client {
public:
    echo_client(unsigned port, std::size_t connections, bool closed)
        : all_(connections), closed_(closed), epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
          timer_(checked(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create")) {
        watch(timer_, connections);
        std::uint32_t seed = 12345;
        for (std::size_t i = 0; i < connections; ++i) {
            scramble(seed);
            all_[i].pauses = seed;
            all_[i].fd = connected(port);
            watch(all_[i].fd, i);
        }
    }

    // have_all_answered sends a message on each connection, and waits until all are answered.
    void have_all_answered() {
        for (connection& c : all_) send(c);
        pausing_ = false;
        wait_for_answers(now_ns() + first_answers_within_ns);
        if (waiting_) throw std::runtime_error(std::to_string(waiting_) + " connections had no first answer in time");
        pausing_ = true;
        for (std::size_t i = 0; i < all_.size(); ++i) pause(i);
    }

    // run_until has the connections pause and send until then.
    void run_until(double end) {
        for (double now = now_ns(); now < end; now = now_ns()) {
            for (; !due_.empty() && due_.top().first <= now; due_.pop()) send(all_[due_.top().second]);
            wait(due_.empty() ? end : std::min(end, due_.top().first));
        }
    }

    void measure(bool on) { measuring_ = on; }

    std::size_t answered() const { return times_.size(); }

    // times ends the sending, and returns how long each message took that was measured. One that has no answer by then
    // took as long as it has been waiting.
    std::vector<double> times() {
        pausing_ = false;
        wait_for_answers(now_ns() + last_answers_within_ns);
        for (const connection& c : all_)
            if (c.waiting && c.measured) times_.push_back(now_ns() - c.sent_at);
        return times_;
    }

private:
    static int connected(unsigned port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        const int fd = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
        checked(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
        return fd;
    }

    void watch(int fd, std::size_t number) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = number;
        checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    }

    void send(connection& c) {
        const char message[echo_shape::message] = {};
        c.measured = measuring_;
        c.waiting = true;
        ++waiting_;
        c.sent_at = now_ns();
        if (::send(c.fd, message, sizeof message, MSG_NOSIGNAL) != sizeof message)
            throw std::system_error(errno, std::generic_category(), "a message");
    }

    void pause(std::size_t number) {
        if (closed_) return send(all_[number]);
        due_.emplace(now_ns() + all_[number].next_pause_ns(), number);
    }

    void receive(std::size_t number) {
        connection& c = all_[number];
        char answer[echo_shape::message];
        const ssize_t got = ::recv(c.fd, answer, sizeof answer - c.received, 0);
        if (got <= 0 || !c.waiting) throw std::runtime_error("the server ended a connection");
        c.received += static_cast<std::size_t>(got);
        if (c.received < sizeof answer) return;
        if (c.measured) times_.push_back(now_ns() - c.sent_at);
        c.received = 0;
        c.waiting = false;
        --waiting_;
        if (pausing_) pause(number);
    }

    // wait takes the answers that are there, or those that come first until then.
    void wait(double until) {
        if (until != timer_is_at_) {
            const auto ns = static_cast<long>(std::max(until, 1.0));
            const itimerspec at{{0, 0}, {ns / 1'000'000'000, ns % 1'000'000'000}};
            checked(::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &at, nullptr), "timerfd_settime");
            timer_is_at_ = until;
        }
        epoll_event events[64];
        const int count = ::epoll_wait(epoll_, events, 64, -1);
        if (count < 0 && errno != EINTR) checked(count, "epoll_wait");
        for (int i = 0; i < count; ++i)
            if (events[i].data.u64 < all_.size()) receive(events[i].data.u64);
    }

    void wait_for_answers(double until) {
        while (waiting_ && now_ns() < until) wait(until);
    }

    using due_time = std::pair<double, std::size_t>;   // when, and on which connection

    std::vector<connection> all_;
    std::priority_queue<due_time, std::vector<due_time>, std::greater<>> due_;
    std::vector<double> times_;
    std::size_t waiting_ = 0;   // connections
    const bool closed_;
    bool pausing_ = true, measuring_ = false;
    double timer_is_at_ = 0;
    int epoll_, timer_;   // closed, as the connections are, by the end of the process
};

}  // namespace

void run_echo_client(unsigned port, std::size_t connections, bool closed, const settings& s) {
    ::alarm(echo_shape::client_lives_s);
    const parent_process server;
    echo_client client(port, connections, closed);
    client.have_all_answered();
    client.run_until(now_ns() + echo_shape::warm_up_ns(s));
    client.measure(true);
    const double cpu_before = server.cpu_ns(), began = now_ns();
    client.run_until(now_ns() + echo_shape::measured_ns(s));
    const double cpu = server.cpu_ns() - cpu_before, lasted = now_ns() - began;
    client.measure(false);
    const auto answered = static_cast<double>(client.answered());
    const unsigned threads = server.threads();
    const std::vector<double> times = client.times();
    if (times.empty() || answered == 0) throw std::runtime_error("no message was answered");
    std::printf("%zu %.6g %.6g %.6g %.6g %.6g %u %.6g\n", times.size(), median(times) * 1e-3, quantile(times, 0.99) * 1e-3,
                quantile(times, 0.999) * 1e-3, quantile(times, 1) * 1e-3, cpu * 1e-3 / answered, threads, lasted * 1e-3 / answered);
}

}  // namespace bench
