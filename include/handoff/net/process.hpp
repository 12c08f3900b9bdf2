// Child processes: they are started, waited for, and sent signals.
//
//     using net::child_stream;
//     auto p = net::process::start({.program = "gzip", .in = child_stream::pipe(), .out = child_stream::descriptor(file)});
//     net::write_all(p.in(), text);
//     p.in().close();
//     net::exit_status end = p.wait(10s);
//
//     net::process_output diff = net::run({.program = "git", .arguments = {"diff"}}, 1 << 20, 30s);
//
// A goroutine that waits for a child costs no thread: it waits for its pidfd. Each operation exists twice, as with sockets
// (socket.hpp); deadlines, cancellation, threads and moves to other threads are as there. Any thread, not only the one that has
// started the child. In a simulation a child can't be started: usage_error.
//
// The end of a process object kills its child (SIGKILL), and waits until it has ended, unless that was waited for before. So where
// a deadline, a cancellation or an exception leaves the scope, no child stays behind, and no zombie. What else there is, others
// have tried. A child that runs on is found much later, still at work, and is a zombie afterwards; one that is killed and not
// waited for is a zombie, too (tokio-rs/tokio#2685, boostorg/process#178, python/cpython#114177). What speaks against it is that
// some children are to outlive the scope (tokio-rs/tokio#1814). Then the object is moved to where they are waited for:
//
//     go([p = std::move(p)]() mutable { p.wait(); }).detach();
//
// Pipes. A reader comes to the end when all have closed the other end of the pipe: the child, and each process that it has
// started and that has inherited the pipe, as a server in the background does. So to read to the end may last much longer than
// the child. Where that may be so, read with a deadline, or use run, which ends with the child. Also, a child whose output
// nobody reads waits as soon as a pipe is full (64 KiB): read before you wait. Where a child reads its input to the end, in()
// must be closed.
//
// The program must leave SIGCHLD at its default, or handle it; if it ignores it (SIG_IGN, SA_NOCLDWAIT), or waits for any child
// (wait, waitpid(-1)), wait ends with no_child_process: how the child has ended is lost.
#pragma once

#include <handoff/deadline.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/net/pipe.hpp>

#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <system_error>
#include <vector>

namespace handoff::net {

namespace detail {

struct child;
struct child_streams;

}  // namespace detail

// What a child has as its standard input, output or error.
class child_stream {
public:
    // The same as the program itself.
    constexpr child_stream() noexcept = default;
    static constexpr child_stream inherit() noexcept { return {}; }
    // /dev/null: nothing to read, and what is written is dropped.
    static constexpr child_stream null() noexcept { return {of::null, -1}; }
    // A new pipe, whose other end the process object has.
    static constexpr child_stream pipe() noexcept { return {of::pipe, -1}; }
    // A duplicate of a descriptor of the program, which stays the caller's: a file, a socket, STDOUT_FILENO. It is as blocking,
    // or not, as the original is, and most programs expect a blocking one.
    static constexpr child_stream descriptor(int fd) noexcept { return {of::descriptor, fd}; }

    friend constexpr bool operator==(const child_stream&, const child_stream&) = default;

private:
    friend detail::child_streams;
    enum class of : unsigned char { parent, null, pipe, descriptor };

    constexpr child_stream(of what, int fd) noexcept : what_(what), fd_(fd) {}

    of what_ = of::parent;
    int fd_ = -1;
};

struct process_options {
    std::string program;                                   // a path; without a slash it is looked for in this program's PATH
    std::vector<std::string> arguments{};                  // without the program itself
    std::optional<std::vector<std::string>> environment{}; // all of it, as "NAME=value"; none: this program's
    std::string directory{};                               // where it works, and where a relative path to it begins; empty: here
    child_stream in{}, out{}, err{};
};

// How a process has ended.
class exit_status {
public:
    constexpr exit_status() noexcept = default;   // exited with 0

    constexpr bool success() const noexcept { return signal_ == 0 && code_ == 0; }
    constexpr bool exited() const noexcept { return signal_ == 0; }
    // What it has returned from main, or passed to exit, modulo 256; -1 if it was killed.
    constexpr int code() const noexcept { return signal_ == 0 ? code_ : -1; }
    // The signal that has killed it; 0 if none.
    constexpr int signal() const noexcept { return signal_; }
    constexpr bool core_dumped() const noexcept { return core_; }

    // to_string returns "exited with code 3", or "killed by SIGSEGV (core dumped)".
    HANDOFF_API std::string to_string() const;

