// The descriptors of a schedule: epoll, an eventfd, and devices that are read and written, as the kernel has them. What
// src/os/epoll.cpp would ask the kernel for.
#pragma once

#include "explore.hpp"

#include <cstdint>
#include <sys/epoll.h>
#include <sys/types.h>
#include <vector>

namespace explore {

// A device has bytes to be read, room for some to be written, and an end. Edges are told to the epoll object that it is registered
// with. Used by scenarios; a kernel has to live meanwhile.
class device {
public:
    explicit device(unsigned room = 0);
    int fd() const noexcept { return fd_; }

    // What the other side does.
    void put(unsigned n, bool and_end = false);   // bytes come; with the end, one edge tells of both
    void end();
    void drain(unsigned n);                       // takes bytes that were written: there is room again

    // Calls, as call(fd) in net/operation.hpp: errno is EAGAIN where they would have to wait.
    ssize_t read(unsigned most) noexcept;
    ssize_t write(unsigned most) noexcept;

private:
    int fd_;
};

// The kernel of one schedule. Forgets the library's records, which lay in the memory of the last.
class kernel {
public:
    kernel();
    ~kernel();
    kernel(const kernel&) = delete;
    kernel& operator=(const kernel&) = delete;

    unsigned closed() const noexcept;   // devices whose numbers were given back
};

}  // namespace explore
