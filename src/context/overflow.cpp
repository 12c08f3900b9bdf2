#include "context/overflow.hpp"

#include "base/mutex.hpp"

#include <csignal>
#include <cstring>
#include <unistd.h>

namespace handoff::context {

namespace {

base::mutex lock;
unsigned users HANDOFF_GUARDED_BY(lock) = 0;

// Written before the handler is in place.
overflow_describer describer = nullptr;
struct sigaction before_segv, before_bus;

void pass_on(int signal, siginfo_t* info, void* context) noexcept {
    const struct sigaction& before = signal == SIGSEGV ? before_segv : before_bus;
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else {
        // A fault happens again on return, and then ends the process as it would have without us. One that was sent
        // does not: send it again, to be delivered on return.
        ::signal(signal, SIG_DFL);
        if (info->si_code <= 0) ::raise(signal);
    }
}

void on_fault(int signal, siginfo_t* info, void* context) {
    char text[512];
    if (describer && describer(info->si_addr, text, sizeof text)) {
        [[maybe_unused]] auto written = ::write(2, text, std::strlen(text));
        ::signal(signal, SIG_DFL);   // with a core of the overflowing stack
        return;
    }
    pass_on(signal, info, context);
}

}  // namespace

void install_overflow_handler(overflow_describer describe) noexcept {
    base::lock_guard hold(lock);
    if (users++ != 0) return;
    describer = describe;
    struct sigaction ours {};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigaction(SIGSEGV, &ours, &before_segv);
    ::sigaction(SIGBUS, &ours, &before_bus);
}

void remove_overflow_handler() noexcept {
    base::lock_guard hold(lock);
    if (--users != 0) return;
    struct sigaction now {};
    if (::sigaction(SIGSEGV, nullptr, &now) == 0 && now.sa_sigaction == on_fault)
        ::sigaction(SIGSEGV, &before_segv, nullptr);
    if (::sigaction(SIGBUS, nullptr, &now) == 0 && now.sa_sigaction == on_fault)
        ::sigaction(SIGBUS, &before_bus, nullptr);
}

}  // namespace handoff::context
