// Reading and writing.
//
// A read asks the kernel first for what is in the page cache (RWF_NOWAIT), without a guard: that does not wait, so there is
// nothing to hand the processor off for. EAGAIN says that it would wait for the disk, or that a pipe is empty: then the guard
// hands the processor off at once. The kernel has started to read ahead by then. A read that ends early does not tell why: the
// next one does, by EAGAIN or 0. All of this also works at the file's position (offset -1).
//
// The kernel takes 0.1 us longer for such a read than for pread (0.8 us for 4 KiB), which is most of what a read here costs more.
//
// A read without a guard should be short, or the monitor takes it for an unguarded call and reports it (options::unguarded_grace,
// 50 us). 64 KiB take 6 to 10 us to copy. A longer one is asked for under a guard that keeps the processor unless the monitor
// takes it.
//
// In a simulation the guard's end is a place where another goroutine may run. Whether a page is in the cache must not decide
// about that, or a seed would not mean the same schedule twice. So there all reads are under a guard.
//
// Writes are under the adaptive guard, without a try. A buffered write of RWF_NOWAIT is refused by ext4 and tmpfs (EOPNOTSUPP,
// measured on Linux 6.18), where it costs 0.37 us beside 0.95 us for a write of 4 KiB, and a write into the page cache waits
// seldom: then the monitor notices.
#include <handoff/file.hpp>

#include "file/calls.hpp"
#include "sched/simulation_hooks.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <new>

namespace handoff {

namespace {

using iovecs = std::span<const iovec>;

constexpr std::size_t short_read = 64 * 1024;
constexpr std::int64_t at_position = -1;

bool is_short(iovecs v) noexcept {
    std::size_t left = short_read;
    for (const iovec& part : v) {
        if (part.iov_len > left) return false;
        left -= part.iov_len;
    }
    return true;
}

int count_of(iovecs v) noexcept { return static_cast<int>(std::min<std::size_t>(v.size(), IOV_MAX)); }

std::int64_t plain_read(int fd, iovecs v, std::int64_t at) noexcept {
    if (at == at_position) return ::readv(fd, v.data(), count_of(v));
    return v.size() == 1 ? ::pread(fd, v[0].iov_base, v[0].iov_len, at) : ::preadv(fd, v.data(), count_of(v), at);
}

std::int64_t plain_write(int fd, iovecs v, std::int64_t at) noexcept {
    if (at == at_position) return ::writev(fd, v.data(), count_of(v));
    return v.size() == 1 ? ::pwrite(fd, v[0].iov_base, v[0].iov_len, at) : ::pwritev(fd, v.data(), count_of(v), at);
}

std::int64_t cached_read(int fd, iovecs v, std::int64_t at) noexcept {
    const auto read = [&] { return ::preadv2(fd, v.data(), count_of(v), at, RWF_NOWAIT); };
    return is_short(v) ? detail::call(read) : detail::guarded(handoff_policy::sysmon, read);
}

// What a kernel, a file system or a filter of system calls says that does not know RWF_NOWAIT. EINVAL and EPERM may mean
// something else, which the plain read then says again.
bool may_be_unsupported(std::int64_t outcome) noexcept {
    return outcome == -EOPNOTSUPP || outcome == -ENOSYS || outcome == -EINVAL || outcome == -EPERM;
}

// What is left of some buffers, of which a first part is done.
class remainder {
public:
    explicit remainder(iovecs v) noexcept : v_(v) { skip_empty(); }

    bool is_empty() const noexcept { return v_.empty(); }

    // next returns the beginning of what is left. It is valid until the next call.
    iovecs next() noexcept {
        if (done_of_first_ == 0) return v_;
        const std::size_t n = std::min(v_.size(), copy_.size());
        std::copy_n(v_.begin(), n, copy_.begin());
        copy_[0].iov_base = static_cast<char*>(copy_[0].iov_base) + done_of_first_;
        copy_[0].iov_len -= done_of_first_;
        return {copy_.data(), n};
    }

    void skip(std::size_t n) noexcept {
        done_of_first_ += n;
        skip_empty();
    }

private:
    void skip_empty() noexcept {
        while (!v_.empty() && done_of_first_ >= v_.front().iov_len) {
            done_of_first_ -= v_.front().iov_len;
            v_ = v_.subspan(1);
        }
    }

