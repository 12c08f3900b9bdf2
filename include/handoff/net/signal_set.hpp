// Signals as something that goroutines wait for, in place of handlers.
//
//     int main() {
//         net::signal_set::block({SIGTERM, SIGINT});   // before the first runtime, and the first thread
//         run([] {
//             auto ends = net::signal_set::open({SIGTERM, SIGINT});
//             go([&] { serve(); });
//             ends.wait();
//         });
//     }
//
// The kernel keeps a signal for a set only if all threads of the process block it. If one thread does not, the signal goes to
// that thread: its handler runs, or the process ends, and the set sees nothing. A new thread blocks what the thread that makes
// it does, and the threads of a runtime block what the thread did that made the runtime, whenever they begin. So block is
// called in main before the first runtime is made, default_runtime() included, and before any other thread begins. open looks
// at what it can see, which is the calling thread, and the runtime that it belongs to (of a thread without a goroutine the
// default runtime, if there is one). Other threads of the program are not looked at.
//
// What is blocked stays so, also when the set is closed: such a signal stays pending until a set, or another call, takes it. A
// program that is started by exec inherits the blocked signals; net::process gives its children none.
//
// Signals are merged. While an instance of a signal is pending, another one of the same number is dropped by the kernel; so one
// that was received stands for one or more. For SIGCHLD that means: after one of them, ask all children. Only the real-time
// signals (SIGRTMIN to SIGRTMAX) are kept one by one, in the order in which they were sent, up to the process's limit
// (RLIMIT_SIGPENDING). Of several different ones the lowest number comes first.
//
// Of several sets, and several goroutines that wait, one gets it. What is sent to a single thread (pthread_kill, raise, abort,
// a SIGPIPE of write) is pending for that thread alone, and a set does not see it, unless by chance that thread asks.
//
// Each operation exists twice, as with sockets (socket.hpp); deadlines, cancellation, threads and moves to other threads are as
// there. The names of the signals are in <csignal>. Sets are close-on-exec. No part of this is for signal handlers. In a
// simulation a set can't be made: usage_error.
#pragma once

#include <handoff/net/error.hpp>
#include <handoff/net/io_object.hpp>

#include <initializer_list>
#include <optional>
#include <sys/types.h>
#include <system_error>
#include <utility>

namespace handoff::net {

// A signal that was received; sigaction(2) says what there is for which.
struct signal_info {
    int number = 0;   // SIGTERM, ...
    int code = 0;     // where it comes from: SI_USER (kill), SI_QUEUE (sigqueue), SI_KERNEL, CLD_EXITED, ...
    pid_t pid = 0;    // the sender, or for SIGCHLD the child; 0 if it is in another PID namespace, or nobody
    uid_t uid = 0;    // the user of that process
    int value = 0;    // what sigqueue has sent along
};

class signal_set : public io_object {
public:
    // Without signals: operations end with net_errc::closed.
    signal_set() noexcept = default;

    // block blocks the signals on the calling thread, and so on all that come of it: threads that it makes, and the threads of
    // runtimes that it makes. To be called by a thread that runs no goroutine, else it throws usage_error. Does not wait.
    // invalid_argument: as for open.
    HANDOFF_API static void block(std::initializer_list<int> signals);
    HANDOFF_API static void block(std::initializer_list<int> signals, std::error_code& ec);

    // open makes a set of the signals. Those that are pending already are its, too. Does not wait. The other form's exception
    // names the signal. invalid_argument: there is none of that number, it can't be blocked (SIGKILL, SIGSTOP), or a thread
    // raises it by an instruction of its own, which can't go on (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS).
    // operation_not_permitted: it is not blocked where open looks, see above. The others are those of signalfd(2).
    HANDOFF_API static signal_set open(std::initializer_list<int> signals);
    HANDOFF_API static signal_set open(std::initializer_list<int> signals, std::error_code& ec);

    // wait waits until one of the signals comes, and returns it. A wait that ends otherwise (deadline, cancellation, close)
    // takes none.
    HANDOFF_API signal_info wait(const deadline& d = {});
    HANDOFF_API signal_info wait(std::error_code& ec, const deadline& d = {});

    // try_wait returns one that is pending, if there is one.
    HANDOFF_API std::optional<signal_info> try_wait();
    HANDOFF_API std::optional<signal_info> try_wait(std::error_code& ec) noexcept;

private:
    explicit signal_set(handoff::detail::descriptor_handle h) noexcept : io_object(std::move(h)) {}
};

}  // namespace handoff::net
