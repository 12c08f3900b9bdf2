// sys: the system calls on descriptors that src/net makes. They go through here, so that a simulation can have a network of its own:
// there, numbers from 2^30 on are what its sockets have, and no descriptors of the process. (Linux has none so high: the limit of
// a process is 2^30 at most.)
//
// In a simulation, other goroutines may come before each call and behind it, as other threads do elsewhere. A number of a
// simulation is EBADF outside of it.
#pragma once

#include <cstdint>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace handoff::detail {

struct descriptor;

namespace sys {

inline constexpr int first_simulated = 1 << 30;
inline bool is_simulated(int fd) noexcept { return fd >= first_simulated; }

// The calls in a simulation (sys.cpp).
namespace simulated {

bool in_use() noexcept;   // whether the caller is a goroutine of a simulation
int socket(int family, int type, int protocol) noexcept;
int socketpair(int family, int type, int protocol, int* fds) noexcept;
int bind(int fd, const sockaddr* a, socklen_t n) noexcept;
int listen(int fd, int backlog) noexcept;
int connect(int fd, const sockaddr* a, socklen_t n) noexcept;
int accept4(int fd, sockaddr* a, socklen_t* n, int flags) noexcept;
int getsockname(int fd, sockaddr* a, socklen_t* n) noexcept;
int getpeername(int fd, sockaddr* a, socklen_t* n) noexcept;
int getsockopt(int fd, int level, int name, void* value, socklen_t* n) noexcept;
int setsockopt(int fd, int level, int name, const void* value, socklen_t n) noexcept;
int shutdown(int fd, int how) noexcept;
ssize_t recv(int fd, void* into, std::size_t n, int flags) noexcept;
ssize_t send(int fd, const void* from, std::size_t n, int flags) noexcept;
ssize_t recvmsg(int fd, msghdr* m, int flags) noexcept;
ssize_t sendmsg(int fd, const msghdr* m, int flags) noexcept;
int poll(pollfd* p, nfds_t n) noexcept;
int close(int fd) noexcept;

// watch registers fd, in place of a poller; the errno value of the failure, or 0. No other goroutine comes in between.
int watch(int fd, std::uint64_t data) noexcept;
// made says which descriptor has a number.
void made(int fd, descriptor* d, std::uint32_t generation) noexcept;

}  // namespace simulated

inline int socket(int family, int type, int protocol) noexcept {
    if (simulated::in_use()) [[unlikely]] return simulated::socket(family, type, protocol);
    return ::socket(family, type, protocol);
}
inline int socketpair(int family, int type, int protocol, int* fds) noexcept {
    if (simulated::in_use()) [[unlikely]] return simulated::socketpair(family, type, protocol, fds);
    return ::socketpair(family, type, protocol, fds);
}
inline int bind(int fd, const sockaddr* a, socklen_t n) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::bind(fd, a, n);
    return ::bind(fd, a, n);
}
inline int listen(int fd, int backlog) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::listen(fd, backlog);
    return ::listen(fd, backlog);
}
inline int connect(int fd, const sockaddr* a, socklen_t n) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::connect(fd, a, n);
    return ::connect(fd, a, n);
}
inline int accept4(int fd, sockaddr* a, socklen_t* n, int flags) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::accept4(fd, a, n, flags);
    return ::accept4(fd, a, n, flags);
}
inline int getsockname(int fd, sockaddr* a, socklen_t* n) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::getsockname(fd, a, n);
    return ::getsockname(fd, a, n);
}
inline int getpeername(int fd, sockaddr* a, socklen_t* n) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::getpeername(fd, a, n);
    return ::getpeername(fd, a, n);
}
inline int getsockopt(int fd, int level, int name, void* value, socklen_t* n) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::getsockopt(fd, level, name, value, n);
    return ::getsockopt(fd, level, name, value, n);
}
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t n) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::setsockopt(fd, level, name, value, n);
    return ::setsockopt(fd, level, name, value, n);
}
inline int shutdown(int fd, int how) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::shutdown(fd, how);
    return ::shutdown(fd, how);
}
inline ssize_t recv(int fd, void* into, std::size_t n, int flags) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::recv(fd, into, n, flags);
    return ::recv(fd, into, n, flags);
}
inline ssize_t send(int fd, const void* from, std::size_t n, int flags) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::send(fd, from, n, flags);
    return ::send(fd, from, n, flags);
}
inline ssize_t recvmsg(int fd, msghdr* m, int flags) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::recvmsg(fd, m, flags);
    return ::recvmsg(fd, m, flags);
}
inline ssize_t sendmsg(int fd, const msghdr* m, int flags) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::sendmsg(fd, m, flags);
    return ::sendmsg(fd, m, flags);
}
// poll: all descriptors are simulated ones, or none is. A simulated poll waits for nothing.
inline int poll(pollfd* p, nfds_t n, int ms) noexcept {
    if (n != 0 && is_simulated(p[0].fd)) [[unlikely]] return simulated::poll(p, n);
    return ::poll(p, n, ms);
}
inline int close(int fd) noexcept {
    if (is_simulated(fd)) [[unlikely]] return simulated::close(fd);
    return ::close(fd);
}

// Pipes and other files; a simulation has none of its own.
inline ssize_t readv(int fd, const iovec* v, int n) noexcept { return ::readv(fd, v, n); }
inline ssize_t writev(int fd, const iovec* v, int n) noexcept { return ::writev(fd, v, n); }
inline ssize_t pwritev2(int fd, const iovec* v, int n, off_t at, int flags) noexcept { return ::pwritev2(fd, v, n, at, flags); }

}  // namespace sys

}  // namespace handoff::detail
