// file: a file that goroutines read and write.
//
//     handoff::file f = handoff::file::open("/srv/data", handoff::open_mode::read);
//     std::array<std::byte, 4096> block;
//     std::size_t n = f.read_at(8192, block);
//
// A read of at most 64 KiB that the page cache can serve keeps the processor; for 4 KiB it costs a fifth more than pread. One
// that has to wait for the disk hands the processor off first, so that the other goroutines run meanwhile. All other calls that
// may last are made under a guard (syscall.hpp). Where the kernel or the file system cannot say whether a read would wait
// (tmpfs, /proc, terminals), reads are made under a guard, too.
//
// What holds for all functions of this header, unless a function says something else:
//
// - Any goroutine, any thread. On a thread that runs no goroutine they are the system calls alone.
// - A goroutine may switch, and go on on another thread, before a system call is made, as in entersyscall().
// - They are no cancellation points: a system call on a file cannot be ended early (cancellable_call.hpp for what can).
// - A call that a signal interrupts (EINTR) is made again.
// - Every descriptor is made with O_CLOEXEC.
// - There are two forms. One throws: io_error, which names the operation and the file. The other has a std::error_code&, which
//   it sets, or clears. Then what they return after a failure is the number of bytes transferred before it, or an empty object.
// - Paths are what open(2) takes, relative to the working directory of the process. A path with a NUL in it is
//   std::errc::invalid_argument. A std::filesystem::path converts to the std::string that is taken here.
// - In a simulation (simulation.hpp) real files are read and written, at once. A call that waits for another goroutine of the
//   simulation, through a pipe or a lock, would wait for ever.
//
// Reading of directories: directory.hpp. What std::filesystem has is not repeated here. Its functions are called under a guard:
//
//     handoff::blocking_call([&] { std::filesystem::create_directories(path); });
//     handoff::blocking_call([&] { std::filesystem::rename(from, to); });
#pragma once

#include <handoff/buffer.hpp>
#include <handoff/detail/atomic.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/io_error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <sys/types.h>
#include <sys/uio.h>
#include <system_error>
#include <utility>

