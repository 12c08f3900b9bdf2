#include "base/check.hpp"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace handoff::base {

namespace {

// If `nth` is more than 1, says how often that has been.
void print(std::uint64_t nth, const char* format, va_list args) noexcept {
    constexpr int most = 1024, most_at_end = 48;   // bytes, a newline included
    char line[most] = "handoff: ";
    int n = 9;
    n += std::vsnprintf(line + n, most - most_at_end - 9, format, args);
    if (n >= most - most_at_end) n = most - most_at_end - 1;   // cut off, with a 0 byte behind
    if (nth > 1) n += std::snprintf(line + n, most_at_end, " (%" PRIu64 " times so far)", nth);
    line[n++] = '\n';
    // If stderr is gone, there is nothing else to do.
    [[maybe_unused]] auto written = ::write(2, line, static_cast<size_t>(n));
}

}  // namespace

void warn(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    print(1, format, args);
    va_end(args);
}

void warn_nth(std::uint64_t nth, const char* format, ...) noexcept {
    if (!is_told(nth)) return;
    va_list args;
    va_start(args, format);
    print(nth, format, args);
    va_end(args);
}

void fatal(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    print(1, format, args);
    va_end(args);
    std::abort();
}

}  // namespace handoff::base
