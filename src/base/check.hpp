// Checks that stay in release builds, for states in which the process can't continue.
#pragma once

#include <cstdint>

namespace handoff::base {

// fatal prints "handoff: " and the formatted message to stderr and aborts. For broken invariants of the library itself, and
// for misuse that can't be reported in another way.
[[noreturn]] void fatal(const char* format, ...) noexcept __attribute__((format(printf, 1, 2), cold));

// warn prints "handoff: " and the formatted message to stderr in one write.
void warn(const char* format, ...) noexcept __attribute__((format(printf, 1, 2), cold));

// is_told says whether the nth occurrence of the same thing is printed: the 1st, 10th, 100th and so on.
constexpr bool is_told(std::uint64_t nth) noexcept {
    while (nth != 0 && nth % 10 == 0) nth /= 10;
    return nth == 1;
}

// warn_nth is warn for the nth occurrence of the same thing: it prints those that are told, the later ones with their number.
void warn_nth(std::uint64_t nth, const char* format, ...) noexcept __attribute__((format(printf, 2, 3), cold));

}  // namespace handoff::base

#define HANDOFF_CHECK(condition)                                                                       \
    do {                                                                                               \
        if (!(condition)) [[unlikely]]                                                                 \
            ::handoff::base::fatal("%s:%d: broken invariant: %s", __FILE__, __LINE__, #condition);     \
    } while (0)
