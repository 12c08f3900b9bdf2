// Stacks: cut from large mappings, each with a guard below its low end, kept for reuse.
//
// A guard is 64 KiB: address space, of which nothing is touched. A function with a large frame moves the stack pointer by all of it
// before it touches any, and a guard of one page would be stepped over, into the next stack. (What a compiler has built with
// -fstack-clash-protection touches each page, or, on AArch64, one in 64 KiB, which is where the size is from.) One is made by MADV_GUARD_INSTALL where the kernel has it (6.13), which splits no mapping, so that
// vm.max_map_count does not bound the number of goroutines; else by mprotect while half of that budget lasts; else
// there is none, and the count of such stacks says so.
//
// Colours. The tops of stacks are what goroutines that take turns use, and at equal distances of 256 KiB all of them
// would compete for the same few lines of each cache. So their distance is an odd number of pages, and each begins some
// lines (`colour`) below the end of its mapping. (Bonwick, "The Slab Allocator", 1994, does so with kernel objects.)
//
// A goroutine that ends leaves its stack parked in the goroutine loop's own frame (`idle`): the next goroutine on it
// only has to be jumped to. Memory goes back to the kernel when the runtime is idle: all of a stack's in the pool (and
// with it that frame), the deep pages' of one that a P keeps.
#pragma once

#include "base/atomic.hpp"
#include "base/free_array.hpp"
#include "base/mutex.hpp"
#include "base/prefetch.hpp"
#include "context/context.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace handoff::context {

struct stack {
    execution idle;            // where a goroutine starts on it; sp is null if that has to be prepared
    char* lo = nullptr;        // first byte, of the guard
    std::uint32_t pages = 0;   // guard included
    std::uint16_t colour = 0;  // bytes at the high end that are left out
    bool own_mapping = false;  // not cut from a slab
    bool used = false;         // since its deep pages were given back last
    stack* next = nullptr;     // in a free list

    char* usable_lo() const noexcept;
    std::size_t usable_size() const noexcept;   // without the guard and the colour
    std::size_t asked_size() const noexcept;    // without the guard
    bool guards(const void* address) const noexcept { return address >= lo && address < usable_lo(); }

    // prefetch_top gets the lines that the first steps of a goroutine need: all at once, since each of them alone would
    // be waited for, behind a walk of the page tables.
    [[gnu::always_inline]] void prefetch_top() const noexcept {
        constexpr int line = 64, below = 6, above = 4;
        if (idle.sp) base::prefetch_lines<below + above>(static_cast<const char*>(idle.sp) - below * line);
    }
};

std::size_t page_size() noexcept;
std::size_t guard_size() noexcept;

// The stacks of one runtime. All functions may be called from any thread.
class stack_pool {
public:
    explicit stack_pool(std::size_t stack_size) noexcept;
    ~stack_pool();   // unmaps them all; none may be in use
    stack_pool(const stack_pool&) = delete;
    stack_pool& operator=(const stack_pool&) = delete;

    // take returns a list of at least one and at most `count` stacks of the default size, null if memory is short.
    stack* take(unsigned count) noexcept;
    // give takes a list back.
    void give(stack* list) noexcept;

    // A stack of another size, with a mapping of its own; null if memory is short.
    stack* take_sized(std::size_t size) noexcept;
    void give_sized(stack* s) noexcept;

    // guards says whether `address` lies in the guard of any stack of the default size. It serves a signal handler: false also if
    // another thread, or what was interrupted, has the lock.
    bool guards(const void* address) noexcept;

    // trim_deep gives the pages below the top two of a free stack back, if it was used since.
    static void trim_deep(stack& s) noexcept;

    // trim gives the memory of up to `count` free stacks back to the kernel; returns how many it found to trim.
    unsigned trim(unsigned count) noexcept;

    std::uint64_t mapped() const noexcept { return carved_.load(std::memory_order_relaxed); }
    std::uint64_t unguarded() const noexcept { return unguarded_.load(std::memory_order_relaxed); }
    std::size_t default_size() const noexcept { return size_; }   // without the guard

private:
    struct slab {
        char* lo;
        std::size_t bytes;
        stack* stacks;
        unsigned count;
    };
    bool map_slab() noexcept HANDOFF_REQUIRES(lock_);
    void install_guard(char* lo) noexcept;

    const std::size_t size_, stride_;   // stride_: guards included
    base::mutex lock_;
    base::free_array<stack, 1> warm_ HANDOFF_GUARDED_BY(lock_);   // with memory
    stack* trimmed_ HANDOFF_GUARDED_BY(lock_) = nullptr;   // free, without
    std::vector<slab> slabs_ HANDOFF_GUARDED_BY(lock_);
    unsigned next_in_slab_ HANDOFF_GUARDED_BY(lock_) = 0;
    base::atomic<std::uint64_t> carved_{0};      // relaxed: statistics
    base::atomic<std::uint64_t> unguarded_{0};   // relaxed: statistics
    base::atomic<long> mprotected_{0};           // relaxed: what the destructor gives back to the budget
};

}  // namespace handoff::context
