// Pipes and FIFOs: pipe_reader and pipe_writer, the two ends.
//
// As with sockets (socket.hpp), a goroutine that waits for a pipe costs no thread; each operation exists twice, once with a
// std::error_code&; all that may wait take a deadline, end with net_errc::closed if the end is closed by the program, are
// cancellation points where they would have to wait, may move the goroutine to another thread there, and throw usage_error where
// there is no runtime to wait. Any thread; several goroutines may use one end at the same time.
//
// A write to a pipe that nobody reads any more is the error broken_pipe. It raises no SIGPIPE, on no thread, whatever the program
// does with that signal: since Linux 6.18 the kernel is told so (RWF_NOSIGNAL); before that the signal is blocked on the calling
// thread for the time of the call, and taken back if the call has raised it. The program's own settings of the signal, which its
// children inherit, stay as they are.
//
// Whether a descriptor is non-blocking is said of what the kernel calls the open file, which processes share that have inherited
// it, or to which it was passed: whoever changes it for one changes it for all. A shell whose terminal or pipe has been made
// non-blocking by a program does not work any more. So there are three ways to come to an end of a pipe that exists already:
//
//     take      of a descriptor that no other process uses: it is made non-blocking. For example our end of a pipe that was made
//               by pipe2(fds, O_CLOEXEC), whose other end a child gets. The standard streams are refused.
//     reopen    of any other one, also standard input and output: makes another open file for the same pipe. The descriptor stays
//               as it is, and the caller's.
//     open      of a FIFO, by its path.
#pragma once

#include <handoff/buffer.hpp>
#include <handoff/net/error.hpp>
#include <handoff/net/io_object.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace handoff::net {

class pipe_reader;
class pipe_writer;

// make_pipe makes a pipe. Both ends are close-on-exec and non-blocking, so they are not what a child expects as a standard
// stream.
HANDOFF_API std::pair<pipe_reader, pipe_writer> make_pipe();
HANDOFF_API std::pair<pipe_reader, pipe_writer> make_pipe(std::error_code& ec) noexcept;

class pipe_reader : public io_object {
public:
    // An end without a pipe: operations end with net_errc::closed.
    pipe_reader() noexcept = default;

    // take makes fd the reader's, which closes it: it becomes non-blocking and close-on-exec. invalid_argument: it is no pipe or
    // FIFO. bad_file_descriptor: it is not open, or not for reading. operation_not_permitted: it is 0, 1 or 2. If it fails, fd
    // stays the caller's, and as it was.
    HANDOFF_API static pipe_reader take(int fd);
    HANDOFF_API static pipe_reader take(int fd, std::error_code& ec) noexcept;

    // reopen makes a reader of the pipe of which fd is an end. It counts as one more reader: the writers see broken_pipe when fd
    // is closed, too. Needs /proc, and the right to open the pipe, which another user may have made (permission_denied).
    HANDOFF_API static pipe_reader reopen(int fd);
    HANDOFF_API static pipe_reader reopen(int fd, std::error_code& ec) noexcept;

    // open opens a FIFO. It does not wait for a writer; the first read does. It may lose the processor, as a guarded call does.
    // invalid_argument: it is no FIFO.
    HANDOFF_API static pipe_reader open(const std::string& path);
    HANDOFF_API static pipe_reader open(const std::string& path, std::error_code& ec) noexcept;

    // read_some reads at least one byte, and at most as many as there is room for, and returns how many; 0 if all writers have
    // closed it, or of a buffer of no size. It waits if nothing is there, and of a FIFO also for the first writer. The form with
    // several buffers fills one after the other; at most 64 of them take part.
    HANDOFF_API std::size_t read_some(const mutable_buffer& into, const deadline& d = {});
    HANDOFF_API std::size_t read_some(const mutable_buffer& into, std::error_code& ec, const deadline& d = {});
    HANDOFF_API std::size_t read_some(std::span<const mutable_buffer> into, const deadline& d = {});
    HANDOFF_API std::size_t read_some(std::span<const mutable_buffer> into, std::error_code& ec, const deadline& d = {});

    // wait_readable waits until a read would not have to wait. Another goroutine may read first.
    HANDOFF_API void wait_readable(const deadline& d = {});
    HANDOFF_API void wait_readable(std::error_code& ec, const deadline& d = {});

private:
    friend std::pair<pipe_reader, pipe_writer> make_pipe(std::error_code& ec) noexcept;
    explicit pipe_reader(handoff::detail::descriptor_handle h) noexcept : io_object(std::move(h)) {}
};

class pipe_writer : public io_object {
public:
    // An end without a pipe: operations end with net_errc::closed.
    pipe_writer() noexcept = default;

    // take, reopen: as pipe_reader's. reopen of a FIFO that nobody reads is broken_pipe.
    HANDOFF_API static pipe_writer take(int fd);
    HANDOFF_API static pipe_writer take(int fd, std::error_code& ec) noexcept;
    HANDOFF_API static pipe_writer reopen(int fd);
    HANDOFF_API static pipe_writer reopen(int fd, std::error_code& ec) noexcept;

    // open opens a FIFO, and waits until a reader has opened it. The kernel does not tell when one comes, so open tries after
    // pauses that grow from 1 to 100 ms. It may lose the processor, as a guarded call does. invalid_argument: it is no FIFO.
    HANDOFF_API static pipe_writer open(const std::string& path, const deadline& d = {});
    HANDOFF_API static pipe_writer open(const std::string& path, std::error_code& ec, const deadline& d = {});

    // write_some writes at least one byte, and returns how many it has written; 0 if there are none to write. It waits if the
    // pipe is full. Up to PIPE_BUF bytes are written together, or wait. (write_all in algorithms.hpp writes everything.)
    HANDOFF_API std::size_t write_some(const const_buffer& from, const deadline& d = {});
    HANDOFF_API std::size_t write_some(const const_buffer& from, std::error_code& ec, const deadline& d = {});
    HANDOFF_API std::size_t write_some(std::span<const const_buffer> from, const deadline& d = {});
    HANDOFF_API std::size_t write_some(std::span<const const_buffer> from, std::error_code& ec, const deadline& d = {});

    // wait_writable waits until a write would not have to wait, also because nobody reads.
    HANDOFF_API void wait_writable(const deadline& d = {});
    HANDOFF_API void wait_writable(std::error_code& ec, const deadline& d = {});

private:
    friend std::pair<pipe_reader, pipe_writer> make_pipe(std::error_code& ec) noexcept;
    explicit pipe_writer(handoff::detail::descriptor_handle h) noexcept : io_object(std::move(h)) {}
};

}  // namespace handoff::net
