// What the library says of states: their names, and what ends the process when one is not what it must be (the named
// transitions of goroutines and processors).
#include "testing.hpp"

#include "base/check.hpp"
#include "os/thread.hpp"
#include "os/thread_activity.hpp"
#include "sched/g.hpp"
#include "sched/p.hpp"

#include <handoff/stats.hpp>

#include <memory>
#include <pthread.h>
#include <set>
#include <sys/syscall.h>
#include <thread>

using namespace handoff_test;
namespace detail = handoff::detail;

namespace {

// ---- Transitions -----------------------------------------------------------------------------------------------------

// A goroutine or processor in state `now` that somebody takes for one in `from`.
void mistake(detail::g_state now, detail::g_state from, detail::g_state to) {
    detail::G g;
    g.id = 7;
    g.transition(detail::g_state::idle, now);
    g.transition(from, to);
}
void mistake(detail::p_status now, detail::p_status from, detail::p_status to) {
    const auto p = std::make_unique<detail::P>(3);
    p->transition(detail::p_status::idle, now);
    p->transition(from, to);
}

TEST(transition, of_a_goroutine_checks_the_state_that_it_leaves) {
    using enum detail::g_state;
    EXPECT_EXIT(mistake(runnable, running, dead), testing::KilledBySignal(SIGABRT),
                "handoff: goroutine 7 is runnable, not running, on its way to dead");
    EXPECT_EXIT(mistake(waiting, idle, runnable), testing::KilledBySignal(SIGABRT),
                "handoff: goroutine 7 is waiting, not idle, on its way to runnable");
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
