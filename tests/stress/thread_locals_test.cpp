// A program with much static thread-local data, which the C library takes out of each thread's stack.
#include <handoff/handoff.hpp>

#include <algorithm>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/resource.h>
#include <vector>

namespace {

constexpr std::size_t size = 512 * 1024;
thread_local char arena[size];
thread_local char filled[64 * 1024] = {1};   // which is copied from the program

[[gnu::noinline]] bool use(char with) {
    std::fill(std::begin(arena), std::end(arena), with);
    return arena[size - 1] == with && filled[0] == 1;
}

// What a thread runs on its own stack: destructors of thread-locals, with all the room that they were promised.
struct deep {
    bool used = false;
    ~deep() {
        volatile char room[64 * 1024];
        for (std::size_t i = 0; i < sizeof room; i += 512) room[i] = 1;
    }
};
thread_local deep at_end;

// While it lives, the process's limit leaves a thread's stack as small as the library makes it by itself.
class small_stacks {
public:
    small_stacks() {
        ::getrlimit(RLIMIT_STACK, &before_);
        rlimit small = before_;
        small.rlim_cur = 256 * 1024;
        EXPECT_EQ(::setrlimit(RLIMIT_STACK, &small), 0);
    }
    ~small_stacks() { ::setrlimit(RLIMIT_STACK, &before_); }
    small_stacks(const small_stacks&) = delete;
    small_stacks& operator=(const small_stacks&) = delete;

private:
    rlimit before_{};
};

TEST(ThreadLocals, MayBeLarge) {
    const small_stacks all_threads;
    handoff::runtime rt({.procs = 2});
    std::vector<handoff::join_handle<bool>> all;
    for (int i = 0; i < 50; ++i)
        all.push_back(rt.go([i] {
            if (i % 5 == 0) handoff::lock_os_thread();   // and takes its thread along
            at_end.used = true;
            const bool right = use(static_cast<char>(i));
            handoff::blocking_call(handoff::handoff_policy::immediate, [] {});
            return right;
        }));
    for (auto& h : all) EXPECT_TRUE(h.join());
}

}  // namespace
