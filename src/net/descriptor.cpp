#include "net/descriptor.hpp"

#include "base/check.hpp"
#include "os/backoff.hpp"
#include "sched/handover.hpp"
#include "sched/simulation_hooks.hpp"
#include "wait/parking_lot.hpp"

#include <handoff/error.hpp>
#include <handoff/net/error.hpp>
#include <handoff/syscall.hpp>

#include <algorithm>
#include <bit>
#include <new>

#include <sys/socket.h>

namespace handoff::detail {

namespace {

// Chunk k has 256 << k records. They are never freed.
constexpr unsigned chunk_count = 23;   // up to 2^31 records
constexpr std::uint32_t first_chunk = 256;

struct all_descriptors {
    base::atomic<descriptor*> chunks[chunk_count] = {};   // release: with records in it; acquire where it is read
    base::mutex lock;
    descriptor* free HANDOFF_GUARDED_BY(lock) = nullptr;
    std::uint32_t made HANDOFF_GUARDED_BY(lock) = 0;      // records in all chunks so far
};
constinit all_descriptors all;

unsigned chunk_of(std::uint32_t index) noexcept { return static_cast<unsigned>(std::bit_width(index / first_chunk + 1)) - 1; }
std::uint32_t begin_of(unsigned chunk) noexcept { return first_chunk * ((1u << chunk) - 1); }

descriptor& record(std::uint32_t index) noexcept {
    const unsigned k = chunk_of(index);
    return all.chunks[k].load(std::memory_order_acquire)[index - begin_of(k)];
}

// add_chunk makes more records. Throws std::bad_alloc.
void add_chunk() HANDOFF_REQUIRES(all.lock) {
    const unsigned k = chunk_of(all.made);
    if (k >= chunk_count) throw std::bad_alloc();
    const std::uint32_t n = first_chunk << k;
    auto* records = new descriptor[n];
    for (std::uint32_t i = n; i-- > 0;) {
        records[i].index = all.made + i;
        records[i].next_free = std::exchange(all.free, &records[i]);
    }
    all.chunks[k].store(records, std::memory_order_release);
    all.made += n;
}

// take_record returns a free record. Throws std::bad_alloc.
descriptor& take_record() {
    base::lock_guard hold(all.lock);
    if (!all.free) add_chunk();
    descriptor& d = *all.free;
    all.free = d.next_free;
    return d;
}

template <class F>
void for_each_record(F f) noexcept {
    for (unsigned k = 0; k < chunk_count; ++k) {
        descriptor* records = all.chunks[k].load(std::memory_order_acquire);
        if (!records) return;
        for (std::uint32_t i = 0; i < first_chunk << k; ++i) f(records[i]);
    }
}

std::uint64_t event_data(const descriptor_handle& h) noexcept {
    return std::uint64_t{h.generation()} << 32 | h.get()->index;
}

// claim_waiters wins the waiters for a direction up to the first that will make its call, or all.
void claim_waiters(descriptor& d, direction dir, bool every, wake_list& won, M* m) noexcept {
    bucket& b = bucket_of(d.place_of(dir));
    parked_ring ring;
    {
        spin_guard hold(b.lock);
        parked_waiters waiting(b, d.place_of(dir), ring);
        if (every) waiting.release_all(0, won);
        while (parked_node* n = waiting.first()) {
            const bool calls = n->tag == makes_call;
            if (waiting.release(*n, 0, won) && calls) break;
        }
        if (waiting.empty()) d.word.nobody_parked(dir);
    }
    ring.wake(m, b);
}

void claim_waiters(M* m, descriptor& d, std::uint32_t parked, bool every, wake_list& won) noexcept {
    if ((parked & descriptor_word::read_parked) != 0) claim_waiters(d, direction::read, every, won, m);
    if ((parked & descriptor_word::write_parked) != 0) claim_waiters(d, direction::write, every, won, m);
}

// add_to_poller registers d with s's poller, for the caller, who holds the registration. The errno value of the failure, or 0.
int add_to_poller(sched& s, descriptor& d, std::uint64_t data) noexcept {
    const M* m = current_m();
    const P* p = m && m->s == &s ? m->p.load(std::memory_order_relaxed) : nullptr;
    const unsigned home = p ? p->id : d.index;
    d.poller.store(s.poller.id, std::memory_order_relaxed);   // end_registration publishes it
    if (!s.poller.in_use()) {
        if (const int error = s.poller.open(s.procs.wanted())) return error;
        wakep_any(s);   // all its Ms may have gone to sleep before, none of them as the waiter
    }
    return s.poller.add(home, d.fd, data);
}

// watch_simulated does so in a simulation, where its network takes the poller's place.
int watch_simulated(descriptor& d, std::uint64_t data) noexcept {
    d.poller.store(0, std::memory_order_relaxed);   // no poller's number
    return sys::simulated::watch(d.fd, data);
}

// is_over says whether a wait may not last any longer, by its limit or by the descriptor's own.
bool is_over(const descriptor& d, direction dir, const deadline& limit) {
    const std::int64_t own = d.limit[static_cast<int>(dir)].load(std::memory_order_relaxed);
    return (own != no_deadline && own <= clock_now()) || time_is_over(limit);
}

}  // namespace

sched* sched_that_waits() {
    if (const M* m = current_m()) return m->s;
    if (sched* s = of_default_runtime.load(std::memory_order_acquire)) return s;   // with its store: all of it
    throw usage_error("handoff: a thread that runs no goroutine can wait for a socket, or for a lookup, only if default_runtime() was "
                      "called before");
}

descriptor_handle make_descriptor(int fd, bool short_is_drained, bool nested) {
    descriptor& d = take_record();
    d.fd = fd;
    d.short_is_drained = short_is_drained;
    d.nested.store(nested, std::memory_order_relaxed);
    for (auto& l : d.limit) l.store(no_deadline, std::memory_order_relaxed);
    const std::uint32_t generation = d.word.open();
    if (sys::is_simulated(fd)) [[unlikely]] sys::simulated::made(fd, &d, generation);
    return {&d, generation};
}

// close_number closes fd. Usually in a section, so that the P stays: see register_descriptor. But a socket with SO_LINGER waits.
static void close_number(int fd) noexcept {
    linger l{};
    socklen_t size = sizeof l;
    const bool waits = sys::getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &size) == 0 && l.l_onoff != 0 && l.l_linger != 0;
    if (waits || sys::is_simulated(fd)) {   // a simulated call enters the library itself
        syscall_guard guard;
        sys::close(fd);
        return;
    }
    M* m = enter_current();
    sys::close(fd);
    leave_current(m);
}

