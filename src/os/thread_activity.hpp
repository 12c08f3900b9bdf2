// What a thread of this process does, as the kernel tells: /proc/self/task/TID/syscall.
#pragma once

#include <array>
#include <sys/types.h>

namespace handoff::os {

enum class activity { computing, in_call, in_fault, unknown };
struct thread_activity {
    activity what = activity::unknown;
    long call = -1;   // the system call's number, if in_call
};

// activity_files keeps descriptors of these files: a look at one that is open takes 0.4 us where the thread runs, 1.0 where
// it sleeps; opening it several. Not thread-safe.
class activity_files {
public:
    activity_files() = default;
    activity_files(const activity_files&) = delete;
    activity_files& operator=(const activity_files&) = delete;
    ~activity_files() { close_all(); }

    // of says what the thread does; `unknown` if there is no such thread, or the file can't be had: no descriptor is left,
    // /proc is not mounted, or the process is not dumpable. It then asks for it again some calls later.
    thread_activity of(pid_t tid) noexcept;

    // close_all gives the descriptors back.
    void close_all() noexcept;

private:
    struct file {
        pid_t tid = 0;   // 0: none
        int fd = -1;
    };
    int open_for(file& f, pid_t tid) noexcept;

    static constexpr unsigned most = 64;             // descriptors: the program has use for the others
    static constexpr unsigned calls_between_tries = 256;
    std::array<file, most> files_{};                 // by tid, modulo
    unsigned no_tries_left_ = 0;                     // calls until it tries to open one again
};

}  // namespace handoff::os
