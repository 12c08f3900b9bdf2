// What a thread of this process is doing, according to the kernel: /proc/self/task/TID/syscall.
#pragma once

#include <array>
#include <sys/types.h>

namespace handoff::os {

enum class activity { computing, in_call, in_fault, unknown };
struct thread_activity {
    activity what = activity::unknown;
    long call = -1;   // the system call's number, if in_call
};

// activity_files keeps descriptors of these files open. Reading an open one takes 0.4 us if the thread runs, and 1.0 us if
// it sleeps; opening it takes several. Not thread-safe.
class activity_files {
public:
    activity_files() = default;
    activity_files(const activity_files&) = delete;
    activity_files& operator=(const activity_files&) = delete;
    ~activity_files() { close_all(); }

    // of says what the thread is doing; `unknown` if there is no such thread, or if the file can't be had: no descriptor is
    // left, /proc is not mounted, or the process is not dumpable. In the latter case it tries to open a file again only some
    // calls later.
    thread_activity of(pid_t tid) noexcept;

    // close_all closes the descriptors.
    void close_all() noexcept;

private:
    struct file {
        pid_t tid = 0;   // 0: none
        int fd = -1;
    };
    int open_for(file& f, pid_t tid) noexcept;

    static constexpr unsigned most = 64;             // descriptors: the program needs the others
    static constexpr unsigned calls_between_tries = 256;
    std::array<file, most> files_{};                 // by tid modulo `most`
    unsigned no_tries_left_ = 0;                     // the number of calls until it tries again to open a file
};

}  // namespace handoff::os