void give_number_back(descriptor& d) noexcept {
    close_number(std::exchange(d.fd, -1));
    base::lock_guard hold(all.lock);
    d.next_free = std::exchange(all.free, &d);
}

bool descriptor_handle::is_open() const noexcept {
    return d_ && (d_->word.bits(generation_) & descriptor_word::closing) == 0;
}

int descriptor_handle::number() const noexcept {
    if (!d_ || !d_->word.hold(generation_)) return -1;
    const int fd = d_->fd;
    if (d_->word.end_hold()) give_number_back(*d_);
    return fd;
}

void descriptor_handle::close_descriptor() const noexcept {
    const auto closed = d_->word.close(generation_);
    if (!closed.first) return;
    wake_all(*d_);
    if (closed.last) give_number_back(*d_);
}

// The section begins before the registration: where it begins other goroutines may run, and those that find the registration begun
// keep their thread until it is over. And epoll_ctl is called within it. It may sleep, while others have the kernel's lock of the
// poller, for as long as a thread of theirs may not run. A guard would let the P be taken meanwhile, and the next goroutine on it
// would sleep there, too; soon each has a thread, and goroutines of that kind are expected to block.
int register_descriptor(const descriptor_handle& h) {
    descriptor& d = *h.get();
    if ((d.word.bits(h.generation()) & (descriptor_word::registered | descriptor_word::closing)) != 0) return 0;
    sched* s = sched_that_waits();
    M* m;
    for (os::backoff wait;; wait.give_up_core()) {
        m = enter_current();
        const auto found = d.word.begin_registration(h.generation());
        if (found == descriptor_word::registration::mine) break;
        leave_current(m);
        if (found != descriptor_word::registration::others) return 0;
    }
    int error = 0;
    const bool simulated = sys::is_simulated(d.fd), refused = !simulated && s->sim;
    if (simulated) error = watch_simulated(d, event_data(h));
    else if (!refused) error = add_to_poller(*s, d, event_data(h));
    const bool last = d.word.end_registration(error == 0 && !refused);
    leave_current(m);
    if (last) give_number_back(d);
    if (refused) refuse_in_simulation("to wait for a descriptor that was made outside of it");
    return error;
}

