// The parking lot itself, and the ends of waits (wait/wait.hpp): order, addresses that share a bucket, tokens.
#include "wait/parking_lot.hpp"

#include "locks.hpp"
#include "os/clock.hpp"

#include <algorithm>
#include <list>
#include <map>
#include <optional>
#include <stop_token>
#include <vector>

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
        for (const parked_node* w = waiting.first(); w; w = waiting.after(*w)) ++n;
    });
    return n;
}

// Wakes the first that waits at an address; its tag, or nothing.
std::optional<std::uint32_t> wake_first(const void* address, std::uint32_t token = 0) {
    std::optional<std::uint32_t> tag;
    with_parked(address, [&](parked_waiters waiting, wake_list& won) {
        if (const parked_node* n = waiting.release_first(token, won)) tag = n->tag;
    });
    return tag;
}

// Nodes of nobody.
struct lone_node : parked_node {
    lone_node() : parked_node(nullptr, false) {}
};

// Those that wait at an address, in their order, and whether the queue's links agree both ways.
std::vector<const parked_node*> queue_at(bucket& b, const void* address) {
    std::vector<const parked_node*> queue;
    const parked_node* first = *b.place_of(address);
    if (!first) return queue;
    const parked_node* n = first;
    do {
        EXPECT_EQ(node_of(n->next).prev, n);
        EXPECT_TRUE(n->queued && n->address == address && n->ring == first->ring);
        queue.push_back(n);
        n = &node_of(n->next);
    } while (n != first);
    return queue;
}

// An address whose hash is `wanted`: the factor's inverse undoes the hash.
const void* address_of_hash(std::uint64_t wanted) {
    std::uint64_t inverse = 1;
    for (int i = 0; i < 6; ++i) inverse *= 2 - 0x9E3779B97F4A7C15u * inverse;   // Newton: the exact bits double
    const auto* address = reinterpret_cast<const void*>(wanted * inverse);
    EXPECT_EQ(hash_of(address), wanted);
    return address;
}

// How many steps below the tree's root an address is found.
unsigned depth_of(bucket& b, const void* address) {
    unsigned depth = 0;
    const parked_node* n = b.roots[hash_of(address) << bucket_bits >> (64 - root_bits)];
    for (std::uint64_t path = hash_of(address) << (bucket_bits + root_bits); n && n->address != address; path <<= 1, ++depth)
        n = n->stands_for.child[path >> 63];
    EXPECT_NE(n, nullptr);
    return depth;
}

TEST(bucket, points_ahead) {
    const int address = 0;
    bucket b;
    std::vector<lone_node> nodes(50);
    for (lone_node& n : nodes) {
        n.address = &address;
        b.append(n);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i)
        EXPECT_EQ(nodes[i].ahead, i + bucket::places_ahead < nodes.size() ? &nodes[i + bucket::places_ahead] : nullptr);
    for (lone_node& n : nodes) EXPECT_TRUE(b.remove(n));
    EXPECT_EQ(*b.place_of(&address), nullptr);
}

