#include "os/errno.hpp"

#include <handoff/detail/export.hpp>

#include <cerrno>

namespace handoff::os {

HANDOFF_OPAQUE int get_errno() noexcept {
    __asm__ volatile("");
    return errno;
}

HANDOFF_OPAQUE void set_errno(int e) noexcept {
    __asm__ volatile("");
    errno = e;
}

}  // namespace handoff::os
