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

// A retaker that has looked some time ago, and does not know what its processors' owners have done since.
EXPLORE_SCENARIO(stale, "retake.stale", 100'000, .length = 1'200) {
    using namespace handoff::detail;
    runtime rt(quiet(1 + choose(2)));   // whose own monitor takes nothing
    owners check;
    sched* s = nullptr;
    rt.run([&] { s = current_m()->s; });
    const auto body = [&] {
        for (int i = 0; i < 3; ++i) {
            {
                const syscall_guard g(perhaps() ? handoff_policy::immediate : handoff_policy::sysmon);
                compute(choose(8));
            }
            check.check();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body)};
    thread retaker([&] {
        for (int round = 0; round < 8; ++round) {
            retake_candidate found[2];
            std::uint32_t calls[2];
            unsigned n = 0;
            s->for_each_p([&](P& p) {
                M* m = p.m.load(std::memory_order_acquire);
                if (!m || p.status.load(std::memory_order_relaxed) != p_status::running) return;
                retake_candidate& c = found[n];
                c.m = m;
                c.p = &p;
                c.call = calls[n++] = m->call.load(std::memory_order_relaxed);
                c.section = m->section.load(std::memory_order_relaxed);
                c.slice_is_over = perhaps();
                c.as = c.slice_is_over ? retake::taken_slice : retake::taken_call;
            });
            if (n != 0 && perhaps()) {   // at the moment in which the owner has settled what somebody else took
                const auto settled = [&] { return found[0].m->taken.load(std::memory_order_relaxed) == retake::none; };
                for (unsigned i = 0; i < 100 && settled(); ++i) {
                }
                for (unsigned i = 0; i < 200 && !settled(); ++i) {
                }
            } else {
                compute(choose(30));
            }
            if (n != 0) retake_ps(*s, found, n);
            for (unsigned i = 0; i < n; ++i) {
                if (!found[i].taken) continue;
                EXPLORE_CHECK(found[i].slice_is_over || found[i].call == calls[i]);   // not out of a later one
                s->handoffp(found[i].p);
            }
        }
    });
    for (auto& h : all) h.join();
    retaker.join();
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
