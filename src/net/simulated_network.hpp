// simulated_network: what a simulation has in place of the kernel's sockets (sim/network.hpp implements it). sys.hpp comes
// here with the numbers of its sockets, and for new ones.
//
// Each function is the system call of that name, for a non-blocking descriptor. It returns what that returns, but where that
// would return -1 a negative errno value. It runs in one piece: no other goroutine comes in between. Throws std::bad_alloc.
#pragma once

#include <handoff/detail/descriptor_handle.hpp>
#include <handoff/net/address.hpp>

#include <cstdint>
#include <string>
#include <sys/socket.h>
#include <sys/types.h>
#include <vector>

namespace handoff::detail {

class simulated_network {
public:
    virtual int socket(int family, int type, int protocol) = 0;
    virtual int socketpair(int family, int type, int protocol, int* fds) = 0;
    virtual int bind(int fd, const sockaddr* a, socklen_t n) = 0;
    virtual int listen(int fd, int backlog) = 0;
    virtual int connect(int fd, const sockaddr* a, socklen_t n) = 0;
    virtual int accept4(int fd, sockaddr* a, socklen_t* n, int flags) = 0;
    virtual int getsockname(int fd, sockaddr* a, socklen_t* n) = 0;
    virtual int getpeername(int fd, sockaddr* a, socklen_t* n) = 0;
    virtual int getsockopt(int fd, int level, int name, void* value, socklen_t* n) = 0;
    virtual int setsockopt(int fd, int level, int name, const void* value, socklen_t n) = 0;
    virtual int shutdown(int fd, int how) = 0;
    virtual ssize_t recvmsg(int fd, msghdr* m, int flags) = 0;
    virtual ssize_t sendmsg(int fd, const msghdr* m, int flags) = 0;
    // poll_one is poll of one descriptor, without waiting: the events that have come of those that are asked for; POLLERR and
    // POLLHUP unasked.
    virtual int poll_one(int fd, short events) = 0;
    virtual int close(int fd) = 0;

    // watch tells events of fd from now on, as an epoll instance does to which it is added for edges: through
    // descriptors_ready, with this data.
    virtual int watch(int fd, std::uint64_t data) = 0;

    // made says which descriptor has that number, so that it can be closed when the run ends.
    virtual void made(int fd, descriptor* d, std::uint32_t generation) noexcept = 0;

    // addresses_of are those of a host; null: there is none of that name.
    virtual const std::vector<net::address>* addresses_of(const std::string& host) const = 0;

protected:
    simulated_network() = default;
    ~simulated_network() = default;
    simulated_network(const simulated_network&) = delete;
    simulated_network& operator=(const simulated_network&) = delete;
};

// current_network is that of the simulation whose goroutine calls; null if there is none.
simulated_network* current_network() noexcept;

}  // namespace handoff::detail