    friend constexpr bool operator==(const exit_status&, const exit_status&) = default;

private:
    friend detail::child;
    constexpr exit_status(int code, int signal, bool core) noexcept : code_(code), signal_(signal), core_(core) {}

    int code_ = 0, signal_ = 0;
    bool core_ = false;
};

// A child. All functions may be called by several threads and goroutines at once, but for moves, assignments and the
// destructor.
class process {
public:
    // Without a child: wait ends with no_child_process, and kill finds nobody.
    HANDOFF_API process() noexcept;
    HANDOFF_API process(process&& other) noexcept;
    HANDOFF_API process& operator=(process&& other) noexcept;   // as the destructor first
    // Kills the child and waits until it has ended, see above. It may lose the processor, as a guarded call does. No
    // cancellation point. A child of another user (set-user-ID) that may not be killed is left alone.
    HANDOFF_API ~process();

    // start starts a child, and returns when the program runs. It may lose the processor, as a guarded call does. The other
    // form's exception names the program, or the stream, and the directory.
    //
    // The child has no signal blocked. Those that this program ignores it ignores, too, as nohup means it, but for SIGPIPE; all
    // others have the default action. It inherits descriptors that are not close-on-exec. It is in this program's process
    // group, so it gets the signals of the terminal.
    //
    // The errors: those of execve(2), as no_such_file_or_directory (the program, its interpreter, or the directory) and
    // permission_denied; of chdir(2), clone(2), pipe(2), dup(2) and, for null, open(2). invalid_argument: no program, or a text
    // with a NUL in it. Throws std::bad_alloc. If it fails, there is no child and no pipe. The environment must not be changed
    // (setenv) meanwhile.
    HANDOFF_API static process start(const process_options& o);
    HANDOFF_API static process start(const process_options& o, std::error_code& ec);

    // pid is the child's number, -1 without a child. Once the child was waited for, another process may have it.
    HANDOFF_API pid_t pid() const noexcept;

    // in, out and err are our ends of those streams that are pipes; else they are closed ends. Moved from as one likes. They
    // are not closed by the child's end.
    pipe_writer& in() noexcept { return in_; }
    pipe_reader& out() noexcept { return out_; }
    pipe_reader& err() noexcept { return err_; }

    // wait waits until the child has ended, and returns how, each time that it is called. If it ends otherwise (deadline,
    // cancellation), the child runs on. It has no effect on the pipes. The first wait that sees the end frees the number.
    //
    // Where there is no pidfd (Linux before 5.4, a filter of system calls, no descriptor left when the child was started) it
    // looks for the end after pauses, which grow from 1 to 100 ms.
    HANDOFF_API exit_status wait(const deadline& d = {});
    HANDOFF_API exit_status wait(std::error_code& ec, const deadline& d = {});

    // try_wait returns how the child has ended, if it has. Does not wait.
    HANDOFF_API std::optional<exit_status> try_wait();
    HANDOFF_API std::optional<exit_status> try_wait(std::error_code& ec) noexcept;

    // kill sends the child a signal, and never another process. false: its end was waited for before, or there is none. (One
    // that has ended, but was not waited for, gets the signal without any effect.) What the child has started gets none.
    // invalid_argument: there is no such signal. operation_not_permitted: the child belongs to another user now.
    HANDOFF_API bool kill(int signal = SIGKILL);
    HANDOFF_API bool kill(int signal, std::error_code& ec) noexcept;

    // native_handle is the pidfd, which stays the object's, for poll (poll_fd.hpp); it is readable when the child has ended. -1
    // if there is none.
    HANDOFF_API int native_handle() const noexcept;

private:
    static process start_or_say(const process_options& o, std::error_code& ec, std::string& what);

    std::unique_ptr<detail::child> child_;
    pipe_writer in_;
    pipe_reader out_, err_;
};

struct process_output {
    exit_status status;
    std::string out, err;
};

// run starts a child, waits until it ends, and returns what it has written to its standard output and error, where the options
// say `inherit` or `pipe`. Its input is empty where they say so. It ends with the child: what other processes write later to
// its pipes is left out. message_size: one of the two texts has become longer than `most` bytes. timed_out: the deadline is
// over. In both cases, and if it throws, the child is killed; the form with an error code returns what had come until then, cut
// to `most`.
HANDOFF_API process_output run(process_options o, std::size_t most, const deadline& d = {});
HANDOFF_API process_output run(process_options o, std::size_t most, std::error_code& ec, const deadline& d = {});

}  // namespace handoff::net
