#include "context/stack.hpp"

#include "base/sizes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace handoff::context {

namespace {

// Stack tops are spread over sixteen lines of the top page. What a waiting goroutine has on its stack should still fit below
// them in that page.
constexpr unsigned colours = 16;
constexpr std::size_t colour_bytes = 64;

constexpr std::size_t slab_bytes = base::sized(64u << 20, 1u << 20);   // one mmap for about 200 stacks of the default size

// The number of guards that all runtimes of the process have made by mprotect. Each costs two mappings.
base::atomic<long> mprotect_guards{0};   // relaxed: a budget, not a lock

long mprotect_budget() noexcept {
    static const long budget = [] {
        long most = 65530;
        if (std::FILE* f = std::fopen("/proc/sys/vm/max_map_count", "re")) {
            if (std::fscanf(f, "%ld", &most) != 1) most = 65530;
            std::fclose(f);
        }
        return most / 4;   // half of the mappings; a guard takes two
    }();
    return budget;
}

enum class guard_kind { light, mprotect, none };

guard_kind make_guard(char* lo) noexcept {
    static base::atomic<bool> light_works{true};   // relaxed: a hint, learnt once
    if (light_works.load(std::memory_order_relaxed)) {
        if (::madvise(lo, guard_size(), MADV_GUARD_INSTALL) == 0) return guard_kind::light;
        if (errno == EINVAL) light_works.store(false, std::memory_order_relaxed);
    }
    if (mprotect_guards.fetch_add(1, std::memory_order_relaxed) < mprotect_budget() &&
        ::mprotect(lo, guard_size(), PROT_NONE) == 0)
        return guard_kind::mprotect;
    mprotect_guards.fetch_sub(1, std::memory_order_relaxed);
    return guard_kind::none;
}

char* map_stack_memory(std::size_t bytes) noexcept {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
                     -1, 0);
    if (p == MAP_FAILED) return nullptr;
    // A huge page would commit the memory of eight stacks at the first touch of one.
    ::madvise(p, bytes, MADV_NOHUGEPAGE);
    return static_cast<char*>(p);
}

void unmap_stack_memory(char* lo, std::size_t bytes) noexcept {
    forget_frames(lo, bytes);
    ::munmap(lo, bytes);
}

void register_with_valgrind([[maybe_unused]] const stack& s) noexcept {
#ifdef VALGRIND_STACK_REGISTER
    // Never deregistered: to keep the id would take space in a million stacks, and Valgrind forgets the stack when its
    // mapping goes.
    VALGRIND_STACK_REGISTER(s.usable_lo(), s.usable_lo() + s.usable_size());
#endif
}

}  // namespace

