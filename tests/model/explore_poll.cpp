// Waiting for descriptors: no edge is lost, whoever polls, nobody waits for what is there, and numbers are given back once.
#include "explore_kernel.hpp"
#include "explore_runtime.hpp"
#include "net/operation.hpp"

#include <memory>
#include <vector>

using namespace explore;
using namespace handoff::detail;
using handoff::deadline;
using handoff::join_handle;
using handoff::runtime;
using handoff::net::net_errc;

namespace {

// What a goroutine does with a device: a read or a write of at most `most` bytes; 0 at the end.
ssize_t read_some(const descriptor_handle& h, device& d, unsigned most, std::error_code& ec, const deadline& limit = {}) {
    return perform(h, direction::read, limit, ec, most, [&](int) { return d.read(most); });
}
ssize_t write_some(const descriptor_handle& h, device& d, unsigned most, std::error_code& ec) {
    return perform(h, direction::write, {}, ec, most, [&](int) { return d.write(most); });
}

// A runtime whose monitor is of no help: it looks for events, and takes processors, only after the schedule's time is over.
handoff::options nobody_helps(unsigned procs) {
    handoff::options o = quiet(procs);
    o.syscall_grace = o.syscall_retake_after = 1h;
    return o;
}

// Readers of one device, while another thread sends, and ends. What comes is read by somebody, and each reader sees the end.
EXPLORE_SCENARIO(readers, "poll.readers", 100'000, .length = 2'000) {
    kernel k;
    device d;
    const unsigned total = 1 + choose(4);
    unsigned got = 0;
    {
        runtime rt(quiet(1 + choose(2)));
        descriptor_handle h = make_descriptor(d.fd(), perhaps());
        std::vector<join_handle<void>> all;
        for (unsigned i = 1 + choose(3); i > 0; --i)
            all.push_back(rt.go([&] {
                std::error_code ec;
                while (const ssize_t n = read_some(h, d, 1 + choose(3), ec)) {
                    EXPLORE_CHECK(!ec && n > 0);
                    got += static_cast<unsigned>(n);
                    if (perhaps()) explore::linger();
                }
                EXPLORE_CHECK(!ec);
            }));
        thread sender([&] {
            for (unsigned left = total; left > 0;) {
                const unsigned n = 1 + choose(left);
                left -= n;
                d.put(n, left == 0);
                compute(choose(40));
            }
        });
        sender.join();
        for (auto& r : all) r.join();
        h.close();
    }
    EXPLORE_CHECK(got == total && k.closed() == 1);
}

// Both directions, and an edge for one while the other waits.
EXPLORE_SCENARIO(both_ways, "poll.both_ways", 100'000, .length = 2'000) {
    kernel k;
    device d(choose(2));
    runtime rt(quiet(1 + choose(2)));
    descriptor_handle h = make_descriptor(d.fd(), true);
    constexpr unsigned total = 3;
    auto reads = rt.go([&] {
        std::error_code ec;
        for (unsigned got = 0; got < total;) got += static_cast<unsigned>(read_some(h, d, 2, ec));
    });
    auto writes = rt.go([&] {
        std::error_code ec;
        for (unsigned put = 0; put < total;) put += static_cast<unsigned>(write_some(h, d, 2, ec));
    });
    for (unsigned i = 0; i < total; ++i) {
        d.put(1);
        compute(choose(30));
        d.drain(1);
        compute(choose(30));
    }
    reads.join();
    writes.join();
}

// One closes what others wait for, or are about to. All of them end, the number is given back once, and an event that comes late
// does nothing to the next device, in the same record.
EXPLORE_SCENARIO(closed, "poll.closed", 100'000, .length = 2'000) {
    kernel k;
    device d, next;
    {
        runtime rt(quiet(1 + choose(2)));
        descriptor_handle h = make_descriptor(d.fd(), true);
        std::vector<join_handle<void>> all;
        for (unsigned i = 1 + choose(2); i > 0; --i)
            all.push_back(rt.go([&] {
                std::error_code ec;
                const ssize_t n = read_some(h, d, 1, ec);
                EXPLORE_CHECK(n == 1 || ec == net_errc::closed);
            }));
        thread sender([&] { d.put(choose(2)); });
        compute(choose(60));
        h.close();
        descriptor_handle other = make_descriptor(next.fd(), true);
        auto reads = rt.go([&] {
            std::error_code ec;
            EXPLORE_CHECK(read_some(other, next, 1, ec) == 1);
        });
        compute(choose(60));
        next.put(1);
        reads.join();
        for (auto& r : all) r.join();
        sender.join();
        other.close();
    }
    EXPLORE_CHECK(k.closed() == 2);
}

// A deadline, an edge and another one's deadline compete for a waiter.
EXPLORE_SCENARIO(deadlines, "poll.deadlines", 100'000, .length = 1'500) {
    kernel k;
    device d;
    runtime rt(quiet(1 + choose(2)));
    descriptor_handle h = make_descriptor(d.fd(), true);
    unsigned got = 0;
    auto limited = rt.go([&] {
        std::error_code ec;
        if (read_some(h, d, 1, ec, std::chrono::nanoseconds(choose(3'000))) == 1) ++got;
        else EXPLORE_CHECK(ec == std::errc::timed_out);
    });
    auto unlimited = rt.go([&] {
        std::error_code ec;
        if (read_some(h, d, 1, ec) == 1) ++got;
    });
    compute(choose(100));
    d.put(1);
    limited.join();
    if (got == 0 || perhaps()) d.put(1);   // the first may have been taken by the one whose time was nearly over
    else d.end();
    unlimited.join();
    EXPLORE_CHECK(got != 0);
}

// A thread that is none of the runtime's waits, while all of that sleeps and has never had a descriptor.
EXPLORE_SCENARIO(outsider, "poll.outsider", 100'000, .time = 1'500'000'000, .length = 2'500) {
    kernel k;
    device d;
    runtime rt(nobody_helps(1 + choose(2)));
    block(perhaps() ? 1'000'000'000 : static_cast<std::int64_t>(choose(50'000)));   // its monitor sleeps deep in the end
    of_default_runtime.store(rt.go([] { return current_m()->s; }).join(), std::memory_order_release);
    descriptor_handle h = make_descriptor(d.fd(), true);
    thread sender([&] {
        for (int i = 0; i < 2; ++i) {
            d.put(1);
            compute(choose(40));
        }
    });
    std::error_code ec;
    for (int got = 0; got < 2;) got += static_cast<int>(read_some(h, d, 1 + choose(2), ec));
    EXPLORE_CHECK(!ec);
    sender.join();
    of_default_runtime.store(nullptr, std::memory_order_release);
}

// Somebody always waits for events, or asks: without the monitor's help, however processors and threads change hands.
EXPLORE_SCENARIO(somebody_waits, "poll.somebody_waits", 100'000, .time = 400'000, .length = 2'500) {
    kernel k;
    device a, b;
    runtime rt(nobody_helps(1 + choose(3)));
    descriptor_handle h = make_descriptor(a.fd(), true), g = make_descriptor(b.fd(), true);
    auto first = rt.go([&] {
        std::error_code ec;
        for (int i = 0; i < 3; ++i) {
            EXPLORE_CHECK(read_some(h, a, 1, ec) == 1);
            b.put(1);
        }
    });
    auto second = rt.go([&] {
        std::error_code ec;
        for (int i = 0; i < 3; ++i) {
            EXPLORE_CHECK(read_some(g, b, 1, ec) == 1);
            if (i < 2) a.put(1);
        }
    });
    auto others = rt.go([&] {
        for (unsigned i = choose(4); i > 0; --i) explore::linger();
    });
    a.put(1);
    first.join();
    second.join();
    others.join();
}

}  // namespace
