// A processor in somebody's hands: it is one holder's at a time, it is given away, and one that gets lost ends the process by name.
#include "sched/held_p.hpp"
#include "testing.hpp"

#include "sched/m.hpp"

#include <csignal>
#include <type_traits>
#include <utility>

using handoff::detail::held_p;
using handoff::detail::M;
using handoff::detail::P;
using handoff::detail::p_status;
using namespace handoff_test;

namespace {

constexpr unsigned number = 3;

p_status status_of(const P& p) { return p.status.load(std::memory_order_relaxed); }

// Two could not hold the same one.
static_assert(!std::is_copy_constructible_v<held_p> && !std::is_copy_assignable_v<held_p>);

TEST(held_p, is_none_at_first) {
    const held_p none;
    EXPECT_FALSE(none);
}

TEST(held_p, is_held_by_the_one_it_was_moved_to) {
    P p(number);
    held_p first = held_p::out_of_list(p);
    ASSERT_TRUE(first);
    EXPECT_EQ(&*first, &p);
    EXPECT_EQ(first->id, number);
    held_p second(std::move(first));
    EXPECT_FALSE(first);   // moved from: none
    EXPECT_EQ(&*second, &p);
    held_p third;
    third = std::move(second);
    EXPECT_FALSE(second);
    EXPECT_EQ(&*third, &p);
    EXPECT_EQ(&third.into_list(), &p);
    EXPECT_FALSE(third);
}

TEST(held_p, holds_another_once_the_first_is_given_away) {
    P p(number), other(number + 1);
    held_p held = held_p::out_of_list(p);
    held.into_list();
    held = held_p::out_of_list(other);
    EXPECT_EQ(&*held, &other);
    held.into_list();
}

TEST(held_p, is_idle_in_a_list_and_in_hands) {
    P p(number);
    held_p held = held_p::out_of_list(p);
    EXPECT_EQ(status_of(p), p_status::idle);
    held.into_list();
    EXPECT_EQ(status_of(p), p_status::idle);
}

TEST(held_p, goes_onto_a_thread_and_off_it) {
    P p(number);
    M first(nullptr, 0), second(nullptr, 1);
    held_p held = held_p::out_of_list(p);
    for (M* m : {&first, &second}) {
        held.put_on(m);
        EXPECT_FALSE(held);
        EXPECT_EQ(status_of(p), p_status::running);
        EXPECT_EQ(p.m, m);
        EXPECT_EQ(m->p, &p);
        held = held_p::off_its_thread(p);
        EXPECT_EQ(&*held, &p);
        EXPECT_EQ(status_of(p), p_status::idle);
        EXPECT_EQ(p.m, nullptr);   // so nobody takes it for one that its last thread has
    }
    held.into_list();
}

TEST(held_p, lives_from_its_making_to_its_end_and_again) {
    P p(number);
    held_p::out_of_list(p).retire();
    for (int life = 0; life < 2; ++life) {
        EXPECT_EQ(status_of(p), p_status::dead);
        held_p held = held_p::made(p);
        EXPECT_EQ(&*held, &p);
        EXPECT_EQ(status_of(p), p_status::idle);
        held.retire();
        EXPECT_FALSE(held);
    }
}

// ---- What ends the process -------------------------------------------------------------------------------------------

#define EXPECT_ENDS_BY(statement, said) EXPECT_EXIT(statement, testing::KilledBySignal(SIGABRT), said)

constexpr const char* dropped = "handoff: processor 3 was dropped";

void drop() {
    P p(number);
    const held_p held = held_p::out_of_list(p);
}

void drop_what_was_taken_off_a_thread() {
    P p(number);
    M m(nullptr, 0);
    held_p::out_of_list(p).put_on(&m);
    (void)held_p::off_its_thread(p);
}

void drop_with_the_thread_that_has_orders_for_it() {
    P p(number);
    M m(nullptr, 0);
    m.orders.p = held_p::out_of_list(p);
}

void hold_another_too() {
    P p(number), other(number + 1);
    held_p held = held_p::out_of_list(p);
    held = held_p::out_of_list(other);
    held.into_list();
}

void hold_none_instead() {
    P p(number);
    held_p held = held_p::out_of_list(p);
    held = {};
}

TEST(held_p_that_is_lost, ends_the_process_by_name) {
    EXPECT_ENDS_BY(drop(), dropped);
    EXPECT_ENDS_BY(drop_what_was_taken_off_a_thread(), dropped);
    EXPECT_ENDS_BY(drop_with_the_thread_that_has_orders_for_it(), dropped);
    EXPECT_ENDS_BY(hold_another_too(), dropped);
    EXPECT_ENDS_BY(hold_none_instead(), dropped);
}

void put_on_two_threads() {
    P p(number);
    M m(nullptr, 0), other(nullptr, 1);
    held_p::out_of_list(p).put_on(&m);
    held_p::out_of_list(p).put_on(&other);
}

void take_off_no_thread() {
    P p(number);
    held_p::off_its_thread(p).into_list();
}

void make_again() {
    P p(number);
    held_p::made(p).into_list();
}

void retire_one_that_runs() {
    P p(number);
    M m(nullptr, 0);
    held_p::out_of_list(p).put_on(&m);
    held_p::out_of_list(p).retire();
}

TEST(held_p_that_is_mistaken, ends_the_process_by_name) {
    EXPECT_ENDS_BY(put_on_two_threads(), "handoff: processor 3 is running, not idle, on its way to running");
    EXPECT_ENDS_BY(take_off_no_thread(), "handoff: processor 3 is idle, not running, on its way to idle");
    EXPECT_ENDS_BY(make_again(), "handoff: processor 3 is idle, not dead, on its way to idle");
    EXPECT_ENDS_BY(retire_one_that_runs(), "handoff: processor 3 is running, not idle, on its way to dead");
}

}  // namespace
