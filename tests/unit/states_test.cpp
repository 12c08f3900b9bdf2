// What the library says of states: their names, and what ends the process when one is not what it must be (the named
// transitions of goroutines and processors).
#include "testing.hpp"

#include "base/check.hpp"
#include "os/thread.hpp"
#include "os/thread_activity.hpp"
#include "sched/g.hpp"
#include "sched/p.hpp"
#include "sched/retake_word.hpp"

#include <handoff/stats.hpp>

#include <cstring>
#include <memory>
#include <pthread.h>
#include <set>
#include <sys/syscall.h>
#include <thread>

using namespace handoff_test;
namespace detail = handoff::detail;

namespace {

// ---- Transitions -----------------------------------------------------------------------------------------------------

void mistake(detail::p_status now, detail::p_status from, detail::p_status to) {
    const auto p = std::make_unique<detail::P>(3);
    p->transition(detail::p_status::idle, now);
    p->transition(from, to);
}

// A goroutine that is waiting.
void park(detail::G& g) {
    g.id = 7;
    g.state.launch();
    g.state.run();
    g.state.park();
}

TEST(transition, of_a_goroutine_checks_the_state_that_it_leaves) {
    EXPECT_EXIT(
        {
            detail::G g;
            g.id = 7;
            g.state.launch();
            g.state.end();
        },
        testing::KilledBySignal(SIGABRT), "handoff: goroutine 7 is runnable, not running, on its way to dead");
    EXPECT_EXIT(
        {
            detail::G g;
            park(g);
            g.state.launch();
        },
        testing::KilledBySignal(SIGABRT), "handoff: goroutine 7 is waiting, not idle, on its way to runnable");
}

TEST(transition, of_a_goroutine_leads_from_state_to_state) {
    detail::G g;
    const auto is = [&](detail::g_state s) { return g.state.seen() == s; };
    EXPECT_TRUE(is(detail::g_state::idle));
    park(g);
    EXPECT_TRUE(is(detail::g_state::waiting));
    g.state.ready();
    g.state.run();
    g.state.give_way();
    EXPECT_TRUE(is(detail::g_state::runnable));
    g.state.run();
    g.state.end();
    g.state.revive();
    EXPECT_TRUE(is(detail::g_state::running));
    g.state.end();
    g.state.free();
    EXPECT_TRUE(is(detail::g_state::idle));
}

// ---- The retake word ----

TEST(retake_word, is_won_by_one_side) {
    using detail::retake;
    retake found;
    detail::retake_word answered;
    ASSERT_TRUE(answered.ask(retake::asked, found));
    EXPECT_FALSE(answered.ask(retake::asked, found));   // it is asked already
    EXPECT_EQ(found, retake::asked);
    EXPECT_EQ(answered.answer(), retake::none);
    EXPECT_FALSE(answered.take(retake::asked, retake::taken_call));   // too late
    EXPECT_TRUE(answered.is_none());

    detail::retake_word taken;
    ASSERT_TRUE(taken.ask(retake::asked, found));
    ASSERT_TRUE(taken.take(retake::asked, retake::taken_call));
    EXPECT_EQ(taken.answer(), retake::taken_call);   // too late
    taken.withdraw();                                // of what is no question any more
    EXPECT_EQ(taken.seen(), retake::taken_call);
    taken.go_on_without();
    EXPECT_FALSE(taken.ask(retake::asked, found));   // there is nothing to take
    EXPECT_EQ(found, retake::away);
    taken.settle();
    EXPECT_TRUE(taken.is_none());
}

TEST(retake_word, asked_to_yield_stays_until_somebody_answers_who_can_give_way) {
    using detail::retake;
    retake found;
    detail::retake_word w;
    ASSERT_TRUE(w.ask(retake::asked_to_yield, found));
    w.withdraw();
    EXPECT_EQ(w.answer_asked(), retake::asked_to_yield);
    EXPECT_EQ(w.seen(), retake::asked_to_yield);
    EXPECT_EQ(w.answer(), retake::asked_to_yield);
    EXPECT_TRUE(w.is_none());
}

TEST(retake_word, a_question_is_wiped_out_by_a_handoff) {
    using detail::retake;
    retake found;
    detail::retake_word w;
    ASSERT_TRUE(w.ask(retake::asked, found));
    w.give();
    EXPECT_FALSE(w.take(retake::asked, retake::taken_call));
    w.withdraw();
    EXPECT_EQ(w.seen(), retake::given);
}

TEST(retake_word, steps_check_what_they_leave) {
    EXPECT_EXIT(detail::retake_word().settle(), testing::KilledBySignal(SIGABRT), "retake word is none, which is not left for none");
    EXPECT_EXIT(detail::retake_word().go_on_without(), testing::KilledBySignal(SIGABRT),
                "retake word is none, which is not left for away");
    EXPECT_EXIT(
        {
            detail::retake_word w;
            w.give();
            w.give();
        },
        testing::KilledBySignal(SIGABRT), "retake word is given, which is not left for given");
    EXPECT_EXIT(
        {
            detail::retake_word w;
            w.simulate();
            w.give();
        },
        testing::KilledBySignal(SIGABRT), "retake word is simulated, which is not left for given");
}

// ---- The join word ----

TEST(join_word, says_who_frees) {
    using release = detail::join_word::release;
    detail::join_word dropped;
    dropped.begin(true);
    EXPECT_EQ(dropped.drop_handle(), release::goroutine_frees);
    EXPECT_TRUE(dropped.is_detached());

    detail::join_word ended;
    ended.begin(true);
    EXPECT_EQ(ended.end(), detail::join_word::running);
    EXPECT_TRUE(ended.has_ended());
    EXPECT_EQ(ended.drop_handle(), release::handle_frees);
    EXPECT_FALSE(ended.orphan());   // the handle is on its way

    detail::join_word orphaned;
    orphaned.begin(true);
    EXPECT_FALSE(orphaned.orphan());   // it runs
    orphaned.end();
    EXPECT_TRUE(orphaned.orphan());
    EXPECT_TRUE(orphaned.has_ended());
    EXPECT_EQ(orphaned.drop_handle(), release::handle_frees_store);

    detail::join_word detached;
    detached.begin(false);
    EXPECT_TRUE(detached.is_detached());
}

TEST(join_word, has_one_waiter_who_may_give_up) {
    detail::join_word w;
    w.begin(true);
    alignas(16) char place[16];
    auto& waiter = reinterpret_cast<detail::join_waiter&>(place);   // an address is all that the word knows of it
    ASSERT_TRUE(w.wait_with(waiter));
    EXPECT_FALSE(w.wait_with(waiter));
    ASSERT_TRUE(w.give_up(waiter));
    ASSERT_TRUE(w.wait_with(waiter));
    EXPECT_EQ(detail::join_word::waiter_in(w.end()), &waiter);
    EXPECT_FALSE(w.give_up(waiter));
    EXPECT_EQ(detail::join_word::waiter_in(detail::join_word::running), nullptr);
    EXPECT_EQ(detail::join_word::waiter_in(detail::join_word::detached), nullptr);
}

TEST(transition, of_a_processor_checks_the_state_that_it_leaves) {
    using enum detail::p_status;
    EXPECT_EXIT(mistake(dead, idle, running), testing::KilledBySignal(SIGABRT),
                "handoff: processor 3 is dead, not idle, on its way to running");
}

TEST(broken_invariant, ends_the_process_and_names_itself) {
    EXPECT_EXIT(HANDOFF_CHECK(1 + 1 == 3), testing::KilledBySignal(SIGABRT),
                "handoff: .*states_test.cpp:[0-9]+: broken invariant: 1 \\+ 1 == 3");
}

TEST(warning, that_is_too_long_is_one_shorter_line) {
    const std::string text(5000, 'x');
    testing::internal::CaptureStderr();
    handoff::base::warn("%s", text.c_str());
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(said.rfind("handoff: xxx", 0), 0u);
    EXPECT_LT(said.size(), 1100u);
    EXPECT_EQ(said.find('\n'), said.size() - 1);
}

TEST(warning, of_the_same_thing_comes_ever_more_rarely) {
    testing::internal::CaptureStderr();
    for (std::uint64_t n = 0; n <= 1234; ++n) handoff::base::warn_nth(n, "%s", "again");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "handoff: again\n"
                                                      "handoff: again (10 times so far)\n"
                                                      "handoff: again (100 times so far)\n"
                                                      "handoff: again (1000 times so far)\n");
}

