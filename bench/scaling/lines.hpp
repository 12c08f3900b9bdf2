// Cache lines: who holds each, and the transfers between cores that the accesses cause, counted by address and by code.
//
// A line is held by one core that may write it, or by any number that have read it. An access of a core that does not
// hold the line in the state it needs is a transfer, if any other core does: a shared read, or a shared write (with the
// copies of all others made invalid). A line that nobody holds, fresh memory, costs nothing here.
#pragma once

#include "machine.hpp"

#include <array>
#include <bitset>
#include <memory>
#include <unordered_map>
#include <vector>

namespace scaling {

inline constexpr unsigned line_size = 64;

struct site {
    std::uintptr_t address;   // of the access
    const void* code;         // that made it
    bool operator==(const site&) const = default;
};
struct hash_of_site {
    std::size_t operator()(const site& s) const noexcept {
        return (s.address ^ reinterpret_cast<std::uintptr_t>(s.code) << 17) * 0x9E3779B97F4A7C15u;
    }
};

struct transfers {
    std::uint64_t reads = 0, writes = 0;
};

struct totals {
    std::uint64_t accesses = 0;   // loads and stores
    std::uint64_t locked = 0;     // of these, atomic read-modify-writes
    std::uint64_t visits = 0;     // of lines: accesses to another line than that of the thread's access before
    std::uint64_t watched = 0;    // stores to the watched address
    ps began = 0, ended = 0;
};

class lines {
public:
    // touch: an access of the calling thread, and the time that it takes.
    void touch(std::uintptr_t address, unsigned size, bool writes, bool locked, const void* code) noexcept;

    // Counting starts from nothing, goes on between begin and end.
    void begin() noexcept;
    void end() noexcept;
    bool counting() const noexcept { return counting_; }
    void watch(const void* address) noexcept { watched_ = reinterpret_cast<std::uintptr_t>(address); }

    const totals& all() const noexcept { return totals_; }
    const std::unordered_map<site, transfers, hash_of_site>& by_site() const noexcept { return by_site_; }

private:
    static constexpr unsigned nobody = most_threads;
    using holders = std::bitset<most_threads>;
    struct line {
        unsigned owner = nobody;               // the only one that holds it
        bool modified = false;
        std::unique_ptr<holders> readers;      // or all that do; owner is then nobody
        ps free_at = 0;                        // its last transfer is over
    };

    ps touch_line(line& l, thread& t, bool writes, bool& moved) noexcept;

    std::unordered_map<std::uintptr_t, line> lines_;
    std::unordered_map<site, transfers, hash_of_site> by_site_;
    totals totals_;
    std::uintptr_t watched_ = 0;
    bool counting_ = false;
};

extern lines memory;

// While one of these lives, what the tool itself copies in memory is none of the library's accesses, and nobody else
// runs.
class own_code {
public:
    own_code() noexcept { ++depth; }
    ~own_code() { --depth; }
    own_code(const own_code&) = delete;
    own_code& operator=(const own_code&) = delete;
    static bool runs() noexcept { return depth != 0; }

private:
    inline static unsigned depth = 0;
};

}  // namespace scaling
