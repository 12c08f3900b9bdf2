// The shim: calls of the library to the system, made to fail or to take their time. It stands in for pthread_create, mmap,
// mprotect, madvise, syscall (futex, membarrier, getdents64) and operator new in this program, and for the calls on files in
// shim_files.cpp, and forwards to the real ones.
#pragma once

#include <chrono>
#include <cstdint>

namespace fault {

// The call sites that can be told apart.
enum class site {
    thread_create,       // pthread_create
    stack_mapping,       // mmap of stacks for goroutines
    signal_stack,        // mmap of a thread's alternate signal stack
    guard_install,       // madvise(MADV_GUARD_INSTALL)
    no_huge_page,        // madvise(MADV_NOHUGEPAGE)
    give_back,           // madvise(MADV_DONTNEED)
    protect,             // mprotect
    membarrier_query,
    membarrier_register,
    membarrier_run,
    futex_wait,
    futex_wake,
    allocation,          // operator new
    cached_read,         // preadv2(RWF_NOWAIT)
    write,               // writev
    sync,                // fsync
    unnamed_file,        // openat(O_TMPFILE)
    named_file,          // openat(O_CREAT | O_EXCL)
    link,                // linkat
    rename,              // renameat
    directory_read,      // getdents64
    count
};

struct plan {
    int error = 0;                        // what the call fails with; 0: it does not (allocation: any means bad_alloc)
    long skip = 0;                        // this many calls pass first
    long times = -1;                      // and this many are met; negative: all
    double chance = 1;                    // of each of these
    std::chrono::nanoseconds delay{0};    // before the call, or its failure
    bool only_here = false;               // on this thread only
    bool pretend = false;                 // with error 0: returns 0 without having called
};

// injection carries out a plan for as long as it lives. One at a time for each site.
class injection {
public:
    injection(site where, const plan& p) noexcept;
    ~injection();
    injection(const injection&) = delete;
    injection& operator=(const injection&) = delete;

    std::uint64_t calls() const noexcept;   // seen so far
    std::uint64_t met() const noexcept;     // failed, or delayed

private:
    const site where_;
};

// stands_in says whether the plan of a site is that the call is not made. Then `result` is what it returns, and errno is set. For
// the shim's other sources.
bool stands_in(site where, long& result) noexcept;

// real_syscall makes a system call, past the shim.
long real_syscall(long number, long a, long b, long c, long d, long e, long f) noexcept;

// What decides where a plan leaves it to chance. Before the first injection.
void set_seed(std::uint64_t seed) noexcept;

}  // namespace fault
