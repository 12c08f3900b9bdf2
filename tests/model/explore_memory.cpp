// Memory of a schedule: handed out from one block at addresses that depend on the schedule alone, never twice, so that
// an access to what was freed is noticed, and forgotten as a whole at its end.
#include "explore_engine.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>

namespace explore {

std::uint8_t* arena_live = nullptr;

namespace {

std::size_t used = 0;
constexpr unsigned char freed = 0xDB;

char* map(void* wish, std::size_t bytes) noexcept {
    void* p = ::mmap(wish, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) std::abort();
    return static_cast<char*>(p);
}

void* allocate(std::size_t size, std::size_t align) noexcept {
    if (!active) {
        size = (size + align - 1) / align * align;
        return align <= arena_grain ? std::malloc(size) : std::aligned_alloc(align, size);
    }
    if (align < arena_grain) align = arena_grain;
    size = (size + arena_grain - 1) / arena_grain * arena_grain;
    if (size == 0) size = arena_grain;
    const std::size_t at = (used + align - 1) / align * align;
    if (at + size + arena_grain > arena_size) fail("a schedule uses more than %zu bytes", arena_size);
    used = at + size + arena_grain;
    std::memset(arena_live + at / arena_grain, 1, size / arena_grain);
    return arena + at;
}

void release(void* p) noexcept {
    if (!p) return;
    if (!in_arena(p)) {
        std::free(p);
        return;
    }
    std::size_t grain = static_cast<std::size_t>(static_cast<char*>(p) - arena) / arena_grain;
    if (active && !arena_live[grain]) fail_now("memory is freed twice: %p", p);
    for (; arena_live[grain]; ++grain) {   // up to the gap behind it
        arena_live[grain] = 0;
        std::memset(arena + grain * arena_grain, freed, arena_grain);
    }
}

}  // namespace

void reset_memory() noexcept {
    if (!arena_live) {
        if (map(arena, arena_size) != arena) std::abort();
        arena_live = reinterpret_cast<std::uint8_t*>(map(nullptr, arena_size / arena_grain));
    }
    std::memset(arena_live, 0, used / arena_grain + 1);
    used = 0;
}

const char* describe_address(const void* at, char* text, std::size_t size) noexcept {
    if (!at) return "";
    const auto offset = static_cast<std::size_t>(static_cast<const char*>(at) - arena);
    if (in_arena(at)) std::snprintf(text, size, "heap+%#zx", offset);
    else std::snprintf(text, size, "%p", at);
    return text;
}

}  // namespace explore

using explore::allocate, explore::arena_grain, explore::release;

void* operator new(std::size_t n) { return allocate(n, arena_grain); }
void* operator new[](std::size_t n) { return allocate(n, arena_grain); }
void* operator new(std::size_t n, std::align_val_t align) { return allocate(n, static_cast<std::size_t>(align)); }
void* operator new[](std::size_t n, std::align_val_t align) { return allocate(n, static_cast<std::size_t>(align)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, arena_grain); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, arena_grain); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }
