#include "net/sys.hpp"

#include "net/simulated_network.hpp"
#include "os/errno.hpp"
#include "sched/simulation_hooks.hpp"
#include "wait/wait.hpp"

#include <cerrno>
#include <new>

namespace handoff::detail {

simulated_network* current_network() noexcept {
    const M* m = current_m();
    return m && m->s->sim ? m->s->sim->network : nullptr;
}

namespace sys::simulated {

namespace {

// others_may_run is a place where other goroutines of the simulation may come in between.
void others_may_run() noexcept { leave_current(enter_current()); }

// A call in a simulation, by f(network).
template <class F>
auto called(F f) noexcept -> decltype(f(*current_network())) {
    others_may_run();
    decltype(f(*current_network())) r = -EBADF;
    try {
        if (simulated_network* n = current_network()) r = f(*n);
    } catch (const std::bad_alloc&) {
        r = -ENOMEM;
    }
    others_may_run();
    if (r >= 0) return r;
    os::set_errno(static_cast<int>(-r));
    return -1;
}

}  // namespace

bool in_use() noexcept { return current_network() != nullptr; }

int socket(int family, int type, int protocol) noexcept {
    return called([&](simulated_network& net) { return net.socket(family, type, protocol); });
}
int socketpair(int family, int type, int protocol, int* fds) noexcept {
    return called([&](simulated_network& net) { return net.socketpair(family, type, protocol, fds); });
}
int bind(int fd, const sockaddr* a, socklen_t n) noexcept {
    return called([&](simulated_network& net) { return net.bind(fd, a, n); });
}
int listen(int fd, int backlog) noexcept {
    return called([&](simulated_network& net) { return net.listen(fd, backlog); });
}
int connect(int fd, const sockaddr* a, socklen_t n) noexcept {
    return called([&](simulated_network& net) { return net.connect(fd, a, n); });
}
int accept4(int fd, sockaddr* a, socklen_t* n, int flags) noexcept {
    return called([&](simulated_network& net) { return net.accept4(fd, a, n, flags); });
}
int getsockname(int fd, sockaddr* a, socklen_t* n) noexcept {
    return called([&](simulated_network& net) { return net.getsockname(fd, a, n); });
}
int getpeername(int fd, sockaddr* a, socklen_t* n) noexcept {
    return called([&](simulated_network& net) { return net.getpeername(fd, a, n); });
}
int getsockopt(int fd, int level, int name, void* value, socklen_t* n) noexcept {
    return called([&](simulated_network& net) { return net.getsockopt(fd, level, name, value, n); });
}
int setsockopt(int fd, int level, int name, const void* value, socklen_t n) noexcept {
    return called([&](simulated_network& net) { return net.setsockopt(fd, level, name, value, n); });
}
int shutdown(int fd, int how) noexcept {
    return called([&](simulated_network& net) { return net.shutdown(fd, how); });
}
ssize_t recvmsg(int fd, msghdr* m, int flags) noexcept {
    return called([&](simulated_network& net) { return net.recvmsg(fd, m, flags); });
}
ssize_t sendmsg(int fd, const msghdr* m, int flags) noexcept {
    return called([&](simulated_network& net) { return net.sendmsg(fd, m, flags); });
}
ssize_t recv(int fd, void* into, std::size_t n, int flags) noexcept {
    iovec v{into, n};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return simulated::recvmsg(fd, &m, flags);
}
ssize_t send(int fd, const void* from, std::size_t n, int flags) noexcept {
    iovec v{const_cast<void*>(from), n};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return simulated::sendmsg(fd, &m, flags);
}
int poll(pollfd* p, nfds_t n) noexcept {
    return called([&](simulated_network& net) {
        int count = 0;
        for (nfds_t i = 0; i < n; ++i) {
            const int r = net.poll_one(p[i].fd, p[i].events);
            p[i].revents = r < 0 ? POLLNVAL : static_cast<short>(r);
            if (p[i].revents != 0) ++count;
        }
        return count;
    });
}
int close(int fd) noexcept {
    return called([&](simulated_network& net) { return net.close(fd); });
}

int watch(int fd, std::uint64_t data) noexcept {
    simulated_network* n = current_network();
    try {
        return n ? -n->watch(fd, data) : EBADF;
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
}

void made(int fd, descriptor* d, std::uint32_t generation) noexcept {
    if (simulated_network* n = current_network()) n->made(fd, d, generation);
}

}  // namespace sys::simulated

}  // namespace handoff::detail