    iovecs v_;
    std::size_t done_of_first_ = 0;
    std::array<iovec, 16> copy_;   // a few at a time: goroutines' stacks are small
};

std::size_t result_of(std::int64_t outcome, std::error_code& ec) noexcept {
    ec = detail::error_of(outcome);
    return outcome < 0 ? 0 : static_cast<std::size_t>(outcome);
}

}  // namespace

std::int64_t file::read_once(iovecs v, std::int64_t at) noexcept {
    const auto plain = [&] { return plain_read(fd_, v, at); };
    if (!nowait_.load(std::memory_order_relaxed) || detail::in_simulation())   // relaxed: a hint
        return detail::guarded(handoff_policy::adaptive, plain);
    const std::int64_t cached = cached_read(fd_, v, at);
    if (cached == -EAGAIN) return detail::guarded(handoff_policy::immediate, plain);
    if (!may_be_unsupported(cached)) return cached;
    const std::int64_t n = detail::guarded(handoff_policy::adaptive, plain);
    if (n >= 0) nowait_.store(false, std::memory_order_relaxed);
    return n;
}

std::int64_t file::write_once(iovecs v, std::int64_t at) noexcept {
    return detail::guarded(handoff_policy::adaptive, [&] { return plain_write(fd_, v, at); });
}

// write_more writes some of what is not empty. Nothing written, and no error, is one: such a device would be asked for ever.
std::int64_t file::write_more(iovecs v, std::int64_t at) noexcept {
    const std::int64_t n = write_once(v, at);
    return n == 0 ? -EIO : n;
}

// transfer_all calls once(buffers, place), which returns a number of bytes or -errno, until everything is done, or it returns 0
// or fails.
template <class Once>
std::size_t file::transfer_all(iovecs v, std::int64_t at, std::error_code& ec, Once once) noexcept {
    ec.clear();
    std::size_t done = 0;
    for (remainder rest(v); !rest.is_empty();) {
        const std::int64_t n = once(rest.next(), at);
        if (n < 0) ec = detail::error_of(n);
        if (n <= 0) break;
        done += static_cast<std::size_t>(n);
        if (at != at_position) at += n;
        rest.skip(static_cast<std::size_t>(n));
    }
    return done;
}

std::size_t file::read_some(iovecs v, std::error_code& ec) noexcept { return result_of(read_once(v, at_position), ec); }

std::size_t file::read_exactly(iovecs v, std::error_code& ec) noexcept {
    bool ended = false;
    const std::size_t done = transfer_all(v, at_position, ec, [&](iovecs rest, std::int64_t at) {
        const std::int64_t n = read_once(rest, at);
        ended = n == 0;
        return n;
    });
    if (ended) ec = io_errc::end_of_file;
    return done;
}

std::size_t file::read_at(std::uint64_t offset, iovecs v, std::error_code& ec) noexcept {
    const auto begin = static_cast<std::int64_t>(offset);
    if (begin < 0) return result_of(-EINVAL, ec);
    return transfer_all(v, begin, ec, [this](iovecs rest, std::int64_t at) { return read_once(rest, at); });
}

std::size_t file::write_some(iovecs v, std::error_code& ec) noexcept { return result_of(write_once(v, at_position), ec); }

std::size_t file::write_all(iovecs v, std::error_code& ec) noexcept {
    return transfer_all(v, at_position, ec, [this](iovecs rest, std::int64_t at) { return write_more(rest, at); });
}

std::size_t file::write_at(std::uint64_t offset, iovecs v, std::error_code& ec) noexcept {
    const auto begin = static_cast<std::int64_t>(offset);
    if (begin < 0) return result_of(-EINVAL, ec);
    return transfer_all(v, begin, ec, [this](iovecs rest, std::int64_t at) { return write_more(rest, at); });
}

std::string file::read_to_end() {
    std::error_code ec;
    std::string all = read_to_end(ec);
    if (ec) fail("read of", ec, all.size());
    return all;
}

std::string file::read_to_end(std::error_code& ec) {
    constexpr std::size_t first_size = 4096;   // where the size is not known
    std::string all;
    // A hint: the file may change, and files of /proc have no size.
    std::error_code none;
    const std::uint64_t whole = size(none), place = tell(none);
    if (!none && place < whole) {
        if (whole - place >= all.max_size()) throw std::bad_alloc();
        all.resize(whole - place + 1);   // one more: the end is found without another buffer
    } else {
        all.resize(first_size);
    }
    for (std::size_t done = 0;;) {
        const std::size_t n = read_some(mutable_buffer(all.data() + done, all.size() - done), ec);
        done += n;
        if (n == 0) {   // also after an error
            all.resize(done);
            return all;
        }
        if (done == all.size()) all.resize(2 * done);
    }
}

}  // namespace handoff
