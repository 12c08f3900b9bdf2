// Stacks: carved from large mappings, each with a guard below its low end, and kept for reuse.
//
// A guard takes 64 KiB of address space, of which nothing is touched. A function with a large frame moves the stack pointer
// by the whole frame before it touches any of it, and would step over a guard of one page, into the next stack. (Code that
// was compiled with -fstack-clash-protection touches each page or, on AArch64, one place in each 64 KiB; hence the size.)
// Guards are made by MADV_GUARD_INSTALL if the kernel has it (6.13): that splits no mapping, so vm.max_map_count does not
// limit the number of goroutines. Otherwise they are made by mprotect, until half of that limit is used up. After that
// stacks have no guard, and are counted.
//
// Colours. Goroutines that take turns use mostly the tops of their stacks. At equal distances of 256 KiB all these tops
// would compete for the same few lines of each cache. So the distance is an odd number of pages, and each stack begins some
// lines (`colour`) below the end of its mapping. (Bonwick, "The Slab Allocator", 1994, does this for kernel objects.)
//
// A goroutine that ends leaves its stack parked in the frame of the goroutine loop (`idle`): to start the next goroutine on
// it takes only a jump. When the runtime is idle, memory is given back to the kernel: for a stack in the pool all of it
// (that frame included), for a stack that a P keeps only the deep pages.
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
    execution idle;            // where a goroutine starts on this stack; sp is null if that must be prepared first
    char* lo = nullptr;        // the first byte; it belongs to the guard
    std::uint32_t pages = 0;   // the guard included
    std::uint16_t colour = 0;  // bytes at the high end that are not used
    bool own_mapping = false;  // not carved from a slab
    bool used = false;         // since its deep pages were last given back
    stack* next = nullptr;     // in a free list

    char* usable_lo() const noexcept;
    std::size_t usable_size() const noexcept;   // without the guard and the colour
    std::size_t asked_size() const noexcept;    // without the guard
    bool guards(const void* address) const noexcept { return address >= lo && address < usable_lo(); }

    // prefetch_top prefetches the lines that the first steps of a goroutine need: all at once, since each of them alone
    // would have to wait for a walk of the page tables.
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
    ~stack_pool();   // unmaps all stacks; none may be in use
    stack_pool(const stack_pool&) = delete;
    stack_pool& operator=(const stack_pool&) = delete;

    // take returns a list of at least one and at most `count` stacks of the default size; null if memory is short.
    stack* take(unsigned count) noexcept;
    // give returns a list of stacks to the pool.
    void give(stack* list) noexcept;

    // A stack of another size, with a mapping of its own; null if memory is short.
    stack* take_sized(std::size_t size) noexcept;
    void give_sized(stack* s) noexcept;

    // guards says whether `address` lies in the guard of any stack of the default size. For a signal handler: it also
    // returns false if another thread, or the code that was interrupted, holds the lock.
    bool guards(const void* address) noexcept;

    // trim_deep gives back the pages below the top two of a free stack, if it was used since the last time.
    static void trim_deep(stack& s) noexcept;

    // trim gives the memory of up to `count` free stacks back to the kernel; returns how many it has trimmed.
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
    base::free_array<stack, 1> warm_ HANDOFF_GUARDED_BY(lock_);   // free, with memory
    stack* trimmed_ HANDOFF_GUARDED_BY(lock_) = nullptr;   // free, without memory
    std::vector<slab> slabs_ HANDOFF_GUARDED_BY(lock_);
    unsigned next_in_slab_ HANDOFF_GUARDED_BY(lock_) = 0;
    base::atomic<std::uint64_t> carved_{0};      // relaxed: statistics
    base::atomic<std::uint64_t> unguarded_{0};   // relaxed: statistics
    base::atomic<long> mprotected_{0};           // relaxed: what the destructor returns to the budget
};

}  // namespace handoff::context
