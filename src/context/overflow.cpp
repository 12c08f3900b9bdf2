#include "context/overflow.hpp"

#include "base/mutex.hpp"

#include <csignal>
#include <cstring>
#include <ucontext.h>
#include <unistd.h>
#include <utility>

namespace handoff::context {

namespace {

void on_fault(int signal, siginfo_t* info, void* context) HANDOFF_NO_TSA;

// A signal, and the handler over which ours was installed. Faults read `before` without the lock: it changes only the first
// time, or while the process has no handler.
struct handled {
    const int signal;
    struct sigaction before {};
    bool was_placed = false;   // ours was installed, at any time: a later handler may pass on to it
    bool restored = false;     // we have restored `before`
};

base::mutex lock;
unsigned users HANDOFF_GUARDED_BY(lock) = 0;
handled segv HANDOFF_GUARDED_BY(lock){SIGSEGV}, bus HANDOFF_GUARDED_BY(lock){SIGBUS};

overflow_describer describer = nullptr;   // written before the handler is installed

// The fault that on_fault has passed on, on this thread. A handler that jumps away leaves it set; a later fault then has
// another siginfo, or its call of on_fault is not deeper on the stack.
struct passed_on {
    const siginfo_t* info;
    const char* frame;
};
constinit thread_local passed_on passing __attribute__((tls_model("initial-exec"))) = {nullptr, nullptr};

bool is_ours(const struct sigaction& a) noexcept { return (a.sa_flags & SA_SIGINFO) && a.sa_sigaction == on_fault; }

bool is_nobody(const struct sigaction& a) noexcept {
    return !(a.sa_flags & SA_SIGINFO) && (a.sa_handler == SIG_DFL || a.sa_handler == SIG_IGN);
}

bool same_handler(const struct sigaction& a, const struct sigaction& b) noexcept {
    if ((a.sa_flags & SA_SIGINFO) != (b.sa_flags & SA_SIGINFO)) return false;
    return a.sa_flags & SA_SIGINFO ? a.sa_sigaction == b.sa_sigaction : a.sa_handler == b.sa_handler;
}

// to_default restores the default action. A real fault happens again on return, and then ends the process as it would have
// done without us. A signal that was sent does not, so it is sent again, to be delivered on return.
void to_default(int signal, const siginfo_t* info) noexcept {
    ::signal(signal, SIG_DFL);
    if (info->si_code <= 0) ::raise(signal);
}

// has_had_its_turn says whether the handler to which we would pass on has passed this fault on to us. It was then installed
// over ours once more: either it is the handler of the process now, or the fault comes round a second time.
bool has_had_its_turn(const handled& h, const siginfo_t* info, const char* frame) noexcept {
    if (passing.info == info && frame < passing.frame) return true;
    struct sigaction now {};
    return ::sigaction(h.signal, nullptr, &now) == 0 && same_handler(now, h.before);
}

void pass_on(const handled& h, siginfo_t* info, void* context) noexcept {
    const auto* frame = static_cast<const char*>(__builtin_frame_address(0));
    if (is_nobody(h.before) || has_had_its_turn(h, info, frame)) return to_default(h.signal, info);
    const passed_on outer = std::exchange(passing, {info, frame});
    if (h.before.sa_flags & SA_SIGINFO) h.before.sa_sigaction(h.signal, info, context);
    else h.before.sa_handler(h.signal);
    passing = outer;
}

const void* stack_pointer([[maybe_unused]] const void* context) noexcept {
#if defined(__x86_64__)
    return reinterpret_cast<const void*>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]);
#elif defined(__aarch64__)
    return reinterpret_cast<const void*>(static_cast<const ucontext_t*>(context)->uc_mcontext.sp);
#else
    return nullptr;
#endif
}

void on_fault(int signal, siginfo_t* info, void* context) {
    char text[512];
    if (describer && describer(info->si_addr, stack_pointer(context), text, sizeof text)) {
        [[maybe_unused]] auto written = ::write(2, text, std::strlen(text));
        ::signal(signal, SIG_DFL);   // the fault happens again, and dumps core with the overflowing stack
        return;
    }
    pass_on(signal == SIGSEGV ? segv : bus, info, context);
}

// place installs our handler over the one that was there before the first runtime, or if there is none. Any other handler
// was installed later, and stays.
void place(handled& h) noexcept {
    struct sigaction now {};
    if (::sigaction(h.signal, nullptr, &now) != 0 || is_ours(now)) return;
    const bool came_later = h.was_placed && !is_nobody(now) && !(h.restored && same_handler(now, h.before));
    if (came_later) return;
    h.before = now;
    h.was_placed = true;
    h.restored = false;
    struct sigaction ours {};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigaction(h.signal, &ours, nullptr);
}

void restore(handled& h) noexcept {
    struct sigaction now {};
    if (::sigaction(h.signal, nullptr, &now) != 0 || !is_ours(now)) return;
    ::sigaction(h.signal, &h.before, nullptr);
    h.restored = true;
}

}  // namespace

void install_overflow_handler(overflow_describer describe) noexcept {
    base::lock_guard hold(lock);
    if (users++ != 0) return;
    describer = describe;
    place(segv);
    place(bus);
}

void remove_overflow_handler() noexcept {
    base::lock_guard hold(lock);
    if (--users != 0) return;
    restore(segv);
    restore(bus);
}

}  // namespace handoff::context