TEST(warning, that_is_too_long_still_tells_its_number) {
    const std::string text(5000, 'x');
    testing::internal::CaptureStderr();
    handoff::base::warn_nth(10'000'000'000'000'000'000u, "%s", text.c_str());
    const std::string said = testing::internal::GetCapturedStderr();
    const std::string end = "xxx (10000000000000000000 times so far)\n";
    ASSERT_GT(said.size(), end.size());
    EXPECT_EQ(said.substr(said.size() - end.size()), end);
    EXPECT_EQ(said.size(), std::strlen(said.c_str()));
}

// ---- Names -----------------------------------------------------------------------------------------------------------

// All values from the first to the last have names of their own; the one after the last has none.
template <class E, class Name>
void expect_distinct_names(E last, Name name) {
    std::set<std::string> seen;
    const int n = static_cast<int>(last);
    for (int i = 0; i <= n; ++i) {
        const std::string text = name(static_cast<E>(i));
        EXPECT_NE(text, "?") << i;
        EXPECT_TRUE(seen.insert(text).second) << text;
    }
    EXPECT_STREQ(name(static_cast<E>(n + 1)), "?");
}

TEST(names, of_states_and_reasons_are_distinct) {
    expect_distinct_names(detail::g_state::dead, [](detail::g_state s) { return detail::name_of(s); });
    expect_distinct_names(detail::retake::away, [](detail::retake r) { return detail::name_of(r); });
    expect_distinct_names(detail::p_status::dead, [](detail::p_status s) { return detail::name_of(s); });
    expect_distinct_names(detail::wait_reason::turn, [](detail::wait_reason r) { return detail::name_of(r); });
    expect_distinct_names(handoff::goroutine_state::without_processor, [](handoff::goroutine_state s) { return to_string(s); });
    expect_distinct_names(handoff::thread_state::monitor, [](handoff::thread_state s) { return to_string(s); });
    expect_distinct_names(handoff::processor_state::syscall, [](handoff::processor_state s) { return to_string(s); });
}

