#include "sched/poller.hpp"

#include "os/clock.hpp"

#include <algorithm>
#include <cerrno>
#include <new>

namespace handoff::detail {

int poller::open(unsigned procs) noexcept {
    base::lock_guard hold(lock_);
    if (in_use_.load(std::memory_order_relaxed)) return 0;
    const unsigned n = procs <= procs_of_one ? 1 : std::min(procs / procs_a_shard, most_shards);
    std::unique_ptr<shard[]> made(new (std::nothrow) shard[n]);
    if (!made) return ENOMEM;
    for (unsigned i = 0; i < n; ++i)
        if (const int e = made[i].of.open()) return e;
    if (wakeup_.fd() < 0)   // else left by a try that failed
        if (const int e = wakeup_.open()) return e;
    if (n == 1)
        if (const int e = made[0].of.add(wakeup_.fd(), EPOLLIN, wakeup_data)) return e;
    shards_ = std::move(made);
    count_ = n;
    in_use_.store(true, std::memory_order_release);   // partner: in_use
    return 0;
}

int poller::add(unsigned p, int fd, std::uint64_t data) noexcept {
    return shards_[p % count_].of.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, data);
}

bool poller::try_poll(shard& s, int most, event_batch& into) noexcept {
    // Two threads that ask at once only wait for each other in the kernel. Relaxed: nothing is guarded.
    if (s.asked.load(std::memory_order_relaxed) || s.asked.exchange(true, std::memory_order_relaxed)) return false;
    into.count = s.of.poll(into.events, std::clamp(most, 1, event_batch::most));
    s.asked.store(false, std::memory_order_relaxed);
    return into.count != 0;
}

// take_wakeup takes the eventfd's event out of the batch; true if there was one.
bool poller::take_wakeup(event_batch& from) noexcept {
    for (int i = 0; i < from.count; ++i) {
        if (from.events[i].data.u64 != wakeup_data) continue;
        from.events[i] = from.events[--from.count];
        return true;
    }
    return false;
}

void poller::poll(unsigned p, int most, event_batch& into) noexcept {
    into.count = 0;
    if (try_poll(shards_[p % count_], most, into)) take_wakeup(into);
    asked_at_.store(os::nanotime(), std::memory_order_relaxed);
}

void poller::poll_all(unsigned& from, event_batch& into) noexcept {
    into.count = 0;
    for (unsigned i = 0; i < count_ && into.count == 0; ++i)
        if (try_poll(shards_[++from % count_], event_batch::most, into)) take_wakeup(into);
    asked_at_.store(os::nanotime(), std::memory_order_relaxed);
}

bool poller::wait(os::note& note, std::int64_t deadline, std::int64_t spin, event_batch& into) noexcept {
    into.count = 0;
    unsigned from = 0;
    if (spin > 0) {
        const std::int64_t end = std::min(os::nanotime() + spin, deadline);
        do {
            if (note.consume()) return true;
            poll_all(from, into);
            if (into.count != 0) return false;
        } while (os::nanotime() < end);
        if (end == deadline) return note.consume();
    }
    if (!note.begin_poll(wakeup_.fd())) return true;
    wait_in_kernel(deadline, into);
    return note.end_poll();
}

void poller::wait_in_kernel(std::int64_t deadline, event_batch& into) noexcept {
    if (count_ == 1) {
        into.count = shards_[0].of.wait(into.events, event_batch::most, deadline);
        if (take_wakeup(into)) wakeup_.drain();
        return;
    }
    int fds[most_shards + 1];
    for (unsigned i = 0; i < count_; ++i) fds[i] = shards_[i].of.fd();
    fds[count_] = wakeup_.fd();
    if (!os::wait_for_any(fds, count_ + 1, deadline)) return;
    wakeup_.drain();
    unsigned from = 0;
    poll_all(from, into);
}

}  // namespace handoff::detail
