#include "sim/network.hpp"

#include "net/descriptor.hpp"
#include "net/sys.hpp"
#include "os/clock.hpp"
#include "sim/split_mix.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <sys/epoll.h>

namespace handoff::detail {

namespace {

// So that its random numbers are others than the simulator's.
constexpr std::uint64_t of_networks = 0x6E6574776F726B73;

// Numbers of a simulation within a simulation are others than those of the outer one.
constexpr int numbers_a_depth = 1 << 20;

// One edge in so many is followed by another one, for which nothing has happened; and what was fetched is handled later as often.
constexpr std::uint64_t one_in = 4;

void check_chance(double p, const char* name) {
    if (p >= 0 && p <= 1) return;
    throw std::invalid_argument(std::string("handoff: network_options.") + name + " is not between 0 and 1");
}

void check_time(std::chrono::nanoseconds t, const char* name) {
    if (t < std::chrono::nanoseconds(0) || t > std::chrono::hours(24))
        throw std::invalid_argument(std::string("handoff: network_options.") + name + " is not between 0 and a day");
}

network_options checked(const network_options& o) {
    check_time(o.least_latency, "least_latency");
    check_time(o.most_latency, "most_latency");
    check_time(o.most_event_delay, "most_event_delay");
    if (o.least_latency > o.most_latency)
        throw std::invalid_argument("handoff: network_options.least_latency is more than most_latency");
    check_chance(o.short_transfers, "short_transfers");
    check_chance(o.resets, "resets");
    check_chance(o.aborted_accepts, "aborted_accepts");
    check_chance(o.accept_shortages, "accept_shortages");
    if (o.aborted_accepts == 1 || o.accept_shortages == 1)
        throw std::invalid_argument("handoff: network_options: aborted_accepts or accept_shortages is 1: nothing is accepted");
    if (o.buffer_size == 0 || o.buffer_size > std::size_t{1} << 30)
        throw std::invalid_argument("handoff: network_options.buffer_size is not between 1 and 2^30");
    return o;
}

std::map<std::string, std::vector<net::address>> hosts_of(const network_options& o) {
    std::map<std::string, std::vector<net::address>> hosts;
    for (const auto& [name, addresses] : o.hosts)
        for (const std::string& text : addresses) {
            std::error_code ec;
            hosts[name].push_back(net::address::parse(text, ec));
            if (ec) throw std::invalid_argument("handoff: network_options.hosts has \"" + text + "\" for " + name + ", which is no address");
        }
    hosts.try_emplace("localhost", std::vector{net::address::loopback_v6(), net::address::loopback_v4()});
    return hosts;
}

}  // namespace

network::network(std::uint64_t seed, const network_options& o)
    : options_(checked(o)), hosts_(hosts_of(o)), rng_(seed ^ of_networks) {}

void network::begin(M* m, unsigned depth) noexcept {
    m_ = m;
    depth_ = depth;
    next_port_ = 0;
    next_name_ = 0;
}

void network::end() noexcept {
    m_ = nullptr;   // timers that are left only delete themselves
    const auto left = std::exchange(nodes_, {});
    free_.clear();
    names_.clear();
    for (const node_ref& n : left)
        if (n && n->of) descriptor_handle(n->of, n->generation).close();
    // Connections that nobody has accepted refer to each other by nothing but weak references.
}

std::uint64_t network::random() noexcept { return split_mix(rng_); }
std::uint64_t network::random_below(std::uint64_t n) noexcept {
    return random() % n;   // n is so small that none is preferred
}
bool network::chance(double p) noexcept { return p != 0 && static_cast<double>(random() >> 11) < p * 0x1p53; }

std::int64_t network::latency() noexcept {
    const std::int64_t least = options_.least_latency.count();
    return least + static_cast<std::int64_t>(random_below(static_cast<std::uint64_t>(options_.most_latency.count() - least) + 1));
}

// some_of is 0 as often as not, and else any time up to the most.
std::int64_t network::some_of(std::chrono::nanoseconds most) noexcept {
    return random_below(2) == 0 ? 0 : static_cast<std::int64_t>(random_below(static_cast<std::uint64_t>(most.count()) + 1));
}

// at lets f happen at that time.
void network::at(std::int64_t when, std::function<void(M*)> f) {
    auto h = std::make_unique<happening>();
    h->f = std::move(f);
    h->t.when = when;
    h->t.arg = h.get();
    h->t.run = [](timer* t, M* m) noexcept {
        const std::unique_ptr<happening> now(static_cast<happening*>(t->arg));
        if (m) now->f(m);
    };
    m_->p.load(std::memory_order_relaxed)->timers.add(&h->t);
    (void)h.release();   // its timer deletes it
}
void network::after(std::int64_t ns, std::function<void(M*)> f) { at(os::nanotime() + ns, std::move(f)); }

// ---- Numbers ----

network::node_ref network::of(int fd) const noexcept {
    const std::size_t i = static_cast<std::size_t>(fd) - (sys::first_simulated + std::size_t{depth_} * numbers_a_depth);
    return i < nodes_.size() ? nodes_[i] : nullptr;
}

network::node_ref network::new_node(int family) {
    auto n = std::make_shared<node>();
    n->family = family;
    if (family == AF_UNIX) n->local = n->peer = net::endpoint::unix_unnamed();
    else n->local = net::endpoint(family == AF_INET ? net::address::any_v4() : net::address::any_v6(), 0);
    return n;
}

int network::number(const node_ref& n) {
    if (free_.empty() && nodes_.size() >= numbers_a_depth) return -EMFILE;
    std::size_t i = nodes_.size();
    if (free_.empty()) {
        nodes_.push_back(n);
    } else {
        i = static_cast<std::size_t>(*free_.begin());
        free_.erase(free_.begin());
        nodes_[i] = n;
    }
    return n->number = static_cast<int>(sys::first_simulated + depth_ * numbers_a_depth + i);
}

int network::socket(int family, int type, int protocol) {
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6) return -EAFNOSUPPORT;
    if ((type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != SOCK_STREAM) return -ESOCKTNOSUPPORT;
    if (protocol != 0 && (family == AF_UNIX || protocol != IPPROTO_TCP)) return -EPROTONOSUPPORT;
    return number(new_node(family));
}

int network::socketpair(int family, int type, int protocol, int* fds) {
    if (family != AF_UNIX) return -EOPNOTSUPP;
    fds[0] = socket(family, type, protocol);
    if (fds[0] < 0) return fds[0];
    fds[1] = socket(family, type, protocol);
    if (fds[1] < 0) {
        close(fds[0]);
        return fds[1];
    }
    join(of(fds[0]), of(fds[1]));
    return 0;
}

void network::made(int fd, descriptor* d, std::uint32_t generation) noexcept {
    const node_ref n = of(fd);
    if (!n) return;
    n->of = d;
    n->generation = generation;
}

int network::close(int fd) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    const std::size_t i = static_cast<std::size_t>(fd) % numbers_a_depth;
    free_.insert(static_cast<int>(i));
    nodes_[i] = nullptr;
    drop(n);
    return 0;
}

