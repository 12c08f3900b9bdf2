#include "sched/current_m.hpp"

#include <handoff/detail/export.hpp>

namespace handoff::detail {

constinit thread_local M* tls_m __attribute__((tls_model("initial-exec"))) = nullptr;

HANDOFF_OPAQUE M* current_m() noexcept {
    __asm__ volatile("");
    return tls_m;
}

HANDOFF_OPAQUE void set_current_m(M* m) noexcept {
    __asm__ volatile("");
    tls_m = m;
}

}  // namespace handoff::detail
