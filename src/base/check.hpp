// Checks that stay in release builds, for states in which the process can't continue.
#pragma once

namespace handoff::base {

// fatal prints "handoff: " and the formatted message to stderr and aborts. For broken invariants of the library itself, and
// for misuse that can't be reported in another way.
[[noreturn]] void fatal(const char* format, ...) noexcept __attribute__((format(printf, 1, 2), cold));

// warn prints "handoff: " and the formatted message to stderr in one write.
void warn(const char* format, ...) noexcept __attribute__((format(printf, 1, 2), cold));

}  // namespace handoff::base

#define HANDOFF_CHECK(condition)                                                                       \
    do {                                                                                               \
        if (!(condition)) [[unlikely]]                                                                 \
            ::handoff::base::fatal("%s:%d: broken invariant: %s", __FILE__, __LINE__, #condition);     \
    } while (0)