namespace handoff {

// How a file is opened; values are combined by |.
enum class open_mode : unsigned {
    read = 1,
    write = 2,
    append = 4,       // write, each time at what is then the end of the file
    create = 8,       // make the file if there is none
    exclusive = 16,   // with create: there must be none (std::errc::file_exists)
    truncate = 32,    // with write: drop the contents
    no_follow = 64,   // the path's last part must not be a symbolic link (std::errc::too_many_symbolic_link_levels)
};
constexpr open_mode operator|(open_mode a, open_mode b) noexcept {
    return static_cast<open_mode>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
// has says whether all of `part` is in `m`.
constexpr bool has(open_mode m, open_mode part) noexcept {
    return (static_cast<unsigned>(m) & static_cast<unsigned>(part)) == static_cast<unsigned>(part);
}

enum class seek_from { start, current, end };
enum class lock_kind { shared, exclusive };

// An open file, or nothing. It owns its descriptor, and closes it in its destructor. It can be moved, not copied.
//
// Several goroutines may use one file at a time, as long as none of them closes or moves it. read_at and write_at are
// independent of each other. Those that use the file's position should be left to one goroutine at a time: the kernel lets
// one after the other have the position, and they wait for it like for the disk.
//
// Errors of all functions, besides the system's: std::errc::bad_file_descriptor if there is no open file.
class file {
public:
    // No file.
    file() noexcept = default;
    file(file&& other) noexcept;
    file& operator=(file&& other) noexcept;   // closes the file that was here, and drops that close's error
    ~file();                                  // likewise

    // open opens `path`. `permissions` are those of a file that is created, less the process's umask. Opening a named pipe
    // waits for its other end. Besides the system's errors: std::errc::invalid_argument for a mode that has neither read nor
    // write nor append, truncate without write or append, exclusive without create, or permissions above 07777.
    static file open(std::string path, open_mode mode, mode_t permissions = 0666);
    static file open(std::string path, open_mode mode, std::error_code& ec) { return open(std::move(path), mode, 0666, ec); }
    HANDOFF_API static file open(std::string path, open_mode mode, mode_t permissions, std::error_code& ec);

    // adopt takes over an open descriptor, as it is: a file, a pipe, a terminal. `name` is what errors call it; if it is
    // empty, "descriptor N". A descriptor in non-blocking mode does not wait: its calls fail with
    // std::errc::resource_unavailable_try_again. Does not switch.
    HANDOFF_API static file adopt(int fd, std::string name = {});

    // Does not switch, nor do the next three.
    bool is_open() const noexcept { return fd_ >= 0; }
    // native_handle returns the descriptor, which stays the file's; -1 if there is none.
    int native_handle() const noexcept { return fd_; }
    // release returns the descriptor, and leaves nothing here.
    int release() noexcept { return std::exchange(fd_, -1); }
    // name returns the path with which it was opened, or what adopt was told.
    const std::string& name() const noexcept { return name_; }

    // close closes the file, and reports what the system has kept back until then (a full disk on a network file system). The
    // file is closed in any case, and the call is not made again. It does not make sure that data is on the disk: sync does.
    void close();
    HANDOFF_API void close(std::error_code& ec) noexcept;

    // ---- Reading and writing at the position, which moves by what was transferred. Also for pipes and terminals. -----------

    // read_some waits until there is something, and reads what is there: at least one byte, at most the buffer's size. It
    // returns how much. 0 is the end of the file, or an empty buffer. It may return less than there is in the file, for
    // example what the page cache has. The second form fills one buffer after the other; it takes no more than the first 1024.
    std::size_t read_some(mutable_buffer b) { return checked("read of", [&](auto& ec) { return read_some(b, ec); }); }
    std::size_t read_some(mutable_buffer b, std::error_code& ec) noexcept;
    std::size_t read_some(std::span<const iovec> v) { return checked("read of", [&](auto& ec) { return read_some(v, ec); }); }
    HANDOFF_API std::size_t read_some(std::span<const iovec> v, std::error_code& ec) noexcept;

    // read_exactly fills the buffer, or all buffers. If the file ends before: io_errc::end_of_file. Returns how much was read.
    std::size_t read_exactly(mutable_buffer b) { return checked("read of", [&](auto& ec) { return read_exactly(b, ec); }); }
    std::size_t read_exactly(mutable_buffer b, std::error_code& ec) noexcept;
    std::size_t read_exactly(std::span<const iovec> v) {
        return checked("read of", [&](auto& ec) { return read_exactly(v, ec); });
    }
    HANDOFF_API std::size_t read_exactly(std::span<const iovec> v, std::error_code& ec) noexcept;

    // read_to_end reads from the position to the end of the file. Throws std::bad_alloc (both forms). After an error, the second
    // form returns what was read before it.
    std::string read_to_end();
    HANDOFF_API std::string read_to_end(std::error_code& ec);

    // write_some writes at least one byte, and returns how many. It is made under an adaptive guard.
    std::size_t write_some(const_buffer b) { return checked("write to", [&](auto& ec) { return write_some(b, ec); }); }
    std::size_t write_some(const_buffer b, std::error_code& ec) noexcept;
    std::size_t write_some(std::span<const iovec> v) { return checked("write to", [&](auto& ec) { return write_some(v, ec); }); }
    HANDOFF_API std::size_t write_some(std::span<const iovec> v, std::error_code& ec) noexcept;

    // write_all writes everything. If it fails, io_error::transferred(), or what the second form returns, tells how much was
    // written. A pipe without a reader raises SIGPIPE, as for write(2).
    std::size_t write_all(const_buffer b) { return checked("write to", [&](auto& ec) { return write_all(b, ec); }); }
    std::size_t write_all(const_buffer b, std::error_code& ec) noexcept;
    std::size_t write_all(std::span<const iovec> v) { return checked("write to", [&](auto& ec) { return write_all(v, ec); }); }
    HANDOFF_API std::size_t write_all(std::span<const iovec> v, std::error_code& ec) noexcept;

    // seek moves the position, and returns the new one, in bytes from the start. A negative one is invalid_argument. A
    // position beyond the end is valid. tell is seek(0, seek_from::current).
    std::uint64_t seek(std::int64_t offset, seek_from from = seek_from::start);
    HANDOFF_API std::uint64_t seek(std::int64_t offset, seek_from from, std::error_code& ec) noexcept;
    std::uint64_t tell() { return seek(0, seek_from::current); }
    std::uint64_t tell(std::error_code& ec) noexcept { return seek(0, seek_from::current, ec); }

    // ---- Reading and writing elsewhere, in bytes from the start. The position stays. Not for pipes (invalid_seek). ----------

    // read_at reads from `offset` until the buffer (or all buffers) is full, or the file ends: less is the end. An offset
    // beyond 2^63 - 1 is invalid_argument, also for write_at.
    std::size_t read_at(std::uint64_t offset, mutable_buffer b) {
        return checked("read of", [&](auto& ec) { return read_at(offset, b, ec); });
    }
    std::size_t read_at(std::uint64_t offset, mutable_buffer b, std::error_code& ec) noexcept;
    std::size_t read_at(std::uint64_t offset, std::span<const iovec> v) {
        return checked("read of", [&](auto& ec) { return read_at(offset, v, ec); });
    }
    HANDOFF_API std::size_t read_at(std::uint64_t offset, std::span<const iovec> v, std::error_code& ec) noexcept;

    // write_at writes everything, at `offset`; if it fails, see write_all. Of a file opened with `append`, Linux writes at the
    // end all the same.
    std::size_t write_at(std::uint64_t offset, const_buffer b) {
        return checked("write to", [&](auto& ec) { return write_at(offset, b, ec); });
    }
    std::size_t write_at(std::uint64_t offset, const_buffer b, std::error_code& ec) noexcept;
    std::size_t write_at(std::uint64_t offset, std::span<const iovec> v) {
        return checked("write to", [&](auto& ec) { return write_at(offset, v, ec); });
    }
    HANDOFF_API std::size_t write_at(std::uint64_t offset, std::span<const iovec> v, std::error_code& ec) noexcept;

    // ---- The file as a whole -----------------------------------------------------------------------------------------------

    // sync returns once all of the file's data and metadata are on the disk; sync_data leaves out metadata that is not needed
    // to read the data back, such as times. Both hand the processor off first. After an error the kernel may have dropped the
    // data that it could not write: trying again says nothing about it.
    void sync();
    HANDOFF_API void sync(std::error_code& ec) noexcept;
    void sync_data();
    HANDOFF_API void sync_data(std::error_code& ec) noexcept;

    // size returns the number of bytes in the file; 0 for pipes and most of /proc.
    std::uint64_t size() const;
    HANDOFF_API std::uint64_t size(std::error_code& ec) const noexcept;

    // resize cuts the file, or lengthens it by zeros that take no room on the disk. The position stays.
    void resize(std::uint64_t size);
    HANDOFF_API void resize(std::uint64_t size, std::error_code& ec) noexcept;

    // allocate reserves room on the disk for the bytes from offset on (fallocate), so that writing them does not fail for want
    // of it. The file grows if it is shorter. Not all file systems can (std::errc::operation_not_supported).
    void allocate(std::uint64_t offset, std::uint64_t size);
    HANDOFF_API void allocate(std::uint64_t offset, std::uint64_t size, std::error_code& ec) noexcept;

    // lock waits for an advisory lock of the whole file, against other opens of it in this process or another (flock). Who has
    // one already changes its kind, which is not atomic. Closing unlocks. In a simulation a lock that would have to be waited
    // for is std::errc::resource_deadlock_would_occur.
    void lock(lock_kind kind = lock_kind::exclusive);
    HANDOFF_API void lock(lock_kind kind, std::error_code& ec) noexcept;
    // try_lock returns false where lock would wait.
    bool try_lock(lock_kind kind = lock_kind::exclusive);
    HANDOFF_API bool try_lock(lock_kind kind, std::error_code& ec) noexcept;
    // unlock does nothing if there is no lock.
    void unlock();
    HANDOFF_API void unlock(std::error_code& ec) noexcept;

private:
    file(int fd, std::string name) noexcept : fd_(fd), name_(std::move(name)) {}

    // Calls f(ec), and throws what it reports.
    template <class F>
    std::size_t checked(const char* operation, F f) {
        std::error_code ec;
        const std::size_t n = f(ec);
        if (ec) fail(operation, ec, n);
        return n;
    }
    [[noreturn]] HANDOFF_API void fail(const char* operation, std::error_code ec, std::size_t transferred = 0) const;

    // These return a number of bytes, or -errno. at < 0: at the position.
    std::int64_t read_once(std::span<const iovec> v, std::int64_t at) noexcept;
    std::int64_t write_once(std::span<const iovec> v, std::int64_t at) noexcept;
    std::int64_t write_more(std::span<const iovec> v, std::int64_t at) noexcept;
    template <class Once>
    std::size_t transfer_all(std::span<const iovec> v, std::int64_t at, std::error_code& ec, Once once) noexcept;

    int fd_ = -1;
    // Whether reads with RWF_NOWAIT are worth a try. Atomic, since several may read at once.
    base::atomic<bool> nowait_{true};
    std::string name_;
};

// read_file returns the contents of a file. Throws std::bad_alloc (both forms). After an error the second form returns an empty
// string.
HANDOFF_API std::string read_file(const std::string& path);
HANDOFF_API std::string read_file(const std::string& path, std::error_code& ec);

// write_file replaces the contents of a file, which it makes if there is none (0666, less the umask). Others may see it empty, or
// half written, and so may those who come after a crash: see replace_file. The forms with a std::error_code throw
// std::bad_alloc, too.
HANDOFF_API void write_file(const std::string& path, const_buffer data);
HANDOFF_API void write_file(const std::string& path, const_buffer data, std::error_code& ec);

// replace_file puts a new file with these contents in the place of the old one, at once: who opens the path gets the old
// contents or the new ones, never a mixture, also after a crash. When it returns, the new ones are on the disk. It makes a
// temporary file in the same directory, writes it, syncs it, renames it, and syncs the directory. If it fails before the
// renaming, the old file is as it was, and the temporary one is gone; an error of the last step (the directory's sync)
// comes when the new one is in its place.
//
// The new file has the old one's permissions, and its owner and group as far as the process may set them; access lists and
// other attributes are not copied, hard links keep the old contents. Without an old file the permissions are 0666, less the
// umask.
// If the path is a symbolic link, the file that it leads to is replaced; a link that leads nowhere is replaced itself. What
// is no regular file is refused (std::errc::is_a_directory, std::errc::invalid_argument). The directory must be readable and
// writable. Takes the time of some writes to the disk, a millisecond or more.
HANDOFF_API void replace_file(const std::string& path, const_buffer data);
HANDOFF_API void replace_file(const std::string& path, const_buffer data, std::error_code& ec);

// temporary_file opens a file that has no name, for reading and writing, and is gone with its descriptor. It lies in `directory`;
// if that is empty, in $TMPDIR, or /tmp. The forms with a std::error_code throw std::bad_alloc, too.
HANDOFF_API file temporary_file(const std::string& directory = {});
HANDOFF_API file temporary_file(const std::string& directory, std::error_code& ec);

// ---- Implementation ----------------------------------------------------------------------------------------------------

inline std::size_t file::read_some(mutable_buffer b, std::error_code& ec) noexcept {
    const iovec v{b.data(), b.size()};
    return read_some(std::span(&v, 1), ec);
}
inline std::size_t file::read_exactly(mutable_buffer b, std::error_code& ec) noexcept {
    const iovec v{b.data(), b.size()};
    return read_exactly(std::span(&v, 1), ec);
}
inline std::size_t file::read_at(std::uint64_t offset, mutable_buffer b, std::error_code& ec) noexcept {
    const iovec v{b.data(), b.size()};
    return read_at(offset, std::span(&v, 1), ec);
}
// iovec has no const; writev does not write to what it is given.
inline std::size_t file::write_some(const_buffer b, std::error_code& ec) noexcept {
    const iovec v{const_cast<void*>(b.data()), b.size()};
    return write_some(std::span(&v, 1), ec);
}
inline std::size_t file::write_all(const_buffer b, std::error_code& ec) noexcept {
    const iovec v{const_cast<void*>(b.data()), b.size()};
    return write_all(std::span(&v, 1), ec);
}
inline std::size_t file::write_at(std::uint64_t offset, const_buffer b, std::error_code& ec) noexcept {
    const iovec v{const_cast<void*>(b.data()), b.size()};
    return write_at(offset, std::span(&v, 1), ec);
}

}  // namespace handoff
