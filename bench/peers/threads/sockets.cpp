// The echo server on sockets that don't block, without coroutines: see workloads/echo.cpp.
//
//   epoll   a thread for each of the Ps, each with an edge-triggered epoll of its own and its share of the connections. Nobody
//           can do with fewer system calls: what comes is read and written back in the thread that was woken.
//   asio    as many threads run one io_context
//
// The connections come from one listening socket and are dealt out in turns, as the kernel would with a socket for each thread
// (SO_REUSEPORT), but evenly.

#include "../../workloads/echo.hpp"
#include "../../workloads/registry.hpp"

#if __has_include(<boost/asio/io_context.hpp>)
#define HANDOFF_BENCH_HAS_ASIO 1
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#endif

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>

namespace {

using namespace bench;

int checked(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

// accepted is a connection that does not block and sends at once, as those of all subjects do.
int accepted(const echo_server& server) {
    const int fd = server.accept(), on = 1;
    checked(::fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
    checked(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    return fd;
}

// answer_all answers what has come; false if it was the end. Less than there was room for: no more is there.
bool answer_all(int fd) {
    char message[echo_shape::buffer];
    for (;;) {
        const ssize_t got = ::recv(fd, message, sizeof message, 0);
        if (got < 0) return errno == EAGAIN;
        if (got == 0 || ::send(fd, message, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) return false;
        if (static_cast<std::size_t>(got) < sizeof message) return true;
    }
}

void serve(int epoll, std::size_t connections) {
    while (connections != 0) {
        epoll_event events[128];
        const int count = ::epoll_wait(epoll, events, 128, -1);
        for (int i = 0; i < count; ++i) {
            if (answer_all(events[i].data.fd)) continue;
            ::close(events[i].data.fd);
            --connections;
        }
    }
    ::close(epoll);
}

template <const echo_shape& shape>
figure figure_of_epoll(const settings& s) {
    echo_server server(shape, s);
    std::vector<int> epolls(shape.procs);
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < shape.procs; ++i) {
        const int epoll = epolls[i] = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        const std::size_t share = (shape.connections + shape.procs - 1 - i) / shape.procs;
        threads.emplace_back([epoll, share] { serve(epoll, share); });
    }
    for (std::size_t i = 0; i < shape.connections; ++i) {
        epoll_event event{};
        event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
        event.data.fd = accepted(server);
        checked(::epoll_ctl(epolls[i % shape.procs], EPOLL_CTL_ADD, event.data.fd, &event), "epoll_ctl");
    }
    threads.clear();
    return server.figure_of("epoll", shape.procs);
}

template <const echo_shape& two, const echo_shape& one>
std::vector<figure> on_epoll(const settings& s) {
    return {figure_of_epoll<two>(s), figure_of_epoll<one>(s)};
}

const register_workload epoll_1({{"echo_1", "echo_1_1p"}, "epoll", on_epoll<echo_1, echo_1_1p>});
const register_workload epoll_64({{"echo_64", "echo_64_1p"}, "epoll", on_epoll<echo_64, echo_64_1p>});
const register_workload epoll_1000({{"echo_1000", "echo_1000_1p"}, "epoll", on_epoll<echo_1000, echo_1000_1p>});

#ifdef HANDOFF_BENCH_HAS_ASIO
namespace asio = boost::asio;

class asio_connection : public std::enable_shared_from_this<asio_connection> {
public:
    asio_connection(asio::io_context& context, int fd) : socket_(context, asio::ip::tcp::v4(), fd) {}

    void read() {
        socket_.async_read_some(asio::buffer(message_), [self = shared_from_this()](std::error_code ec, std::size_t got) {
            if (!ec) self->write(got);
        });
    }

private:
    void write(std::size_t size) {
        asio::async_write(socket_, asio::buffer(message_, size), [self = shared_from_this()](std::error_code ec, std::size_t) {
            if (!ec) self->read();
        });
    }

    asio::ip::tcp::socket socket_;
    char message_[echo_shape::buffer];
};

template <const echo_shape& shape>
figure figure_of_asio(const settings& s) {
    echo_server server(shape, s);
    asio::io_context context(static_cast<int>(shape.procs));
    std::vector<std::jthread> threads;
    {
        const auto stays = asio::make_work_guard(context);
        for (unsigned i = 0; i < shape.procs; ++i) threads.emplace_back([&context] { context.run(); });
        for (std::size_t i = 0; i < shape.connections; ++i) std::make_shared<asio_connection>(context, accepted(server))->read();
    }
    threads.clear();   // the contexts run until no connection is left
    return server.figure_of("asio", shape.procs);
}

template <const echo_shape& two, const echo_shape& one>
std::vector<figure> on_asio(const settings& s) {
    return {figure_of_asio<two>(s), figure_of_asio<one>(s)};
}

const register_workload asio_1({{"echo_1", "echo_1_1p"}, "asio", on_asio<echo_1, echo_1_1p>});
const register_workload asio_64({{"echo_64", "echo_64_1p"}, "asio", on_asio<echo_64, echo_64_1p>});
const register_workload asio_1000({{"echo_1000", "echo_1000_1p"}, "asio", on_asio<echo_1000, echo_1000_1p>});
#endif

}  // namespace
