// Part of the programs that tests/coverage builds, and of no others: writes the counters of a process that does not come
// to its exit() before it ends. Many tests want to see a process die, and what it did before that counts too.
//
// abort, _exit and _Exit stand in for the C library's, also where the C++ library calls them. A fault ends a process by
// its default action, which nobody can get before; so signal() puts a handler in the place of that action where a handler
// of the process restores it, as src/context/overflow.cpp does. Elsewhere SIG_DFL stays: the library must find it.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <unistd.h>

extern "C" void __gcov_dump(void);

namespace {

// Only the first caller writes; others go on to their end.
void dump() noexcept {
    static std::atomic_flag begun = ATOMIC_FLAG_INIT;
    if (!begun.test_and_set()) __gcov_dump();
}

template <class F>
F* behind_ours(const char* name) noexcept {
    if (void* f = ::dlsym(RTLD_NEXT, name)) return reinterpret_cast<F*>(f);
    std::fprintf(stderr, "coverage: %s is not to be found in the C library\n", name);
    ::raise(SIGKILL);
    __builtin_unreachable();
}

auto* const real_abort = behind_ours<void()>("abort");
auto* const real_exit = behind_ours<void(int)>("_exit");
auto* const real_signal = behind_ours<sighandler_t(int, sighandler_t)>("signal");

// The default action, after the counters are written. A fault happens again on return; what was sent is sent again.
void end_by(int signal, siginfo_t* info, void*) {
    dump();
    real_signal(signal, SIG_DFL);
    if (info->si_code <= 0) ::raise(signal);
}

}  // namespace

extern "C" {

void abort() noexcept {
    dump();
    real_abort();
    __builtin_unreachable();
}

void _exit(int status) {
    dump();
    real_exit(status);
    __builtin_unreachable();
}

void _Exit(int status) noexcept { ::_exit(status); }

sighandler_t signal(int signal, sighandler_t handler) noexcept {
    struct sigaction now {};
    if ((signal != SIGSEGV && signal != SIGBUS) || handler != SIG_DFL || ::sigaction(signal, nullptr, &now) != 0 ||
        (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)))
        return real_signal(signal, handler);
    struct sigaction last {};
    last.sa_sigaction = end_by;
    last.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return ::sigaction(signal, &last, nullptr) == 0 ? now.sa_handler : SIG_ERR;
}
}
