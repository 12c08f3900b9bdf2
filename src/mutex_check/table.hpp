// The interface between the runtime and the check of held mutexes.
//
// The check (libhandoff_mutex_check.so, to be preloaded; in debug builds it is part of the library) defines
// pthread_mutex_lock and related functions, and notes what the calling goroutine holds. Only the runtime knows which
// goroutine that is, and when it leaves the thread. The runtime may be part of the program and export nothing, so it makes
// the connection: when it starts, it looks for the check's table. It then calls that table at each switch, on the thread
// where the switch happens: first leave, then arrive.
//
// Rejected: to ask handoff_goroutine_id() at each lock and unlock, without calls at switches. A program that is linked with
// the static library does not export that function, and a park would not be noticed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace handoff::mutex_check {

struct goroutine {
    const void* where;   // together with `id`: never those of another goroutine
    std::uint64_t id;
    void (*describe)(const void* where, char* text, std::size_t size) noexcept;
};

struct table {
    // leave: g leaves the thread; null: the goroutine has ended. `parks_for` is what it will wait for; null if it goes on by
    // itself, or if it is tied to its thread.
    void (*leave)(const goroutine* g, const char* parks_for) noexcept;
    // arrive: g runs on the thread from now on; null: no goroutine but the scheduler itself.
    void (*arrive)(const goroutine* g) noexcept;
};

// The name under which a table is exported. Another layout gets another number; then a runtime and a check with different
// layouts do not find each other.
#define HANDOFF_MUTEX_CHECK_TABLE handoff_mutex_check_1
inline constexpr char table_name[] = "handoff_mutex_check_1";

}  // namespace handoff::mutex_check

extern "C" const handoff::mutex_check::table HANDOFF_MUTEX_CHECK_TABLE;
