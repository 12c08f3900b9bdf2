// The set of processors by itself: how many there are, which are surplus, and what one reads while another adds.
#include "sched/processors.hpp"
#include "testing.hpp"

#include <atomic>
#include <thread>
#include <vector>

using handoff::detail::max_procs;
using handoff::detail::P;
using handoff::detail::p_status;
using handoff::detail::processors;
using namespace handoff_test;

namespace {

// The set frees them with itself; that it does is for LeakSanitizer to see.
P* dead_p(unsigned id) {
    P* p = new P(id);
    p->transition(p_status::idle, p_status::dead);
    return p;
}

std::vector<const P*> all_of(const processors& set) {
    std::vector<const P*> all;
    set.for_each([&](const P& p) { all.push_back(&p); });
    return all;
}

TEST(processors, are_none_at_first) {
    const processors set;
    EXPECT_EQ(set.count(), 0u);
    EXPECT_EQ(set.wanted(), 0u);
    EXPECT_TRUE(all_of(set).empty());
}

TEST(processors, are_found_by_number_and_visited_in_order) {
    processors set;
    std::vector<const P*> added;
    for (unsigned id = 0; id < 5; ++id) {
        P* p = dead_p(id);
        added.push_back(p);
        set.add(p);
        EXPECT_EQ(set.count(), id + 1);
        EXPECT_EQ(&set[id], p);
        EXPECT_EQ(all_of(set), added);
    }
}

// Who has the only one leaves fences and locks out.
TEST(processors, are_several_from_the_second_on) {
    processors set;
    set.add(dead_p(0));
    EXPECT_FALSE(set.several());
    set.add(dead_p(1));
    EXPECT_TRUE(set.several());
    set.add(dead_p(2));
    EXPECT_TRUE(set.several());
}

TEST(processors, are_surplus_beyond_those_that_are_wanted) {
    processors set;
    for (unsigned id = 0; id < 4; ++id) set.add(dead_p(id));
    for (const std::uint32_t wanted : {4u, 1u, 3u, 8u}) {
        set.want(wanted);
        EXPECT_EQ(set.wanted(), wanted);
        EXPECT_EQ(set.count(), 4u);   // none is freed
        for (unsigned id = 0; id < 4; ++id) EXPECT_EQ(set.is_surplus(set[id]), id >= wanted) << id << " of " << wanted;
    }
}

TEST(processors, are_as_many_as_there_is_room_for) {
    processors set;
    for (unsigned id = 0; id < max_procs; ++id) set.add(dead_p(id));
    EXPECT_EQ(set.count(), max_procs);
    EXPECT_EQ(set[max_procs - 1].id, max_procs - 1);
    EXPECT_EQ(all_of(set).size(), max_procs);
}

// Whoever sees that there is one sees all of it, though it takes no lock.
TEST(processors, are_whole_for_who_reads_while_they_are_added) {
    for (std::size_t round = 0; round < scaled(50); ++round) {
        processors set;
        std::atomic<bool> looks{false};
        std::size_t wrong = 0;
        std::thread reader([&] {
            for (std::uint32_t seen = 0; seen < 64;) {
                seen = set.count();
                looks = true;
                for (std::uint32_t i = 0; i < seen; ++i)
                    wrong += set[i].id != i || set[i].next_id != i + 1 || set[i].status != p_status::dead;
            }
        });
        while (!looks) std::this_thread::yield();
        for (unsigned id = 0; id < 64; ++id) {
            P* p = dead_p(id);
            p->next_id = id + 1;   // plain: add() orders it
            set.add(p);
        }
        reader.join();
        ASSERT_EQ(wrong, 0u);
    }
}

}  // namespace