bool await_ready(const descriptor_handle& h, direction dir, const deadline& limit, std::error_code& ec) {
    if (!h.get()) {
        ec = net::net_errc::closed;
        return false;
    }
    descriptor& d = *h.get();
    if (const int e = register_descriptor(h)) {
        ec.assign(e, std::generic_category());
        return false;
    }
    do {
        park_request r{d.place_of(dir), wait_reason::network};
        const std::int64_t own = d.limit[static_cast<int>(dir)].load(std::memory_order_relaxed);
        r.limits.deadline = std::min(limit.steady(), own);
        r.tag = makes_call;
        // Who changes the limit wakes those that wait, under the lock under which this is called (golang/go#68273).
        const auto waits = [&] {
            return d.limit[static_cast<int>(dir)].load(std::memory_order_relaxed) == own && d.word.must_park(h.generation(), dir);
        };
        if (park_current(r, waits).end != wait_end::timed_out) return true;   // or it is closed, which the next step says
    } while (!is_over(d, dir, limit));
    ec = std::make_error_code(std::errc::timed_out);
    return false;
}

static void wake(descriptor& d, std::uint32_t parked, bool every) noexcept {
    if (parked == 0) return;
    M* m = enter_current();
    wake_list won;
    claim_waiters(m, d, parked, every, won);
    won.wake(m);
    leave_current(m);
}

void wake_waiters(descriptor& d, std::uint32_t parked) noexcept { wake(d, parked, false); }

void wake_all(descriptor& d) noexcept { wake(d, descriptor_word::read_parked | descriptor_word::write_parked, true); }

void descriptors_ready(M* m, const event_batch& events) noexcept {
    constexpr std::uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
    wake_list won;
    for (int i = 0; i < events.count; ++i) {
        const std::uint32_t said = events.events[i].events;
        const std::uint64_t data = events.events[i].data.u64;
        std::uint32_t bits = 0;
        if ((said & (EPOLLIN | ends)) != 0) bits |= descriptor_word::readable;
        if ((said & ends) != 0) bits |= descriptor_word::read_end;
        if ((said & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) bits |= descriptor_word::writable;
        descriptor& d = record(static_cast<std::uint32_t>(data));
        if (bits != 0 && d.nested.load(std::memory_order_relaxed)) bits |= descriptor_word::readable | descriptor_word::writable;
        if (const std::uint32_t parked = d.word.event(static_cast<std::uint32_t>(data >> 32), bits))
            claim_waiters(m, d, parked, false, won);
    }
    won.wake_in_order(m);
}

void forget_records() noexcept HANDOFF_NO_TSA {
    for (auto& chunk : all.chunks) chunk.store(nullptr, std::memory_order_relaxed);
    all.free = nullptr;
    all.made = 0;
}

void poller_ended(std::uint64_t id) noexcept {
    for_each_record([&](descriptor& d) {
        if (d.poller.load(std::memory_order_relaxed) == id && d.word.forget()) wake_all(d);
    });
}

}  // namespace handoff::detail
