// echo_*: an echo server with a goroutine for each connection, on 2 Ps.
//
//   echo_blocking_50, echo_blocking_500                        read() and write() each under the default guard
//   echo_blocking_unguarded_50, echo_blocking_unguarded_500    the same without any guard, as is its accept()
//   echo_net_50, echo_net_500                                  the library's own sockets, which don't block
//   echo_1, echo_64, echo_1000                                 the same without pauses; echo_1_1p, echo_64_1p and
//                                                              echo_1000_1p on one P
//
// The number is that of the connections. On each the client sends 64 bytes, waits for them to come back, and pauses for
// 20 ms on average before the next ones; it is another process, see echo_client.cpp. The value is the median of the
// times from before a message is written until its answer is read, over 2 s, in microseconds; `p99`, `p999` and `max` are
// of the same times. `cpu_us` is the processor time that the server's process took in these 2 s for each answer,
// `threads` how many threads it had at their end, `requests` how many messages were measured.
//
// Without pauses the value is the 2 s divided by the number of answers, so a thousand connections are answered a thousand
// times as often as one if it is the same; `p50` is the median. The client takes a core for itself. The servers of these
// have a buffer of 4 KiB for each connection: who gets less than that knows, or might know, that nothing is left.

#include "echo.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>
#include <handoff/net/algorithms.hpp>
#include <handoff/net/tcp.hpp>

namespace {

using namespace bench;

constexpr unsigned procs = 2;

struct guarded {
    template <class... Arguments>
    static auto call(Arguments... arguments) {
        return handoff::blocking_call(arguments...);
    }
};

struct unguarded {
    template <class Call, class... Arguments>
    static auto call(Call call, Arguments... arguments) {
        return call(arguments...);
    }
};

template <class Guard, const echo_shape& shape>
std::vector<figure> measure(const settings& s) {
    echo_server server(shape, s);
    handoff::runtime rt({.procs = procs});
    rt.run([&] {
        handoff::task_group connections;
        for (std::size_t i = 0; i < shape.connections; ++i) {
            connections.go([connection = Guard::call([&] { return server.accept(); })] {
                answer(
                    connection, [](int fd, void* to, std::size_t size) { return Guard::call(::read, fd, to, size); },
                    [](int fd, const void* from, std::size_t size) { return Guard::call(::write, fd, from, size); });
            });
        }
        connections.wait();
    });
    return {server.figure_of("handoff", procs)};
}

template <const echo_shape& shape>
std::vector<figure> measure_net(const settings& s) {
    namespace net = handoff::net;
    constexpr std::size_t buffer = shape.closed ? echo_shape::buffer : echo_shape::message;
    auto listener = net::tcp_listener::listen({net::address::loopback_v4(), 0});
    echo_server server(shape, listener.local_endpoint().port(), s);
    handoff::runtime rt({.procs = shape.procs});
    rt.run([&] {
        handoff::task_group connections;
        for (std::size_t i = 0; i < shape.connections; ++i) {
            connections.go([connection = listener.accept(std::chrono::seconds(echo_shape::client_lives_s))]() mutable {
                char message[buffer];
                std::error_code ec;   // an error is an end, too; the client will tell of it
                while (const std::size_t got = connection.read_some(message, ec))
                    net::write_all(connection, handoff::const_buffer(message, got), ec);
            });
        }
        connections.wait();
    });
    return {server.figure_of("handoff", shape.procs)};
}

template <const echo_shape& two, const echo_shape& one>
std::vector<figure> measure_closed(const settings& s) {
    std::vector<figure> both = measure_net<two>(s);
    both.push_back(measure_net<one>(s).front());
    return both;
}

const register_workload closed_1({{"echo_1", "echo_1_1p"}, "handoff", measure_closed<echo_1, echo_1_1p>});
const register_workload closed_64({{"echo_64", "echo_64_1p"}, "handoff", measure_closed<echo_64, echo_64_1p>});
const register_workload closed_1000({{"echo_1000", "echo_1000_1p"}, "handoff", measure_closed<echo_1000, echo_1000_1p>});
const register_workload few_net({{"echo_net_50"}, "handoff", measure_net<echo_net_50>});
const register_workload many_net({{"echo_net_500"}, "handoff", measure_net<echo_net_500>});
const register_workload few({{"echo_blocking_50"}, "handoff", measure<guarded, echo_50>});
const register_workload many({{"echo_blocking_500"}, "handoff", measure<guarded, echo_500>});
const register_workload few_unguarded({{"echo_blocking_unguarded_50"}, "handoff", measure<unguarded, echo_unguarded_50>});
const register_workload many_unguarded({{"echo_blocking_unguarded_500"}, "handoff", measure<unguarded, echo_unguarded_500>});

}  // namespace
