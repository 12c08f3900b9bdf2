// The parking lot itself, and the ends of waits (sync/wait.hpp): order, addresses that share a bucket, tokens.
#include "sync/parking_lot.hpp"

#include "locks.hpp"
#include "os/clock.hpp"

#include <optional>
#include <stop_token>

using namespace handoff::detail;
using namespace handoff_test;
using handoff::runtime;

namespace {

class parking_lot : public with_procs {};
INSTANTIATE_WITH_PROCS(parking_lot);

// Parks the caller, a goroutine or a thread, at r.address.
template <class Wanted>
park_result park_here(const park_request& r, Wanted wanted) {
    M* m = enter_current();
    const park_result result = park_if(m, r, wanted);
    leave_current(m);
    return result;
}
park_result park_here(const park_request& r) {
    return park_here(r, [] { return true; });
}

// How many wait at an address.
std::size_t parked_at(const void* address) {
    std::size_t n = 0;
    with_parked(address, [&](parked_waiters waiting, wake_list&) {
        for (const wait_node* w = waiting.first(); w; w = waiting.after(*w)) ++n;
    });
    return n;
}

// Wakes the first that waits at an address; its kind, or nothing.
std::optional<std::uint32_t> wake_first(const void* address, std::uint32_t token = 0) {
    std::optional<std::uint32_t> kind;
    with_parked(address, [&](parked_waiters waiting, wake_list& won) {
        if (const wait_node* n = waiting.release_first(token, won)) kind = n->kind;
    });
    return kind;
}

TEST(bucket, points_ahead) {
    bucket b;
    std::vector<wait_node> nodes(50);
    for (wait_node& n : nodes) b.append(n);
    for (std::size_t i = 0; i < nodes.size(); ++i)
        EXPECT_EQ(nodes[i].ahead, i + bucket::places_ahead < nodes.size() ? &nodes[i + bucket::places_ahead] : nullptr);
    for (wait_node& n : nodes) b.remove(n);
    EXPECT_TRUE(b.waiting.empty());
    EXPECT_EQ(b.trailing, nullptr);
}

// Whoever is written to as somebody comes has to be in the queue, in whatever order the others left.
TEST(bucket, writes_to_nobody_who_is_gone) {
    auto random = seeded_random("bucket.writes_to_nobody_who_is_gone");
    bucket b;
    std::vector<wait_node> nodes(40);
    std::vector<unsigned> came(nodes.size());   // when
    for (unsigned step = 1; step < scaled(100'000, 10'000); ++step) {
        const std::size_t i = random() % nodes.size();
        wait_node& n = nodes[i];
        if (n.queued) {
            b.remove(n);
        } else {
            n = {};
            came[i] = step;
            if (random() % 8 == 0) push_front(b.waiting, n);
            else b.append(n);
        }
        ASSERT_TRUE(!b.trailing || b.trailing->queued);
        for (std::size_t k = 0; k < nodes.size(); ++k) {
            const wait_node* ahead = nodes[k].queued ? nodes[k].ahead : nullptr;
            ASSERT_TRUE(!ahead || !ahead->queued || came[static_cast<std::size_t>(ahead - nodes.data())] > came[k]);
        }
        if (random() % 1'000 == 0)   // an end, and a new beginning
            for (wait_node& w : nodes)
                if (w.queued) b.remove(w);
    }
}

TEST_P(parking_lot, parks_only_if_that_is_wanted) {
    on_both(rt_, [] {
        const int address = 0;
        int asked = 0;
        EXPECT_EQ(park_here({.address = &address, .why = wait_reason::mutex}, [&] { return ++asked == 0; }).end, wait_end::armed);
        EXPECT_EQ(asked, 1);
        EXPECT_EQ(parked_at(&address), 0u);
        EXPECT_FALSE(wake_first(&address).has_value());
    });
}

TEST_P(parking_lot, wakes_in_order_and_tells_a_token) {
    const int address = 0;
    std::atomic<std::uint32_t> told[8] = {};
    crowd all;
    for (std::uint32_t i = 0; i < 8; ++i) {
        all.start(i % 4 == 0 ? other_ : rt_, i % 3 == 2, [&, i] {
            park_request r{.address = &address, .why = wait_reason::mutex, .kind = 100 + i};
            if (i % 2 == 0) r.limits.deadline = handoff::os::nanotime() + 3'600'000'000'000;
            const park_result result = park_here(r);
            EXPECT_EQ(result.end, wait_end::woken);
            told[i] = result.token;
        });
        EXPECT_EVENTUALLY(parked_at(&address) == i + 1);
    }
    for (std::uint32_t i = 0; i < 8; ++i) {
        EXPECT_EQ(wake_first(&address, 1'000 + i), 100 + i);
        EXPECT_EVENTUALLY(told[i] == 1'000 + i);
        EXPECT_EQ(parked_at(&address), 7 - i);
    }
    EXPECT_FALSE(wake_first(&address).has_value());
    all.join();
}

TEST_P(parking_lot, puts_those_in_front_that_have_waited_before) {
    const int address = 0;
    crowd all;
    for (std::uint32_t i = 0; i < 4; ++i) {
        all.go(rt_, [&, i] {
            EXPECT_EQ(park_here({.address = &address, .why = wait_reason::mutex, .kind = i, .in_front = i >= 2}).end, wait_end::woken);
        });
        EXPECT_EVENTUALLY(parked_at(&address) == i + 1);
    }
    for (const std::uint32_t kind : {3u, 2u, 0u, 1u}) EXPECT_EQ(wake_first(&address), kind);
    all.join();
}

// Two addresses in one bucket, taken out in every order.
TEST_P(parking_lot, keeps_addresses_apart_that_share_a_bucket) {
    std::vector<char> memory(1 << 16);
    const char* const a = memory.data();
    const auto same = std::find_if(memory.begin() + 1, memory.end(), [&](const char& c) { return &bucket_of(&c) == &bucket_of(a); });
    ASSERT_NE(same, memory.end());
    const char* const b = &*same;
    crowd all;
    std::atomic<int> woken_a{0}, woken_b{0};
    for (unsigned i = 0; i < 6; ++i) {
        all.go(rt_, [&, i] {
            EXPECT_EQ(park_here({.address = i % 2 == 0 ? a : b, .why = wait_reason::mutex, .kind = i}).end, wait_end::woken);
            ++(i % 2 == 0 ? woken_a : woken_b);
        });
        EXPECT_EVENTUALLY(parked_at(a) + parked_at(b) == i + 1);
    }
    EXPECT_EQ(wake_first(b), 1u);   // from the middle
    EXPECT_EQ(wake_first(a), 0u);   // the front
    EXPECT_EVENTUALLY(woken_a == 1 && woken_b == 1);
    EXPECT_EQ(wake_first(b), 3u);
    EXPECT_EQ(wake_first(b), 5u);   // the end
    EXPECT_FALSE(wake_first(b).has_value());
    EXPECT_EVENTUALLY(woken_b == 3);
    EXPECT_EQ(woken_a, 1);
    EXPECT_EQ(parked_at(a), 2u);
    EXPECT_EQ(wake_first(a), 2u);
    EXPECT_EQ(wake_first(a), 4u);
    all.join();
}

// Those that have given up are gone from the queue, and the others keep their places.
TEST_P(parking_lot, forgets_those_that_give_up) {
    const int address = 0;
    std::stop_source source;
    std::atomic<int> timed_out{0}, stopped{0};
    crowd all;
    for (std::uint32_t i = 0; i < 9; ++i) {
        all.start(rt_, i % 4 == 3, [&, i, token = source.get_token()] {
            park_request r{.address = &address, .why = wait_reason::mutex, .kind = i};
            const std::int64_t deadline = handoff::os::nanotime() + 1'000'000;
            if (i % 3 == 0) r.limits.deadline = deadline;
            if (i % 3 == 1) r.limits.stop = &token;
            const wait_end end = park_here(r).end;
            timed_out += end == wait_end::timed_out;
            stopped += end == wait_end::cancelled;
            EXPECT_EQ(end, i % 3 == 0 ? wait_end::timed_out : i % 3 == 1 ? wait_end::cancelled : wait_end::woken);
            EXPECT_TRUE(i % 3 != 0 || handoff::os::nanotime() >= deadline);
        });
        // Those with a deadline may be gone already.
        EXPECT_EVENTUALLY(parked_at(&address) + static_cast<std::size_t>(timed_out.load()) >= i + 1 - (i % 3 == 0));
    }
    EXPECT_EVENTUALLY(timed_out == 3);
    source.request_stop();
    EXPECT_EVENTUALLY(stopped == 3);
    EXPECT_EVENTUALLY(parked_at(&address) == 3);
    std::vector<std::uint32_t> left;
    while (const auto kind = wake_first(&address)) left.push_back(*kind);
    std::sort(left.begin(), left.end());
    EXPECT_EQ(left, std::vector<std::uint32_t>({2, 5, 8}));
    all.join();
}

// A wait that a stop has ended already, and one whose time is over, do not begin.
TEST_P(parking_lot, ends_at_once_what_is_over) {
    on_both(rt_, [] {
        const int address = 0;
        std::stop_source source;
        source.request_stop();
        const std::stop_token token = source.get_token();
        park_request stopped{.address = &address, .why = wait_reason::semaphore};
        stopped.limits.stop = &token;
        EXPECT_EQ(park_here(stopped).end, wait_end::cancelled);
        park_request late{.address = &address, .why = wait_reason::semaphore};
        late.limits.deadline = 1;
        EXPECT_EQ(park_here(late).end, wait_end::timed_out);
        EXPECT_EQ(parked_at(&address), 0u);
    });
}

// Whoever wins a wait is the only one: it ends in one way, and a release that lost it wakes the next instead.
TEST_P(parking_lot, ends_each_wait_once) {
    auto random = seeded_random("parking_lot.ends_each_wait_once");
    const int address = 0;
    const std::size_t rounds = scaled(300, 50);
    std::atomic<std::size_t> woken{0}, running{0};
    crowd all;
    constexpr std::size_t waiters = 6;
    running = waiters;
    for (std::size_t who = 0; who < waiters; ++who)
        all.start(rt_, who >= 4, [&, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < rounds; ++i) {
                park_request request{.address = &address, .why = wait_reason::mutex};
                request.limits.deadline = handoff::os::nanotime() + static_cast<std::int64_t>(r() % 200'000);
                const wait_end end = park_here(request).end;
                EXPECT_TRUE(end == wait_end::woken || end == wait_end::timed_out);
                woken += end == wait_end::woken;
            }
            --running;
        });
    std::size_t released = 0;
    while (running > 0) released += wake_first(&address).has_value();
    all.join();
    EXPECT_EQ(woken, released);
    EXPECT_EQ(parked_at(&address), 0u);
}

}  // namespace
