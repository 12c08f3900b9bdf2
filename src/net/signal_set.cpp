// A set is a signalfd. Any thread may read it, and be told by epoll of what is pending for the process.
#include <handoff/net/signal_set.hpp>

#include "net/operation.hpp"
#include "net/signal_name.hpp"
#include "net/socket.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/error.hpp>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <iterator>
#include <pthread.h>
#include <string>
#include <sys/signalfd.h>

namespace handoff::net {

using namespace handoff::detail;

namespace {

bool is_refused(int number) noexcept {
    constexpr int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    return std::find(std::begin(refused), std::end(refused), number) != std::end(refused);
}

// Why a list was refused: what is wrong with which signal.
struct refusal {
    std::errc error{};
    int number = 0;
    const char* why = nullptr;   // null: it was not
};

// set_of makes a sigset_t of them, unless one of them can't be waited for.
sigset_t set_of(std::initializer_list<int> signals, refusal& r) noexcept {
    sigset_t s;
    sigemptyset(&s);
    for (const int number : signals)
        if (is_refused(number) || sigaddset(&s, number) != 0) r = {std::errc::invalid_argument, number, "can't be waited for"};
    return s;
}

sigset_t blocked_here() noexcept {
    sigset_t s;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &s);
    return s;
}

// What the threads of the runtime block that open looks at; null if there is none.
const sigset_t* blocked_by_runtime() noexcept {
    const M* m = current_m();
    const sched* s = m ? m->s : of_default_runtime.load(std::memory_order_acquire);   // with its store: all of it
    return s ? &s->pool.inherited.mask : nullptr;
}

// look_for_unblocked looks for a signal that is not blocked where open looks.
void look_for_unblocked(std::initializer_list<int> signals, refusal& r) noexcept {
    const sigset_t here = blocked_here();
    const sigset_t* runtime = blocked_by_runtime();
    const auto refuse = [&](int number, const char* why) { r = {std::errc::operation_not_permitted, number, why}; };
    for (const int number : signals) {
        if (sigismember(&here, number) != 1)
            refuse(number, "is not blocked on the calling thread (see signal_set::block)");
        else if (runtime && sigismember(runtime, number) != 1)
            refuse(number, "was not blocked when the runtime was made (see signal_set::block)");
    }
}

signal_info info_of(const signalfd_siginfo& s) noexcept {
    return {static_cast<int>(s.ssi_signo), s.ssi_code, static_cast<pid_t>(s.ssi_pid), s.ssi_uid, s.ssi_int};
}

// read_one takes one that is pending. Returns as a system call does.
ssize_t read_one(int fd, signal_info& into) noexcept {
    signalfd_siginfo s;
    const ssize_t n = ::read(fd, &s, sizeof s);
    if (n > 0) into = info_of(s);
    return n;
}

[[noreturn]] void fail(const std::error_code& ec, const char* what, const refusal& r) {
    std::string why = std::string("handoff: ") + what;
    if (r.why) why += ": " + signal_name(r.number) + " " + r.why;
    throw std::system_error(ec, why);
}

void block_them(std::initializer_list<int> signals, std::error_code& ec, refusal& r) {
    if (current_m()) throw usage_error("handoff: signal_set::block on a goroutine, too late for the other threads of its runtime");
    const sigset_t s = set_of(signals, r);
    ec = r.why ? std::make_error_code(r.error) : std::error_code();
    if (!ec) ::pthread_sigmask(SIG_BLOCK, &s, nullptr);   // fails only for other operations than these
}

descriptor_handle open_them(std::initializer_list<int> signals, std::error_code& ec, refusal& r) {
    if (in_simulation()) refuse_in_simulation("a signal_set");
    const sigset_t s = set_of(signals, r);
    if (!r.why) look_for_unblocked(signals, r);
    if (r.why) {
        ec = std::make_error_code(r.error);
        return {};
    }
    const int fd = ::signalfd(-1, &s, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd >= 0) return own(fd, carries::messages, ec);
    ec.assign(errno, std::generic_category());
    return {};
}

}  // namespace

void signal_set::block(std::initializer_list<int> signals, std::error_code& ec) {
    refusal r;
    block_them(signals, ec, r);
}
void signal_set::block(std::initializer_list<int> signals) {
    std::error_code ec;
    refusal r;
    block_them(signals, ec, r);
    if (ec) fail(ec, "block of signals", r);
}

signal_set signal_set::open(std::initializer_list<int> signals, std::error_code& ec) {
    refusal r;
    return signal_set(open_them(signals, ec, r));
}
signal_set signal_set::open(std::initializer_list<int> signals) {
    std::error_code ec;
    refusal r;
    signal_set s(open_them(signals, ec, r));
    if (ec) fail(ec, "open of a signal_set", r);
    return s;
}

signal_info signal_set::wait(std::error_code& ec, const deadline& d) {
    signal_info found;
    // A short read says nothing (0): it takes one of several.
    perform(handle_, direction::read, d, ec, 0, [&](int fd) { return read_one(fd, found); });
    return found;
}
signal_info signal_set::wait(const deadline& d) {
    return checked("handoff: wait for a signal", [&](std::error_code& ec) { return wait(ec, d); });
}

std::optional<signal_info> signal_set::try_wait(std::error_code& ec) noexcept {
    signal_info found;
    const ssize_t n = with_number(handle_, ec, [&](int fd) { return read_one(fd, found); });
    if (ec == std::errc::resource_unavailable_try_again) ec.clear();
    return n > 0 ? std::optional(found) : std::nullopt;
}
std::optional<signal_info> signal_set::try_wait() {
    return checked("handoff: try_wait for a signal", [&](std::error_code& ec) { return try_wait(ec); });
}

}  // namespace handoff::net
