// descriptor: a file descriptor of the process for which goroutines wait, and the records of all of them.
//
// A record is found by its index, which the kernel's events carry together with a generation. It is never freed, but used again, so
// that an event, or a handle, which is late finds a record, though perhaps another generation (descriptor_word.hpp). Records belong
// to the process, not to a runtime: a socket may be used in one, and later in another. It is registered with the poller of the
// runtime in which it is first waited for, and again where that has ended.
//
// Waits are the library's armed waits, in the parking lot, at an address of the record for each direction: readiness, deadline,
// close and cancellation compete for a waiter, and one wins.
#pragma once

#include "net/descriptor_word.hpp"
#include "net/sys.hpp"
#include "sched/sched.hpp"

#include <handoff/deadline.hpp>
#include <handoff/detail/descriptor_handle.hpp>

#include <cstdint>
#include <system_error>

namespace handoff::detail {

struct alignas(64) descriptor {
    descriptor_word word;
    base::atomic<std::uint64_t> poller{0};   // the id of the one that it is registered with
    // Until when any operation may wait; changed by anyone. Relaxed: who changes it wakes those that wait.
    base::atomic<std::int64_t> limit[2]{no_deadline, no_deadline};
    int fd = -1;                             // written before word.open
    std::uint32_t index = 0;
    descriptor* next_free = nullptr;
    // It is an epoll object, and becomes readable with any event of the descriptors in it. Relaxed: who sees that of another generation
    // wakes nobody.
    base::atomic<bool> nested{false};
    bool short_is_drained = false;           // of a stream socket: less than was asked for means that nothing is left
    base::atomic<bool> is_unix{false};       // of a stream socket; relaxed: it changes only with the generation

    const void* place_of(direction d) const noexcept { return reinterpret_cast<const char*>(this) + static_cast<int>(d); }
};
static_assert(sizeof(descriptor) <= 128);

// What a waiter has as its tag. Those that make no call when they are woken (selects) wake no other, so they are not the one that is
// woken.
inline constexpr std::uint32_t makes_call = 0, makes_no_call = 1;

// make_descriptor makes fd, which is non-blocking, a descriptor that is closed by close_descriptor. If it throws
// (std::bad_alloc), fd stays the caller's.
descriptor_handle make_descriptor(int fd, bool short_is_drained, bool nested = false);

// give_number_back closes the file descriptor, and frees the record. For whom descriptor_word has told so.
void give_number_back(descriptor& d) noexcept;

// sched_that_waits is the caller's runtime; of a thread that runs no goroutine the default one, if the program uses that. Throws
// usage_error if not.
sched* sched_that_waits();

// register_descriptor tells the poller of the caller's runtime about h, if none knows it. The errno value of the failure, or 0.
// Throws usage_error if there is no runtime.
int register_descriptor(const descriptor_handle& h);

// await_ready waits until an operation in that direction is worth a try, or may not wait longer: then `ec` says why, and it
// returns false. It registers the descriptor. A cancellation point: throws `cancelled`, and usage_error where there is no
// runtime that could wait.
bool await_ready(const descriptor_handle& h, direction dir, const deadline& limit, std::error_code& ec);

// wake_waiters wakes those that wait for one of the directions in `parked` (bits of descriptor_word), one for each. wake_all wakes
// all of both, to look again. m: as of enter_current.
void wake_waiters(descriptor& d, std::uint32_t parked) noexcept;
void wake_all(descriptor& d) noexcept;

// forget_records is for the explorer of schedules, where each begins with empty memory.
void forget_records() noexcept;

// time_is_over says whether nobody may wait any longer. It asks the deadline's own clock only where the steady one says so.
inline bool time_is_over(const deadline& d) { return d.steady() != no_deadline && d.steady() <= clock_now() && d.over(); }

// The hooks of the scheduler (sched/hooks.hpp).
void descriptors_ready(M* m, const event_batch& events) noexcept;
void poller_ended(std::uint64_t id) noexcept;

}  // namespace handoff::detail
