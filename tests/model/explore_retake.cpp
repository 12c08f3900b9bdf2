// Retaking: a processor has one owner at any time, whatever its goroutines do outside of the library; and a goroutine stays
// on its thread from the beginning of a guard to its next call of the library after the guard's end.
#include "explore_runtime.hpp"
#include "sched/handover.hpp"
#include "sched/retake.hpp"

using namespace explore;
using handoff::detail::current_m;   // no call of the library in that sense: it enters no section
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
            s->procs.for_each([&](P& p) {
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
                const auto settled = [&] { return found[0].m->taken.is_none(); };
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
                handoff::detail::handoffp(*s, std::move(found[i].taken));
            }
        }
    });
    for (auto& h : all) h.join();
    retaker.join();
}

// Goroutines that come back without a processor, make further calls without one, compute, and then use the library.
EXPLORE_SCENARIO(away, "retake.away", 100'000, .length = 1'500) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    handoff::detail::sched* s = nullptr;
    rt.run([&] { s = current_m()->s; });
    handoff::base::atomic<unsigned> calls{0};
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            for (unsigned n = 1 + choose(3); n > 0; --n) {
                const handoff::detail::M* m = nullptr;
                {
                    const syscall_guard g(policies[choose(3)]);
                    m = current_m();
                    stay_away();
                }
                EXPLORE_CHECK(current_m() == m);
                if (perhaps()) stay_away();
                EXPLORE_CHECK(current_m() == m);
                calls.fetch_add(1, std::memory_order_relaxed);
            }
            check.check();
        }
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    const auto t = rt.stats();
    EXPLORE_CHECK(t.exits_own + t.exits_without == calls.load(std::memory_order_relaxed));
    EXPLORE_CHECK(t.exits_old_idle + t.exits_any_idle + t.exits_queued <= t.exits_without);
    // The monitor counts one before it tries to take its processor, and may begin such an attempt at any time, on what it saw
    // when the goroutines still ran. So one look that finds nobody is enough; one more may meet the next attempt.
    const auto nobody_computes = [&] { return s->limit.computing() == 0; };
    bool seen = nobody_computes();
    for (unsigned i = 0; i < 100 && !seen; ++i) {
        block(10'000);
        seen = nobody_computes();
    }
    EXPLORE_CHECK(seen);
}

// What parks under a guard goes on on the thread that has the C library's lock, until the outermost guard ends.
EXPLORE_SCENARIO(callback, "retake.callback", 100'000, .length = 2'500) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    handoff::channel<int> ch(1);
    const auto body = [&] {
        const handoff::detail::M* m = nullptr;
        const auto use_the_library = [&] {
            if (perhaps()) stay_away();
            if (perhaps()) linger();
            EXPLORE_CHECK(current_m() == m);
            if (perhaps()) check.check();
            EXPLORE_CHECK(current_m() == m);
        };
        {
            const syscall_guard outer(policies[choose(3)]);
            m = current_m();
            use_the_library();
            {
                const syscall_guard inner(policies[choose(3)]);
                ch.send(1);
                use_the_library();
            }
            EXPLORE_CHECK(current_m() == m);
            if (perhaps()) handoff::go([] {}).join();
            EXPLORE_CHECK(ch.recv() == 1);
            use_the_library();
        }
        EXPLORE_CHECK(current_m() == m);
        if (perhaps()) stay_away();
        EXPLORE_CHECK(current_m() == m);
        check.check();
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    for (const auto& g : rt.snapshot().goroutines) EXPLORE_CHECK(!g.locked_to_thread);
}

// Deep calls, which wait on the stack of their thread: they stay there, others go on, and nobody is forgotten.
EXPLORE_SCENARIO(thread_stack, "retake.thread_stack", 100'000, .length = 2'500) {
    runtime rt(greedy(1 + choose(2)));
    owners check;
    handoff::channel<int> there(choose(2)), back(choose(2));
    const auto deep = [&](auto&& exchange) {
        return [&, exchange] {
            const auto* m = current_m();
            handoff::call_on_thread_stack([&] {
                for (int i = 0; i < 2; ++i) {
                    const int local = i;
                    exchange(i);
                    EXPLORE_CHECK(current_m() == m && local == i);
                    if (perhaps()) call();
                    else linger();
                    check.check();
                    EXPLORE_CHECK(current_m() == m);
                }
            });
            EXPLORE_CHECK(current_m() == m);
            check.check();
        };
    };
    join_handle<void> all[] = {
        rt.go(deep([&](int i) {
            there.send(i);
            EXPLORE_CHECK(back.recv() == i);
        })),
        rt.go(deep([&](int i) {
            EXPLORE_CHECK(there.recv() == i);
            back.send(i);
        })),
        rt.go([&] {
            if (perhaps()) call();
            check.check();
            handoff::this_goroutine::yield();
        }),
    };
    for (auto& h : all) h.join();
    for (const auto& g : rt.snapshot().goroutines) EXPLORE_CHECK(!g.locked_to_thread);
}

// There are too few threads. One that makes call after call must not keep its own from those who wait.
EXPLORE_SCENARIO(few_threads, "retake.few_threads", 100'000, .length = 1'500) {
    handoff::options o = greedy(1 + choose(2));
    o.max_threads = 2 + choose(2);
    runtime rt(o);
    owners check;
    handoff::base::atomic<bool> ran{false};
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            call();
            if (perhaps()) check.check();
        }
    };
    auto waits = rt.go([&] {
        for (unsigned n = 0; !ran.load(std::memory_order_relaxed); ++n) {
            EXPLORE_CHECK(n < 200);
            const syscall_guard g(policies[choose(3)]);
            block(1'000 + choose(5'000));
        }
    });
    join_handle<void> all[] = {rt.go(body), rt.go([&] { ran.store(true, std::memory_order_relaxed); }), rt.go(body)};
    waits.join();
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
            const auto* before = current_m();
            if (perhaps()) call();
            else linger();
            check.check();
            if (is_tied) EXPLORE_CHECK(before == current_m());
        }
        if (is_tied && perhaps()) handoff::unlock_os_thread();
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
}

}  // namespace
