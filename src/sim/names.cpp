// What sockets of a simulation are called, and which of them is meant.
#include "sim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace handoff::detail {

using net::address;
using net::endpoint;

namespace {

// The range from which Linux takes ports for those that ask for none, by default.
constexpr std::uint16_t first_port = 32768, ports = 28232;

endpoint unmapped(const endpoint& e) { return {e.ip().unmap(), e.port()}; }

}  // namespace

int network::say(const endpoint& e, sockaddr* a, socklen_t* n) noexcept {
    if (!a || !n) return 0;
    std::memcpy(a, e.data(), std::min<std::size_t>(*n, e.size()));
    *n = e.size();
    return 0;
}

// conflicts says whether somebody has a name at which `at` would be reached, too.
bool network::conflicts(const node& n, const endpoint& at) const {
    const auto takes_both = [](const node& s) { return s.family == AF_INET6 && s.option(IPPROTO_IPV6, IPV6_V6ONLY) == 0; };
    const auto reuses = [](const node& s) { return s.option(SOL_SOCKET, SO_REUSEPORT) != 0; };
    const endpoint wanted = unmapped(at);
    return std::ranges::any_of(names_, [&](const node_ref& other) {
        if (other->is_unix() || other.get() == &n || other->local.port() != at.port()) return false;
        if (reuses(n) && reuses(*other)) return false;
        const endpoint its = unmapped(other->local);
        if (its.family() == wanted.family()) return its == wanted || its.ip().is_unspecified() || wanted.ip().is_unspecified();
        return (its.ip().is_unspecified() && takes_both(*other)) || (wanted.ip().is_unspecified() && takes_both(n));
    });
}

int network::take_port(const node_ref& n, endpoint at) {
    if (at.port() == 0) {
        const address ip = at.ip();
        for (unsigned tried = 0;; ++tried) {
            if (tried == ports) return -EADDRINUSE;
            at = endpoint(ip, static_cast<std::uint16_t>(first_port + next_port_));
            next_port_ = static_cast<std::uint16_t>((next_port_ + 1) % ports);
            if (!conflicts(*n, at)) break;
        }
    } else if (conflicts(*n, at)) {
        return -EADDRINUSE;
    }
    n->local = at;
    n->bound = true;
    names_.push_back(n);
    return 0;
}

// autobound is a name as Linux gives it to who binds to none.
endpoint network::autobound() {
    for (;;) {
        char name[16];
        std::snprintf(name, sizeof name, "%05x", next_name_++ & 0xFFFFF);
        const endpoint e = endpoint::unix_abstract(name);
        if (std::ranges::none_of(names_, [&](const node_ref& other) { return other->local == e; })) return e;
    }
}

int network::choose_name(const node_ref& n, const endpoint& wanted) {
    if (n->bound) return -EINVAL;
    if (wanted.family() != n->family) return n->is_unix() ? -EINVAL : -EAFNOSUPPORT;
    if (!n->is_unix()) return take_port(n, wanted);
    const bool has_none = wanted == endpoint::unix_unnamed();
    const auto is_wanted = [&](const node_ref& other) { return other->local == wanted; };
    if (!has_none && std::ranges::any_of(names_, is_wanted)) return -EADDRINUSE;
    n->local = has_none ? autobound() : wanted;
    n->bound = true;
    names_.push_back(n);
    return 0;
}

int network::bind(int fd, const sockaddr* a, socklen_t size) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    std::error_code ec;
    const endpoint wanted = endpoint::from(a, size, ec);
    return ec ? -EINVAL : choose_name(n, wanted);
}

// listener_at is who listens at `to`: by its very address, else by any, else by any of both families. Of several that share a
// port one is chosen by the seed. Null: nobody.
network::node_ref network::listener_at(const endpoint& to) {
    const bool ip = to.is_ip();
    const endpoint wanted = ip ? unmapped(to) : to;
    const auto fits = [&](const node& s) {
        if (!ip || s.is_unix()) return s.local == wanted ? 3 : 0;
        if (s.local.port() != wanted.port()) return 0;
        if (unmapped(s.local) == wanted) return 3;
        if (!s.local.ip().is_unspecified()) return 0;
        if (s.family == wanted.family()) return 2;
        return s.family == AF_INET6 && s.option(IPPROTO_IPV6, IPV6_V6ONLY) == 0 ? 1 : 0;
    };
    int best = 1;
    std::vector<node_ref> found;
    for (const node_ref& s : names_) {
        const int how = s->is == state::listening ? fits(*s) : 0;
        if (how > best) found.clear();
        if (how < best) continue;
        best = how;
        found.push_back(s);
    }
    if (found.size() <= 1) return found.empty() ? nullptr : found[0];
    return found[random_below(found.size())];
}

int network::getsockname(int fd, sockaddr* a, socklen_t* n) {
    const node_ref s = of(fd);
    return s ? say(s->local, a, n) : -EBADF;
}

int network::getpeername(int fd, sockaddr* a, socklen_t* n) {
    const node_ref s = of(fd);
    if (!s) return -EBADF;
    return s->is == state::connected ? say(s->peer, a, n) : -ENOTCONN;
}

const std::vector<net::address>* network::addresses_of(const std::string& host) const {
    const auto found = hosts_.find(host);
    return found != hosts_.end() ? &found->second : nullptr;
}

}  // namespace handoff::detail
