#include "sync/parking_lot.hpp"

namespace handoff::detail {

namespace {

// Some for each thread that could be in the lot at once on a large machine. 64 KiB of zeroes, touched as they are used.
constexpr std::size_t bucket_count = 1024;
constinit bucket buckets[bucket_count];

}  // namespace

bucket& bucket_of(const void* address) noexcept {
    // Fibonacci hashing (Knuth): the upper bits are well mixed.
    const auto hash = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address)) * 0x9E3779B97F4A7C15u;
    return buckets[hash >> 54];
}
static_assert(bucket_count == 1u << (64 - 54));

park_result finish_park(M*& m, bucket& b, const park_request& r, bool armed) noexcept {
    waiter w(m, armed);
    wait_node n;
    n.who = &w;
    n.address = r.address;
    n.kind = r.kind;
    n.since = r.since;
    if (r.in_front) push_front(b.waiting, n);
    else b.append(n);
    if (!armed) {
        m = wait_plain(m, w, r.why, r.address, b.lock);
        return {wait_end::woken, n.token};
    }
    b.lock.unlock();
    const wait_end end = wait_armed(m, w, r.why, r.address, r.limits);
    b.lock.lock();   // who woke it may still write to the node
    if (n.queued) b.remove(n);
    b.lock.unlock();
    return {end, n.token};
}

}  // namespace handoff::detail
