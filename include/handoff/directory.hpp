// directory: what is in a directory, for goroutines. temporary_directory: one that is removed at the end.
//
//     for (const handoff::directory::entry& e : handoff::directory("/srv/data"))
//         if (e.type == handoff::file_type::regular) names.emplace_back(e.name);
//
// What the head of file.hpp says holds here, too. Making, removing and renaming is left to std::filesystem, under a guard.
#pragma once

#include <handoff/detail/export.hpp>
#include <handoff/file.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace handoff {

// unknown: some file systems do not say it. lstat does, under a guard.
enum class file_type { unknown, regular, directory, symbolic_link, block_device, character_device, pipe, socket };

// An open directory, or nothing, that is read from its beginning to its end, in no special order and without "." and "..".
// What is added or removed meanwhile may be seen or not. It can be moved, not copied. One goroutine at a time.
//
// The kernel is asked for 32 KiB of entries at a time, some hundreds to a thousand, each time under an adaptive guard. What is in
// between does not switch.
class directory {
public:
    struct entry {
        std::string_view name;   // a NUL follows it. Valid until the next entry is read
        file_type type;          // not that of what a symbolic link leads to
        std::uint64_t inode;
    };
    class iterator;

    // No directory. Reading fails with std::errc::bad_file_descriptor.
    directory() noexcept = default;
    // Opens `path`. std::errc::not_a_directory: it is something else. Throws std::bad_alloc, as open does.
    explicit directory(std::string path);
    HANDOFF_API static directory open(std::string path, std::error_code& ec);

    // next returns the next entry, or null at the end. It is the directory's, and is overwritten by the next call.
    const entry* next();
    HANDOFF_API const entry* next(std::error_code& ec) noexcept;

    // rewind lets next begin again, with what is in the directory by then.
    void rewind();
    HANDOFF_API void rewind(std::error_code& ec) noexcept;

    // The descriptor, for openat and its like; -1 if there is none. It stays the directory's.
    int native_handle() const noexcept { return f_.native_handle(); }
    const std::string& name() const noexcept { return f_.name(); }

    // For range-for: begin reads the first entry, ++ the next one; both throw as next() does. One pass.
    iterator begin();
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    file f_;
    std::unique_ptr<std::byte[]> batch_;
    std::size_t at_ = 0, size_ = 0;   // of the batch
    entry now_{};
};

class directory::iterator {
public:
    using value_type = entry;
    using difference_type = std::ptrdiff_t;
    explicit iterator(directory* d) : d_(d), now_(d->next()) {}
    const entry& operator*() const noexcept { return *now_; }
    const entry* operator->() const noexcept { return now_; }
    iterator& operator++() {
        now_ = d_->next();
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.now_ == nullptr; }

private:
    directory* d_;
    const entry* now_;
};

inline directory::iterator directory::begin() { return iterator(this); }

// A new directory, which its destructor removes with all that is in it (not what symbolic links lead to). It can be moved,
// not copied.
class temporary_directory {
public:
    // In `parent`; if that is empty, in $TMPDIR, or /tmp. Its permissions are 0700. Throws std::bad_alloc, too, as does make.
    explicit temporary_directory(const std::string& parent = {});
    HANDOFF_API static temporary_directory make(const std::string& parent, std::error_code& ec);

    temporary_directory(temporary_directory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    temporary_directory& operator=(temporary_directory&& other) noexcept;
    ~temporary_directory();   // drops the errors of remove

    // Its path, absolute if that of the parent was; empty if there is none.
    const std::string& path() const noexcept { return path_; }

    // remove removes it and its contents now, all of it under one adaptive guard. After an error some of it may be left, and
    // is tried again at the end. Does nothing if there is none. Throws std::bad_alloc (both forms).
    void remove();
    HANDOFF_API void remove(std::error_code& ec);

    // release leaves the directory where it is, and returns its path.
    std::string release() noexcept { return std::exchange(path_, {}); }

private:
    temporary_directory(std::nullptr_t, std::string path) noexcept : path_(std::move(path)) {}

    std::string path_;
};

}  // namespace handoff