std::size_t page_size() noexcept {
    static const std::size_t size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

// Whole pages, since both sizes are powers of two.
std::size_t guard_size() noexcept { return std::max<std::size_t>(64 * 1024, page_size()); }

char* stack::usable_lo() const noexcept { return lo + guard_size(); }
std::size_t stack::asked_size() const noexcept { return pages * page_size() - guard_size(); }
std::size_t stack::usable_size() const noexcept { return asked_size() - colour; }

stack_pool::stack_pool(std::size_t stack_size) noexcept
    : size_((stack_size + page_size() - 1) / page_size() * page_size()),
      stride_((size_ + guard_size()) / page_size() % 2 == 0 ? size_ + guard_size() + page_size() : size_ + guard_size()) {}

stack_pool::~stack_pool() {
    for (slab& s : slabs_) {
        for (unsigned i = 0; i < s.count; ++i) dispose(s.stacks[i].idle);
        unmap_stack_memory(s.lo, s.bytes);
        delete[] s.stacks;
    }
    mprotect_guards.fetch_sub(mprotected_.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void stack_pool::install_guard(char* lo) noexcept {
    switch (make_guard(lo)) {
        case guard_kind::light: return;
        case guard_kind::mprotect: mprotected_.fetch_add(1, std::memory_order_relaxed); return;
        case guard_kind::none: unguarded_.fetch_add(1, std::memory_order_relaxed); return;
    }
}

bool stack_pool::map_slab() noexcept {
    // If address space is short, a smaller slab may still fit.
    for (std::size_t count = std::max<std::size_t>(slab_bytes / stride_, 1); count > 0; count /= 2) {
        char* lo = map_stack_memory(count * stride_);
        if (!lo) continue;
        stack* stacks = new (std::nothrow) stack[count];
        if (stacks) {
            try {
                warm_.make_room(carved_.load(std::memory_order_relaxed) + count);
                slabs_.push_back({lo, count * stride_, stacks, static_cast<unsigned>(count)});
                next_in_slab_ = 0;
                return true;
            } catch (const std::bad_alloc&) {
                delete[] stacks;
            }
        }
        ::munmap(lo, count * stride_);
        return false;
    }
    return false;
}

stack* stack_pool::take(unsigned count) noexcept {
    base::lock_guard hold(lock_);
    const std::size_t n_warm = warm_.size();
    stack* list = warm_.take(count);
    for (std::size_t n = n_warm; n < count; ++n) {
        stack* s;
        if (trimmed_) {
            s = trimmed_;
            trimmed_ = s->next;
        } else {
            if ((slabs_.empty() || next_in_slab_ == slabs_.back().count) && !map_slab()) break;
            const slab& from = slabs_.back();
            s = &from.stacks[next_in_slab_];
            s->lo = from.lo + next_in_slab_ * stride_;
            s->colour = static_cast<std::uint16_t>(next_in_slab_ % colours * colour_bytes);
            s->pages = static_cast<std::uint32_t>((size_ + guard_size()) / page_size());
            ++next_in_slab_;
            install_guard(s->lo);
            register_with_valgrind(*s);
            carved_.fetch_add(1, std::memory_order_relaxed);
        }
        s->next = list;
        list = s;
    }
    return list;
}

void stack_pool::give(stack* list) noexcept {
    base::lock_guard hold(lock_);
    warm_.give(list);
}

stack* stack_pool::take_sized(std::size_t size) noexcept {
    size = (size + page_size() - 1) / page_size() * page_size() + guard_size();
    char* lo = map_stack_memory(size);
    if (!lo) return nullptr;
    stack* s = new (std::nothrow) stack;
    if (!s) {
        ::munmap(lo, size);
        return nullptr;
    }
    s->lo = lo;
    s->pages = static_cast<std::uint32_t>(size / page_size());
    s->own_mapping = true;
    install_guard(lo);
    register_with_valgrind(*s);
    return s;
}

void stack_pool::give_sized(stack* s) noexcept {
    dispose(s->idle);
    unmap_stack_memory(s->lo, s->pages * page_size());
    delete s;
}

bool stack_pool::guards(const void* address) noexcept {
    if (!lock_.try_lock()) return false;
    bool found = false;
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    for (const slab& s : slabs_) {
        const std::uintptr_t offset = at - reinterpret_cast<std::uintptr_t>(s.lo);
        found = found || (offset < s.bytes && offset % stride_ < guard_size());
    }
    lock_.unlock();
    return found;
}

void stack_pool::trim_deep(stack& s) noexcept {
    const std::size_t kept = 2 * page_size();
    if (!s.used || s.usable_size() <= kept) return;
    s.used = false;
    ::madvise(s.usable_lo(), s.usable_size() - kept, MADV_DONTNEED);
}

unsigned stack_pool::trim(unsigned count) noexcept {
    unsigned n = 0;
    for (; n < count; ++n) {
        stack* s;
        {
            base::lock_guard hold(lock_);
            s = warm_.take(1);
            if (!s) break;
        }
        dispose(s->idle);
        // This leaves the guard in place.
        ::madvise(s->usable_lo(), s->usable_size(), MADV_DONTNEED);
        base::lock_guard hold(lock_);
        s->next = trimmed_;
        trimmed_ = s;
    }
    return n;
}

}  // namespace handoff::context
