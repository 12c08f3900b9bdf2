// Retaking: a processor has one owner at any time, whatever its goroutines do outside of the library.
#include "explore_runtime.hpp"

using namespace explore;
using handoff::handoff_policy;
using handoff::join_handle;
using handoff::runtime;
using handoff::syscall_guard;

namespace {

constexpr handoff_policy policies[] = {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate};

void stay_away() {
    if (perhaps()) compute(choose(16));
    else block(choose(5'000));
}

void call() {
    const syscall_guard g(policies[choose(3)]);
    stay_away();
}

// Brackets alone.
EXPLORE_SCENARIO(brackets, "retake.brackets", 100'000, .length = 1'500) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    const auto body = [&] {
        for (int i = 0; i < 3; ++i) {
            call();
            if (perhaps()) check.check();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(rt.stats().spawned == 3);
}

// Sections alone: goroutines that block or compute without a guard, and come back.
EXPLORE_SCENARIO(sections, "retake.sections", 100'000, .length = 1'500) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    const auto body = [&] {
        for (int i = 0; i < 3; ++i) {
            stay_away();
            check.check();
            if (perhaps()) handoff::this_goroutine::yield();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(rt.stats().spawned == 3);
}

// Both, with the library used inside of calls, and calls inside of calls.
EXPLORE_SCENARIO(mixed, "retake.mixed", 100'000, .length = 2'000) {
    runtime rt(greedy(1 + choose(3)));
    owners check;
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            if (perhaps()) stay_away();
            const syscall_guard g(policies[choose(3)]);
            if (perhaps()) stay_away();
            if (perhaps()) check.check();
            if (perhaps()) call();
            if (perhaps()) linger();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
}

// Goroutines that are tied to their threads, and take them along.
EXPLORE_SCENARIO(tied, "retake.tied", 100'000, .length = 2'000) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    const auto body = [&] {
        const bool is_tied = perhaps();
        if (is_tied) handoff::lock_os_thread();
        for (int i = 0; i < 2; ++i) {
            const auto* before = handoff::detail::current_m();
            if (perhaps()) call();
            else linger();
            check.check();
            if (is_tied) EXPLORE_CHECK(before == handoff::detail::current_m());
        }
        if (is_tied && perhaps()) handoff::unlock_os_thread();
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
}

}  // namespace