// drop ends a socket: what the peer sees of that is under way.
void network::drop(const node_ref& n) {
    n->closed = true;
    std::erase(names_, n);
    for (const node_ref& c : std::exchange(n->waiting, {})) {
        c->reset_by_close = true;
        drop(c);
    }
    end_of(n);
}

// ---- Options ----

int network::node::option(int level, int name) const {
    const auto found = options.find({level, name});
    return found == options.end() ? 0 : found->second;
}

int network::setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
    const node_ref s = of(fd);
    if (!s) return -EBADF;
    if (level == SOL_SOCKET && name == SO_LINGER) {
        linger l{};
        if (n < sizeof l) return -EINVAL;
        std::memcpy(&l, value, sizeof l);
        s->reset_by_close = l.l_onoff != 0 && l.l_linger == 0 && !s->is_unix();
        return 0;
    }
    int v = 0;
    if (n >= sizeof v) std::memcpy(&v, value, sizeof v);
    s->options[{level, name}] = v;
    return 0;
}

int network::getsockopt(int fd, int level, int name, void* value, socklen_t* n) {
    const node_ref s = of(fd);
    if (!s) return -EBADF;
    int v = s->option(level, name);
    if (level == SOL_SOCKET && name == SO_ERROR) v = -take_error(*s);
    else if (level == SOL_SOCKET && name == SO_TYPE) v = SOCK_STREAM;
    else if (level == SOL_SOCKET && name == SO_DOMAIN) v = s->family;
    else if (level == SOL_SOCKET && name == SO_ACCEPTCONN) v = s->is == state::listening;
    *n = std::min<socklen_t>(*n, sizeof v);
    std::memcpy(value, &v, *n);
    return 0;
}

// ---- Events ----

std::uint32_t network::bits_of(const node& n) const noexcept {
    std::uint32_t bits = n.error != 0 ? EPOLLERR : 0u;
    switch (n.is) {
        case state::fresh: return bits | EPOLLOUT | EPOLLHUP;
        case state::listening: return bits | (n.waiting.empty() ? 0u : EPOLLIN);
        case state::connecting: return bits;
        case state::dead: return bits | EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLHUP;
        case state::connected: break;
    }
    const bool read_is_over = n.in->end_arrived || n.shut_read;
    if (read_is_over) bits |= EPOLLIN | EPOLLRDHUP;
    if (n.in->unread() != 0) bits |= EPOLLIN;
    if (n.shut_write || n.out->writable()) bits |= EPOLLOUT;
    if (read_is_over && n.shut_write) bits |= EPOLLHUP;
    return bits;
}

// edge: something has happened to n.
void network::edge(const node_ref& n) {
    if (!n || !n->watched || n->told) return;
    n->told = true;
    after(some_of(options_.most_event_delay), [this, n](M* m) { fetch(n, m); });
}

void network::fetch(const node_ref& n, M* m) {
    n->told = false;
    if (n->closed) return;   // the kernel forgets it, too
    const std::uint32_t bits = bits_of(*n);
    if (random_below(one_in) == 0) edge(n);
    if (bits == 0) return;
    if (random_below(one_in) != 0) return tell(n->data, bits, m);
    after(some_of(options_.most_event_delay), [data = n->data, bits](M* later) { tell(data, bits, later); });
}

void network::tell(std::uint64_t data, std::uint32_t bits, M* m) noexcept {
    event_batch batch;
    batch.count = 1;
    batch.events[0].events = bits;
    batch.events[0].data.u64 = data;
    descriptors_ready(m, batch);
}

int network::watch(int fd, std::uint64_t data) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    n->watched = true;
    n->data = data;
    if (bits_of(*n) != 0) edge(n);
    return 0;
}

}  // namespace handoff::detail
