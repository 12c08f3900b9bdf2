// What goroutines hold, and the reports. table.hpp describes who calls what.
#pragma once

#include "base/atomic.hpp"

#include <cstdint>

namespace handoff::mutex_check {

enum class lock_kind : std::uint8_t { mutex, rwlock };

// Where something was locked: the return address of the call and those of its callers, as far as they are known. All of them
// together identify a site of the program, since most locks are taken in a function that does nothing else:
// sqlite3_mutex_enter, or std::mutex::lock if it is not inlined. Five, since in unoptimized code a std::unique_lock is four
// calls deep.
struct call_path {
    static constexpr unsigned most = 5;
    const void* at[most];
};

struct held {
    const void* lock;
    call_path path;
    int thread;         // that has locked it
    lock_kind kind;
    bool told_moved;    // since it was locked
};

// What one goroutine holds. If it holds more, the rest is not noted.
struct held_set {
    static constexpr unsigned most = 8;
    held what[most];
    unsigned n;
};

// note_locked notes that the calling goroutine, if there is one, has locked `lock`, in a call that returns to `by`.
void note_locked(const void* lock, lock_kind kind, const void* by) noexcept;
void note_unlocked(const void* lock) noexcept;
// note_relocked notes that `lock` has been unlocked and locked again, on this thread.
void note_relocked(const void* lock) noexcept;

// Reports are printed once for each site and kind, and counted (reports.cpp).
enum class report : std::uint8_t { parks, moved };
// first_time counts a report, and says whether to print it.
bool first_time(report r, const held& h) noexcept;
// place writes where h was locked.
void place(const held& h, char* text, std::size_t size) noexcept;
const char* name_of(lock_kind k) noexcept;

}  // namespace handoff::mutex_check
