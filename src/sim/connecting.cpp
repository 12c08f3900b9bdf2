// How connections of a simulation's network are made.
#include "sim/network.hpp"

#include <algorithm>
#include <cerrno>

namespace handoff::detail {

using net::address;
using net::endpoint;

namespace {

constexpr unsigned most_tries = 6;                          // as Linux's tcp_syn_retries
constexpr std::int64_t first_pause = 1'000'000'000;         // before the first of them; each is twice as long as the last
constexpr std::size_t most_waiting = 4096;                  // as Linux's somaxconn

// seen_from is an address in the form in which sockets of that family know it.
endpoint seen_from(int family, const endpoint& e) {
    return {family == AF_INET6 ? e.ip().to_v4_mapped() : e.ip().unmap(), e.port()};
}

// reached is where an address leads: nobody's is the machine's own.
endpoint reached(const endpoint& to) {
    if (!to.ip().is_unspecified()) return to;
    const bool v4 = to.ip().unmap().is_v4();
    const address self = v4 ? address::loopback_v4() : address::loopback_v6();
    return {to.ip().is_v6() ? self.to_v4_mapped() : self, to.port()};
}

// source_for is the address from which a socket reaches another: it is one of the same machine.
address source_for(const address& to) {
    if (!to.is_loopback()) return to;
    if (!to.unmap().is_v4()) return address::loopback_v6();
    return to.is_v6() ? address::loopback_v4().to_v4_mapped() : address::loopback_v4();
}

}  // namespace

int network::listen(int fd, int backlog) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    if (n->is != state::fresh && n->is != state::listening) return -EINVAL;
    if (!n->bound) {
        if (n->is_unix()) return -EINVAL;
        if (const int e = take_port(n, n->local)) return e;
    }
    n->is = state::listening;
    n->backlog = backlog < 0 ? most_waiting : std::min<std::size_t>(static_cast<std::size_t>(backlog), most_waiting);
    return 0;
}

int network::connect(int fd, const sockaddr* a, socklen_t size) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    std::error_code ec;
    const endpoint to = endpoint::from(a, size, ec);
    if (ec) return -EINVAL;
    if (n->is == state::connecting) return -EALREADY;
    if (n->is == state::connected) return -EISCONN;
    if (n->is != state::fresh) return -EINVAL;
    if (to.family() != n->family) return n->is_unix() ? -EINVAL : -EAFNOSUPPORT;
    return n->is_unix() ? connect_unix(n, to) : connect_tcp(n, to);
}

int network::connect_unix(const node_ref& n, const endpoint& to) {
    const node_ref listener = listener_at(to);
    if (!listener) {
        const bool exists = std::ranges::any_of(names_, [&](const node_ref& other) { return other->local == to; });
        return exists || to.has_abstract_name() ? -ECONNREFUSED : -ENOENT;
    }
    if (is_full(*listener)) return -EAGAIN;
    n->peer = to;
    listener->waiting.push_back(make_peer(n, listener));
    edge(listener);
    return 0;
}

int network::connect_tcp(const node_ref& n, const endpoint& to) {
    n->peer = reached(to);
    if (!n->bound) {
        if (const int e = take_port(n, endpoint(source_for(n->peer.ip()), 0))) return e;
    } else if (n->local.ip().is_unspecified()) {
        n->local = endpoint(source_for(n->peer.ip()), n->local.port());
    }
    n->is = state::connecting;
    after(latency(), [this, n](M*) { syn_arrives(n, 0); });
    return -EINPROGRESS;
}

// syn_arrives: the request of n for a connection has come to where it should.
void network::syn_arrives(const node_ref& n, unsigned tries) {
    if (n->closed || n->is != state::connecting) return;
    const node_ref listener = listener_at(n->peer);
    if (!listener && n->peer == n->local) {   // it comes to n itself, which is about to connect to that very place
        join(n, n);
        return edge(n);
    }
    if (!listener) return after(latency(), [this, n](M*) { fail(n, ECONNREFUSED); });
    if (is_full(*listener)) {   // it is dropped, and sent again
        if (tries == most_tries) return fail(n, ETIMEDOUT);
        return after(first_pause << tries, [this, n, tries](M*) { syn_arrives(n, tries + 1); });
    }
    const node_ref peer = make_peer(n, listener);
    n->is = state::connecting;   // until it knows
    listener->waiting.push_back(peer);
    edge(listener);
    send_piece(peer->out, {what::made, {}}, false);
}

void network::fail(const node_ref& n, int error) {
    if (!n->closed && n->is == state::connecting) reset(n, error);
}

// make_peer makes the other end of a connection, the listener's.
network::node_ref network::make_peer(const node_ref& client, const node_ref& listener) {
    node_ref n = new_node(listener->family);
    if (n->is_unix()) {
        n->local = listener->local;
        n->peer = client->local;
    } else {
        n->local = seen_from(n->family, client->peer);
        n->peer = seen_from(n->family, client->local);
    }
    n->options = listener->options;
    join(client, n);
    return n;
}

// join connects two sockets, or one with itself.
void network::join(const node_ref& a, const node_ref& b) {
    const auto between = [this](const node_ref& from, const node_ref& to) {
        auto f = std::make_shared<flow>();
        f->capacity = options_.buffer_size;
        f->writer = from;
        f->reader = to;
        return f;
    };
    a->out = b->in = between(a, b);
    if (a != b) b->out = a->in = between(b, a);
    a->is = b->is = state::connected;
    a->bound = b->bound = true;
}

int network::accept4(int fd, sockaddr* a, socklen_t* size, int) {
    const node_ref l = of(fd);
    if (!l) return -EBADF;
    if (l->is != state::listening) return -EINVAL;
    if (l->waiting.empty()) return -EAGAIN;
    if (chance(options_.accept_shortages)) return -EMFILE;
    const node_ref n = l->waiting.front();
    if (chance(options_.aborted_accepts)) {
        l->waiting.pop_front();
        n->reset_by_close = true;
        drop(n);
        return -ECONNABORTED;
    }
    const int made = number(n);
    if (made < 0) return made;
    l->waiting.pop_front();
    say(n->peer, a, size);
    return made;
}

}  // namespace handoff::detail
