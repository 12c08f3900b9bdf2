// signal_name: what a signal is called in messages.
#pragma once

#include <csignal>
#include <cstring>
#include <string>

namespace handoff::net {

// signal_name returns "SIGTERM", "SIGRTMIN+3", or "signal 99" where there is no such name, or the C library does not tell it.
inline std::string signal_name(int number) {
    if (number >= SIGRTMIN && number <= SIGRTMAX) {
        const int offset = number - SIGRTMIN;
        return offset == 0 ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(offset);
    }
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 32)
    if (const char* name = ::sigabbrev_np(number)) return std::string("SIG") + name;
#endif
#endif
    return "signal " + std::to_string(number);
}

}  // namespace handoff::net
