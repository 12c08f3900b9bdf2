// Each site is reported once, however often it occurs. How often it has occurred is reported when the process ends.
#include "mutex_check/notes.hpp"

#if HANDOFF_CHECK_HELD_MUTEXES

#include "base/check.hpp"
#include "base/code_address.hpp"

#include <cstdio>
#include <unistd.h>

namespace handoff::mutex_check {

namespace {

// Whoever sets `key` writes the other fields, and then `written` (release; pairs with the acquire at the end of the
// process).
struct site {
    base::atomic<std::uint64_t> key{0};
    base::atomic<std::uint64_t> times{0};   // relaxed: only a number
    base::atomic<bool> written{false};
    report what{};
    held first{};
};

constexpr unsigned most_sites = 256;
constinit site sites[most_sites];
constinit base::atomic<bool> full{false};
constinit base::atomic<int> process{0};   // whose reports these are: a forked child does not repeat those of its parent

std::uint64_t key_of(report r, const call_path& path) noexcept {
    std::uint64_t k = static_cast<std::uint64_t>(r) + 1;
    for (const void* at : path.at) k = (k ^ reinterpret_cast<std::uintptr_t>(at)) * 0x9E3779B97F4A7C15u;
    return k != 0 ? k : 1;
}

[[gnu::destructor]] void say_how_often() noexcept {
    if (process.load(std::memory_order_relaxed) != ::getpid()) return;
    for (const site& s : sites) {
        const std::uint64_t times = s.times.load(std::memory_order_relaxed);
        if (times < 2 || !s.written.load(std::memory_order_acquire)) continue;
        char where[512];
        place(s.first, where, sizeof where);
        base::warn("%llu times a goroutine %s while it held the pthread %s locked at %s",
                   static_cast<unsigned long long>(times), s.what == report::parks ? "parked" : "moved to another thread",
                   name_of(s.first.kind), where);
    }
}

}  // namespace

bool first_time(report r, const held& h) noexcept {
    const std::uint64_t key = key_of(r, h.path);
    for (unsigned i = 0; i < most_sites; ++i) {
        site& s = sites[((key >> 32) + i) % most_sites];
        std::uint64_t seen = 0;   // relaxed: a key that was set stays, and nothing else is read through it
        const bool ours = s.key.compare_exchange_strong(seen, key, std::memory_order_relaxed, std::memory_order_relaxed);
        if (!ours && seen != key) continue;
        s.times.fetch_add(1, std::memory_order_relaxed);
        if (!ours) return false;
        s.what = r;
        s.first = h;
        s.written.store(true, std::memory_order_release);
        process.store(::getpid(), std::memory_order_relaxed);
        return true;
    }
    if (!full.exchange(true, std::memory_order_relaxed))
        base::warn("goroutines hold pthread mutexes from more than %u places; no others are reported", most_sites);
    return false;
}

void place(const held& h, char* text, std::size_t size) noexcept {
    std::size_t n = 0;
    for (const void* at : h.path.at) {
        if (!at || n + 16 > size) return;
        if (n != 0) n += static_cast<std::size_t>(std::snprintf(text + n, size - n, " < "));
        char address[96];
        base::code_address(static_cast<const char*>(at) - 1, address, sizeof address);   // of the call instruction
        n += static_cast<std::size_t>(std::snprintf(text + n, size - n, "%s", address));
    }
}

const char* name_of(lock_kind k) noexcept { return k == lock_kind::mutex ? "mutex" : "rwlock"; }

}  // namespace handoff::mutex_check

#endif
