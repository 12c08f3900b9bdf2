#include "os/clock.hpp"

#include <handoff/detail/export.hpp>

#include <ctime>
#include <utility>

namespace handoff::os {

namespace {

constinit thread_local const std::int64_t* virtual_clock __attribute__((tls_model("initial-exec"))) = nullptr;

}  // namespace

// Opaque to the compiler: the caller may have changed threads since its last call. The thread-local takes a twentieth of the
// time of the rest.
HANDOFF_OPAQUE std::int64_t nanotime() noexcept {
    __asm__ volatile("");
    if (virtual_clock) [[unlikely]] return *virtual_clock;
    timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

HANDOFF_OPAQUE const std::int64_t* set_virtual_clock(const std::int64_t* now) noexcept {
    __asm__ volatile("");
    return std::exchange(virtual_clock, now);
}

}  // namespace handoff::os
