// network: the sockets of a simulation, in memory (net/simulated_network.hpp).
//
// The model. A connection has two flows, one for each direction. What is written goes into `in_transit` and arrives, in
// order, after a latency that is drawn for each piece; the bytes that are on their way or unread are bounded. So what one
// connection carries keeps its order, and what several carry has none but the seed's. The end of a stream, a reset, and the
// news that a connection is made travel in the flow like bytes. Streams of the Unix domain work likewise, without latency:
// what is written is there at once.
//
// Everything that happens later is a timer of the simulation's processor, with `run`. So the simulator orders what is due at
// the same instant, among these timers and relative to goroutines, by the seed.
//
// Short transfers. The kernel returns less than was asked for only where nothing is left, and an edge follows;
// descriptor_word relies on that. So what arrives is torn in two now and then, and the rest comes a moment later, with an
// edge of its own; and a write finds less room than there is, and the rest of the room comes back a moment later, likewise.
//
// Edges are told as epoll does. What happens to a socket puts it on a ready list (`told`), once. Later somebody fetches it:
// only then its state is looked at, so that one edge may tell of several happenings, or of none. What was fetched may be
// handled later still (as by a thread that lost its core), when the socket may be another's already: the bits and data are
// those of before.
//
// A network has random numbers of its own, so that simulations that use none are what they were before there was one.
#pragma once

#include "net/simulated_network.hpp"
#include "timer/timer_heap.hpp"

#include <handoff/net/address.hpp>
#include <handoff/simulation.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <netinet/in.h>
#include <string>
#include <utility>
#include <vector>

namespace handoff::detail {

struct M;

class network final : public simulated_network {
public:
    // Throws std::invalid_argument, which names the bad option.
    network(std::uint64_t seed, const network_options& o);
    ~network() = default;

    // A run begins on m, whose numbers are those of simulations at that depth within others. It ends: all sockets are closed,
    // also for those who still have them.
    void begin(M* m, unsigned depth) noexcept;
    void end() noexcept;
    unsigned depth() const noexcept { return depth_; }

    // ---- Sockets, names and connections: network.cpp, names.cpp, connecting.cpp ----
    int socket(int family, int type, int protocol) override;
    int socketpair(int family, int type, int protocol, int* fds) override;
    int bind(int fd, const sockaddr* a, socklen_t n) override;
    int listen(int fd, int backlog) override;
    int connect(int fd, const sockaddr* a, socklen_t n) override;
    int accept4(int fd, sockaddr* a, socklen_t* n, int flags) override;
    int getsockname(int fd, sockaddr* a, socklen_t* n) override;
    int getpeername(int fd, sockaddr* a, socklen_t* n) override;
    int getsockopt(int fd, int level, int name, void* value, socklen_t* n) override;
    int setsockopt(int fd, int level, int name, const void* value, socklen_t n) override;
    int close(int fd) override;
    int watch(int fd, std::uint64_t data) override;
    void made(int fd, descriptor* d, std::uint32_t generation) noexcept override;
    const std::vector<net::address>* addresses_of(const std::string& host) const override;

    // ---- Streams: stream.cpp ----
    int shutdown(int fd, int how) override;
    ssize_t recvmsg(int fd, msghdr* m, int flags) override;
    ssize_t sendmsg(int fd, const msghdr* m, int flags) override;
    int poll_one(int fd, short events) override;

private:
    struct node;
    using node_ref = std::shared_ptr<node>;

    enum class what { bytes, made, end, reset };   // what travels in a flow
    struct piece {
        what kind;
        std::string bytes;
    };
    struct flow {
        std::deque<piece> in_transit;    // as many as there are timers for them, unless it was cut off
        std::string arrived;             // from `taken` on it is unread
        std::size_t taken = 0, on_the_way = 0, withheld = 0, capacity = 0;
        std::int64_t last_arrival = 0;
        bool end_sent = false, end_arrived = false;
        std::weak_ptr<node> reader, writer;

