// What the C interface returns where the C++ one throws.
#include "fault.hpp"

#include <handoff/handoff.h>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace fault;

void nothing(void*) {}

class c_interface : public testing::Test {
protected:
    c_interface() {
        handoff_options o{};
        o.procs = 1;
        if (handoff_runtime_create(&rt_, &o) != 0) rt_ = nullptr;
    }
    ~c_interface() override { handoff_runtime_destroy(rt_); }

    void SetUp() override { ASSERT_NE(rt_, nullptr); }

    handoff_runtime* rt_ = nullptr;
};

TEST_F(c_interface, says_that_there_is_no_memory) {
    unsigned refused = 0;
    // Beyond the free goroutines that there are it needs memory.
    for (int i = 0; i < 5000 && refused == 0; ++i) {
        const injection refuse(site::allocation, {.error = ENOMEM, .times = 1, .only_here = true});
        const int result = handoff_run(rt_, nothing, nullptr);
        EXPECT_EQ(result, refuse.met() != 0 ? ENOMEM : 0);
        refused += result == ENOMEM;
    }
    EXPECT_EQ(refused, 1u);
    handoff_runtime* other = nullptr;
    {
        const injection refuse(site::allocation, {.error = ENOMEM, .times = 1, .only_here = true});
        EXPECT_EQ(handoff_runtime_create(&other, nullptr), ENOMEM);
    }
    EXPECT_EQ(other, nullptr);
    EXPECT_EQ(handoff_run(rt_, nothing, nullptr), 0);
}

TEST_F(c_interface, says_that_there_are_no_threads) {
    handoff_runtime* other = nullptr;
    const injection refuse(site::thread_create, {.error = EAGAIN, .only_here = true});
    EXPECT_EQ(handoff_runtime_create(&other, nullptr), EAGAIN);
    EXPECT_EQ(other, nullptr);
}

TEST_F(c_interface, says_that_a_wait_was_cancelled) {
    runtime rt({.procs = 1});
    int result = 0;
    rt.run([&result] {
        bool begun = false;
        handoff::task_group group;
        group.go([&] {
            begun = true;
            result = handoff_sleep_ns(3'600'000'000'000);
        });
        while (!begun) handoff::this_goroutine::yield();   // both on one processor
        group.cancel();
        group.wait();
    });
    EXPECT_EQ(result, ECANCELED);
}

TEST_F(c_interface, says_that_a_forked_child_may_not) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(handoff_go(rt_, nothing, nullptr) == EPERM && handoff_run(rt_, nothing, nullptr) == EPERM ? 0 : 1);
    int status = -1;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    EXPECT_EQ(status, 0);
}

}  // namespace
