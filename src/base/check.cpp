#include "base/check.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace handoff::base {

namespace {

void print(const char* format, va_list args) noexcept {
    char line[1024] = "handoff: ";
    int n = 9;
    n += std::vsnprintf(line + n, sizeof line - 10, format, args);
    if (n > static_cast<int>(sizeof line) - 2) n = static_cast<int>(sizeof line) - 2;
    line[n++] = '\n';
    // If stderr is gone, there is nothing else to do.
    [[maybe_unused]] auto written = ::write(2, line, static_cast<size_t>(n));
}

}  // namespace

void warn(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
}

void fatal(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
    std::abort();
}

}  // namespace handoff::base
