// poller: how a runtime learns that descriptors have become ready.
//
// The kernel tells it by edge-triggered epoll, in shards: one for up to 15 processors, else one for each 8. (With 64 threads on
// one epoll object, connections were made at less than half the rate: tokio-rs/tokio#8450.) No thread owns a shard. A descriptor
// is registered once, in the shard of the processor on which it is first waited for. What an event does is up to the layer above
// (hooks.descriptors_ready).
//
// Who asks the kernel.
//
//     An M that finds no goroutine in its queues, nor in the global one, asks its shard without waiting, unless another waits.
//     An M does so, too, each 61st pick, if nobody has for ask_every_ns: its goroutines may keep it busy for ever.
//     The `waiter` (idle_set) is an idle M that waits for the first event of all shards, and for the timer that it keeps if it is
//     the timekeeper. The first M becomes it that goes to sleep while there is none.
//     The monitor asks all shards, if nobody waits and nobody has asked for a while: all may compute.
//
// No event is left lying. Events are lost for nobody: the kernel keeps them until a thread asks. So all that has to be shown is
// that somebody asks soon. If all Ps are idle, some M waits: whoever made the last P idle goes to sleep next, and becomes the
// waiter if there is none. The monitor does not sleep deep before that (monitor::sleep), and starts an M for it if none comes,
// as where a P was taken from a goroutine in a call. If a P is not idle, the monitor is awake, and its pauses are not longer
// than longest_unwatched_ns while nobody waits. And where a waiter leaves with an event, another idle M should take its place if
// the goroutines that it runs are going to compute: idle_set::unwatched remembers for how long the place was empty last time.
//
// The waiter sleeps in epoll_pwait2, and is woken through an eventfd, whose number is in its note (os/note.hpp). There is one for
// the runtime, in its only shard, level-triggered: other Ms that ask may be told of it, and let it be; the waiter alone empties
// it. An edge-triggered one would be used up by the first that asks (chriskohlhoff/asio#452). It may be readable for nothing, if
// who woke the last waiter was slow; then the waiter looks at its note, and waits on. So there must be no second thread that sleeps
// in epoll, whose wake-up that could be: an M that was taken out of the idle set is the waiter until it is awake, and says so
// itself. With several shards the waiter sleeps in ppoll.
//
// A runtime opens all of this when somebody first waits for a descriptor in it. That may be a thread of the program's own, while all
// Ms of the runtime sleep, none of them as the waiter. So an M is woken then (wakep_any; the argument of idle_set.hpp holds, with
// in_use in the place of a queue).
#pragma once

#include "base/atomic.hpp"
#include "base/mutex.hpp"
#include "os/epoll.hpp"
#include "os/note.hpp"

#include <cstdint>
#include <memory>

namespace handoff::detail {

struct M;

// The data of the eventfd in the shards. All other data are the layer above's.
inline constexpr std::uint64_t wakeup_data = ~std::uint64_t{0};

struct event_batch {
    static constexpr int most = 128;
    int count = 0;
    epoll_event events[most];
};

class poller {
public:
    static constexpr std::int64_t soon_watched_ns = 50'000;            // where the place of the waiter is empty for no longer
    static constexpr std::int64_t ask_every_ns = 100'000;             // by an M that does not run dry
    static constexpr std::int64_t longest_unwatched_ns = 1'000'000;   // a pause of the monitor while nobody waits

    explicit poller(std::uint64_t number) noexcept : id(number) {}

    // open makes the shards, once; the errno value of the failure, or 0.
    int open(unsigned procs) noexcept HANDOFF_EXCLUDES(lock_);
    // in_use: it is open. acquire: who sees it sees the shards.
    bool in_use() const noexcept { return in_use_.load(std::memory_order_acquire); }

    // add registers fd in the shard of processor `p`, for edges; the errno value of the failure, or 0. It may sleep in the kernel.
    int add(unsigned p, int fd, std::uint64_t data) noexcept;

    // poll asks the shard of processor `p` without waiting, for at most `most` events; `into` gets them. Nothing if another thread
    // asks it right now.
    void poll(unsigned p, int most, event_batch& into) noexcept;
    // poll_all asks each shard, from the one behind `from` on, until one has something to tell.
    void poll_all(unsigned& from, event_batch& into) noexcept;

    // wait waits until `note` is woken, an event is there, or until `deadline`. For `spin` it asks without sleeping. True: it was
    // woken; there may be events nevertheless. For one thread at a time.
    bool wait(os::note& note, std::int64_t deadline, std::int64_t spin, event_batch& into) noexcept;

    // asked_at is when the kernel was last asked by a thread that did not wait. A hint.
    std::int64_t asked_at() const noexcept { return asked_at_.load(std::memory_order_relaxed); }

    const std::uint64_t id;   // tells the pollers of a process apart, also those that are gone

private:
    static constexpr unsigned most_shards = 64, procs_of_one = 15, procs_a_shard = 8;

    struct alignas(64) shard {
        base::atomic<bool> asked{false};   // a thread asks it now
        os::epoll of;
    };
    bool try_poll(shard& s, int most, event_batch& into) noexcept;
    bool take_wakeup(event_batch& from) noexcept;
    void wait_in_kernel(std::int64_t deadline, event_batch& into) noexcept;

    base::atomic<bool> in_use_{false};
    base::mutex lock_;                     // of open
    unsigned count_ = 0;                   // immutable once in use, like the two below
    std::unique_ptr<shard[]> shards_;
    os::wakeup_fd wakeup_;
    alignas(64) base::atomic<std::int64_t> asked_at_{0};   // often written
};

}  // namespace handoff::detail
