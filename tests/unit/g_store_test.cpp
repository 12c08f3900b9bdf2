// g_store: Gs, and where their memory goes when they are free.
#include "sched/g_store.hpp"
#include "testing.hpp"

#include "context/stack.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <set>
#include <sys/mman.h>

using namespace handoff_test;
using handoff::runtime;
using handoff::detail::G;
using handoff::detail::g_store;

namespace {

// Pages that were given back read as zeros, and are used again as they are.
TEST(g_store, a_new_g_is_all_zeros) {
    const auto made_in = [](int filling) {
        auto memory = std::make_unique<std::byte[]>(sizeof(G) + alignof(G));
        std::memset(memory.get(), filling, sizeof(G) + alignof(G));
        void* at = memory.get();
        std::size_t room = sizeof(G) + alignof(G);
        std::align(alignof(G), sizeof(G), at, room);
        G* g = ::new (at) G;
        std::vector<unsigned char> bytes(sizeof(G));
        std::memcpy(bytes.data(), static_cast<void*>(g), sizeof(G));
        g->~G();
        return bytes;
    };
    const auto over_zeros = made_in(0), over_ones = made_in(0xff);
    std::size_t set = 0;
    for (std::size_t i = 0; i < sizeof(G); ++i) {
        EXPECT_EQ(over_zeros[i], 0) << i;
        if (over_zeros[i] != over_ones[i]) {   // nobody sets it: padding, or the closure
            EXPECT_EQ(over_ones[i], 0xff) << i;
            continue;
        }
        ++set;
    }
    EXPECT_GT(set, sizeof(void*) * 8);
}

std::vector<G*> take_all(g_store& store, std::size_t n) {
    std::vector<G*> all;
    while (all.size() < n)
        for (G *g = store.take(32), *next; g; g = next) {
            next = g->next;
            all.push_back(g);
        }
    return all;
}
void give_all(g_store& store, const std::vector<G*>& all) {
    for (G* g : all) {
        g->next = nullptr;
        store.give(g);
    }
}
// As sched::give_gs_back does; returns how many chunks went to rest.
std::size_t put_to_rest(g_store& store) {
    std::vector<G*> lent;
    lent.reserve(store.free_count());
    while (store.lend(lent)) {
    }
    const auto whole = g_store::drop_whole_chunks(lent);
    store.put_to_rest(whole);
    while (store.take_back(lent)) {
    }
    store.looked();
    return whole.size();
}
std::size_t visited(g_store& store) {
    std::size_t n = 0;
    store.for_each([&](const G&) { ++n; });
    return n;
}

TEST(g_store, whole_chunks_rest_and_come_back) {
    constexpr std::size_t chunks = 40, n = chunks * g_store::chunk_size;
    auto rng = seeded_random("g_store.whole_chunks_rest_and_come_back");
    g_store store;
    auto all = take_all(store, n);
    ASSERT_EQ(std::set<G*>(all.begin(), all.end()).size(), all.size());
    EXPECT_EQ(visited(store), store.places());
    std::shuffle(all.begin(), all.end(), rng);
    G* const kept = all.back();   // its chunk stays
    all.pop_back();
    for (G* g : all) g->predict = 3;   // something to be forgotten
    give_all(store, all);
    EXPECT_TRUE(store.is_worth_a_look(0));
    const std::size_t rest = put_to_rest(store);
    EXPECT_FALSE(store.is_worth_a_look(0));
    EXPECT_EQ(rest, store.places() / g_store::chunk_size - 1);
    EXPECT_EQ(visited(store), store.places() - rest * g_store::chunk_size);
    EXPECT_EQ(store.free_count(), store.places() - rest * g_store::chunk_size - 1);
    std::uint32_t which = 0;
    std::vector<G*> bare;
    for (std::size_t i = 0; i < rest / 2 + 1; ++i) {
        G* gs = store.take_resting(which);
        ASSERT_TRUE(gs);
        ASSERT_EQ(::madvise(gs, g_store::chunk_bytes, MADV_DONTNEED), 0);
        store.put_back_bare(which);
        bare.push_back(gs);
    }
    // Who still has the address of one sees one that is idle.
    EXPECT_EQ(bare[0]->state.seen(), handoff::detail::g_state::idle);
    EXPECT_EQ(bare[0]->id.load(std::memory_order_relaxed), 0u);

    const std::size_t places = store.places();
    auto again = take_all(store, places - 1);
    EXPECT_EQ(store.places(), places);   // no new ones were made
    EXPECT_EQ(again.size(), places - 1);
    std::set<G*> different(again.begin(), again.end());
    EXPECT_EQ(different.size(), again.size());
    EXPECT_EQ(different.count(kept), 0u);
    for (G* g : again) EXPECT_EQ(g->store, &store);
    EXPECT_EQ(visited(store), places);
}

TEST(g_store, names_are_of_one_goroutine) {
    g_store store;
    G* g = store.take(1);
    g->id.store(7, std::memory_order_relaxed);
    store.name(g, "seven");
    EXPECT_EQ(store.name_of(g, 7), "seven");
    EXPECT_EQ(store.name_of(g, 8), "");
    store.name(g, "");
    EXPECT_EQ(store.name_of(g, 7), "");
}

std::size_t resident() {
    std::size_t size = 0, pages = 0;
    std::ifstream("/proc/self/statm") >> size >> pages;
    return pages * handoff::context::page_size();
}

// A wave of goroutines that are all there at once, and end. `stays` of them live on meanwhile.
TEST(goroutine_memory, goes_back_when_idle) {
    if (with_sanitizer) GTEST_SKIP() << "a sanitizer's own memory is more than that";
    for (const unsigned procs : {1u, 4u}) {
        // In one slice: else the processor is taken from a loop that spawns, and what it has started ends beside it.
        runtime rt({.procs = procs, .retake_running_after = std::chrono::minutes(1)});
        constexpr std::size_t n = 300'000;
        handoff::channel<int> over(0);
        std::vector<handoff::join_handle<void>> stay;
        rt.run([] {});
        const std::size_t before = resident();
        std::size_t most = 0;
        std::atomic<std::size_t> ran{0};
        rt.run([&] {
            for (std::size_t i = 0; i < n; ++i) {
                if (i % (n / 5) == 0) stay.push_back(handoff::go([&] { over.recv(); }));
                handoff::go([&] { ++ran; });   // few of them start before all are there
            }
            most = resident();
        });
        EXPECT_EVENTUALLY(ran == n);
        if (procs == 1) {
            ASSERT_GT(most - before, n * sizeof(G) / 2);
        }
        EXPECT_EVENTUALLY(resident() < before + n * sizeof(G) / 4) << resident() - before << " bytes more than before";
        // And all goes on as before.
        EXPECT_EQ(rt.snapshot().goroutines.size(), stay.size());
        ran = 0;
        rt.run([&] {
            for (std::size_t i = 0; i < n / 10; ++i) handoff::go([&] { ++ran; });
        });
        EXPECT_EVENTUALLY(ran == n / 10);
        over.close();
        for (auto& h : stay) h.join();
    }
}

}  // namespace
