// The shape of the workloads echo_*, for all subjects: a server with a goroutine, thread or task for each connection,
// and a client that is a process of its own. See echo.cpp.
//
// The client is the same program for all servers, `handoff_bench --echo-client PORT CONNECTIONS [--closed] [--quick]`. It measures,
// also the processor time of its server, which is the process that started it; so a server only has to serve:
//  - it listens on the loopback interface, at a port that the system chooses, and starts the client with that port;
//  - accepts so many connections, and answers on each until that ends: reads a message, and writes what it read;
//  - makes a figure of what the client prints at its end.
// All of it has an end: the client lives for client_lives_s at most, with it go its connections, and nobody waits longer
// than that for a connection.
#pragma once

#include "figures.hpp"

#include <cstddef>
#include <sys/types.h>
#include <unistd.h>

namespace bench {

struct echo_shape {
    const char* work;
    std::size_t connections;
    bool closed = false;   // no pauses: the next message is sent as soon as one is answered
    unsigned procs = 2;

    static constexpr std::size_t message = 64;     // bytes
    static constexpr std::size_t buffer = 4096;    // of a server of the closed ones, bytes
    static constexpr double mean_pause_ns = 20e6;  // of a connection, from an answer to the next message
    static constexpr unsigned client_lives_s = 40;

    static double warm_up_ns(const settings& s) { return s.quick ? 200e6 : 500e6; }
    static double measured_ns(const settings& s) { return s.quick ? 600e6 : 2000e6; }
};

inline constexpr echo_shape echo_50{"echo_blocking_50", 50};
inline constexpr echo_shape echo_500{"echo_blocking_500", 500};
inline constexpr echo_shape echo_unguarded_50{"echo_blocking_unguarded_50", 50};
inline constexpr echo_shape echo_unguarded_500{"echo_blocking_unguarded_500", 500};
inline constexpr echo_shape echo_net_50{"echo_net_50", 50};
inline constexpr echo_shape echo_net_500{"echo_net_500", 500};
inline constexpr echo_shape echo_1{"echo_1", 1, true};
inline constexpr echo_shape echo_64{"echo_64", 64, true};
inline constexpr echo_shape echo_1000{"echo_1000", 1000, true};
inline constexpr echo_shape echo_1_1p{"echo_1_1p", 1, true, 1};
inline constexpr echo_shape echo_64_1p{"echo_64_1p", 64, true, 1};
inline constexpr echo_shape echo_1000_1p{"echo_1000_1p", 1000, true, 1};

// run_echo_client is the client's main; throws. It prints one line of eight numbers: how many messages were measured; of
// the time from before a message is written until its answer is read p50, p99, p99.9 and the longest; the processor time
// that the server took for a message; how many threads it had; for how long was measured, for each message. Times are in
// microseconds.
void run_echo_client(unsigned port, std::size_t connections, bool closed, const settings& s);

// echo_server is what the servers in C++ share: the socket that listens, and the client. All its calls block.
class echo_server {
public:
    // Starts the client, so it is to be made before a runtime is.
    echo_server(const echo_shape& shape, const settings& s);
    // The same for a server that listens itself, at that port. accept is not for it.
    echo_server(const echo_shape& shape, unsigned port, const settings& s);
    ~echo_server();
    echo_server(const echo_server&) = delete;
    echo_server& operator=(const echo_server&) = delete;

    const echo_shape& shape() const { return shape_; }

    // accept returns a new connection; throws if none comes.
    int accept() const;

    // figure_of waits for the client's end, and returns what it has measured.
    figure figure_of(const char* subject, unsigned procs);

private:
    void start_client(unsigned port, const settings& s);

    const echo_shape shape_;
    int listener_ = -1;
    int report_ = -1;   // the client's line comes out of it
    pid_t client_ = -1;
};

// answer serves a connection until its end. read(fd, buffer, size) and write(fd, buffer, size) make the calls.
template <class Read, class Write>
void answer(int connection, Read read, Write write) {
    char message[echo_shape::message];
    for (;;) {
        const ssize_t got = read(connection, message, sizeof message);
        // (A socket takes so few bytes at once.) An error is an end, too; the client will tell of it.
        if (got <= 0 || write(connection, message, static_cast<std::size_t>(got)) != got) break;
    }
    ::close(connection);
}

}  // namespace bench
