#include "os/membarrier.hpp"

#include "base/check.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace handoff::os {

namespace {

bool probe() noexcept {
    if (const char* off = std::getenv("HANDOFF_NO_MEMBARRIER"); off && *off && std::strcmp(off, "0") != 0) return false;
    const long supported = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (supported < 0 || !(supported & MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return false;
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0) return false;
    return ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

}  // namespace

constinit base::atomic<bool> membarrier_in_use{false};

bool membarrier_available() noexcept {
    static const bool available = probe();
    return available;
}

void membarrier_all() noexcept {
    // If a filter was installed after the probe, the protocol would lack its barrier. The process can't continue then.
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
        base::fatal("membarrier failed with errno %d after it had worked; set HANDOFF_NO_MEMBARRIER=1", errno);
}

}  // namespace handoff::os