TEST(names, of_system_calls_are_those_that_can_last) {
    std::set<std::string> seen;
    for (long number = 0; number < 1000; ++number)
        if (const char* name = handoff::os::call_name(number)) {
            EXPECT_TRUE(seen.insert(name).second) << name;
        }
    EXPECT_STREQ(handoff::os::call_name(SYS_read), "read");
    EXPECT_STREQ(handoff::os::call_name(SYS_fsync), "fsync");
    EXPECT_STREQ(handoff::os::call_name(SYS_clock_nanosleep), "clock_nanosleep");
    EXPECT_STREQ(handoff::os::call_name(SYS_futex), "futex");
    EXPECT_STREQ(handoff::os::call_name(SYS_membarrier), "membarrier");
    EXPECT_EQ(handoff::os::call_name(SYS_getpid), nullptr);
    EXPECT_EQ(handoff::os::call_name(-1), nullptr);
}

// ---- What the kernel says of threads ---------------------------------------------------------------------------------

TEST(thread_activity, is_told_by_the_kernel) {
    using handoff::os::activity;
    const pipe_pair pipe;
    handoff::os::activity_files files;
    std::atomic<pid_t> tid{0};
    std::thread reader([&] {
        tid = this_tid();
        pipe.read();
    });
    EXPECT_EVENTUALLY(tid != 0 && asleep(tid) && files.of(tid).what == activity::in_call &&
                      files.of(tid).call == SYS_read);
    EXPECT_GE(handoff::os::thread_cpu_time(tid), 0);
    pipe.write();
    reader.join();
    EXPECT_EVENTUALLY(thread_letter(tid) == '\0');
    EXPECT_EQ(files.of(tid).what, activity::unknown);
    EXPECT_EQ(handoff::os::thread_cpu_time(tid), -1);
}

}  // namespace
