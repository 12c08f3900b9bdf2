// Notes that are woken once a lock is released.
#include "sched/deferred_wake.hpp"
#include "testing.hpp"

using handoff::detail::deferred_wake;
using handoff::os::note;

namespace {

// Whether n was woken. It waits for nothing: an earlier wake is kept.
bool was_woken(note& n) { return n.wait_until(0); }

TEST(deferred_wake, wakes_at_the_end_of_its_scope) {
    note n;
    {
        deferred_wake wake;
        wake.set(n);
        EXPECT_FALSE(was_woken(n));
    }
    EXPECT_TRUE(was_woken(n));
}

// The end of the runtime and the monitor, say, when a processor with a timer goes idle as the last goroutine has ended.
TEST(deferred_wake, wakes_two) {
    note one, another;
    {
        deferred_wake wake;
        wake.set(one);
        wake.set(another);
    }
    EXPECT_TRUE(was_woken(one));
    EXPECT_TRUE(was_woken(another));
}

TEST(deferred_wake, wakes_each_once) {
    note n;
    {
        deferred_wake wake;
        wake.set(n);
        wake.set(n);
    }
    EXPECT_TRUE(was_woken(n));
    EXPECT_FALSE(was_woken(n));
}

}  // namespace
