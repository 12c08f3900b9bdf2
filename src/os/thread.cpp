#include "os/thread.hpp"

#include "base/sanitizers.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace handoff::os {

namespace {

constexpr std::size_t signal_stack_size = 32 * 1024;

// Of threads; the same as for goroutines (context/stack.hpp).
constexpr std::size_t thread_guard_size = 64 * 1024;

// memory_is_short says whether so many bytes can't be mapped.
bool memory_is_short(std::size_t bytes) noexcept {
    void* probe = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED) return true;
    ::munmap(probe, bytes);
    return false;
}

// The size of the thread-local data of the program and of the libraries with which it was started.
std::size_t static_thread_locals() noexcept {
    std::size_t sum = 0;
    ::dl_iterate_phdr(
        [](dl_phdr_info* object, std::size_t, void* to) {
            for (int i = 0; i < object->dlpi_phnum; ++i)
                if (object->dlpi_phdr[i].p_type == PT_TLS)
                    *static_cast<std::size_t*>(to) += object->dlpi_phdr[i].p_memsz + object->dlpi_phdr[i].p_align;
            return 0;
        },
        &sum);
    return sum;
}

// How much of a thread's stack the C library takes for itself and for thread-local data, including the minimum that it wants
// there. If it does not tell, as in a statically linked program, we add that up.
std::size_t taken_of_stack(const pthread_attr_t& attr) noexcept {
    const std::size_t least = static_cast<std::size_t>(std::max(::sysconf(_SC_THREAD_STACK_MIN), 0L));
    using tells = std::size_t(const pthread_attr_t*);
    // Private to glibc, so it is looked up and not linked to; other runtimes do so as well.
    static auto* const ask = reinterpret_cast<tells*>(::dlsym(RTLD_DEFAULT, "__pthread_get_minstack"));
    return std::max(least, ask ? ask(&attr) : PTHREAD_STACK_MIN + static_thread_locals());
}

}  // namespace

thread_defaults thread_defaults::of_this_thread() noexcept {
    thread_defaults d;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &d.mask);
    const int slack = ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    if (slack > 0) d.timer_slack_ns = static_cast<unsigned long>(slack);
    return d;
}

void thread_defaults::apply() const noexcept {
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    set_timer_slack(timer_slack_ns);
}

int create_thread(pthread_t& t, void (*body)(void*), void* arg) noexcept {
    struct start {
        void (*body)(void*);
        void* arg;
    };
    // The minimum. On a thread's stack run only the scheduler, the destructors of the program's thread-locals, and what is
    // called there on purpose. Sanitizers need more, and may have a large static TLS.
#if HANDOFF_ASAN || HANDOFF_TSAN
    constexpr std::size_t stack_size = 1024 * 1024;
#else
    constexpr std::size_t stack_size = 128 * 1024;
#endif
    pthread_attr_t attr;
    if (int e = ::pthread_attr_init(&attr)) return e;
    const std::size_t size = stack_size + taken_of_stack(attr), room = std::max(size, thread_stack_room());
    ::pthread_attr_setstacksize(&attr, room);
    ::pthread_attr_setguardsize(&attr, thread_guard_size);
    auto* s = static_cast<start*>(std::malloc(sizeof(start)));
    if (!s) {
        ::pthread_attr_destroy(&attr);
        return ENOMEM;
    }
    *s = {body, arg};
    const auto main = [](void* p) -> void* {
        const start copy = *static_cast<start*>(p);
        std::free(p);
        copy.body(copy.arg);
        return nullptr;
    };
    int e = ::pthread_create(&t, &attr, main, s);
    if (e == EAGAIN && room > size && memory_is_short(room)) {
        ::pthread_attr_setstacksize(&attr, size);
        e = ::pthread_create(&t, &attr, main, s);
    }
    ::pthread_attr_destroy(&attr);
    if (e) std::free(s);
    return e;
}

std::size_t thread_stack_room() noexcept {
    constexpr std::size_t if_unlimited = 8 * 1024 * 1024;
    rlimit limit{};
    if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return if_unlimited;
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return static_cast<std::size_t>(limit.rlim_cur) / page * page;
}

thread_stack thread_stack::of_this_thread() noexcept {
    thread_stack s;
    pthread_attr_t attr;
    if (::pthread_getattr_np(::pthread_self(), &attr) != 0) return s;
    void* lo = nullptr;
    if (::pthread_attr_getstack(&attr, &lo, &s.size) == 0 && ::pthread_attr_getguardsize(&attr, &s.guard) == 0)
        s.lo = static_cast<char*>(lo);
    ::pthread_attr_destroy(&attr);
    return s;
}

bool join_if_gone(pthread_t t) noexcept { return ::pthread_tryjoin_np(t, nullptr) == 0; }

pid_t this_tid() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

void name_this_thread(int id) noexcept {
    char name[16];   // the kernel keeps no more
    std::snprintf(name, sizeof name, "handoff/%d", id);
    ::pthread_setname_np(::pthread_self(), name);
}

void set_timer_slack(unsigned long ns) noexcept { ::prctl(PR_SET_TIMERSLACK, ns, 0, 0, 0); }