// Queues as a list for each address would have them, whoever comes and leaves, for objects that share one tree. Whoever is
// written to as somebody comes has to be in the queue, in whatever order the others left.
TEST(bucket, keeps_a_queue_for_each_object) {
    auto random = seeded_random("bucket.keeps_a_queue_for_each_object");
    bucket b;
    std::vector<const void*> objects;   // in pairs that go the same way for 8 to 48 bits
    for (std::uint64_t i = 0; i < 12; ++i) {
        const std::uint64_t path = random() >> (bucket_bits + root_bits);
        objects.push_back(address_of_hash(path));
        objects.push_back(address_of_hash(path ^ (std::uint64_t{1} << (random() % 40))));
    }
    std::vector<lone_node> nodes(60);
    std::map<const void*, std::list<const parked_node*>> expected;
    const auto leave = [&](lone_node& n) {
        ASSERT_TRUE(b.remove(n));
        ASSERT_FALSE(n.queued);
        expected[n.address].remove(&n);
    };
    for (unsigned step = 0; step < scaled(100'000, 10'000); ++step) {
        lone_node& n = nodes[random() % nodes.size()];
        if (n.queued) {
            leave(n);
        } else {
            n.ahead = nullptr;
            n.address = objects[random() % 2 == 0 ? 0 : random() % objects.size()];
            auto& queue = expected[n.address];
            if (random() % 8 == 0) {
                b.push_front(n);
                queue.push_front(&n);
            } else {
                b.append(n);
                queue.push_back(&n);
            }
        }
        for (const void* object : objects) {
            const auto& queue = expected[object];
            ASSERT_EQ(queue_at(b, object), std::vector<const parked_node*>(queue.begin(), queue.end()));
            if (queue.empty()) continue;
            const parked_node* trailing = queue.front()->stands_for.trailing;
            ASSERT_TRUE(!trailing || std::find(queue.begin(), queue.end(), trailing) != queue.end());
            ASSERT_LE(depth_of(b, object), 64u - bucket_bits - root_bits);
        }
        if (random() % 1'000 == 0)   // an end, and a new beginning
            for (lone_node& w : nodes)
                if (w.queued) leave(w);
    }
}

// Steps, not time: what others do costs one of many nothing.
TEST(bucket, finds_each_of_many_objects_in_a_few_steps) {
    auto random = seeded_random("bucket.finds_each_of_many_objects_in_a_few_steps");
    bucket b;
    std::vector<lone_node> nodes(4'000);   // in the four trees of one bucket
    unsigned long steps = 0;
    unsigned deepest = 0;
    for (lone_node& n : nodes) {
        n.address = address_of_hash(random() >> bucket_bits);
        b.append(n);
    }
    for (const lone_node& n : nodes) {
        const unsigned depth = depth_of(b, n.address);
        steps += depth;
        deepest = std::max(deepest, depth);
    }
    EXPECT_LT(steps, nodes.size() * 11);   // the logarithm of a thousand, and one
    EXPECT_LT(deepest, 40u);
    for (lone_node& n : nodes) EXPECT_TRUE(b.remove(n));
    for (const parked_node* root : b.roots) EXPECT_EQ(root, nullptr);
}

TEST(bucket, many_that_wait_for_one_object_are_in_nobodys_way) {
    bucket b;
    const void* const object = address_of_hash(1);
    const void* const neighbour = address_of_hash(3);
    std::vector<lone_node> nodes(100'000);
    for (lone_node& n : nodes) {
        n.address = object;
        b.append(n);
    }
    lone_node other;
    other.address = neighbour;
    b.append(other);
    EXPECT_EQ(depth_of(b, neighbour), 1u);
    EXPECT_EQ(depth_of(b, object), 0u);
    // They leave from the middle, the end and the beginning.
    for (std::size_t i = nodes.size() / 2; i < nodes.size(); ++i) EXPECT_TRUE(b.remove(nodes[i]));
    for (std::size_t i = 0; i < nodes.size() / 2; ++i) EXPECT_TRUE(b.remove(nodes[i]));
    EXPECT_EQ(depth_of(b, neighbour), 0u);
    EXPECT_EQ(queue_at(b, neighbour), std::vector<const parked_node*>{&other});
    EXPECT_TRUE(b.remove(other));
}

TEST(bucket, spreads_objects_as_they_lie_in_memory) {
    for (const std::uintptr_t apart : {8u, 64u, 4'096u, 32'768u}) {
        std::map<const bucket*, unsigned> in_bucket;
        unsigned most = 0;
        for (std::uintptr_t i = 0; i < 100'000; ++i)
            most = std::max(most, ++in_bucket[&bucket_of(reinterpret_cast<const void*>(0x7f0000000000 + i * apart))]);
        EXPECT_LT(most, 40u) << apart << " bytes apart";   // 6 on average
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
            park_request r{.address = &address, .why = wait_reason::mutex, .tag = 100 + i};
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
            EXPECT_EQ(park_here({.address = &address, .why = wait_reason::mutex, .tag = i, .in_front = i >= 2}).end, wait_end::woken);
        });
        EXPECT_EVENTUALLY(parked_at(&address) == i + 1);
    }
    for (const std::uint32_t tag : {3u, 2u, 0u, 1u}) EXPECT_EQ(wake_first(&address), tag);
    all.join();
}

// Two addresses in one bucket, taken out in every order.
TEST_P(parking_lot, keeps_addresses_apart_that_share_a_bucket) {
    std::vector<char> memory(1 << 18);
    const char* const a = memory.data();
    const auto same = std::find_if(memory.begin() + 1, memory.end(), [&](const char& c) { return &bucket_of(&c) == &bucket_of(a); });
    ASSERT_NE(same, memory.end());
    const char* const b = &*same;
    crowd all;
    std::atomic<int> woken_a{0}, woken_b{0};
    for (unsigned i = 0; i < 6; ++i) {
        all.go(rt_, [&, i] {
            EXPECT_EQ(park_here({.address = i % 2 == 0 ? a : b, .why = wait_reason::mutex, .tag = i}).end, wait_end::woken);
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
            park_request r{.address = &address, .why = wait_reason::mutex, .tag = i};
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
    while (const auto tag = wake_first(&address)) left.push_back(*tag);
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

// Many are told in rounds, but have left at one moment: who comes in between waits, at the same address.
TEST_P(parking_lot, releases_all_that_wait_and_nobody_else) {
    const int address = 0;
    constexpr std::uint32_t many = 5 * release_round::first + 7;
    std::atomic<std::uint32_t> woken{0}, came_late{0}, given_up{0};
    crowd all;
    for (std::uint32_t i = 0; i < many; ++i)
        all.start(i % 4 == 0 ? other_ : rt_, i % 50 == 1, [&, i] {
            park_request r{.address = &address, .why = wait_reason::latch};
            if (i % 3 == 0) r.limits.deadline = handoff::os::nanotime() + (i % 2 == 0 ? 1'000'000 : 3'600'000'000'000);
            const park_result result = park_here(r);
            if (result.end == wait_end::timed_out) {
                ++given_up;
                return;
            }
            EXPECT_EQ(result.token, 77u);
            ++woken;
            EXPECT_EQ(park_here({.address = &address, .why = wait_reason::latch}).token, 78u);   // again, behind the others
            ++came_late;
        });
    EXPECT_EVENTUALLY(given_up + parked_at(&address) == many);
    with_parked(&address, [](parked_waiters waiting, wake_list& won) {
        waiting.release_all(77, won);
        EXPECT_TRUE(waiting.empty());
    });
    EXPECT_EVENTUALLY(woken + given_up == many && parked_at(&address) == woken);
    EXPECT_EQ(came_late, 0u);
    with_parked(&address, [](parked_waiters waiting, wake_list& won) { waiting.release_all(78, won); });
    all.join();
    EXPECT_EQ(came_late, woken);
    EXPECT_EQ(parked_at(&address), 0u);
}

TEST_P(parking_lot, releases_as_many_as_it_is_told_to) {
    const int address = 0;
    std::atomic<std::uint32_t> woken{0};
    crowd all;
    for (std::uint32_t i = 0; i < 20; ++i)
        all.go(rt_, [&] {
            park_here({.address = &address, .why = wait_reason::semaphore});
            ++woken;
        });
    EXPECT_EVENTUALLY(parked_at(&address) == 20);
    std::uint32_t left = 20;
    for (const std::uint32_t n : {0u, 1u, 12u, 100u}) {
        std::uint64_t released = 0;
        with_parked(&address, [&](parked_waiters waiting, wake_list& won) { released = waiting.release_up_to(n, 0, won); });
        EXPECT_EQ(released, std::min(n, left));
        left -= std::min(n, left);
        EXPECT_EVENTUALLY(woken == 20 - left);
        EXPECT_EQ(parked_at(&address), left);
    }
    all.join();
}

}  // namespace
