// The part of the shim that stands in for calls on files. See the head of shim.cpp.
#include "shim.hpp"

#include <cstdarg>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define UNSANITIZED __attribute__((no_sanitize("thread"), no_sanitize("address"), no_sanitize("undefined"), noinline))

namespace {

using fault::site;

// What the plan of the site says, or else the call.
template <class... Args>
UNSANITIZED long planned(site where, long number, Args... args) noexcept {
    long result = 0;
    if (where != site::count && fault::stands_in(where, result)) return result;
    long a[6] = {(long)args...};
    return fault::real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // namespace

extern "C" UNSANITIZED ssize_t preadv2(int fd, const iovec* v, int n, off_t at, int flags) {
    return planned(flags & RWF_NOWAIT ? site::cached_read : site::count, SYS_preadv2, fd, v, n, at, 0, flags);
}

extern "C" UNSANITIZED ssize_t writev(int fd, const iovec* v, int n) { return planned(site::write, SYS_writev, fd, v, n); }

extern "C" UNSANITIZED int fsync(int fd) { return static_cast<int>(planned(site::sync, SYS_fsync, fd)); }

extern "C" UNSANITIZED int openat(int at, const char* path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, unsigned) : 0;
    va_end(args);
    site where = site::count;
    if ((flags & O_TMPFILE) == O_TMPFILE) where = site::unnamed_file;
    else if ((flags & O_EXCL) && (flags & O_CREAT)) where = site::named_file;
    return static_cast<int>(planned(where, SYS_openat, at, path, flags, mode));
}

extern "C" UNSANITIZED int linkat(int from_at, const char* from, int to_at, const char* to, int flags) noexcept {
    return static_cast<int>(planned(site::link, SYS_linkat, from_at, from, to_at, to, flags));
}

extern "C" UNSANITIZED int renameat(int from_at, const char* from, int to_at, const char* to) noexcept {
    return static_cast<int>(planned(site::rename, SYS_renameat2, from_at, from, to_at, to, 0));
}