std::int64_t thread_cpu_time(pid_t tid) noexcept {
    // The kernel's encoding of a thread's CPU clock, the same as pthread_getcpuclockid returns.
    const auto id = static_cast<clockid_t>(~static_cast<unsigned>(tid) << 3 | 6);
    timespec ts;
    if (::clock_gettime(id, &ts) != 0) return -1;
    return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

core_time core_time_of(pid_t tid) noexcept {
    char text[96];
    std::snprintf(text, sizeof text, "/proc/self/task/%d/schedstat", static_cast<int>(tid));
    const int fd = ::open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    const ssize_t n = ::read(fd, text, sizeof text - 1);
    ::close(fd);
    if (n <= 0) return {};
    text[n] = '\0';
    long long ran = 0, waited = 0, turns = 0;
    if (std::sscanf(text, "%lld %lld %lld", &ran, &waited, &turns) != 3) return {};
    return {ran + waited, turns};
}

long voluntary_switches() noexcept {
    rusage u{};
    ::getrusage(RUSAGE_THREAD, &u);
    return u.ru_nvcsw;
}

const char* call_name(long number) noexcept {
    switch (number) {
#define HANDOFF_CALL(name) \
    case SYS_##name: return #name;
        // Calls that may take long, where the architecture has them.
        HANDOFF_CALL(read)
        HANDOFF_CALL(write)
        HANDOFF_CALL(readv)
        HANDOFF_CALL(writev)
        HANDOFF_CALL(pread64)
        HANDOFF_CALL(pwrite64)
        HANDOFF_CALL(preadv)
        HANDOFF_CALL(pwritev)
        HANDOFF_CALL(openat)
        HANDOFF_CALL(close)
        HANDOFF_CALL(fsync)
        HANDOFF_CALL(fdatasync)
        HANDOFF_CALL(sync)
        HANDOFF_CALL(syncfs)
        HANDOFF_CALL(sync_file_range)
        HANDOFF_CALL(msync)
        HANDOFF_CALL(ftruncate)
        HANDOFF_CALL(fallocate)
        HANDOFF_CALL(flock)
        HANDOFF_CALL(fcntl)
        HANDOFF_CALL(ioctl)
        HANDOFF_CALL(getdents64)
        HANDOFF_CALL(newfstatat)
        HANDOFF_CALL(fstat)
        HANDOFF_CALL(statx)
        HANDOFF_CALL(unlinkat)
        HANDOFF_CALL(renameat2)
        HANDOFF_CALL(mkdirat)
        HANDOFF_CALL(sendfile)
        HANDOFF_CALL(splice)
        HANDOFF_CALL(copy_file_range)
        HANDOFF_CALL(ppoll)
        HANDOFF_CALL(pselect6)
        HANDOFF_CALL(epoll_pwait)
        HANDOFF_CALL(nanosleep)
        HANDOFF_CALL(clock_nanosleep)
        HANDOFF_CALL(futex)
        HANDOFF_CALL(accept)
        HANDOFF_CALL(accept4)
        HANDOFF_CALL(connect)
        HANDOFF_CALL(recvfrom)
        HANDOFF_CALL(recvmsg)
        HANDOFF_CALL(recvmmsg)
        HANDOFF_CALL(sendto)
        HANDOFF_CALL(sendmsg)
        HANDOFF_CALL(wait4)
        HANDOFF_CALL(waitid)
        HANDOFF_CALL(mmap)
        HANDOFF_CALL(munmap)
        HANDOFF_CALL(mprotect)
        HANDOFF_CALL(madvise)
        HANDOFF_CALL(getrandom)
        HANDOFF_CALL(semtimedop)
        HANDOFF_CALL(msgrcv)
        HANDOFF_CALL(msgsnd)
        HANDOFF_CALL(mq_timedreceive)
        HANDOFF_CALL(mq_timedsend)
        HANDOFF_CALL(rt_sigtimedwait)
        HANDOFF_CALL(io_getevents)
        HANDOFF_CALL(membarrier)
#ifdef SYS_open
        HANDOFF_CALL(open)
#endif
#ifdef SYS_stat
        HANDOFF_CALL(stat)
#endif
#ifdef SYS_lstat
        HANDOFF_CALL(lstat)
#endif
#ifdef SYS_poll
        HANDOFF_CALL(poll)
#endif
#ifdef SYS_select
        HANDOFF_CALL(select)
#endif
#ifdef SYS_pause
        HANDOFF_CALL(pause)
#endif
#ifdef SYS_epoll_wait
        HANDOFF_CALL(epoll_wait)
#endif
#ifdef SYS_io_uring_enter
        HANDOFF_CALL(io_uring_enter)
#endif
#ifdef SYS_epoll_pwait2
        HANDOFF_CALL(epoll_pwait2)
#endif
#undef HANDOFF_CALL
    }
    return nullptr;
}

signal_stack::signal_stack() noexcept {
#if !HANDOFF_ASAN   // it has a signal stack of its own
    constexpr std::size_t size = signal_stack_size;
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return;
    stack_t s{};
    s.ss_sp = memory;
    s.ss_size = size;
    if (::sigaltstack(&s, &old_) != 0) {
        ::munmap(memory, size);
        return;
    }
    memory_ = memory;
#endif
}

signal_stack::~signal_stack() {
    if (!memory_) return;
    ::sigaltstack(&old_, nullptr);
    ::munmap(memory_, signal_stack_size);
}

}  // namespace handoff::os
