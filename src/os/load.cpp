#include "os/load.hpp"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace handoff::os {

load_file::load_file() noexcept
    : fd_(::open("/proc/loadavg", O_RDONLY | O_CLOEXEC)), cpus_(::sysconf(_SC_NPROCESSORS_ONLN)) {}

load_file::~load_file() {
    if (fd_ >= 0) ::close(fd_);
}

bool load_file::has_room() const noexcept {
    char text[128];
    const ssize_t n = fd_ < 0 ? -1 : ::pread(fd_, text, sizeof text - 1, 0);
    if (n <= 0) return true;
    text[n] = '\0';
    // "0.20 0.18 0.12 3/512 11206": the number before the slash.
    const char* slash = std::strchr(text, '/');
    if (!slash) return true;
    const char* begin = slash;
    while (begin > text && begin[-1] >= '0' && begin[-1] <= '9') --begin;
    return std::strtol(begin, nullptr, 10) <= cpus_;
}

}  // namespace handoff::os