        std::size_t unread() const noexcept { return arrived.size() - taken; }
        std::size_t room() const noexcept;
        bool writable() const noexcept { return room() * 3 >= capacity; }   // as the kernel's poll, which knows no smaller room
    };
    using flow_ref = std::shared_ptr<flow>;

    enum class state { fresh, listening, connecting, connected, dead };   // dead: was reset, refused
    struct node {
        int number = -1, family = 0, error = 0;
        state is = state::fresh;
        net::endpoint local, peer;
        bool bound = false;              // has its name
        bool closed = false;
        bool shut_read = false, shut_write = false;
        flow_ref in, out;
        std::deque<node_ref> waiting;    // a listener's connections that nobody has accepted
        std::size_t backlog = 0;
        std::map<std::pair<int, int>, int> options;
        bool reset_by_close = false;     // SO_LINGER with 0 s

        bool watched = false, told = false;
        std::uint64_t data = 0;          // of its events

        descriptor* of = nullptr;
        std::uint32_t generation = 0;
        bool is_unix() const noexcept { return family == AF_UNIX; }
        int option(int level, int name) const;
    };

    // A timer that calls a function in the section of an M.
    struct happening {
        timer t;
        std::function<void(M*)> f;
    };

    // ---- network.cpp ----
    std::uint64_t random() noexcept;
    std::uint64_t random_below(std::uint64_t n) noexcept;   // n > 0
    bool chance(double p) noexcept;
    std::int64_t latency() noexcept;
    std::int64_t some_of(std::chrono::nanoseconds most) noexcept;
    void at(std::int64_t when, std::function<void(M*)> f);
    void after(std::int64_t ns, std::function<void(M*)> f);

    node_ref of(int fd) const noexcept;   // null: there is none
    node_ref new_node(int family);
    int number(const node_ref& n);        // gives it one
    void drop(const node_ref& n);         // what close does, whether it has a number or not

    void edge(const node_ref& n);
    void fetch(const node_ref& n, M* m);
    static void tell(std::uint64_t data, std::uint32_t bits, M* m) noexcept;
    std::uint32_t bits_of(const node& n) const noexcept;   // as epoll's

    // ---- names.cpp ----
    int choose_name(const node_ref& n, const net::endpoint& wanted);
    int take_port(const node_ref& n, net::endpoint at);
    bool conflicts(const node& n, const net::endpoint& at) const;
    net::endpoint autobound();
    node_ref listener_at(const net::endpoint& to);
    static int say(const net::endpoint& e, sockaddr* a, socklen_t* n) noexcept;

    // ---- connecting.cpp ----
    int connect_unix(const node_ref& n, const net::endpoint& to);
    int connect_tcp(const node_ref& n, const net::endpoint& to);
    void syn_arrives(const node_ref& n, unsigned tries);
    void fail(const node_ref& n, int error);
    node_ref make_peer(const node_ref& client, const node_ref& listener);
    void join(const node_ref& a, const node_ref& b);
    static bool is_full(const node& listener) noexcept { return listener.waiting.size() > listener.backlog; }

    // ---- stream.cpp ----
    void send_piece(const flow_ref& f, piece p, bool same_instant);
    void arrive(const flow_ref& f);
    void bytes_arrive(const flow_ref& f, piece p);
    void reset(const node_ref& n, int error);
    void withhold(const flow_ref& f, std::size_t room);
    void end_of(const node_ref& n);
    static int take_error(node& n) noexcept { return -std::exchange(n.error, 0); }
    int may_send(node& n) const noexcept;

    const network_options options_;
    const std::map<std::string, std::vector<net::address>> hosts_;
    std::uint64_t rng_;
    M* m_ = nullptr;                     // null between runs
    unsigned depth_ = 0;
    std::vector<node_ref> nodes_;        // by number
    std::set<int> free_;                 // numbers below nodes_.size() that are free; the lowest is taken next
    std::vector<node_ref> names_;        // those that are bound, in the order in which that happened
    std::uint16_t next_port_ = 0;
    std::uint32_t next_name_ = 0;
};

}  // namespace handoff::detail
