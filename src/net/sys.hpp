// sys: the system calls on descriptors that src/net makes. They go through here, so that a simulation can have a network of its own:
// there, numbers from `2^30 on are what its sockets have, and no descriptors of the process.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace handoff::detail::sys {

inline int socket(int family, int type, int protocol) noexcept { return ::socket(family, type, protocol); }
inline int socketpair(int family, int type, int protocol, int* fds) noexcept { return ::socketpair(family, type, protocol, fds); }
inline int bind(int fd, const sockaddr* a, socklen_t n) noexcept { return ::bind(fd, a, n); }
inline int listen(int fd, int backlog) noexcept { return ::listen(fd, backlog); }
inline int connect(int fd, const sockaddr* a, socklen_t n) noexcept { return ::connect(fd, a, n); }
inline int accept4(int fd, sockaddr* a, socklen_t* n, int flags) noexcept { return ::accept4(fd, a, n, flags); }
inline int getsockname(int fd, sockaddr* a, socklen_t* n) noexcept { return ::getsockname(fd, a, n); }
inline int getpeername(int fd, sockaddr* a, socklen_t* n) noexcept { return ::getpeername(fd, a, n); }
inline int getsockopt(int fd, int level, int name, void* value, socklen_t* n) noexcept { return ::getsockopt(fd, level, name, value, n); }
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t n) noexcept {
    return ::setsockopt(fd, level, name, value, n);
}
inline int shutdown(int fd, int how) noexcept { return ::shutdown(fd, how); }
inline ssize_t recv(int fd, void* into, std::size_t n, int flags) noexcept { return ::recv(fd, into, n, flags); }
inline ssize_t send(int fd, const void* from, std::size_t n, int flags) noexcept { return ::send(fd, from, n, flags); }
inline ssize_t recvmsg(int fd, msghdr* m, int flags) noexcept { return ::recvmsg(fd, m, flags); }
inline ssize_t sendmsg(int fd, const msghdr* m, int flags) noexcept { return ::sendmsg(fd, m, flags); }
inline int poll(pollfd* p, nfds_t n, int ms) noexcept { return ::poll(p, n, ms); }
inline int close(int fd) noexcept { return ::close(fd); }

}  // namespace handoff::detail::sys
