#include "os/thread_activity.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace handoff::os {

// open_for opens the thread's file in place of f; returns its descriptor, or -1.
int activity_files::open_for(file& f, pid_t tid) noexcept {
    if (f.tid != 0) ::close(f.fd);
    f = {};
    if (no_tries_left_ != 0) {
        --no_tries_left_;
        return -1;
    }
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%d/syscall", static_cast<int>(tid));
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT || ::access("/proc/self/task", F_OK) != 0) no_tries_left_ = calls_between_tries;
        return -1;
    }
    f = {tid, fd};
    return fd;
}

thread_activity activity_files::of(pid_t tid) noexcept {
    if (tid <= 0) return {};
    file& f = files_[static_cast<unsigned>(tid) % most];
    char text[128];
    ssize_t n = f.tid == tid ? ::pread(f.fd, text, sizeof text - 1, 0) : -1;
    if (n <= 0) {   // the file of another thread, or of a thread that is gone and whose number this one has now
        const int fd = open_for(f, tid);
        n = fd < 0 ? -1 : ::pread(fd, text, sizeof text - 1, 0);
    }
    if (n <= 0) return {};
    text[n] = '\0';
    if (text[0] == 'r') return {activity::computing, -1};   // "running": on a core, or waiting for one
    char* end = nullptr;
    const long number = std::strtol(text, &end, 10);
    if (end == text) return {};
    if (number < 0) return {activity::in_fault, -1};        // asleep, but not in a call
    return {activity::in_call, number};
}

void activity_files::close_all() noexcept {
    for (file& f : files_) {
        if (f.tid != 0) ::close(f.fd);
        f = {};
    }
}

}  // namespace handoff::os
