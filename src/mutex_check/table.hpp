// What the runtime and the check of held mutexes know of each other.
//
// The check (libhandoff_mutex_check.so, to be preloaded; in debug builds a part of the library) defines pthread_mutex_lock
// and its kin and notes what the calling goroutine holds. Which goroutine that is, and when it goes elsewhere, only the
// runtime knows. It may be part of the program and export nothing, so it is the one who asks: as it starts it looks for the
// check's table, and calls it at each switch, on the thread where it happens: leave, then arrive.
//
// Rejected: to ask handoff_goroutine_id() at each lock and unlock, without calls at switches. A program that is linked with
// the static library does not export it, and a park goes unnoticed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace handoff::mutex_check {

struct goroutine {
    const void* where;   // with `id`: no other goroutine's, ever
    std::uint64_t id;
    void (*describe)(const void* where, char* text, std::size_t size) noexcept;
};

struct table {
    // leave: g leaves the thread; null: it has ended. `parks_for` is what it will wait for, null if it goes on by itself,
    // or if it is tied to its thread.
    void (*leave)(const goroutine* g, const char* parks_for) noexcept;
    // arrive: g runs on the thread from here on; null: nobody, the scheduler itself.
    void (*arrive)(const goroutine* g) noexcept;
};

// The name under which a table is exported. Another number for another layout: then neither finds the other.
#define HANDOFF_MUTEX_CHECK_TABLE handoff_mutex_check_1
inline constexpr char table_name[] = "handoff_mutex_check_1";

}  // namespace handoff::mutex_check

extern "C" const handoff::mutex_check::table HANDOFF_MUTEX_CHECK_TABLE;
