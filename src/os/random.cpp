#include "os/random.hpp"

#include "os/clock.hpp"

#include <handoff/detail/export.hpp>

#include <utility>

namespace handoff::os {

namespace {

constinit thread_local std::uint64_t random_state __attribute__((tls_model("initial-exec"))) = 0;

}  // namespace

HANDOFF_OPAQUE std::uint32_t random_number() noexcept {
    __asm__ volatile("");
    std::uint64_t x = random_state;
    if (x == 0) x = (reinterpret_cast<std::uintptr_t>(&random_state) ^ static_cast<std::uint64_t>(nanotime())) | 1;
    x ^= x >> 12;   // xorshift64*, Vigna
    x ^= x << 25;
    x ^= x >> 27;
    random_state = x;
    return static_cast<std::uint32_t>((x * 0x2545F4914F6CDD1Du) >> 32);
}

HANDOFF_OPAQUE std::uint64_t exchange_random_state(std::uint64_t state) noexcept {
    __asm__ volatile("");
    return std::exchange(random_state, state);
}

}  // namespace handoff::os
